"""What a light node remembers of filter headers.

`H` + height (4, big-endian) + block hash (32)  ->  the agreed filter header (32)
"""

import struct
from collections.abc import Iterable, Iterator

from altyn.node.storage.kv import KeyValue

_PREFIX = b"H"
_KEY = struct.Struct(">cI32s")


class FilterHeaderStore:
    """Agreed filter headers by block, of every branch that was ever followed."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    def write(self, records: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Write (height, block hash, filter header), over older ones, all at once."""
        with self._kv.batch() as batch:
            for height, block_hash, header in records:
                batch.put(_KEY.pack(_PREFIX, height, block_hash), header)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Read all (block hash, filter header), by height."""
        for key, header in self._kv.scan(_PREFIX):
            yield key[-32:], header

    def close(self) -> None:
        self._kv.close()
