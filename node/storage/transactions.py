"""Where each transaction lies in the block files."""

from collections.abc import Iterable
from typing import NamedTuple

from altyn.node.storage.blocks import FilePosition
from altyn.node.storage.kv import KeyValue
from altyn.node.storage.layout import BEST_BLOCK, TRANSACTION, TRANSACTION_VALUE


class TransactionPosition(NamedTuple):
    """A block's position, and how many bytes behind its start the transaction begins."""

    block: FilePosition
    offset: int


class TransactionStore:
    """Positions by txid. A block that leaves the active chain keeps its entries until another takes them over."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    @property
    def best_block(self) -> bytes | None:
        """The hash of the last block that was indexed with all before it; None at first."""
        return self._kv.get(BEST_BLOCK)

    def get(self, txid: bytes) -> TransactionPosition | None:
        value = self._kv.get(TRANSACTION + txid)
        if value is None:
            return None
        file, offset, tx_offset = TRANSACTION_VALUE.unpack(value)
        return TransactionPosition(FilePosition(file, offset), tx_offset)

    def write(self, best_block: bytes, records: Iterable[tuple[bytes, TransactionPosition]]) -> None:
        """Write positions by txid and move to `best_block`, all at once."""
        with self._kv.batch() as batch:
            for txid, ((file, offset), tx_offset) in records:
                batch.put(TRANSACTION + txid, TRANSACTION_VALUE.pack(file, offset, tx_offset))
            batch.put(BEST_BLOCK, best_block)

    def close(self) -> None:
        self._kv.close()
