"""What to announce to whom, and when: blocks at once, transactions in a trickle; machines without I/O."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from random import Random
from typing import Protocol

from altyn.consensus.block import Header
from altyn.consensus.limits import MAX_MONEY
from altyn.node.chain.tree import Entry
from altyn.node.sync.headers import PeerChain
from altyn.node.sync.transactions import RecentHashes

MAX_BLOCKS_TO_ANNOUNCE = 8
BROADCAST_TARGET = 70
"""Transactions announced at a time while few wait."""
BROADCAST_MAX = 1000
KNOWN_TRANSACTIONS = 5000
"""How many hashes are remembered as known to a peer."""
LAST_TOLD = 64
"""Announcements remembered until the peer asks; an inbound one may take two seconds. Older ones it has from others."""
FEE_FILTER_INTERVAL = 10 * 60.0
FEE_FILTER_MAX_DELAY = 5 * 60.0
"""Seconds: the mean time between two `feefilter`, and the longest until one that says something very different."""
_FEE_SCALE_START, _FEE_SCALE_END, _FEE_SCALE_STEP = 500.0, 1e7, 1.1


def _fee_scale() -> tuple[float, ...]:
    steps = [0.0]
    step = _FEE_SCALE_START
    while step <= _FEE_SCALE_END:
        steps.append(step)
        step *= _FEE_SCALE_STEP
    return tuple(steps)


FEE_SCALE = _fee_scale()
"""The values that a `feefilter` takes, satoshis per 1,000 virtual bytes (Core: FeeFilterRounder)."""
MAX_FEE_FILTER = int(FEE_SCALE[-1])
"""The top of the scale: no transactions at all, please."""


@dataclass(frozen=True, slots=True)
class TrickleTimes:
    """Mean seconds between announcements of transactions (Core: 5 for inbound peers, 2 for outbound ones)."""

    inbound: float = 5.0
    outbound: float = 2.0


class Relayed(Protocol):
    """What an announcement has to know of a transaction in the mempool."""

    @property
    def fee(self) -> int: ...

    @property
    def vsize(self) -> int: ...


def choose_block_announcement(
    waiting: Sequence[Entry],
    peer: PeerChain,
    is_active: Callable[[Entry], bool],
    *,
    prefers_headers: bool,
) -> tuple[list[Header], Entry | None]:
    """Return headers to send, or the entry to announce by `inv`; nothing if the peer knows all of it (BIP130).

    `waiting` are the new blocks of the active chain, oldest first. Headers go out only where the first connects to what
    the peer has, and only while all of them are still active.
    """
    if not waiting:
        return [], None
    headers: list[Header] = []
    by_inv = not prefers_headers or len(waiting) > MAX_BLOCKS_TO_ANNOUNCE
    last: Entry | None = None
    for entry in () if by_inv else waiting:
        if not is_active(entry) or (last is not None and entry.parent is not last):
            by_inv = True
            break
        last = entry
        if headers:
            headers.append(entry.header)
        elif peer.has(entry):
            continue
        elif entry.parent is None or peer.has(entry.parent):
            headers.append(entry.header)
        else:
            by_inv = True
            break
    if not by_inv:
        if headers:
            peer.best_sent = last
        return headers, None
    newest = waiting[-1]
    return [], None if peer.has(newest) else newest


@dataclass(slots=True)
class _Peer:
    inbound: bool
    by_wtxid: bool
    at_once: bool
    wants: bool
    fee_filter: int = 0
    waiting: dict[bytes, bytes] = field(default_factory=dict)
    """txid -> wtxid, in the order of acceptance, so that parents go first."""
    wants_all: bool = False
    """It asked for the whole mempool."""
    told: dict[bytes, bytes] = field(default_factory=dict)
    """Hash -> txid of the last that were announced to it, and that it did not ask for yet."""
    known: RecentHashes = field(default_factory=lambda: RecentHashes(KNOWN_TRANSACTIONS))
    next_time: float = 0.0
    told_until: int = 1
    """The number of the mempool's next change when it was last time to announce (Core: m_last_inv_sequence)."""


class TransactionRelay:
    """Announces transactions to each peer at random times, so that their origin does not show.

    Inbound peers share one timer: who connects more often learns no more. Times are seconds of the node's clock.
    """

    def __init__(self, random: Random, times: TrickleTimes | None = None) -> None:
        self._random = random
        self._times = times or TrickleTimes()
        self._peers: dict[int, _Peer] = {}
        self._next_inbound = 0.0

    def add(self, peer_id: int, *, inbound: bool, by_wtxid: bool, at_once: bool, wants: bool) -> None:
        """Take up a peer; `at_once` is for those with the noban permission, `wants` is the `relay` flag (BIP37)."""
        self._peers[peer_id] = _Peer(inbound, by_wtxid, at_once, wants)

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._peers.pop(peer_id, None)

    def set_fee_filter(self, peer_id: int, feerate: int) -> None:
        """Note the least feerate that the peer wants, satoshis per 1,000 virtual bytes (BIP133)."""
        if 0 <= feerate <= MAX_MONEY:
            self._peers[peer_id].fee_filter = feerate

    def fee_filter(self, peer_id: int) -> int:
        """Return what the peer asked for, satoshis per 1,000 virtual bytes; 0 for a peer that is not here."""
        peer = self._peers.get(peer_id)
        return peer.fee_filter if peer else 0

    def knows(self, peer_id: int, tx_hash: bytes) -> None:
        """Note that the peer has the transaction: it announced it, sent it or asked for it."""
        peer = self._peers[peer_id]
        peer.known.add(tx_hash)
        peer.told.pop(tx_hash, None)

    def announce(self, txid: bytes, wtxid: bytes) -> None:
        """Have a transaction of the mempool announced to every peer that does not have it."""
        for peer in self._peers.values():
            if peer.wants and (wtxid if peer.by_wtxid else txid) not in peer.known:
                peer.waiting[txid] = wtxid

    def may_be_asked(self, peer_id: int, sequence: int) -> bool:
        """Whether the peer may have what came into the mempool at `sequence`: not before it could have been announced.

        It may have come from elsewhere at that very moment, which is nobody's business (Core: info_for_relay).
        """
        return sequence < self._peers[peer_id].told_until

    def untold(self, peer_id: int) -> Iterator[bytes]:
        """Return the txids that the peer may lack: it is still to be told of them, or just was; newest first."""
        peer = self._peers.get(peer_id)
        return iter(()) if peer is None else chain(reversed(peer.waiting), reversed(peer.told.values()))

    def set_wants(self, peer_id: int) -> None:
        """Announce transactions to the peer from now on, whatever its `relay` flag said (BIP37)."""
        self._peers[peer_id].wants = True

    def wants(self, peer_id: int) -> bool:
        """Whether transactions are announced to the peer (RPC: getpeerinfo)."""
        return peer_id in self._peers and self._peers[peer_id].wants

    @property
    def listeners(self) -> int:
        """How many peers have transactions announced to them."""
        return sum(peer.wants for peer in self._peers.values())

    def set_wants_all(self, peer_id: int) -> None:
        """Announce the whole mempool to the peer the next time (BIP35)."""
        self._peers[peer_id].wants_all = True

    def due(
        self,
        peer_id: int,
        now: float,
        look_up: Callable[[bytes], Relayed | None],
        everything: Callable[[], Iterable[tuple[bytes, bytes]]] = tuple,
        *,
        sequence: int = 1,
    ) -> list[tuple[bytes, bool]]:
        """Return the hashes to announce now, each with whether it is a wtxid; `look_up` finds a txid in the mempool.

        `everything` lists the mempool by txid and wtxid; what `look_up` does not find is not for this peer.
        `sequence` is the number that the mempool's next change will have.
        """
        peer = self._peers[peer_id]
        is_time = peer.at_once
        if peer.next_time <= now:
            is_time = True
            peer.next_time = self._next_time(peer, now)
        if is_time:
            peer.told_until = sequence
        if not is_time or not (peer.waiting or peer.wants_all):
            return []
        most = min(BROADCAST_MAX, BROADCAST_TARGET + len(peer.waiting) // 1000 * 5)
        chosen: list[tuple[bytes, bool]] = []

        def choose(txid: bytes, tx_hash: bytes) -> None:
            entry = look_up(txid)
            if entry is not None and entry.fee * 1000 >= peer.fee_filter * entry.vsize:
                chosen.append((tx_hash, peer.by_wtxid))
                peer.known.add(tx_hash)
                peer.told[tx_hash] = txid

        if peer.wants_all:
            peer.wants_all = False
            for txid, wtxid in everything():
                peer.waiting.pop(txid, None)
                choose(txid, wtxid if peer.by_wtxid else txid)
            most += len(chosen)
        for txid in list(peer.waiting):
            if len(chosen) == most:
                break
            wtxid = peer.waiting.pop(txid)
            tx_hash = wtxid if peer.by_wtxid else txid
            if tx_hash not in peer.known:
                choose(txid, tx_hash)
        for tx_hash in list(islice(peer.told, max(len(peer.told) - LAST_TOLD, 0))):
            del peer.told[tx_hash]
        return chosen

    def _next_time(self, peer: _Peer, now: float) -> float:
        if not peer.inbound:
            return now + self._random.expovariate(1 / self._times.outbound)
        if self._next_inbound <= now:
            self._next_inbound = now + self._random.expovariate(1 / self._times.inbound)
        return self._next_inbound


class FeeFilterSender:
    """Tells one peer, from time to time, below which feerate we refuse transactions (BIP133).

    Feerates are satoshis per 1,000 virtual bytes, rounded on a coarse random scale to say little about the mempool.
    """

    def __init__(self, random: Random, least: int) -> None:
        self._random = random
        self._least = least
        self._sent = 0
        self._next_time = 0.0

    def due(self, now: float, current: int | None) -> int | None:
        """Return what to send now, if anything; `current` None stands for `no transactions at all`."""
        if current is not None and self._sent == MAX_FEE_FILTER:
            self._next_time = 0.0  # out of the initial download: take the stop sign away at once
        wanted = MAX_FEE_FILTER if current is None else current
        if now > self._next_time:
            value = MAX_FEE_FILTER if current is None else max(self._round(wanted), self._least)
            self._next_time = now + self._random.expovariate(1 / FEE_FILTER_INTERVAL)
            if value != self._sent:
                self._sent = value
                return value
        elif now + FEE_FILTER_MAX_DELAY < self._next_time and not 3 * self._sent <= 4 * wanted <= 16 * self._sent / 3:
            self._next_time = now + self._random.uniform(0, FEE_FILTER_MAX_DELAY)
        return None

    def _round(self, feerate: int) -> int:
        """Return a step of the scale near `feerate`; in two of three cases the one below."""
        index = bisect_left(FEE_SCALE, feerate)
        if index == len(FEE_SCALE) or (index and self._random.randrange(3)):
            index -= 1
        return int(FEE_SCALE[index])
