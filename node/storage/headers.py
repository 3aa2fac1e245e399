"""The index of headers: what is known of each block, and where its data lies."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from altyn.consensus.block import Header
from altyn.node.storage.blocks import FilePosition
from altyn.node.storage.kv import KeyValue
from altyn.node.storage.layout import HEADER, HEADER_KEY, HEADER_VALUE, PRUNED, PRUNED_KEY


class HeaderRecord(NamedTuple):
    """One header and what is known of its block; `status` holds the bits of `altyn.node.chain.tree`."""

    header: Header
    height: int
    status: int
    tx_count: int
    block_position: FilePosition | None
    block_size: int
    undo_position: FilePosition | None


class HeaderStore:
    """Headers with their state, in order of height."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    def write(self, records: Iterable[HeaderRecord], pruned: Iterable[int] = ()) -> None:
        """Write records over older ones, all at once; with the numbers of block files that they need no longer."""
        with self._kv.batch() as batch:
            for number in pruned:
                batch.put(PRUNED_KEY.pack(PRUNED, number), b"")
            for record in records:
                file, offset = record.block_position or (-1, 0)
                undo_offset = record.undo_position.offset if record.undo_position else -1
                batch.put(
                    HEADER_KEY.pack(HEADER, record.height, record.header.hash),
                    HEADER_VALUE.pack(
                        record.header.raw,
                        record.status,
                        record.tx_count,
                        file,
                        offset,
                        record.block_size,
                        undo_offset,
                    ),
                )

    def pruned_files(self) -> list[int]:
        """Return the numbers of all block files that were pruned."""
        return [PRUNED_KEY.unpack(key)[1] for key, _ in self._kv.scan(PRUNED)]

    def __iter__(self) -> Iterator[HeaderRecord]:
        """Read all, by height: parents come before their children."""
        for key, value in self._kv.scan(HEADER):
            _, height, _ = HEADER_KEY.unpack(key)
            raw, status, tx_count, file, offset, size, undo_offset = HEADER_VALUE.unpack(value)
            block = None if file < 0 else FilePosition(file, offset)
            undo = None if undo_offset < 0 else FilePosition(file, undo_offset)
            yield HeaderRecord(Header.parse(raw), height, status, tx_count, block, size, undo)

    def close(self) -> None:
        self._kv.close()
