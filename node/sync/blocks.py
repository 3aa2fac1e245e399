"""Which block to ask of whom: a window over several peers, stalls, time-outs; a machine without I/O."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from altyn.consensus.networks import Network
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.sync.compact import PartialBlock
from altyn.node.sync.headers import PeerChain

MAX_BLOCKS_IN_TRANSIT_PER_PEER = 16
_REFILL = MAX_BLOCKS_IN_TRANSIT_PER_PEER // 2
"""Blocks in transit at which more are asked for: in one message, so that they come together, and are taken in so."""
BLOCK_DOWNLOAD_WINDOW = 1024
"""How far beyond the last block in common blocks are asked for, so that the disk order stays close to the chain's."""
STALLING_TIMEOUT = 2.0
STALLING_TIMEOUT_MAX = 64.0
"""Seconds that a peer may keep the window from moving: doubled by each peer dropped for it, reduced by each block."""
STALLING_TIMEOUT_DECAY = 0.85
TIMEOUT_BASE = 1.0
TIMEOUT_PER_PEER = 0.5
"""Limit for one block, in block intervals: alone, and more for each other peer that we download from."""
DIRECT_FETCH_BLOCKS = 20
"""Block intervals: with a tip younger than this, announced blocks are asked for at once from whoever announced them."""
LIMITED_ALLOWED_DEPTH = 144
"""Block intervals: with a tip younger than this, pruned peers are good enough to be called (Core)."""
LIMITED_PEER_BLOCKS = 288 - 2
"""Blocks below its tip that a pruned peer still serves (BIP159), less what may be mined meanwhile."""


def is_near_present(tip: Entry, network: Network, now: float) -> bool:
    """Whether `tip` is so recent that announced blocks are fetched at once (Core: CanDirectFetch)."""
    return tip.time > now - DIRECT_FETCH_BLOCKS * network.target_spacing


def is_near_tip(tip: Entry, network: Network, now: float) -> bool:
    """Whether what `tip` lacks, by its time, is no more than a pruned peer has (Core: ApproximateBestBlockDepth)."""
    return (now - tip.time) // network.target_spacing < LIMITED_ALLOWED_DEPTH


class BlockView(Protocol):
    """The part of a chain that the download of blocks is about."""

    @property
    def network(self) -> Network: ...

    @property
    def tip(self) -> Entry: ...

    @property
    def background(self) -> "ChainBelow | None":
        """What lies below a snapshot that the chain stands on; None without one."""
        ...

    def is_active(self, entry: Entry) -> bool: ...


class ChainBelow(Protocol):
    """A chain on its way to the base of a snapshot."""

    @property
    def tip(self) -> Entry: ...

    @property
    def base(self) -> Entry: ...


@dataclass(slots=True)
class Request:
    """A block that a peer was asked for."""

    entry: Entry
    is_compact: bool = False
    """Whether a compact block has come for it."""
    partial: PartialBlock | None = None


@dataclass(slots=True)
class _Peer:
    chain: PeerChain
    witness: bool
    limited: bool
    in_flight: dict[bytes, Request] = field(default_factory=dict)
    """Oldest request first."""
    downloading_since: float = 0.0
    stalling_since: float | None = None


class BlockDownload:
    """Keeps every wanted block asked of one peer, by compact blocks of few. Times are seconds of the node's clock."""

    def __init__(self, chain: BlockView) -> None:
        self._chain = chain
        self._peers: dict[int, _Peer] = {}
        self._asked: dict[bytes, list[int]] = {}
        """Of whom each block was asked, first of whom first."""
        self._arrived: set[bytes] = set()
        self.stalling_timeout = STALLING_TIMEOUT

    def add(self, peer_id: int, chain: PeerChain, *, witness: bool, limited: bool) -> None:
        """Take up a peer: whether it serves witnesses, and whether only the last 288 blocks (BIP159)."""
        self._peers[peer_id] = _Peer(chain, witness, limited)

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left; what it owed may be asked of others."""
        if peer_id in self._peers:
            for block_hash in list(self._peers[peer_id].in_flight):
                self._forget_request(peer_id, block_hash, 0.0)
            del self._peers[peer_id]

    def is_requested(self, block_hash: bytes) -> bool:
        """Whether the block is on its way, or here and not yet judged."""
        return block_hash in self._asked or block_hash in self._arrived

    def asked(self, block_hash: bytes) -> list[int]:
        """Return who was asked for the block and has not answered, first of whom first."""
        return self._asked.get(block_hash, [])

    def in_flight(self, peer_id: int) -> list[Entry]:
        """Return what the peer owes, oldest request first."""
        return [request.entry for request in self._peers[peer_id].in_flight.values()]

    def request_of(self, peer_id: int, block_hash: bytes) -> Request | None:
        """Return the peer's unanswered request for the block."""
        return self._peers[peer_id].in_flight.get(block_hash)

    def awaits(self, peer_id: int, request: Request) -> bool:
        """Whether this very request to the peer is still unanswered."""
        peer = self._peers.get(peer_id)
        return peer is not None and peer.in_flight.get(request.entry.hash) is request

    @property
    def blocks_in_flight(self) -> int:
        """How many requests are unanswered."""
        return sum(map(len, self._asked.values()))

    @property
    def anything_arrived(self) -> bool:
        """Whether blocks wait to be judged."""
        return bool(self._arrived)

    def request(self, peer_id: int, entry: Entry, now: float) -> Request:
        """Note that `entry` was asked of the peer, or return the request that there is."""
        peer = self._peers[peer_id]
        if entry.hash in peer.in_flight:
            return peer.in_flight[entry.hash]
        if not peer.in_flight:
            peer.downloading_since = now
        request = peer.in_flight[entry.hash] = Request(entry)
        self._asked.setdefault(entry.hash, []).append(peer_id)
        return request

    def arrived(self, peer_id: int, block_hash: bytes, now: float) -> bool:
        """Note that the peer sent this block; return whether anybody was asked for it. Call `judged` afterwards."""
        requested = self.is_requested(block_hash)
        self._forget_request(peer_id, block_hash, now)
        self._arrived.add(block_hash)
        return requested

    def judged(self, block_hash: bytes) -> None:
        """Note that the block was stored or refused."""
        self._arrived.discard(block_hash)

    def forget(self, block_hash: bytes, now: float) -> None:
        """Note that nobody owes the block any longer: it is here, or is to be asked anew."""
        for peer_id in list(self.asked(block_hash)):
            self._forget_request(peer_id, block_hash, now)

    def refused(self, peer_id: int, block_hash: bytes, now: float) -> None:
        """Note that the peer will not send this block, or nothing of use."""
        self._forget_request(peer_id, block_hash, now)

    def connected(self) -> None:
        """Note that a block was connected: peers get less patience again (Core: BlockConnected)."""
        self.stalling_timeout = max(STALLING_TIMEOUT, self.stalling_timeout * STALLING_TIMEOUT_DECAY)

    def choose(self, peer_id: int, now: float) -> list[Entry]:
        """Return blocks to ask of the peer now, lowest first, and note them as asked (Core: FindNextBlocksToDownload).

        When it can have none because another peer holds back the window, that one counts as stalling from now on.
        """
        peer = self._peers[peer_id]
        if len(peer.in_flight) > _REFILL:
            return []
        room = MAX_BLOCKS_IN_TRANSIT_PER_PEER - len(peer.in_flight)
        chosen, staller = self._next_blocks(peer_id, peer, room)
        chosen += self._next_below(peer, room - len(chosen))
        for entry in chosen:
            self.request(peer_id, entry, now)
        if not peer.in_flight and staller is not None:
            other = self._peers[staller]
            if other.stalling_since is None:
                other.stalling_since = now
        return chosen

    def choose_announced(self, peer_id: int, last: Entry, now: float) -> list[Entry]:
        """Return the blocks up to the announced `last` to ask of who announced it (Core: HeadersDirectFetchBlocks)."""
        chain = self._chain
        tip = chain.tip
        if not is_near_present(tip, chain.network, now) or last.is_failed or tip.chain_work > last.chain_work:
            return []
        peer = self._peers[peer_id]
        missing: list[Entry] = []
        walk: Entry | None = last
        while walk is not None and not chain.is_active(walk) and len(missing) <= MAX_BLOCKS_IN_TRANSIT_PER_PEER:
            if not walk.has_block and not self.is_requested(walk.hash) and self._serves(peer, walk):
                missing.append(walk)
            walk = walk.parent
        if walk is None or not chain.is_active(walk):
            return []  # a very long fork: the window does it better
        chosen = missing[::-1][: max(0, MAX_BLOCKS_IN_TRANSIT_PER_PEER - len(peer.in_flight))]
        for entry in chosen:
            self.request(peer_id, entry, now)
        return chosen

    def overdue(self, peer_id: int, now: float) -> str | None:
        """Return why the peer must go: it stalls the window, or a block takes too long."""
        peer = self._peers[peer_id]
        if peer.stalling_since is not None and now - peer.stalling_since > self.stalling_timeout:
            self.stalling_timeout = min(2 * self.stalling_timeout, STALLING_TIMEOUT_MAX)
            return "stalling block download"
        if peer.in_flight:
            others = sum(bool(other.in_flight) for other in self._peers.values()) - 1
            limit = self._chain.network.target_spacing * (TIMEOUT_BASE + TIMEOUT_PER_PEER * others)
            if now > peer.downloading_since + limit:
                first = next(iter(peer.in_flight))
                return f"timeout downloading block {first[::-1].hex()}"
        return None

    def _forget_request(self, peer_id: int, block_hash: bytes, now: float) -> None:
        peer = self._peers[peer_id]
        if block_hash not in peer.in_flight:
            return
        if next(iter(peer.in_flight)) == block_hash:
            peer.downloading_since = max(peer.downloading_since, now)  # the next in line has its full time from here
        del peer.in_flight[block_hash]
        peer.stalling_since = None
        self._asked[block_hash].remove(peer_id)
        if not self._asked[block_hash]:
            del self._asked[block_hash]

    def _serves(self, peer: _Peer, entry: Entry) -> bool:
        return peer.witness or entry.height < self._chain.network.segwit_height

    def _next_blocks(self, peer_id: int, peer: _Peer, count: int) -> tuple[list[Entry], int | None]:
        chain, best = self._chain, peer.chain.best_known
        tip = chain.tip
        if best is tip:
            peer.chain.last_common = tip
        if (
            best is None
            or best.chain_work < tip.chain_work
            or best.chain_work < chain.network.minimum_chain_work
            or best is tip
        ):
            return [], None
        common = peer.chain.last_common or tip.ancestor(min(best.height, tip.height))
        common = peer.chain.last_common = HeaderTree.fork_point(common, best)
        end = common.height + BLOCK_DOWNLOAD_WINDOW
        chosen: list[Entry] = []
        waiting_for: int | None = None
        for entry in _path(common, best, min(best.height, end + 1)):
            if entry.is_failed or not self._serves(peer, entry):
                break
            if entry.has_block or chain.is_active(entry):
                if entry.chain_tx_count:  # all before it are stored as well
                    peer.chain.last_common = entry
                continue
            if self.is_requested(entry.hash):
                if waiting_for is None:
                    waiting_for = next(iter(self.asked(entry.hash)), peer_id)  # arrived already: nobody to blame
                continue
            if entry.height > end:
                return chosen, waiting_for if not chosen and waiting_for != peer_id else None
            if peer.limited and best.height - entry.height >= LIMITED_PEER_BLOCKS:
                continue
            chosen.append(entry)
            if len(chosen) == count:
                break
        return chosen, None

    def _next_below(self, peer: _Peer, count: int) -> list[Entry]:
        """Return blocks below a snapshot, for which there is room when the tip is served (Core: historical blocks)."""
        below, best = self._chain.background, peer.chain.best_known
        if below is None or best is None or peer.limited or count <= 0:
            return []
        base = below.base
        if best.height < base.height or best.ancestor(base.height) is not base:
            return []
        start = HeaderTree.fork_point(below.tip, base)
        chosen: list[Entry] = []
        for entry in _path(start, base, min(base.height, start.height + BLOCK_DOWNLOAD_WINDOW)):
            if len(chosen) == count or not self._serves(peer, entry):
                break
            if not entry.has_block and not self.is_requested(entry.hash):
                chosen.append(entry)
        return chosen


_STRIDE = 128


def _path(start: Entry, best: Entry, last_height: int) -> Iterator[Entry]:
    """Yield the entries after `start` towards its descendant `best`, up to `last_height`, a stride at a time."""
    height = start.height
    while height < last_height:
        end = min(height + _STRIDE, last_height)
        walk: Entry | None = best.ancestor(end)
        stretch: list[Entry] = []
        while walk is not None and walk.height > height:
            stretch.append(walk)
            walk = walk.parent
        yield from reversed(stretch)
        height = end
