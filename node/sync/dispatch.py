"""The full node's side of every conversation: which message goes where, and the beat at which things fall due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from altyn.consensus.block import HEADER_SIZE
from altyn.consensus.bloom import BloomFilter
from altyn.consensus.hashes import sha256d
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.chain.indexes import FilterIndex
from altyn.node.events import (
    BlockConnected,
    BlockDisconnected,
    BlockFailed,
    BlockPassed,
    Events,
    SchedulerForwarded,
    TipChanged,
)
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import TransactionAdded, TransactionRemoved
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Offload
from altyn.node.storage.errors import StoreError
from altyn.node.sync.addresses import AddressGossip
from altyn.node.sync.announce import BlockAnnouncer
from altyn.node.sync.compact import EXTRA_TRANSACTIONS, ExtraTransactions, Reconstruction
from altyn.node.sync.follow import ChainSync
from altyn.node.sync.gossip import TransactionGossip
from altyn.node.sync.relay import TrickleTimes
from altyn.node.sync.serve import BlockServer
from altyn.node.sync.transactions import RequestDelays
from altyn.node.writer import Writer, WriterStopped
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.kinds import Permission, Services
from altyn.p2p.limits import MAX_FILTER_ADD_SIZE
from altyn.p2p.messages import (
    Addr,
    AddrV2,
    Block,
    BlockTransactions,
    CompactBlock,
    FeeFilter,
    FilterAdd,
    FilterClear,
    FilterLoad,
    GetAddr,
    GetBlocks,
    GetBlockTransactions,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    Message,
    NotFound,
    SendCompact,
    SendHeaders,
    Tx,
)
from altyn.p2p.messages import Mempool as MempoolMessage
from altyn.p2p.peer import Peer, Settlement
from altyn.p2p.time_offsets import TimeOffsets
from altyn.p2p.upload import UploadTarget

log = logging.getLogger(__name__)

HISTORICAL_AGE = 7 * 24 * 60 * 60
"""Seconds behind the best header after which a block is one for newcomers, who can go elsewhere (Core)."""
BEAT = 0.1
"""Seconds between two looks at the clock (Core: SendMessages): a mock time that leaps is noticed within one."""

_ITEMS_AT_ONCE = 500
"""Announced transactions looked at before others get a turn: three milliseconds."""

_BLOCK_TYPES = (InventoryType.BLOCK, InventoryType.WITNESS_BLOCK)
_TRANSACTION_TYPES = (InventoryType.TX, InventoryType.WTX, InventoryType.WITNESS_TX)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a full node talks. `serves_filters`: to everybody, not only to those who have the permission.

    `beat`: seconds of the loop's time between two looks at the node's clock.
    """

    blocks_only: bool = False
    serves_filters: bool = True
    trickle: TrickleTimes = field(default_factory=TrickleTimes)
    delays: RequestDelays = field(default_factory=RequestDelays)
    beat: float = BEAT
    extra_transactions: int = EXTRA_TRANSACTIONS
    """Kept for putting compact blocks together, beside the mempool."""


class Sync:
    """The PeerHandler of a full node. `run` keeps the beat; the rest is called by connections."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        acceptance: Acceptance,
        writer: Writer,
        clock: Clock,
        offload: Offload,
        random: Random,
        addresses: AddressGossip,
        *,
        upload: UploadTarget,
        filters: FilterIndex | None = None,
        options: SyncOptions | None = None,
    ) -> None:
        """`filters`: those to serve to peers, None if there are none."""
        self._chain = chain
        self._clock = clock
        self._options = options or SyncOptions()
        self._peers: dict[int, Peer] = {}
        self._woken = asyncio.Event()
        self.addresses, self._upload = addresses, upload
        self.clocks = TimeOffsets()
        extra = ExtraTransactions(self._options.extra_transactions)
        self.gossip = TransactionGossip(
            chain,
            mempool,
            acceptance,
            clock,
            random,
            self._woken.set,
            extra,
            blocks_only=self._options.blocks_only,
            trickle=self._options.trickle,
            delays=self._options.delays,
        )
        self._announcer = BlockAnnouncer(chain, random, strange=self.gossip.strange, untold=self.gossip.untold)
        self.follow = ChainSync(
            chain,
            writer,
            clock,
            self._woken.set,
            self._announcer,
            Reconstruction(mempool, extra),
            random,
            wants_compact=not self._options.blocks_only,
        )
        self._server = BlockServer(
            chain,
            writer,
            self._announcer,
            filters,
            offload,
            clock,
            self._is_used_up,
            serves_filters=self._options.serves_filters,
        )
        self._handlers: dict[type[Message], Callable[[Peer, Any], Awaitable[Settlement | None]]] = {
            Addr: self._addr,
            AddrV2: self._addr,
            GetAddr: self._get_addr,
            Inv: self._inv,
            GetData: self._get_data,
            NotFound: self._not_found,
            GetHeaders: self._get_headers,
            GetBlocks: self._get_blocks,
            Headers: self._headers,
            Block: self._block,
            Tx: self._tx,
            SendHeaders: self._send_headers,
            SendCompact: self._send_compact,
            CompactBlock: self._compact_block,
            GetBlockTransactions: self._get_block_transactions,
            BlockTransactions: self._block_transactions,
            FeeFilter: self._fee_filter,
            GetCFilters: self._get_filters,
            GetCFHeaders: self._get_filter_headers,
            GetCFCheckpoint: self._get_filter_checkpoints,
            MempoolMessage: self._mempool,
            FilterLoad: self._filter_load,
            FilterAdd: self._filter_add,
            FilterClear: self._filter_clear,
        }

    async def run(self, events: Events) -> None:
        """Follow the events and send what falls due, until cancelled."""
        of_tip = BlockConnected, TipChanged
        of_pool = TransactionAdded, TransactionRemoved, BlockDisconnected, SchedulerForwarded
        leave = [
            events.subscribe(self.follow.event, *of_tip, BlockFailed),
            events.subscribe(self._announcer.event, *of_tip, BlockPassed),
            events.subscribe(self.gossip.event, *of_tip, *of_pool),
        ]
        try:
            while True:
                self._woken.clear()
                self.gossip.announce_again()
                for peer in tuple(self._peers.values()):
                    self._send(peer)
                try:
                    async with asyncio.timeout(self._options.beat):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            for each in leave:
                each()

    def offer(self, tx: Transaction) -> None:
        """Announce a transaction of the mempool that was submitted here, again and to new peers until one takes it."""
        self.gossip.offer(tx)

    # --- PeerHandler ---

    async def peer_connected(self, peer: Peer) -> None:
        """Begin the conversation."""
        self._peers[peer.id] = peer
        if not peer.inbound:
            self.clocks.add(peer.features.time_offset)
            for warning in self.clocks.warnings:
                log.warning("%s", warning)
        self.addresses.add(peer)
        self.follow.add(peer)
        self.gossip.add(peer)
        log.log(
            logging.DEBUG if peer.inbound else logging.INFO,
            "New %s %s peer connected: %s at %s, version: %d, blocks=%d, %s",
            peer.kind.value,
            peer.transport_name,
            peer.features.user_agent,
            peer.address,
            peer.features.version,
            peer.features.start_height,
            peer,
        )
        self._woken.set()

    def wants(self, peer: Peer, kind: type[Message], payload: bytes) -> bool:
        """Do not read compact blocks of what is here: a new block comes from several peers within milliseconds."""
        return kind is not CompactBlock or not self.follow.has_block(peer, sha256d(payload[:HEADER_SIZE]))

    async def message_received(self, peer: Peer, message: Message) -> Settlement | None:
        """Hand a message to whom it concerns. Raises Disconnect."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return None  # known, and nothing to us: compact blocks
        with stopping():
            settlement = await handler(peer, message)
        if settlement is not None:
            return _until_settled(settlement)
        self._send(peer)
        return None

    def peer_disconnected(self, peer: Peer) -> None:
        """End the conversation."""
        if self._peers.pop(peer.id, None) is not None:
            self.addresses.remove(peer)
            self.follow.remove(peer)
            self.gossip.remove(peer)
            self._server.remove(peer.id)

    # --- one method for each message ---

    async def _addr(self, peer: Peer, message: Addr | AddrV2) -> None:
        self.addresses.received(peer, message)

    async def _get_addr(self, peer: Peer, message: GetAddr) -> None:
        self.addresses.asked(peer)

    async def _inv(self, peer: Peer, message: Inv) -> None:
        blocks = [item.hash for item in message.items if item.type in _BLOCK_TYPES]
        transactions = [item for item in message.items if item.type in _TRANSACTION_TYPES]
        if blocks:
            self.follow.blocks_announced(peer, blocks)
        for start in range(0, len(transactions), _ITEMS_AT_ONCE):
            self.gossip.announced(peer, transactions[start : start + _ITEMS_AT_ONCE])
            await asyncio.sleep(0)

    async def _get_data(self, peer: Peer, message: GetData) -> None:
        await self._server.data(peer, message.items, self.gossip.finder(peer), self.gossip.bloom(peer.id))

    async def _not_found(self, peer: Peer, message: NotFound) -> None:
        self.gossip.not_found(peer, message.items)
        self.follow.not_found(peer, [item.hash for item in message.items if item.type in _BLOCK_TYPES])

    async def _get_headers(self, peer: Peer, message: GetHeaders) -> None:
        self._server.headers(peer, self.follow.chain_of(peer), message, low_work=self.follow.is_low_work(peer))

    async def _get_blocks(self, peer: Peer, message: GetBlocks) -> None:
        self._server.blocks(peer, message)

    async def _headers(self, peer: Peer, message: Headers) -> Settlement | None:
        return self.follow.headers_received(peer, message.headers)

    async def _block(self, peer: Peer, message: Block) -> Settlement:
        return self.follow.block_received(peer, message.block)

    async def _tx(self, peer: Peer, message: Tx) -> None:
        await self.gossip.received(peer, message.tx)

    async def _send_headers(self, peer: Peer, message: SendHeaders) -> None:
        self._announcer.prefer_headers(peer.id)

    async def _send_compact(self, peer: Peer, message: SendCompact) -> None:
        self.follow.compact_wished(peer, message)

    async def _compact_block(self, peer: Peer, message: CompactBlock) -> Settlement | None:
        return await self.follow.compact_block_received(peer, message)

    async def _get_block_transactions(self, peer: Peer, message: GetBlockTransactions) -> None:
        await self._server.block_transactions(peer, message)

    async def _block_transactions(self, peer: Peer, message: BlockTransactions) -> Settlement | None:
        return self.follow.block_transactions_received(peer, message)

    async def _fee_filter(self, peer: Peer, message: FeeFilter) -> None:
        self.gossip.set_fee_filter(peer, message.feerate)

    async def _get_filters(self, peer: Peer, message: GetCFilters) -> None:
        await self._server.filters(peer, message)

    async def _get_filter_headers(self, peer: Peer, message: GetCFHeaders) -> None:
        await self._server.filter_headers(peer, message)

    async def _get_filter_checkpoints(self, peer: Peer, message: GetCFCheckpoint) -> None:
        await self._server.filter_checkpoints(peer, message)

    async def _mempool(self, peer: Peer, message: MempoolMessage) -> None:
        if peer.offered & Services.BLOOM or Permission.MEMPOOL in peer.permissions:
            self.gossip.mempool_asked(peer)
        elif Permission.NO_BAN not in peer.permissions:
            raise Disconnect("mempool request with bloom filters disabled")
        if Permission.MEMPOOL not in peer.permissions and self._upload.is_reached(self._clock.now(), historical=False):
            raise Disconnect("mempool request with bandwidth limit reached")

    async def _filter_load(self, peer: Peer, message: FilterLoad) -> None:
        if BloomFilter.is_too_large(len(message.data), message.hash_functions):
            raise Misbehaving("too-large bloom filter")
        self.gossip.set_bloom(peer, BloomFilter(message.data, message.hash_functions, message.tweak, message.flags))

    async def _filter_add(self, peer: Peer, message: FilterAdd) -> None:
        bloom = self.gossip.bloom(peer.id)
        if bloom is None or len(message.data) > MAX_FILTER_ADD_SIZE:
            raise Misbehaving("bad filteradd message")
        bloom.add(message.data)

    async def _filter_clear(self, peer: Peer, message: FilterClear) -> None:
        self.gossip.set_bloom(peer, None)

    def _is_used_up(self, block_time: int) -> bool:
        """Whether a block of that time is too old for what may still be sent today."""
        age = self._chain.tree.best_header.header.time - block_time
        return age > HISTORICAL_AGE and self._upload.is_reached(self._clock.now(), historical=True)

    # --- what falls due ---

    def _send(self, peer: Peer) -> None:
        if not peer.is_ready or peer.id not in self._peers:
            return
        now = self._clock.now()
        try:
            self.addresses.send(peer, now)
            self.follow.send(peer, now)
            self.gossip.send(peer, now)
        except Disconnect as end:
            peer.disconnect(end.reason)


@contextmanager
def stopping() -> Iterator[None]:
    """End one conversation where the writer has ended, whose own failure stops the node, or a read has failed."""
    try:
        yield
    except WriterStopped as error:
        raise Disconnect(str(error)) from None
    except StoreError as error:
        log.error("%s", error)
        raise Disconnect("what the peer asked for cannot be read or stored") from None


async def _until_settled(settlement: Settlement) -> None:
    with stopping():
        await settlement
