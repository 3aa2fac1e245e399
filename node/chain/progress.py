"""How far the first synchronisation is, in a line of the log every few seconds."""

import logging
from typing import Protocol

from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import BlockConnected
from altyn.p2p.clock import Clock

log = logging.getLogger(__name__)

_INTERVAL = 5.0
"""Seconds between two lines."""


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
