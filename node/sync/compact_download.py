"""What to do with a compact block that comes, while others may be at the same one.

Core: ProcessMessage (CMPCTBLOCK), ProcessCompactBlockTxns.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction
from altyn.node.chain.tree import Entry
from altyn.node.sync.blocks import (
    MAX_BLOCKS_IN_TRANSIT_PER_PEER,
    BlockDownload,
    BlockView,
    Request,
    is_near_present,
)
from altyn.node.sync.compact import MAX_COMPACT_PER_BLOCK, Reconstruction, Unusable
from altyn.p2p.errors import Misbehaving
from altyn.p2p.messages import CompactBlock, GetBlockTransactions


class Instead(Enum):
    """What to do where a compact block does not help."""

    WHOLE_BLOCK = auto()
    """Ask the peer for all of it."""
    HEADER = auto()
    """Treat it as an announcement by its header."""


Answer = Block | GetBlockTransactions | Instead | None
"""A block that is whole now, a message to send, or what to do instead; None: nothing."""


class CompactDownload:
    """Puts announced blocks together, each with the help of few peers. Times are seconds of the node's clock."""

    def __init__(self, chain: BlockView, download: BlockDownload, reconstruction: Reconstruction) -> None:
        self._chain = chain
        self._download = download
        self._reconstruction = reconstruction

    async def announced(
        self, peer_id: int, message: CompactBlock, entry: Entry, now: float, may_help: Callable[[Sequence[int]], bool]
    ) -> Answer:
        """Handle `cmpctblock` for a block that is not here. Raises Misbehaving.

        `may_help`: whether the peer may be asked for transactions beside those who were asked for the block before.
        """
        download, tip = self._download, self._chain.tip
        asked = list(download.asked(entry.hash))
        request = download.request_of(peer_id, entry.hash)
        is_far = entry.height > tip.height + 2
        if entry.chain_work <= tip.chain_work or entry.tx_count or (request is not None and is_far):
            return Instead.WHOLE_BLOCK if request is not None else None  # our mempool does not fit it
        if not asked and not is_near_present(tip, self._chain.network, now):
            return None
        if is_far:
            return Instead.HEADER
        if request is None and (
            len(asked) >= MAX_COMPACT_PER_BLOCK or len(download.in_flight(peer_id)) >= MAX_BLOCKS_IN_TRANSIT_PER_PEER
        ):
            return await self._at_once(message, entry)
        request = request or download.request(peer_id, entry, now)
        if request.is_compact:
            return None
        request.is_compact = True
        is_first = not asked or asked[0] == peer_id
        try:
            partial = await self._reconstruction.begin(message)
        except Unusable as error:
            return self._give_up(peer_id, request, now, error, "invalid compact block", is_first=is_first)
        if not download.awaits(peer_id, request):
            return None  # the peer left meanwhile, or the block came from another
        request.partial = partial
        missing = partial.missing
        if not missing:
            return self.completed(peer_id, request, (), now)
        if is_first or may_help(asked):
            return GetBlockTransactions(entry.hash, missing)
        download.refused(peer_id, entry.hash, now)
        return None

    def completed(self, peer_id: int, request: Request, transactions: Sequence[Transaction], now: float) -> Answer:
        """Handle the transactions that were missing. Raises Misbehaving."""
        assert request.partial is not None
        try:
            return request.partial.fill(transactions, segwit_active=self._has_segwit(request.entry))
        except Unusable as error:
            reason = "invalid compact block/non-matching block transactions"
            is_first = self._download.asked(request.entry.hash)[0] == peer_id
            return self._give_up(peer_id, request, now, error, reason, is_first=is_first)

    def _give_up(
        self, peer_id: int, request: Request, now: float, error: Unusable, reason: str, *, is_first: bool
    ) -> Answer:
        """Ask for the whole block, or leave it to others. Raises Misbehaving over what cannot be chance."""
        if error.bogus or not is_first:
            self._download.refused(peer_id, request.entry.hash, now)
        if error.bogus:
            raise Misbehaving(reason) from None
        return Instead.WHOLE_BLOCK if is_first else None

    async def _at_once(self, message: CompactBlock, entry: Entry) -> Block | None:
        """Complete a block that others were asked for, if nothing of it is missing."""
        try:
            partial = await self._reconstruction.begin(message)
            return None if partial.missing else partial.fill((), segwit_active=self._has_segwit(entry))
        except Unusable:
            return None  # Core does not look further into it either

    def _has_segwit(self, entry: Entry) -> bool:
        return entry.height >= self._chain.network.segwit_height
