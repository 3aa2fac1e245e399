"""How far the first synchronisation is, and a line of the log about it every few seconds."""

import logging
from typing import Protocol

from altyn.consensus.networks import Network
from altyn.node.chain.active import ActiveChain
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import BlockConnected
from altyn.p2p.clock import Clock

log = logging.getLogger(__name__)

_INTERVAL = 5.0
"""Seconds between two lines."""


class SyncState:
    """Whether the active chain has caught up with the world, and how far it is, as far as can be known from here."""

    def __init__(self, active: ActiveChain, network: Network, clock: Clock, max_tip_age: int) -> None:
        """A tip older than `max_tip_age` seconds means that there is more to come."""
        self._active = active
        self._network = network
        self._clock = clock
        self._max_tip_age = max_tip_age
        self._is_synchronised = False

    @property
    def is_initial_block_download(self) -> bool:
        """Whether the tip has not been recent and worked enough since the start (Core: IsInitialBlockDownload)."""
        self.note()
        return not self._is_synchronised

    def note(self) -> None:
        """Look whether the tip is recent and worked enough: having been so once is enough."""
        if not self._is_synchronised:
            tip = self._active.tip
            recent = tip.time >= self._clock.now() - self._max_tip_age
            self._is_synchronised = recent and tip.chain_work >= self._network.minimum_chain_work

    def progress_at(self, tip: Entry) -> float:
        """How much of all transactions is before or in the block `tip`, guessed (Core: GuessVerificationProgress)."""
        known_until, known, rate = self._network.known_transactions
        done, now = tip.chain_tx_count, self._clock.now()
        if done <= known:
            total = known + (now - known_until) * rate
        else:
            total = done + (now - tip.time) * rate
        return min(done / total, 1.0) if total > 0 else 1.0


class Synchronising(Protocol):
    """The part of a chain that its progress is read from."""

    @property
    def tip(self) -> Entry: ...

    @property
    def tree(self) -> HeaderTree: ...

    @property
    def is_initial_block_download(self) -> bool: ...

    @property
    def verification_progress(self) -> float: ...


class SyncProgress:
    """Writes the lines while blocks are connected; to be subscribed to the chain's events."""

    def __init__(self, chain: Synchronising, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._mark()

    def _mark(self) -> None:
        tip = self._chain.tip
        self._then = self._clock.monotonic()
        self._height, self._transactions, self._done = tip.height, tip.chain_tx_count, self._fraction()

    def _fraction(self) -> float:
        """Return how much is done, from 0 to 1: of the transactions guessed, or of the headers if that is less."""
        best = self._chain.tree.best_header.height
        by_height = self._chain.tip.height / best if best else 1.0
        return min(self._chain.verification_progress, by_height)

    def __call__(self, event: object) -> None:
        """Receive an event."""
        if not isinstance(event, BlockConnected):
            return
        passed = self._clock.monotonic() - self._then
        if passed < _INTERVAL:
            return
        if self._chain.is_initial_block_download:
            log.info("%s", self._line(passed))
        self._mark()

    def _line(self, passed: float) -> str:
        tip, done = self._chain.tip, self._fraction()
        blocks, transactions = tip.height - self._height, tip.chain_tx_count - self._transactions
        gained = done - self._done
        left = f", about {duration((1 - done) / gained * passed)} left" if gained > 0 else ""
        return (
            f"synchronising: block {tip.height:,} of {self._chain.tree.best_header.height:,}, "
            f"{tip.chain_tx_count:,} transactions, {blocks / passed:,.0f} blocks/s, "
            f"{transactions / passed:,.0f} transactions/s, {done:.1%} done{left}"
        )


def duration(seconds: float) -> str:
    """Write a time in its two largest units: "3 d 4 h", "2 h 5 min", "7 min 30 s", "12 s"."""
    total = round(seconds)
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    parts: list[str] = []
    for name, size in units:
        count, total = divmod(total, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
