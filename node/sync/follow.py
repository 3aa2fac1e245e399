"""Following the chain with the most work: headers, then blocks from several peers; telling peers of new blocks."""

import logging
from collections.abc import Callable, Sequence

from altyn.consensus.block import Block, Header
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.pow import work
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import BlockConnected, BlockFailed, TipChanged
from altyn.node.sync.blocks import BlockDownload
from altyn.node.sync.headers import MAX_HEADERS, HeaderSync, PeerChain
from altyn.node.sync.relay import MAX_BLOCKS_TO_ANNOUNCE, choose_block_announcement
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.limits import PROTOCOL_VERSION
from altyn.p2p.messages import GetData, GetHeaders, Headers, Inv, Inventory, InventoryType, SendHeaders
from altyn.p2p.peer import Peer, Settlement

log = logging.getLogger(__name__)

NEAR_TIP_BLOCKS = 144
"""A header chain with less work than ours this many blocks ago is not worth keeping (Core: GetAntiDoSWorkThreshold)."""
MAX_BLOCK_SOURCES = 4096
"""For how many blocks, given but not connected yet, it is remembered who gave them."""


class _Peer:
    """A peer; what it serves is worked out once, for it is asked often."""

    __slots__ = (
        "announced_at",
        "block_type",
        "chain",
        "limited",
        "peer",
        "preferred",
        "prefers_headers",
        "serves_blocks",
        "to_announce",
        "told_send_headers",
        "witness",
    )

    def __init__(self, peer: Peer) -> None:
        services = Services(peer.features.services)
        trusted = not peer.inbound or Permission.NO_BAN in peer.permissions
        self.peer = peer
        self.chain = PeerChain()
        self.witness = bool(services & Services.WITNESS)
        self.block_type = InventoryType.WITNESS_BLOCK if self.witness else InventoryType.BLOCK
        self.serves_blocks = bool(services & (Services.NETWORK | Services.NETWORK_LIMITED))
        self.limited = not services & Services.NETWORK
        """Serves only the last blocks, if any (BIP159)."""
        self.preferred = trusted and peer.kind is not PeerKind.ADDR_FETCH and self.serves_blocks
        self.announced_at = 0.0
        self.prefers_headers = False
        self.told_send_headers = False
        self.to_announce: list[Entry] = []


class ChainSync:
    """Headers and blocks: what to ask, what to do with what comes, whom to tell, whom to blame."""

    def __init__(self, chain: Chain, writer: Writer, clock: Clock, wake: Callable[[], None]) -> None:
        """`wake` is called when there is something to tell peers: `send` is to be called for each of them soon."""
        self._chain = chain
        self._writer = writer
        self._clock = clock
        self._wake = wake
        self._headers = HeaderSync(chain)
        self._download = BlockDownload(chain)
        self._peers: dict[int, _Peer] = {}
        self._sources: dict[bytes, int] = {}

    def add(self, peer: Peer) -> None:
        """Take up a peer whose handshake is done."""
        state = _Peer(peer)
        state.chain = self._headers.add(
            peer.id,
            preferred=state.preferred,
            serves_blocks=state.serves_blocks,
            guarded=peer.kind in (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY),
            keep=Permission.NO_BAN in peer.permissions,
        )
        self._download.add(peer.id, state.chain, witness=state.witness, limited=state.limited)
        self._peers[peer.id] = state

    def remove(self, peer: Peer) -> None:
        """Forget a peer that left; others are asked for what it owed."""
        self._headers.remove(peer.id)
        self._download.remove(peer.id)
        self._peers.pop(peer.id, None)
        self._wake()

    def chain_of(self, peer: Peer) -> PeerChain:
        """Return what is known of the peer's chain."""
        return self._peers[peer.id].chain

    def in_flight(self, peer_id: int) -> list[int]:
        """Return the heights of the blocks that the peer was asked for (RPC: getpeerinfo)."""
        return [entry.height for entry in self._download.in_flight(peer_id)] if peer_id in self._peers else []

    def synced(self, peer_id: int) -> tuple[int, int]:
        """Return the heights of the last header and block in common with the peer, -1 if unknown (RPC: getpeerinfo)."""
        state = self._peers.get(peer_id)
        if state is None:
            return -1, -1
        best, common = state.chain.best_known, state.chain.last_common
        return (best.height if best else -1), (common.height if common else -1)

    def fetch(self, peer_id: int, entry: Entry) -> str | None:
        """Ask the peer for a block, whoever else was asked; return why that cannot be (RPC: getblockfrompeer)."""
        state = self._peers.get(peer_id)
        if state is None:
            return "Peer does not exist"
        if not state.witness:
            return "Pre-SegWit peer"
        self._download.request(peer_id, entry, self._clock.now())
        self._request(state, [entry])
        return None

    def is_protected(self, peer_id: int) -> bool:
        """Whether an outbound peer is never dropped for falling behind."""
        return self._headers.is_protected(peer_id)

    def last_announcement(self, peer_id: int) -> float:
        """Return when the peer last announced a block better than our tip, and before others; 0 for never."""
        state = self._peers.get(peer_id)
        return 0.0 if state is None else state.announced_at

    def prefer_headers(self, peer: Peer) -> None:
        """Announce blocks to the peer by headers from now on (`sendheaders`)."""
        self._peers[peer.id].prefers_headers = True

    def is_low_work(self, peer: Peer) -> bool:
        """Whether our own chain has so little work that the peer is not to be told of it (Core: getheaders)."""
        chain = self._chain
        allowed = Permission.DOWNLOAD in peer.permissions
        return chain.tip.chain_work < chain.network.minimum_chain_work and not allowed

    # --- what peers send ---

    def blocks_announced(self, peer: Peer, hashes: Sequence[bytes]) -> None:
        """Handle the blocks of an `inv`: ask for the headers that lead to the last one that is not here."""
        state = self._peers[peer.id]
        wanted = None
        for block_hash in hashes:
            state.chain.announced(block_hash, self._chain.tree)
            entry = self._chain.tree.get(block_hash)
            if (entry is None or not entry.has_block) and not self._download.is_requested(block_hash):
                wanted = block_hash
        if wanted is not None:
            self._ask_headers(peer, self._headers.announced_unknown(peer.id, wanted, self._clock.now()))

    def headers_received(self, peer: Peer, headers: Sequence[Header]) -> Settlement | None:
        """Handle `headers`. Raises Misbehaving; the settlement too."""
        now = self._clock.now()
        if not headers:
            self._headers.answered(peer.id, 0, now)
            return None
        self._headers.check(headers)
        return self._add_headers(peer, headers)

    def block_received(self, peer: Peer, block: Block) -> Settlement:
        """Handle a block, asked for or not. The settlement raises Misbehaving."""
        requested = self._download.arrived(peer.id, block.hash, self._clock.now())
        self._ask_blocks(self._peers[peer.id], self._clock.now())
        return self._add_block(peer, block, requested)

    def not_found(self, peer: Peer, hashes: Sequence[bytes]) -> None:
        """Ask others for blocks that the peer said it does not have."""
        owed = {entry.hash for entry in self._download.in_flight(peer.id)}
        for block_hash in hashes:
            if block_hash in owed:
                self._download.refused(block_hash, self._clock.now())

    # --- what happens here ---

    def event(self, event: object) -> None:
        """Follow the chain's events."""
        match event:
            case TipChanged(old=old, new=new):
                self._queue_announcements(old, new)
                self._wake()
            case BlockConnected(entry=entry):
                self._sources.pop(entry.hash, None)
                self._download.connected()
            case BlockFailed(entry=entry, error=error):
                source = self._peers.get(self._sources.pop(entry.hash, -1))
                reason = punishment(error, inbound=source.peer.inbound) if source is not None else None
                if source is not None and reason is not None:
                    source.peer.punish(reason)

    def send(self, peer: Peer, now: float) -> None:
        """Send what is due to the peer. Raises Disconnect when it has to go."""
        state = self._peers[peer.id]
        state.chain.resolve(self._chain.tree)
        self._tell_send_headers(state)
        self._start_headers(state, now)
        self._announce(state)
        reason = self._download.overdue(peer.id, now) or self._headers.overdue(peer.id, now)
        start, late = self._headers.consider_eviction(peer.id, now)
        if reason or late:
            raise Disconnect(reason or late or "")
        self._ask_headers(peer, start)
        self._ask_blocks(state, now)

    # --- headers ---

    def _start_headers(self, state: _Peer, now: float) -> None:
        start = self._headers.start(state.peer.id, now, may_download=self._may_download(state))
        self._ask_headers(state.peer, start)

    def _ask_headers(self, peer: Peer, start: Entry | None) -> None:
        if start is not None:
            peer.send(GetHeaders(PROTOCOL_VERSION, self._chain.tree.locator(start)))

    async def _add_headers(self, peer: Peer, headers: Sequence[Header]) -> None:
        chain, tree = self._chain, self._chain.tree
        if self._download.anything_arrived:
            await self._writer.do(_nothing)  # blocks that the peer sent before may bring the parent
        if peer.id not in self._peers:
            return
        state = self._peers[peer.id]
        parent = tree.get(headers[0].prev_hash)
        if parent is None:
            # Perhaps an announcement that skipped some: ask for what lies between. No answer to a request of ours.
            self._ask_headers(peer, self._headers.ask(peer.id, self._clock.now()))
            state.chain.announced(headers[-1].hash, tree)
            return
        self._headers.answered(peer.id, len(headers), self._clock.now())
        known = tree.get(headers[-1].hash)
        if not self._has_enough_work(peer, parent, headers, known):
            log.debug("ignoring low-work chain from %s, last header %s", peer, headers[-1].hash[::-1].hex())
            return
        try:
            last = await chain.add_headers(headers, min_work_checked=True)
        except ValidationError as error:
            log.debug("invalid header received from %s: %s", peer, error)  # it may repeat this without an end
            reason = punishment(error, inbound=peer.inbound)
            if reason is not None:
                raise Misbehaving(f"invalid header received: {reason}") from None
            return
        if peer.id not in self._peers:
            return  # left meanwhile
        now = self._clock.now()
        if len(headers) == MAX_HEADERS:
            self._ask_headers(peer, self._headers.ask(peer.id, now, last))
        if known is None and last.chain_work > chain.tip.chain_work:
            state.announced_at = now
        state.chain.announced(last.hash, tree)
        self._check_usefulness(state, may_have_more=len(headers) == MAX_HEADERS)
        self._headers.caught_up(peer.id)
        if state.serves_blocks:
            self._request(state, self._download.choose_announced(peer.id, last, now))
            self._ask_blocks(state, now)

    def _has_enough_work(self, peer: Peer, parent: Entry, headers: Sequence[Header], known: Entry | None) -> bool:
        chain = self._chain
        if Permission.NO_BAN in peer.permissions or len(headers) == MAX_HEADERS:
            return True
        if known is not None and (chain.is_active(known) or _is_ancestor(known, chain.tree.best_header)):
            return True
        total = parent.chain_work + sum(work(header.bits) for header in headers)
        return total >= self._least_work()

    def _least_work(self) -> int:
        tip = self._chain.tip
        near_tip = tip.chain_work - min(NEAR_TIP_BLOCKS * work(tip.header.bits), tip.chain_work)
        return max(near_tip, self._chain.network.minimum_chain_work)

    def _check_usefulness(self, state: _Peer, *, may_have_more: bool) -> None:
        """During the first sync, do not keep an outbound slot for a peer whose whole chain has too little work."""
        best = state.chain.best_known
        outbound = state.peer.kind in (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY)
        if (
            outbound
            and not may_have_more
            and self._chain.is_initial_block_download
            and best is not None
            and best.chain_work < self._chain.network.minimum_chain_work
        ):
            raise Disconnect("outbound peer headers chain has insufficient work")

    # --- blocks ---

    def _may_download(self, state: _Peer) -> bool:
        if state.preferred:
            return True
        if not state.serves_blocks or state.peer.kind is PeerKind.ADDR_FETCH:
            return False
        return not self._headers.preferred_peers or not self._download.anything_in_flight

    def _ask_blocks(self, state: _Peer, now: float) -> None:
        during_first_sync = self._may_download(state) and not state.limited
        if state.serves_blocks and (during_first_sync or not self._chain.is_initial_block_download):
            self._request(state, self._download.choose(state.peer.id, now))

    def _request(self, state: _Peer, entries: Sequence[Entry]) -> None:
        if entries:
            kind = state.block_type
            state.peer.send(GetData(tuple(Inventory(kind, entry.hash) for entry in entries)))

    async def _add_block(self, peer: Peer, block: Block, requested: bool) -> None:
        chain = self._chain
        parent = chain.tree.get(block.header.prev_hash)
        enough = parent is not None and parent.chain_work + work(block.header.bits) >= self._least_work()
        self._sources[block.hash] = peer.id
        if len(self._sources) > MAX_BLOCK_SOURCES:
            del self._sources[next(iter(self._sources))]
        try:
            outcome = await chain.add_block(block, requested=requested, min_work_checked=enough)
        except ValidationError as error:
            self._sources.pop(block.hash, None)
            log.debug("block %s from %s refused: %s", block.hash[::-1].hex(), peer, error)
            reason = punishment(error, inbound=peer.inbound)
            if reason is not None:
                raise Misbehaving(reason) from None
        else:
            if outcome.is_new:
                peer.stats.last_block = self._clock.now()
            else:
                self._sources.pop(block.hash, None)
        finally:
            self._download.judged(block.hash)
            self._wake()

    # --- announcements ---

    def _tell_send_headers(self, state: _Peer) -> None:
        best = state.chain.best_known
        if (
            not state.told_send_headers
            and best is not None
            and best.chain_work > self._chain.network.minimum_chain_work
        ):
            state.told_send_headers = True
            state.peer.send(SendHeaders())

    def _queue_announcements(self, old: Entry, new: Entry) -> None:
        if self._chain.is_initial_block_download or not new.has_block:  # the base of a snapshot has none
            return
        fork = HeaderTree.fork_point(old, new)
        fresh: list[Entry] = []
        walk: Entry | None = new
        while walk is not None and walk is not fork and len(fresh) < MAX_BLOCKS_TO_ANNOUNCE:
            fresh.append(walk)
            walk = walk.parent
        for state in self._peers.values():
            state.to_announce += reversed(fresh)

    def _announce(self, state: _Peer) -> None:
        if not state.to_announce:
            return
        headers, by_inv = choose_block_announcement(
            state.to_announce, state.chain, self._chain.is_active, prefers_headers=state.prefers_headers
        )
        state.to_announce.clear()
        if headers:
            state.peer.send(Headers(tuple(headers)))
        elif by_inv is not None:
            state.peer.send(Inv((Inventory(InventoryType.BLOCK, by_inv.hash),)))


async def _nothing() -> None:
    """Be a job that is done when the ones before it are."""


def punishment(error: ValidationError, *, inbound: bool) -> str | None:
    """Return why a peer that gave this header or block must go; None if it need not (Core: MaybePunishNodeForBlock)."""
    match error.fault:
        case Fault.TIME_FUTURE | Fault.LOW_WORK:
            return None
        case Fault.CACHED_INVALID if inbound:
            return None  # it may simply not know better; an outbound slot is worth more than that
    return str(error)


def _is_ancestor(entry: Entry, descendant: Entry) -> bool:
    return entry.height <= descendant.height and descendant.ancestor(entry.height) is entry
