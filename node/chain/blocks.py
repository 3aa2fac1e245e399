"""Blocks of the tree as they lie in the files, and what they spent."""

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import check_merkle_root, check_witness
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Coin
from altyn.node.chain.tree import Entry
from altyn.node.storage.blocks import BlockFiles, FilePosition
from altyn.node.storage.errors import REINDEX, BlockNotStored, StoreError
from altyn.node.storage.undo import decode_undo


class StoredBlocks:
    """Reads and writes by entry; blocking, on any thread."""

    def __init__(self, files: BlockFiles) -> None:
        self._files = files

    def read_bytes(self, entry: Entry) -> bytes:
        """Read a stored block. Raises BlockNotStored, StoreError."""
        if entry.block_position is None or not entry.has_block:
            raise BlockNotStored(f"block {entry.hash[::-1].hex()} is not stored")
        position = entry.block_position
        try:
            return self._files.read_block(position)
        except StoreError:
            if entry.block_position != position:  # pruned between the look and the read
                raise BlockNotStored(f"block {entry.hash[::-1].hex()} was pruned") from None
            raise

    def read(self, entry: Entry) -> Block:
        """Read and parse a stored block, and see that not a byte has changed. Raises BlockNotStored, StoreError."""
        try:
            block = Block.parse(self.read_bytes(entry))
            if block.hash != entry.hash:
                raise StoreError(f"{_where(entry)} another block lies where it should be: {REINDEX}")
            check_merkle_root(block)
            if any(tx.has_witness for tx in block.transactions):
                check_witness(block, segwit_active=True)
        except (EncodingError, ValidationError) as error:
            raise StoreError(f"{_where(entry)} the block is damaged ({error}): {REINDEX}") from error
        return block

    def read_spent(self, entry: Entry) -> list[list[Coin]]:
        """Read the coins each transaction spent, an empty list for the coinbase.

        Raises BlockNotStored for a block that was never connected, or is pruned; StoreError.
        """
        if entry.parent is None:
            return [[]]
        position = entry.undo_position
        if position is None:
            raise BlockNotStored(f"block {entry.hash[::-1].hex()} was never connected, or is pruned")
        try:
            undo = self._files.read_undo(position, entry.parent.hash)
        except StoreError:
            if entry.undo_position != position:
                raise BlockNotStored(f"block {entry.hash[::-1].hex()} was pruned") from None
            raise
        try:
            return [[], *decode_undo(undo)]
        except EncodingError as error:
            raise StoreError(f"{_where(entry)} the undo data is damaged ({error}): {REINDEX}") from error

    def write(self, block: Block) -> FilePosition:
        """Append a block to the files. Raises StoreError."""
        return self._files.write_block(block.raw)

    def write_undo(self, entry: Entry, undo: bytes) -> FilePosition:
        """Put a block's undo data beside it. Raises StoreError."""
        assert entry.block_position is not None
        assert entry.parent is not None
        return self._files.write_undo(entry.block_position.file, undo, entry.parent.hash)


def _where(entry: Entry) -> str:
    position = entry.block_position
    file = f"blk{position.file:05}.dat" if position else "the block files"
    return f"{file}, block {entry.hash[::-1].hex()} at height {entry.height}:"
