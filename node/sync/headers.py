"""What each peer's chain looks like from here, and whom to ask for headers: a machine without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from altyn.consensus.block import Header
from altyn.consensus.checks.headers import check_header
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.p2p.errors import Misbehaving

MAX_HEADERS = 2000
"""Headers in one message; a message with as many says that there are more."""
HEADERS_RESPONSE_TIME = 2 * 60.0
"""Seconds in which a `getheaders` is not repeated to the same peer."""
SYNC_TIMEOUT_BASE = 15 * 60.0
SYNC_TIMEOUT_PER_HEADER = 0.001
"""Seconds that the only header peer gets, at the least and for each header that it has yet to send."""
NEARLY_CURRENT = 24 * 60 * 60
"""Seconds: a best header younger than this means that headers are nearly complete, so every peer is asked."""
FINISHED_PEER_GRACE = 10.0
"""Seconds after which a peer that had no more headers to give no longer keeps others from being asked."""
CHAIN_SYNC_TIMEOUT = 20 * 60.0
HEADERS_PROOF_TIMEOUT = 2 * 60.0
"""Seconds that an outbound peer behind our chain gets: first to catch up, then to answer a last `getheaders`."""
MAX_PROTECTED_PEERS = 4
"""Outbound peers that once had our work and are then never dropped for falling behind."""


class HeaderView(Protocol):
    """The part of a chain that headers are about; the full chain and the light one both have it."""

    @property
    def network(self) -> Network: ...

    @property
    def tree(self) -> HeaderTree: ...

    @property
    def tip(self) -> Entry: ...

    @property
    def is_initial_block_download(self) -> bool: ...

    def is_active(self, entry: Entry) -> bool: ...


class PeerChain:
    """What is known of one peer's chain; entries, where they are known here."""

    __slots__ = ("_unknown", "best_known", "best_sent", "last_common")

    best_known: Entry | None
    """The entry with the most work that the peer announced."""
    best_sent: Entry | None
    """The last header that we sent to it."""
    last_common: Entry | None
    """The last block, on the way to `best_known`, whose ancestors are all here (Core: pindexLastCommonBlock)."""

    def __init__(self) -> None:
        self.best_known = self.best_sent = self.last_common = None
        self._unknown: bytes | None = None

    def announced(self, block_hash: bytes, tree: HeaderTree) -> None:
        """Note that the peer has this block, known or not (Core: UpdateBlockAvailability)."""
        self.resolve(tree)
        entry = tree.get(block_hash)
        if entry is None:
            self._unknown = block_hash
        elif self.best_known is None or entry.chain_work >= self.best_known.chain_work:
            self.best_known = entry

    def resolve(self, tree: HeaderTree) -> None:
        """Look again for the block that was unknown when the peer announced it (Core: ProcessBlockAvailability)."""
        if self._unknown is None:
            return
        entry = tree.get(self._unknown)
        if entry is not None:
            self._unknown = None
            if self.best_known is None or entry.chain_work >= self.best_known.chain_work:
                self.best_known = entry

    def has(self, entry: Entry) -> bool:
        """Whether the peer knows this header (Core: PeerHasHeader)."""
        return any(
            known is not None and known.height >= entry.height and known.ancestor(entry.height) is entry
            for known in (self.best_known, self.best_sent)
        )


@dataclass(slots=True)
class _Peer:
    chain: PeerChain
    preferred: bool
    serves_blocks: bool
    guarded: bool
    """Outbound and full-relay or block-relay: dropped when its chain stays behind ours."""
    protectable: bool
    """Full-relay: one that had our work once may then stay behind, if few such are kept."""
    keep: bool
    """Has the noban permission."""
    asked_at: float | None = None
    started: bool = False
    finished_at: float | None = None
    deadline: float | None = None
    asked_for_inv: bool = False
    protected: bool = False
    behind_until: float | None = None
    behind_work: Entry | None = None
    last_chance: bool = False


class HeaderSync:
    """Decides whom to ask for headers, when, and from where.

    Methods that return an Entry want a `getheaders` with that entry's locator sent to the peer. Times are seconds of
    the node's clock.
    """

    def __init__(self, chain: HeaderView, *, at_once: int = 1) -> None:
        """`at_once`: peers that are asked for headers during the first sync, before they are nearly complete."""
        self._chain = chain
        self._at_once = at_once
        self._peers: dict[int, _Peer] = {}
        self._last_inv_asked: bytes | None = None

    def add(
        self, peer_id: int, *, preferred: bool, serves_blocks: bool, guarded: bool, protectable: bool, keep: bool
    ) -> PeerChain:
        """Take up a peer; `preferred` ones (outbound or noban) are asked before the others."""
        chain = PeerChain()
        self._peers[peer_id] = _Peer(chain, preferred, serves_blocks, guarded, protectable, keep)
        return chain

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._peers.pop(peer_id, None)

    def chain_of(self, peer_id: int) -> PeerChain:
        """Return what is known of the peer's chain."""
        return self._peers[peer_id].chain

    @property
    def preferred_peers(self) -> int:
        """How many peers there are from which we would rather download."""
        return sum(peer.preferred and peer.serves_blocks for peer in self._peers.values())

    def start(self, peer_id: int, now: float, *, may_download: bool) -> Entry | None:
        """Return where to begin an initial header sync with the peer; None when it should not be asked (yet)."""
        peer = self._peers[peer_id]
        if peer.started or not peer.serves_blocks:
            return None
        best = self._chain.tree.best_header
        current = best.header.time > now - NEARLY_CURRENT
        busy = sum(
            other.started and (other.finished_at is None or now - other.finished_at < FINISHED_PEER_GRACE)
            for other in self._peers.values()
        )
        if not (current or (may_download and busy < self._at_once)):
            return None
        # One header early, so that the answer is never empty and tells us that the peer has our best header.
        start = best.parent or best
        if not self._may_ask(peer, now):
            return None
        peer.started = True
        missing = max(0.0, now - best.header.time) / self._chain.network.target_spacing
        peer.deadline = now + SYNC_TIMEOUT_BASE + SYNC_TIMEOUT_PER_HEADER * missing
        return start

    def ask(self, peer_id: int, now: float, start: Entry | None = None) -> Entry | None:
        """Return `start` (default: the best header) unless the peer still owes us an answer."""
        peer = self._peers[peer_id]
        return (start or self._chain.tree.best_header) if self._may_ask(peer, now) else None

    def announced_unknown(self, peer_id: int, block_hash: bytes, now: float) -> Entry | None:
        """Handle an `inv` of a block that is not here: ask at once, but one more peer only during the first sync."""
        peer = self._peers[peer_id]
        if not peer.started and (peer.asked_for_inv or block_hash == self._last_inv_asked):
            return None
        start = self.ask(peer_id, now)
        if not peer.started:
            peer.asked_for_inv = True
            self._last_inv_asked = block_hash
        return start

    def check(self, headers: Sequence[Header]) -> None:
        """Refuse what no honest peer sends: too many headers, or headers without work or links. Raises Misbehaving."""
        if len(headers) > MAX_HEADERS:
            raise Misbehaving(f"headers message size = {len(headers)}")
        try:
            for header in headers:
                check_header(header, self._chain.network)
        except ValidationError:
            raise Misbehaving("header with invalid proof of work") from None
        for before, after in pairwise(headers):
            if after.prev_hash != before.hash:
                raise Misbehaving("non-continuous headers sequence")

    def answered(self, peer_id: int, count: int, now: float) -> None:
        """Note that the peer sent `count` headers that connect, or none at all."""
        peer = self._peers[peer_id]
        peer.asked_at = None
        peer.finished_at = now if peer.started and count < MAX_HEADERS else None

    def overdue(self, peer_id: int, now: float) -> str | None:
        """Return why the peer must go: it alone was asked for headers, owes them, and there are others to ask."""
        peer = self._peers[peer_id]
        if not peer.started or peer.deadline is None:
            return None
        if self._chain.tree.best_header.header.time > now - NEARLY_CURRENT:
            peer.deadline = None  # caught up: from now on all peers are asked
            return None
        started = sum(other.started for other in self._peers.values())
        others = self.preferred_peers - (peer.preferred and peer.serves_blocks)
        if now <= peer.deadline or started != 1 or others < 1:
            return None
        if not peer.keep:
            return "timeout downloading headers"
        peer.started, peer.deadline = False, None
        return None

    def consider_eviction(self, peer_id: int, now: float) -> tuple[Entry | None, str | None]:
        """Watch that an outbound peer's chain keeps up with ours (Core: ConsiderEviction).

        Return where to send a last `getheaders` from, or None, and why the peer must go, or None.
        """
        peer = self._peers[peer_id]
        if not peer.guarded or peer.protected or not peer.started:
            return None, None
        tip, best = self._chain.tip, peer.chain.best_known
        if best is not None and best.chain_work >= tip.chain_work:
            peer.behind_until, peer.behind_work, peer.last_chance = None, None, False
        elif peer.behind_until is None or (
            best is not None and peer.behind_work is not None and best.chain_work >= peer.behind_work.chain_work
        ):
            # Behind, but it has caught up with what our tip was: a new period, measured against today's tip.
            peer.behind_until, peer.behind_work, peer.last_chance = now + CHAIN_SYNC_TIMEOUT, tip, False
        elif now > peer.behind_until:
            if peer.last_chance:
                return None, "outbound peer has old chain"
            assert peer.behind_work is not None
            peer.last_chance, peer.behind_until = True, now + HEADERS_PROOF_TIMEOUT
            return self.ask(peer_id, now, peer.behind_work.parent or peer.behind_work), None
        return None, None

    def caught_up(self, peer_id: int) -> None:
        """Protect an outbound full-relay peer that showed as much work as our tip, as long as few are protected."""
        peer = self._peers[peer_id]
        best = peer.chain.best_known
        if peer.protectable and best is not None and best.chain_work >= self._chain.tip.chain_work:
            protected = sum(other.protected for other in self._peers.values())
            peer.protected = peer.protected or protected < MAX_PROTECTED_PEERS

    def is_useless(self, peer_id: int) -> bool:
        """Whether all of an outbound peer's chain has too little work, while the first sync needs better peers."""
        peer = self._peers[peer_id]
        chain, best = self._chain, peer.chain.best_known
        return (
            peer.guarded
            and chain.is_initial_block_download
            and best is not None
            and best.chain_work < chain.network.minimum_chain_work
        )

    def is_protected(self, peer_id: int) -> bool:
        """Whether an outbound peer is never dropped for falling behind."""
        return peer_id in self._peers and self._peers[peer_id].protected

    def _may_ask(self, peer: _Peer, now: float) -> bool:
        """At most one unanswered request for headers at a time (Core: MaybeSendGetHeaders)."""
        if peer.asked_at is not None and now - peer.asked_at <= HEADERS_RESPONSE_TIME:
            return False
        peer.asked_at = now
        return True
