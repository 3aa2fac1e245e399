"""Compact filters and their header chain (BIP157, BIP158), by block."""

from collections.abc import Iterable
from typing import NamedTuple

from altyn.node.storage.kv import KeyValue
from altyn.node.storage.layout import BEST_BLOCK, FILTER, FILTER_KEY


class FilterRecord(NamedTuple):
    """The basic filter of a block, and the header (32 bytes) that commits to it and all filters before."""

    header: bytes
    filter: bytes


class FilterStore:
    """Filters of every block that was ever connected: a reorganisation adds and takes nothing away."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    @property
    def best_block(self) -> bytes | None:
        """The hash of the last block that was indexed with all before it; None at first."""
        return self._kv.get(BEST_BLOCK)

    def get(self, height: int, block_hash: bytes) -> FilterRecord | None:
        value = self._kv.get(FILTER_KEY.pack(FILTER, height, block_hash))
        return None if value is None else FilterRecord(value[:32], value[32:])

    def write(self, best_block: bytes, records: Iterable[tuple[int, bytes, FilterRecord]]) -> None:
        """Write filters by (height, block hash) and move to `best_block`, all at once."""
        with self._kv.batch() as batch:
            for height, block_hash, record in records:
                batch.put(FILTER_KEY.pack(FILTER, height, block_hash), record.header + record.filter)
            batch.put(BEST_BLOCK, best_block)

    def close(self) -> None:
        self._kv.close()
