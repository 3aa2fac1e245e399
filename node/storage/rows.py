"""Rows of an index: bytes by a group that they are looked up by, and a rest of the key that orders them inside it."""

from collections.abc import Iterator, Mapping

from altyn.node.storage.kv import KeyValue
from altyn.node.storage.layout import BEST_BLOCK

Row = tuple[bytes, bytes]
"""The rest of the key, and the value."""


class RowStore:
    """Rows of blocks that were ever connected, and how far along the chain they go. Rows are never taken away."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    @property
    def best_block(self) -> bytes | None:
        """The hash of the last block that was indexed with all before it; None at first."""
        return self._kv.get(BEST_BLOCK)

    def find(self, group: bytes) -> Iterator[Row]:
        """Go through the rows of a group, in order. Raises StoreError."""
        size = len(group)
        for key, value in self._kv.scan(group):
            yield key[size:], value

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one row, whose key is a group and its rest. Raises StoreError."""
        return self._kv.get(key)

    def write(self, best_block: bytes, rows: Mapping[bytes, bytes]) -> None:
        """Write rows by their whole keys and move to `best_block`, all at once. Raises StoreError."""
        with self._kv.batch() as batch:
            for key, value in rows.items():
                batch.put(key, value)
            batch.put(BEST_BLOCK, best_block)
