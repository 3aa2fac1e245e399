"""Transactions on their way through the network: asked for once, judged, passed on."""

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from random import Random

from altyn.consensus.bloom import BloomFilter
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.events import BlockConnected, BlockDisconnected, SchedulerForwarded, TipChanged
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import MempoolEntry, RemovalReason, TransactionAdded, TransactionRemoved
from altyn.node.mempool.pool import Mempool
from altyn.node.sync.compact import ExtraTransactions
from altyn.node.sync.judge import TransactionJudge
from altyn.node.sync.relay import FeeFilterSender, TransactionRelay, TrickleTimes
from altyn.node.sync.serve import FindTransaction
from altyn.node.sync.transactions import (
    MAX_ANNOUNCEMENTS_PER_PEER,
    MAX_IN_FLIGHT_PER_PEER,
    REQUEST_TIMEOUT,
    RequestDelays,
    TransactionRequests,
)
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.kinds import Permission, Services
from altyn.p2p.limits import MAX_INV_SIZE
from altyn.p2p.messages import FeeFilter, GetData, Inv, Inventory, InventoryType
from altyn.p2p.peer import Peer

log = logging.getLogger(__name__)
AGAIN_AFTER, AGAIN_SPREAD = 10 * 60.0, 5 * 60.0
"""Seconds between two announcements of what was submitted here and no peer took: at least, and the most on top."""
refused = logging.getLogger("altyn.node.sync.refused")
"""Why transactions of peers were not taken, for who wants to know of that alone (Core: mempoolrej)."""

_MAX_INVENTORY_IN_GETDATA = 1000
_UNTOLD = 500
"""The most transactions that a peer may lack which are looked for in a new block."""


class TransactionGossip:
    """Keeps the mempool fed from peers and the peers from the mempool."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        acceptance: Acceptance,
        clock: Clock,
        random: Random,
        wake: Callable[[], None],
        extra: ExtraTransactions,
        *,
        blocks_only: bool = False,
        trickle: TrickleTimes | None = None,
        delays: RequestDelays | None = None,
    ) -> None:
        """`extra` gets what does not stay in the mempool, and may yet be in a block."""
        self._chain = chain
        self._extra = extra
        self._mempool = mempool
        self._clock = clock
        self._random = random
        self._wake = wake
        self._blocks_only = blocks_only
        self._delays = delays or RequestDelays()
        self._requests = TransactionRequests(random)
        self._relay = TransactionRelay(random, trickle)
        self._double_spends = acceptance.double_spends
        self._judge = TransactionJudge(acceptance, random, self._requests.forget)
        self._last_block: dict[bytes, Transaction] = {}
        self._fee_filters: dict[int, FeeFilterSender] = {}
        self._wtxid_peers: set[int] = set()
        self._blooms: dict[int, BloomFilter] = {}
        self._again_at = clock.monotonic() + self._pause()

    def add(self, peer: Peer) -> None:
        """Take up a peer whose handshake is done."""
        relays = peer.kind.relays_transactions
        self._relay.add(
            peer.id,
            inbound=peer.inbound,
            by_wtxid=peer.features.wtxid_relay,
            at_once=Permission.NO_BAN in peer.permissions,
            wants=peer.features.relay and relays,
        )
        if peer.features.wtxid_relay:
            self._wtxid_peers.add(peer.id)
        if not self._blocks_only and relays and Permission.FORCE_RELAY not in peer.permissions:
            self._fee_filters[peer.id] = FeeFilterSender(self._random, self._mempool.limits.min_relay_feerate)
        if self._relay.listeners == 1:  # the first to come to a lonely node; who comes later is not told what is ours
            self._announce_unbroadcast()

    def remove(self, peer: Peer) -> None:
        """Forget a peer that left."""
        self._requests.remove(peer.id)
        self._relay.remove(peer.id)
        self._judge.remove_peer(peer.id)
        self._fee_filters.pop(peer.id, None)
        self._wtxid_peers.discard(peer.id)
        self._blooms.pop(peer.id, None)

    def fee_filter(self, peer_id: int) -> int:
        """Return the least feerate that the peer wants, satoshis per 1,000 virtual bytes (RPC: getpeerinfo)."""
        return self._relay.fee_filter(peer_id)

    def set_bloom(self, peer: Peer, bloom: BloomFilter | None) -> None:
        """Announce what the filter matches, or everything, to a peer that may not have wanted any before (BIP37)."""
        if not peer.kind.relays_transactions:
            return
        self._relay.set_wants(peer.id)
        peer.filters = bloom is not None
        if bloom is not None:
            self._blooms[peer.id] = bloom
        else:
            self._blooms.pop(peer.id, None)

    def bloom(self, peer_id: int) -> BloomFilter | None:
        """Return the peer's filter, if it set one."""
        return self._blooms.get(peer_id)

    def wants_transactions(self, peer_id: int) -> bool:
        """Whether transactions are announced to the peer (RPC: getpeerinfo)."""
        return self._relay.wants(peer_id)

    def strange(self, transactions: Sequence[Transaction]) -> list[bytes]:
        """Return the txids of those in a block, behind its coinbase, that were not in the mempool before."""
        return [tx.txid for tx in transactions[1:] if tx.txid not in self._mempool]

    def untold(self, peer_id: int) -> Iterable[bytes]:
        """Return the txids of transactions that the peer may lack, newest first."""
        return islice(self._relay.untold(peer_id), _UNTOLD)

    def mempool_asked(self, peer: Peer) -> None:
        """Handle `mempool`: announce all of it that the peer wants, the next time that something is announced."""
        if peer.kind.relays_transactions:
            self._relay.set_wants_all(peer.id)

    def set_fee_filter(self, peer: Peer, feerate: int) -> None:
        """Handle `feefilter`."""
        self._relay.set_fee_filter(peer.id, feerate)

    def offer(self, tx: Transaction) -> None:
        """Announce a transaction of the mempool that was submitted here, again and to new peers until one takes it."""
        self._mempool.unbroadcast.add(tx.txid)
        self._relay.announce(tx.txid, tx.wtxid)
        self._wake()

    def announce_again(self) -> None:
        """When it is time, announce what no peer took (Core: ReattemptInitialBroadcast); its time is never mocked."""
        now = self._clock.monotonic()
        if now >= self._again_at:
            self._again_at = now + self._pause()
            self._announce_unbroadcast()

    def _pause(self) -> float:
        return AGAIN_AFTER + self._random.uniform(0, AGAIN_SPREAD)

    def _announce_unbroadcast(self) -> None:
        for txid in self._mempool.unbroadcast:
            self._relay.announce(txid, self._mempool[txid].wtxid)

    # --- what peers send ---

    def announced(self, peer: Peer, items: Sequence[Inventory]) -> None:
        """Handle the transactions of an `inv`. Raises Disconnect when the peer was told not to announce any."""
        now = self._clock.now()
        unexpected = InventoryType.TX if peer.features.wtxid_relay else InventoryType.WTX
        for item in items:
            if item.type == unexpected:
                continue
            if self._refuses_transactions(peer):
                raise Disconnect("transaction inv sent in violation of protocol")
            self._relay.knows(peer.id, item.hash)
            self._double_spends.seen_by(item.hash, peer.id)
            if not self._chain.is_initial_block_download and not self._judge.has(item.hash):
                self._want(peer, item.hash, is_wtxid=item.type == InventoryType.WTX, now=now)

    async def received(self, peer: Peer, tx: Transaction) -> None:
        """Handle `tx`: judge it, and the orphans that waited for it. Raises Misbehaving."""
        if self._refuses_transactions(peer):
            raise Disconnect("transaction sent in violation of protocol")
        if self._chain.is_initial_block_download:
            return
        self._relay.knows(peer.id, tx.wtxid if peer.features.wtxid_relay else tx.txid)
        for tx_hash in {tx.txid, tx.wtxid}:
            self._requests.received(peer.id, tx_hash)
        if self._mempool.get_wtxid(tx.wtxid) is not None:
            if Permission.FORCE_RELAY in peer.permissions:
                self._relay.announce(tx.txid, tx.wtxid)
            return
        now = self._clock.now()
        try:
            judgement = await self._judge.judge(tx, peer.id, now)
        except ValidationError as error:
            self._double_spends.seen_by(tx.wtxid, peer.id)
            refused.debug(
                "%s (wtxid=%s) from %s was not accepted: %s", tx.txid[::-1].hex(), tx.wtxid[::-1].hex(), peer, error
            )
            if error.fault is not Fault.WITNESS_STRIPPED:
                self._extra.keep(tx)
            if error.fault is Fault.CONSENSUS:
                raise Misbehaving(str(error)) from error
            return
        if judgement.parents:
            self._extra.keep(tx)
        self._double_spends.seen_by(tx.wtxid, peer.id)
        for parent in judgement.parents:  # the peer must have them; only their txids are known
            self._relay.knows(peer.id, parent)
            if not self._judge.has(parent, underpaid=False):
                self._want(peer, parent, is_wtxid=False, now=now)
        if judgement.accepted:
            log.debug("accepted transaction %s from %s", tx.txid[::-1].hex(), peer)
            peer.stats.last_transaction = now
            self._wake()

    def not_found(self, peer: Peer, items: Sequence[Inventory]) -> None:
        """Ask others for transactions that the peer does not have after all."""
        for item in items:
            if item.type in (InventoryType.TX, InventoryType.WITNESS_TX, InventoryType.WTX):
                self._requests.received(peer.id, item.hash)

    def finder(self, peer: Peer) -> FindTransaction | None:
        """Return how to find what the peer may be given: what was announced to it, or is in the last block.

        None for one with whom transactions are no subject: it does not want any announced, and may set no filter.
        """
        if not peer.kind.relays_transactions or not (peer.features.relay or peer.offered & Services.BLOOM):
            return None

        def find(tx_hash: bytes, by_wtxid: bool) -> Transaction | None:
            mempool = self._mempool
            entry = mempool.get_wtxid(tx_hash) if by_wtxid else mempool.get(tx_hash)
            if entry is not None and self._relay.may_be_asked(peer.id, entry.sequence):
                self._mempool.unbroadcast.discard(entry.txid)
                self._relay.knows(peer.id, tx_hash)
                return entry.tx
            return self._last_block.get(tx_hash)

        return find

    # --- what happens here ---

    def event(self, event: object) -> None:
        """Follow the events of chain and mempool."""
        match event:
            case TransactionAdded(entry=entry):
                if entry.sequence:  # not one that a reorganisation returned: peers had that
                    self._relay.announce(entry.txid, entry.wtxid)
                for tx_hash in (entry.txid, entry.wtxid):
                    self._requests.forget(tx_hash)
            case TransactionRemoved(entry=entry, reason=RemovalReason.REPLACED):
                self._extra.keep(entry.tx)
            case BlockConnected(block=block) if not self._chain.is_initial_block_download:
                self._last_block = {tx_hash: tx for tx in block.transactions for tx_hash in (tx.txid, tx.wtxid)}
                self._judge.block_connected(block.transactions, self._last_block)
                self._requests.forget_all(self._last_block)
            case BlockDisconnected():
                self._judge.block_disconnected()
                self._last_block = {}
            case TipChanged():
                self._judge.tip_changed()
            case SchedulerForwarded(seconds=seconds):
                self._again_at -= seconds

    def send(self, peer: Peer, now: float) -> None:
        """Send what is due: announcements, requests, a fee filter."""
        bloom, mempool = self._blooms.get(peer.id), self._mempool

        def look_up(txid: bytes) -> MempoolEntry | None:
            entry = mempool.get(txid)
            return entry if entry is not None and (bloom is None or bloom.matches(entry.tx)) else None

        due = self._relay.due(
            peer.id, now, look_up, lambda: [(entry.txid, entry.wtxid) for entry in mempool], sequence=mempool.sequence
        )
        items = [Inventory(InventoryType.WTX if is_wtxid else InventoryType.TX, tx_hash) for tx_hash, is_wtxid in due]
        for start in range(0, len(items), MAX_INV_SIZE):
            peer.send(Inv(tuple(items[start : start + MAX_INV_SIZE])))
        self._ask(peer, now)
        fee_filter = self._fee_filters.get(peer.id)
        if fee_filter is not None:
            first_sync = self._chain.is_initial_block_download
            value = fee_filter.due(now, None if first_sync else self._mempool.min_feerate())
            if value is not None:
                peer.send(FeeFilter(value))

    def _ask(self, peer: Peer, now: float) -> None:
        items: list[Inventory] = []
        for tx_hash, is_wtxid in self._requests.requestable(peer.id, now):
            if self._judge.has(tx_hash, underpaid=False):  # a parent that pays too little may be wanted by a child
                self._requests.forget(tx_hash)
                continue
            self._requests.requested(peer.id, tx_hash, now + REQUEST_TIMEOUT)
            items.append(Inventory(InventoryType.WTX if is_wtxid else InventoryType.WITNESS_TX, tx_hash))
            if len(items) == _MAX_INVENTORY_IN_GETDATA:
                peer.send(GetData(tuple(items)))
                items.clear()
        if items:
            peer.send(GetData(tuple(items)))

    def _refuses_transactions(self, peer: Peer) -> bool:
        if not peer.kind.relays_transactions:
            return True
        return self._blocks_only and Permission.RELAY not in peer.permissions

    def _want(self, peer: Peer, tx_hash: bytes, *, is_wtxid: bool, now: float) -> None:
        """Put a transaction on the list of what to ask the peer for (Core: AddTxAnnouncement)."""
        trusted = Permission.RELAY in peer.permissions
        if not trusted and self._requests.count(peer.id) >= MAX_ANNOUNCEMENTS_PER_PEER:
            return
        preferred = not peer.inbound or Permission.NO_BAN in peer.permissions
        delay = 0.0 if preferred else self._delays.not_preferred
        if not is_wtxid and self._wtxid_peers:
            delay += self._delays.txid_relay
        if not trusted and self._requests.in_flight(peer.id) >= MAX_IN_FLIGHT_PER_PEER:
            delay += self._delays.overloaded
        self._requests.announced(peer.id, tx_hash, is_wtxid=is_wtxid, preferred=preferred, ready_at=now + delay)
