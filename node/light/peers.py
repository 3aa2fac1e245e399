"""One peer of a light node, as something that can be asked: requests matched with answers, within a time limit."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.errors import ValidationError
from altyn.consensus.filters import BASIC
from altyn.consensus.networks import Network
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.light.errors import LightError
from altyn.node.offload import Offload
from altyn.node.sync.headers import PeerChain
from altyn.p2p.kinds import Services
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.messages import (
    CFCheckpoint,
    CFHeaders,
    CFilter,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Inventory,
    InventoryType,
    Message,
    NotFound,
)
from altyn.p2p.peer import Peer

HEADERS_TIMEOUT = 10.0
FILTERS_TIMEOUT = 60.0
BLOCK_TIMEOUT = 60.0
"""Seconds that a peer gets for an answer; filters come as up to a thousand messages, a block may be large."""

_Key = tuple[type[Message], bytes]


class LightPeer:
    """A connected peer. Requests raise LightError when it does not answer in time, says no, or leaves."""

    def __init__(
        self, peer: Peer, chain: PeerChain, network: Network, offload: Offload, banish: Callable[[Peer, str], None]
    ) -> None:
        """`banish` ends the connection to a liar, and sees to it that it is not called again."""
        self.peer = peer
        self._banish = banish
        self.chain = chain
        self._network = network
        self._offload = offload
        self._waiting: dict[_Key, asyncio.Future[Message]] = {}
        self.announced_at = 0.0
        """When it last announced a block better than our tip, and before others."""

    @property
    def id(self) -> int:
        return self.peer.id

    @property
    def serves_filters(self) -> bool:
        return bool(self.peer.features.services & Services.COMPACT_FILTERS) and self.serves_blocks

    @property
    def serves_blocks(self) -> bool:
        needed = Services.NETWORK | Services.WITNESS
        return self.peer.features.services & needed == needed

    @property
    def takes_transactions(self) -> bool:
        return self.peer.kind.relays_transactions

    @property
    def unanswered(self) -> Collection[object]:
        """What it was asked for and has not given."""
        return self._waiting.keys()

    def common(self, entry: Entry) -> Entry:
        """Return the last ancestor of `entry`, or itself, that the peer is known to have: at least genesis."""
        best = self.chain.best_known
        return entry.ancestor(0) if best is None else HeaderTree.fork_point(best, entry)

    async def filter_headers(self, start: int, stop: Entry) -> CFHeaders:
        """Ask for the filter hashes from height `start` to `stop`, at most 2,000."""
        (answer,) = await self._ask(GetCFHeaders(BASIC, start, stop.hash), [(CFHeaders, stop.hash)], HEADERS_TIMEOUT)
        assert isinstance(answer, CFHeaders)
        return answer

    async def checkpoints(self, stop: Entry) -> Sequence[bytes]:
        """Ask for the filter headers at each 1,000th height up to `stop`."""
        (answer,) = await self._ask(GetCFCheckpoint(BASIC, stop.hash), [(CFCheckpoint, stop.hash)], HEADERS_TIMEOUT)
        assert isinstance(answer, CFCheckpoint)
        return answer.filter_headers

    async def filters(self, start: int, stop: Entry) -> Sequence[bytes]:
        """Ask for the filters from height `start` to `stop`, at most 1,000."""
        keys: list[_Key] = []
        current: Entry | None = stop
        while current is not None and current.height >= start:
            keys.append((CFilter, current.hash))
            current = current.parent
        answers = await self._ask(GetCFilters(BASIC, start, stop.hash), keys[::-1], FILTERS_TIMEOUT)
        return [answer.filter for answer in answers if isinstance(answer, CFilter)]

    async def block(self, entry: Entry) -> Block:
        """Ask for a block, and check that it is the whole and unchanged block of its header."""
        (answer,) = await self._ask(
            GetData((Inventory(InventoryType.WITNESS_BLOCK, entry.hash),)),
            [(BlockMessage, entry.hash)],
            BLOCK_TIMEOUT,
        )
        assert isinstance(answer, BlockMessage)
        try:
            await self._offload(check_fetched_block, answer.block, entry, self._network)
        except ValidationError as error:
            self.punish(f"sent a block that its header does not stand for: {error}")
            raise LightError(f"peer={self.id} sent a bad block: {error}") from None
        return answer.block

    def drop(self, reason: str) -> None:
        """End the connection."""
        self.peer.disconnect(reason)

    def punish(self, reason: str) -> None:
        """End the connection to a peer that lied, for good."""
        self._banish(self.peer, reason)

    def answered(self, message: Message) -> None:
        """Match a message with what was asked; what was not asked for is ignored."""
        match message:
            case CFHeaders(stop_hash=key) | CFCheckpoint(stop_hash=key) | CFilter(block_hash=key):
                self._resolve((type(message), key), message)
            case BlockMessage(block=block):
                self._resolve((BlockMessage, block.hash), message)
            case NotFound(items=items):
                for item in items:
                    future = self._waiting.pop((BlockMessage, item.hash), None)
                    if future is not None and not future.done():
                        future.set_exception(LightError(f"peer={self.id} does not have the block"))

    def left(self) -> None:
        """Let everyone who waits for the peer know that it is gone."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LightError(f"peer={self.id} has left"))
                future.exception()  # whoever asked may have been cancelled: nobody else is to hear of it
        self._waiting.clear()

    def _resolve(self, key: _Key, message: Message) -> None:
        future = self._waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_result(message)

    async def _ask(self, request: Message, keys: Sequence[_Key], limit: float) -> list[Message]:
        if not self.peer.is_ready:
            raise LightError(f"peer={self.id} has left")
        loop = asyncio.get_running_loop()
        fresh = [key for key in keys if key not in self._waiting]  # others have asked for the rest just now
        futures = [self._waiting.get(key) or self._waiting.setdefault(key, loop.create_future()) for key in keys]
        if fresh:
            self.peer.send(request)
        _, missing = await asyncio.wait(futures, timeout=limit)
        if missing:
            for key in fresh:
                late = self._waiting.pop(key, None)
                if late is not None and not late.done():
                    late.set_exception(LightError(f"peer={self.id} did not answer {request.command} in time"))
        errors = [error for future in futures if future.done() and (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        if missing:
            raise LightError(f"peer={self.id} did not answer {request.command} in time")
        return [future.result() for future in futures]


def check_fetched_block(block: Block, entry: Entry, network: Network) -> None:
    """Check that `block` is what the header of `entry` commits to, witnesses included. Raises ValidationError."""
    check_block(block, network, check_pow=False)
    check_block_in_context(block, entry.parent, network)
