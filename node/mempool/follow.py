"""The mempool moves with the chain: blocks take transactions out, reorganisations bring them back."""

import logging
from collections.abc import Sequence

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Coin, Transaction
from altyn.node.chain.tree import Entry
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import RemovalReason, memory_of
from altyn.node.mempool.pool import Mempool

log = logging.getLogger(__name__)

MAX_DISCONNECTED_BYTES = 20_000_000
"""Memory of transactions that wait to be returned (Core: MAX_DISCONNECTED_TX_POOL_BYTES)."""


class ChainFollower:
    """Keeps a mempool in step with the active chain; give it to `Chain.add_listener`."""

    def __init__(self, mempool: Mempool, acceptance: Acceptance) -> None:
        self._mempool = mempool
        self._acceptance = acceptance
        self._reorganised = False
        # Of blocks that were disconnected, newest first, each block's last transaction first: read from the right.
        self._waiting: dict[bytes, Transaction] = {}
        self._waiting_bytes = 0

    def block_connected(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> None:
        """Take out what the block confirms or makes impossible."""
        if self._waiting:
            for tx in block.transactions:
                if self._waiting.pop(tx.txid, None) is not None:
                    self._waiting_bytes -= memory_of(tx)
        self._mempool.remove_for_block(block.transactions)

    def block_disconnected(self, entry: Entry, block: Block) -> None:
        """Remember the block's transactions until the chain has settled."""
        self._reorganised = True
        for tx in reversed(block.transactions):
            self._waiting[tx.txid] = tx
            self._waiting_bytes += memory_of(tx)
        while self._waiting_bytes > MAX_DISCONNECTED_BYTES:  # give up the newest: others do not depend on them
            tx = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_bytes -= memory_of(tx)
            self._mempool.remove_spenders(tx, RemovalReason.REORG)

    async def settled(self) -> None:
        """Return what the new chain does not hold, oldest first, and drop what it does not allow any more."""
        if self._reorganised:
            self._reorganised = False
            waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
            await self._return(waiting)
            self._drop_too_long_families()
            self._drop_premature()
        self._mempool.enforce_bounds()

    async def _return(self, waiting: dict[bytes, Transaction]) -> None:
        for tx in reversed(waiting.values()):
            if not tx.is_coinbase:
                try:
                    await self._acceptance.readmit(tx)
                    continue
                except ValidationError as error:
                    log.debug("not returned after reorganisation: %s: %s", tx.txid[::-1].hex(), error)
            self._mempool.remove_spenders(tx, RemovalReason.REORG)

    def _drop_too_long_families(self) -> None:
        """Drop what has too many ancestors now that some are back (Core: UpdateTransactionsFromBlock)."""
        limits = self._mempool.limits
        too_long = [
            entry.txid
            for entry in self._mempool
            if entry.ancestor_count > limits.ancestor_count or entry.ancestor_size > limits.ancestor_size
        ]
        self._mempool.remove_with_descendants(too_long, RemovalReason.SIZE_LIMIT)

    def _drop_premature(self) -> None:
        """Drop what the next block could not hold any more (Core: removeForReorg)."""
        premature = [entry.txid for entry in self._mempool if not self._acceptance.is_mineable(entry)]
        self._mempool.remove_with_descendants(premature, RemovalReason.REORG)
