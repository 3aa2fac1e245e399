"""Which transaction to ask of whom, and when; a machine without I/O (Core: txrequest, txdownload)."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

MAX_ANNOUNCEMENTS_PER_PEER = 5000
MAX_IN_FLIGHT_PER_PEER = 100
"""Requests above which a peer counts as overloaded."""
REQUEST_TIMEOUT = 60.0
"""Seconds until a transaction that a peer did not send is asked of another."""


@dataclass(frozen=True, slots=True)
class RequestDelays:
    """Seconds to wait for a better source before asking (Core's values)."""

    txid_relay: float = 2.0
    """For an announcement by txid, while there are peers that announce by wtxid."""
    not_preferred: float = 2.0
    """For inbound peers: an outbound one is less likely to be an attacker's."""
    overloaded: float = 2.0
    """For a peer that owes us many already."""


class _State(Enum):
    WAITING = auto()
    """Announced; its delay is not over."""
    READY = auto()
    REQUESTED = auto()
    DONE = auto()
    """Asked and answered, refused or too late: not asked again for this transaction."""


@dataclass(slots=True)
class _Announcement:
    is_wtxid: bool
    rank: tuple[bool, float]
    """The lowest of the ready ones is asked: preferred peers first, among equals chance decides."""
    number: int
    state: _State = _State.WAITING


@dataclass(slots=True)
class _Transaction:
    announcements: dict[int, _Announcement] = field(default_factory=dict)
    requested: int | None = None
    best: int | None = None


_Timer = tuple[float, int, int, bytes, _State]
_SPARE_TIMERS = 10_000


class TransactionRequests:
    """Asks for each announced transaction at one peer at a time.

    Transactions are known by the hash they were announced with, txid or wtxid. Times are seconds of the node's clock.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._transactions: dict[bytes, _Transaction] = {}
        self._by_peer: dict[int, dict[bytes, None]] = {}
        self._best: dict[int, dict[bytes, None]] = {}
        self._in_flight: dict[int, int] = {}
        self._timers: list[_Timer] = []
        self._most_timers = _SPARE_TIMERS
        self._number = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_peer.values()))

    def count(self, peer_id: int) -> int:
        """Return how many announcements of the peer are remembered."""
        return len(self._by_peer.get(peer_id, ()))

    def in_flight(self, peer_id: int) -> int:
        """Return how many requests the peer has not answered."""
        return self._in_flight.get(peer_id, 0)

    def announced(self, peer_id: int, tx_hash: bytes, *, is_wtxid: bool, preferred: bool, ready_at: float) -> None:
        """Remember that the peer has the transaction; it may be asked for it from `ready_at` on."""
        tx = self._transactions.setdefault(tx_hash, _Transaction())
        if peer_id in tx.announcements:
            return
        self._number += 1
        rank = (not preferred, self._random.random())
        tx.announcements[peer_id] = _Announcement(is_wtxid, rank, self._number)
        self._by_peer.setdefault(peer_id, {})[tx_hash] = None
        self._set_timer((ready_at, self._number, peer_id, tx_hash, _State.WAITING))

    def requestable(self, peer_id: int, now: float) -> list[tuple[bytes, bool]]:
        """Return the hashes to ask of the peer now, each with whether it is a wtxid, in the order of announcement."""
        self._advance(now)
        hashes = self._best.get(peer_id)
        if not hashes:
            return []
        found = [(self._transactions[tx_hash].announcements[peer_id], tx_hash) for tx_hash in hashes]
        found.sort(key=lambda pair: pair[0].number)
        return [(tx_hash, announcement.is_wtxid) for announcement, tx_hash in found]

    def requested(self, peer_id: int, tx_hash: bytes, expires_at: float) -> None:
        """Note that the peer was asked; nobody else is until it answers, leaves, or `expires_at` has passed."""
        tx = self._transactions[tx_hash]
        announcement = tx.announcements[peer_id]
        announcement.state = _State.REQUESTED
        tx.requested = peer_id
        self._set_best(tx_hash, tx, None)
        self._in_flight[peer_id] = self._in_flight.get(peer_id, 0) + 1
        self._set_timer((expires_at, announcement.number, peer_id, tx_hash, _State.REQUESTED))

    def received(self, peer_id: int, tx_hash: bytes) -> None:
        """Note that the peer answered, be it with the transaction or with `notfound`."""
        tx = self._transactions.get(tx_hash)
        if tx is not None and peer_id in tx.announcements:
            self._finish(tx_hash, tx, peer_id)

    def forget(self, tx_hash: bytes) -> None:
        """Drop all announcements of a transaction that is no longer wanted: accepted, or refused for good."""
        tx = self._transactions.pop(tx_hash, None)
        if tx is None:
            return
        self._set_best(tx_hash, tx, None)
        if tx.requested is not None:
            self._in_flight[tx.requested] -= 1
        for peer_id in tx.announcements:
            self._by_peer[peer_id].pop(tx_hash)

    def forget_all(self, hashes: Iterable[bytes]) -> None:
        """Do so for all that a block settles."""
        for tx_hash in self._transactions.keys() & hashes:
            self.forget(tx_hash)

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left; what it was asked for may be asked of others."""
        for tx_hash in list(self._by_peer.get(peer_id, ())):
            tx = self._transactions.get(tx_hash)
            if tx is None:
                continue
            self._finish(tx_hash, tx, peer_id)
            if tx_hash in self._transactions:
                del tx.announcements[peer_id]
        for table in (self._by_peer, self._best, self._in_flight):
            table.pop(peer_id, None)

    def _set_timer(self, timer: _Timer) -> None:
        """Remember when to look again; throw away those without a meaning before they outnumber the others."""
        heapq.heappush(self._timers, timer)
        if len(self._timers) > self._most_timers:
            self._timers = [each for each in self._timers if self._matters(each)]
            heapq.heapify(self._timers)
            self._most_timers = 2 * len(self._timers) + _SPARE_TIMERS

    def _matters(self, timer: _Timer) -> bool:
        _, number, peer_id, tx_hash, expected = timer
        tx = self._transactions.get(tx_hash)
        announcement = tx.announcements.get(peer_id) if tx else None
        return announcement is not None and announcement.number == number and announcement.state is expected

    def _advance(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)
            if not self._matters(timer):
                continue
            _, _, peer_id, tx_hash, expected = timer
            tx = self._transactions[tx_hash]
            announcement = tx.announcements[peer_id]
            if expected is _State.REQUESTED:
                self._finish(tx_hash, tx, peer_id)
            else:
                announcement.state = _State.READY
                self._choose(tx_hash, tx)

    def _finish(self, tx_hash: bytes, tx: _Transaction, peer_id: int) -> None:
        announcement = tx.announcements[peer_id]
        announcement.state = _State.DONE
        if tx.requested == peer_id:
            tx.requested = None
            self._in_flight[peer_id] -= 1
        if all(other.state is _State.DONE for other in tx.announcements.values()):
            self.forget(tx_hash)
        else:
            self._choose(tx_hash, tx)

    def _choose(self, tx_hash: bytes, tx: _Transaction) -> None:
        ready = [(each.rank, peer_id) for peer_id, each in tx.announcements.items() if each.state is _State.READY]
        self._set_best(tx_hash, tx, min(ready)[1] if ready and tx.requested is None else None)

    def _set_best(self, tx_hash: bytes, tx: _Transaction, peer_id: int | None) -> None:
        if tx.best is not None:
            self._best[tx.best].pop(tx_hash)
        tx.best = peer_id
        if peer_id is not None:
            self._best.setdefault(peer_id, {})[tx_hash] = None


class RecentHashes:
    """The last hashes put in, at least `size` and at most twice as many; bounded, and exact as long as it remembers."""

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, item: bytes) -> None:
        self._new.add(item)
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()

    def update(self, items: Iterable[bytes]) -> None:
        """Put in all of a block's; so many may be remembered beyond the size."""
        self._new.update(items)
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()

    def clear(self) -> None:
        self._new.clear()
        self._old.clear()

    def __contains__(self, item: object) -> bool:
        return item in self._new or item in self._old

    def __len__(self) -> int:
        return len(self._new | self._old)
