"""The index of spenders: which transaction spends an output."""

from collections.abc import Sequence

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.rows import NewRow, RowIndex, tag_of
from altyn.node.chain.tree import Entry
from altyn.node.storage.layout import ROW_BLOCK, SPENDER


class SpenderIndex(RowIndex):
    """Spending transactions by outpoint (Core: txospenderindex)."""

    name = "spenders"
    title = "txospenderindex"

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> list[NewRow]:
        del spent
        rest = ROW_BLOCK.pack(entry.height, tag_of(entry))
        return [NewRow(SPENDER + txin.prevout, rest, tx.txid) for tx in block.transactions[1:] for txin in tx.inputs]

    def spender(self, outpoint: OutPoint, view: Entry) -> tuple[bytes, Entry] | None:
        """Return the txid of what spends `outpoint` in the chain up to `view`, and its block; None if nothing does.

        `view` is the index's. Blocking, on any thread. Raises StoreError.
        """
        for rest, txid in self.find(SPENDER + outpoint):
            height, tag = ROW_BLOCK.unpack(rest)
            if height <= view.height and tag_of(view.ancestor(height)) == tag:
                return txid, view.ancestor(height)
        return None
