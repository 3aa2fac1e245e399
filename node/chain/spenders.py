"""The index of spenders: which transaction spends an output."""

from collections.abc import Sequence

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.rows import NewRows, RowIndex, tag_of
from altyn.node.chain.tree import Entry
from altyn.node.storage.layout import ROW_BLOCK, SPENDER


class SpenderIndex(RowIndex):
    """Spending transactions by outpoint (Core: txospenderindex).

    A row is that of the branch that was indexed last. Blocks of a view were, or are below where it parted from others;
    and what is spent there is not spent again above.
    """

    name = "spenders"
    title = "txospenderindex"

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> NewRows:
        del spent
        place = ROW_BLOCK.pack(entry.height, tag_of(entry))
        return NewRows.of(
            {SPENDER + txin.prevout: place + tx.txid for tx in block.transactions[1:] for txin in tx.inputs}
        )

    def spender(self, outpoint: OutPoint, view: Entry) -> tuple[bytes, Entry] | None:
        """Return the txid of what spends `outpoint` in the chain up to `view`, and its block; None if nothing does.

        `view` is the index's. Blocking, on any thread. Raises StoreError.
        """
        value = self.at(SPENDER + outpoint)
        if value is None:
            return None
        height, tag = ROW_BLOCK.unpack_from(value)
        if height > view.height or tag_of(view.ancestor(height)) != tag:
            return None
        return value[ROW_BLOCK.size :], view.ancestor(height)
