"""Unspent outputs: what is read of them, and the layers of changes above the database."""

from collections.abc import Iterable
from typing import Protocol

from altyn.consensus.transaction import Coin, OutPoint


class CoinsView(Protocol):
    """Unspent outputs, to be read."""

    def get(self, outpoint: OutPoint) -> Coin | None:
        """Return the coin, or None if it is spent or never was."""
        ...

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        """Return those of `outpoints` that are unspent."""
        ...

    def __contains__(self, outpoint: object) -> bool: ...
