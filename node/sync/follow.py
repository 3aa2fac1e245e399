"""Following the chain with the most work: headers, then blocks from several peers; telling peers of new blocks."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from altyn.consensus.block import Block, Header
from altyn.consensus.errors import ValidationError
from altyn.consensus.pow import work
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.events import BlockConnected, BlockFailed, TipChanged
from altyn.node.sync.announce import BlockAnnouncer
from altyn.node.sync.blame import BlockSources, punishment
from altyn.node.sync.blocks import BlockDownload
from altyn.node.sync.compact import (
    COMPACT_PROTOCOL_VERSION,
    COMPACT_VERSION,
    MAX_COMPACT_PER_BLOCK,
    HighBandwidthPeers,
    Reconstruction,
)
from altyn.node.sync.compact_download import Answer, CompactDownload, Instead
from altyn.node.sync.header_gate import HeaderGate
from altyn.node.sync.headers import MAX_HEADERS, HeaderSync, PeerChain
from altyn.node.sync.least_work import least_work
from altyn.node.sync.synced_peer import SyncedPeer
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.kinds import PeerKind, Permission
from altyn.p2p.limits import PROTOCOL_VERSION
from altyn.p2p.messages import (
    BlockTransactions,
    CompactBlock,
    GetBlockTransactions,
    GetData,
    GetHeaders,
    Inventory,
    InventoryType,
    SendCompact,
    SendHeaders,
)
from altyn.p2p.peer import Peer, Settlement

log = logging.getLogger(__name__)


class ChainSync:
    """Headers and blocks: what to ask, what to do with what comes, whom to tell, whom to blame."""

    def __init__(
        self,
        chain: Chain,
        writer: Writer,
        clock: Clock,
        wake: Callable[[], None],
        announcer: BlockAnnouncer,
        reconstruction: Reconstruction,
        random: Random,
        *,
        wants_compact: bool,
    ) -> None:
        """`wake` is called when there is something to tell peers: `send` is to be called for each of them soon.

        `wants_compact`: ask for compact blocks; without a mempool (-blocksonly) they would be of no use.
        """
        self._chain = chain
        self._writer = writer
        self._clock = clock
        self._wake = wake
        self._headers = HeaderSync(chain)
        self._gate = HeaderGate(chain, self._headers, random)
        self._download = BlockDownload(chain)
        self._peers: dict[int, SyncedPeer] = {}
        self._sources = BlockSources()
        self._announcer = announcer
        self._compact = CompactDownload(chain, self._download, reconstruction)
        self._high_bandwidth = HighBandwidthPeers()
        self._wants_compact = wants_compact
        self._is_synchronised = False

    def add(self, peer: Peer) -> None:
        """Take up a peer whose handshake is done."""
        state = SyncedPeer(peer)
        state.chain = self._headers.add(
            peer.id,
            preferred=state.preferred,
            serves_blocks=state.serves_blocks,
            guarded=peer.kind.brings_blocks,
            protectable=peer.kind is PeerKind.OUTBOUND_FULL_RELAY,
            keep=Permission.NO_BAN in peer.permissions,
        )
        self._download.add(peer.id, state.chain, witness=state.witness, limited=state.limited)
        self._announcer.add(peer, state.chain)
        self._peers[peer.id] = state
        if peer.features.common_version >= COMPACT_PROTOCOL_VERSION:
            peer.send(SendCompact(False, COMPACT_VERSION))

    def remove(self, peer: Peer) -> None:
        """Forget a peer that left; others are asked for what it owed."""
        self._headers.remove(peer.id)
        self._gate.remove(peer.id)
        self._download.remove(peer.id)
        self._announcer.remove(peer.id)
        self._high_bandwidth.remove(peer.id)
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
        self._download.forget(entry.hash, self._clock.now())
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

    def high_bandwidth(self, peer_id: int) -> tuple[bool, bool]:
        """Return whether compact blocks come unasked: from us to the peer, and from it to us (RPC: getpeerinfo).

        In the words of Core, which looks at who asked for it: `bip152_hb_from` and `bip152_hb_to`.
        """
        return self._announcer.prefers_compact(peer_id), peer_id in self._high_bandwidth

    def compact_wished(self, peer: Peer, message: SendCompact) -> None:
        """Handle `sendcmpct`; other versions than ours are ignored."""
        if message.version == COMPACT_VERSION:
            self._peers[peer.id].provides_compact = True
            self._announcer.prefer_compact(peer.id, message.announce)

    def presynced(self, peer_id: int) -> int:
        """Return how many headers were looked at and not kept, -1 outside such a sync (RPC: getpeerinfo)."""
        return self._gate.presynced(peer_id)

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
        if not headers:
            self._gate.ended(peer.id, self._clock.now())
            return None
        self._headers.check(headers)
        return self._add_headers(peer, headers)

    def block_received(self, peer: Peer, block: Block) -> Settlement:
        """Handle a block, asked for or not. The settlement raises Misbehaving."""
        requested = self._download.arrived(peer.id, block.hash, self._clock.now())
        self._ask_blocks(self._peers[peer.id], self._clock.now())
        return self._add_block(peer, block, requested)

    def has_block(self, peer: Peer, block_hash: bytes) -> bool:
        """Whether a valid block that the peer announces is here; if so, note that the peer has it too."""
        entry = self._chain.tree.get(block_hash)
        if entry is None or not entry.has_block or entry.is_failed or peer.id not in self._peers:
            return False
        self._peers[peer.id].chain.announced(block_hash, self._chain.tree)
        return True

    async def compact_block_received(self, peer: Peer, message: CompactBlock) -> Settlement | None:
        """Handle `cmpctblock`: a header, and what helps to have the block without asking for all of it.

        Raises Misbehaving; the settlement too.
        """
        entry = await self._add_compact_header(peer, message.header)
        if entry is None or entry.has_block or peer.id not in self._peers:
            return None
        now = self._clock.now()
        answer = await self._compact.announced(peer.id, message, entry, now, partial(self._may_help, peer))
        return self._act(peer, entry, answer) if peer.id in self._peers else None

    def block_transactions_received(self, peer: Peer, message: BlockTransactions) -> Settlement | None:
        """Handle `blocktxn`. Raises Misbehaving; the settlement too."""
        request = self._download.request_of(peer.id, message.block_hash)
        if request is None or request.partial is None:
            log.debug("ignoring transactions of a block that was not asked for from %s", peer)
            return None
        answer = self._compact.completed(peer.id, request, message.transactions, self._clock.now())
        return self._act(peer, request.entry, answer)

    def not_found(self, peer: Peer, hashes: Sequence[bytes]) -> None:
        """Ask others for blocks that the peer said it does not have."""
        owed = {entry.hash for entry in self._download.in_flight(peer.id)}
        for block_hash in hashes:
            if block_hash in owed:
                self._download.refused(peer.id, block_hash, self._clock.now())

    # --- what happens here ---

    def event(self, event: object) -> None:
        """Follow the chain's events."""
        match event:
            case TipChanged():
                self._wake()
            case BlockConnected(entry=entry):
                self._block_connected(entry)
            case BlockFailed(entry=entry, error=error):
                peer_id, by_compact = self._sources.take(entry.hash)
                source = self._peers.get(peer_id)
                if source is not None:
                    reason = punishment(error, inbound=source.peer.inbound, by_compact=by_compact)
                    if reason is not None:
                        source.peer.punish(reason)

    def _block_connected(self, entry: Entry) -> None:
        self._download.connected()
        source = self._peers.get(self._sources.take(entry.hash)[0])
        others = self._download.blocks_in_flight - len(self._download.asked(entry.hash))
        if source is not None and self._is_synchronised and not others:
            self._serves_well(source)
        self._is_synchronised = not self._chain.is_initial_block_download

    def _serves_well(self, state: SyncedPeer) -> None:
        """Have a peer that was the first with a block announce the next ones by compact blocks, before validation."""
        if not self._wants_compact or not state.provides_compact:
            return
        choice = self._high_bandwidth.served(state.peer.id, inbound=state.peer.inbound)
        if choice.stop in self._peers:
            self._peers[choice.stop].peer.send(SendCompact(False, COMPACT_VERSION))
        if choice.begin is not None:
            state.peer.send(SendCompact(True, COMPACT_VERSION))

    def send(self, peer: Peer, now: float) -> None:
        """Send what is due to the peer. Raises Disconnect when it has to go."""
        state = self._peers[peer.id]
        state.chain.resolve(self._chain.tree)
        self._tell_send_headers(state)
        self._start_headers(state, now)
        self._announcer.send(peer.id)
        reason = self._download.overdue(peer.id, now) or self._headers.overdue(peer.id, now)
        start, late = self._headers.consider_eviction(peer.id, now)
        if reason or late:
            raise Disconnect(reason or late or "")
        self._ask_headers(peer, start)
        self._ask_blocks(state, now)

    # --- headers ---

    def _start_headers(self, state: SyncedPeer, now: float) -> None:
        start = self._headers.start(state.peer.id, now, may_download=self._may_download(state))
        self._ask_headers(state.peer, start)

    def _ask_headers(self, peer: Peer, start: Entry | None) -> None:
        if start is not None:
            self._get_headers(peer, self._chain.tree.locator(start))

    @staticmethod
    def _get_headers(peer: Peer, locator: tuple[bytes, ...] | None) -> None:
        if locator is not None:
            peer.send(GetHeaders(PROTOCOL_VERSION, locator))

    async def _add_headers(self, peer: Peer, headers: Sequence[Header]) -> None:
        if peer.id in self._peers:
            async with self._peers[peer.id].headers_turn:
                await self._add_headers_in_turn(peer, headers)

    async def _add_headers_in_turn(self, peer: Peer, headers: Sequence[Header]) -> None:
        chain, tree = self._chain, self._chain.tree
        if self._download.anything_arrived:
            await self._writer.do(_nothing)  # blocks that the peer sent before may bring the parent
        if peer.id not in self._peers:
            return
        state = self._peers[peer.id]
        trusted = Permission.NO_BAN in peer.permissions
        taken = self._gate.take(peer.id, headers, self._clock.now(), trusted=trusted)
        self._get_headers(peer, taken.locator)
        if not taken.headers:
            return
        known = tree.get(taken.headers[-1].hash)
        try:
            last = await chain.add_headers(taken.headers, min_work_checked=True)
        except ValidationError as error:
            log.debug("invalid header received: %s, from %s", error, peer)  # it may repeat this without an end
            reason = punishment(error, inbound=peer.inbound)
            if reason is not None:
                raise Misbehaving(f"invalid header received: {reason}") from None
            return
        if peer.id not in self._peers:
            return  # left meanwhile
        now = self._clock.now()
        if known is None and last.chain_work > chain.tip.chain_work:
            state.announced_at = now
        self._get_headers(peer, self._gate.kept(peer.id, last, now, may_have_more=len(headers) == MAX_HEADERS))
        if state.serves_blocks:
            self._request_announced(state, self._download.choose_announced(peer.id, last, now))
            self._ask_blocks(state, now)

    # --- blocks ---

    def _may_download(self, state: SyncedPeer) -> bool:
        if state.preferred:
            return True
        if not state.serves_blocks or state.peer.kind is PeerKind.ADDR_FETCH:
            return False
        return not self._headers.preferred_peers or not self._download.blocks_in_flight

    def _ask_blocks(self, state: SyncedPeer, now: float) -> None:
        during_first_sync = self._may_download(state) and not state.limited
        if state.serves_blocks and (during_first_sync or not self._chain.is_initial_block_download):
            self._request(state, self._download.choose(state.peer.id, now))

    def _request_announced(self, state: SyncedPeer, entries: Sequence[Entry]) -> None:
        """Ask for announced blocks, for a single one that goes on top of a valid one in compact form."""
        alone = len(entries) == 1 and self._download.blocks_in_flight == 1
        if alone and self._wants_compact and state.provides_compact:
            (entry,) = entries
            if entry.parent is not None and entry.parent.was_connected:
                self._request(state, entries, InventoryType.COMPACT_BLOCK)
                return
        self._request(state, entries)

    def _request(self, state: SyncedPeer, entries: Sequence[Entry], kind: InventoryType | None = None) -> None:
        if entries:
            kind = kind or state.block_type
            state.peer.send(GetData(tuple(Inventory(kind, entry.hash) for entry in entries)))

    async def _add_block(self, peer: Peer, block: Block, requested: bool, *, by_compact: bool = False) -> None:
        chain = self._chain
        if block.header.prev_hash not in chain.tree and peer.id in self._peers:
            async with self._peers[peer.id].headers_turn:
                pass  # headers that the peer sent before may bring the parent
        self._sources.note(block.hash, peer.id, by_compact=by_compact)
        try:
            outcome = await chain.add_block(block, requested=requested, least_work=least_work(chain))
        except ValidationError as error:
            self._sources.take(block.hash)
            log.debug("block %s refused: %s, from %s", block.hash[::-1].hex(), error, peer)
            reason = punishment(error, inbound=peer.inbound, by_compact=by_compact)
            if reason is not None:
                raise Misbehaving(reason) from None
        else:
            if outcome.is_new:
                peer.stats.last_block = self._clock.now()
                self._download.forget(block.hash, self._clock.now())
            else:
                self._sources.take(block.hash)
        finally:
            self._download.judged(block.hash)
            self._wake()

    # --- compact blocks ---

    async def _add_compact_header(self, peer: Peer, header: Header) -> Entry | None:
        """Return the header's entry; None if the block is of no use. Raises Misbehaving."""
        if self._download.anything_arrived:
            await self._writer.do(_nothing)
        chain = self._chain
        parent = chain.tree.get(header.prev_hash)
        if parent is None:
            if peer.id in self._peers and not chain.is_initial_block_download:
                self._ask_headers(peer, self._headers.ask(peer.id, self._clock.now()))
            return None
        if parent.chain_work + work(header.bits) < least_work(chain):
            log.debug("ignoring low-work compact block from %s", peer)
            return None
        is_new = header.hash not in chain.tree
        try:
            entry = await chain.add_headers([header])
        except ValidationError as error:
            reason = punishment(error, inbound=peer.inbound, by_compact=True)
            if reason is not None:
                raise Misbehaving(f"invalid header via cmpctblock: {reason}") from None
            return None
        if peer.id in self._peers:
            state = self._peers[peer.id]
            state.chain.announced(entry.hash, chain.tree)
            if is_new and entry.chain_work > chain.tip.chain_work:
                state.announced_at = self._clock.now()
        return entry

    def _may_help(self, peer: Peer, asked: Sequence[int]) -> bool:
        """Whether the peer may be asked for parts of a block that others were asked for already.

        The last place is kept for an outbound peer, which attackers find harder to be.
        """
        return peer.id in self._high_bandwidth and (
            not peer.inbound
            or len(asked) < MAX_COMPACT_PER_BLOCK - 1
            or any(not self._peers[other].peer.inbound for other in asked)
        )

    def _act(self, peer: Peer, entry: Entry, answer: Answer) -> Settlement | None:
        match answer:
            case Block():
                self._download.arrived(peer.id, entry.hash, self._clock.now())
                return self._add_block(peer, answer, True, by_compact=True)
            case GetBlockTransactions():
                peer.send(answer)
            case Instead.WHOLE_BLOCK:
                self._request(self._peers[peer.id], [entry])
            case Instead.HEADER:
                return self._add_headers(peer, [entry.header])
        return None

    # --- announcements ---

    def _tell_send_headers(self, state: SyncedPeer) -> None:
        best = state.chain.best_known
        if (
            not state.told_send_headers
            and best is not None
            and best.chain_work > self._chain.network.minimum_chain_work
        ):
            state.told_send_headers = True
            state.peer.send(SendHeaders())


async def _nothing() -> None:
    """Be a job that is done when the ones before it are."""
