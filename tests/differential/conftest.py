"""Differential tests: the same blocks and transactions for Altyn and for a program made from Core's code."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from differential.duel import Duel, duel

ROUNDS = {"quick": 4, "slow": 30, "exhaustive": 400}[os.environ.get("ALTYN_EFFORT", "quick")]
"""How often each mutation is tried, and in proportion how many trees of blocks."""


class Arena:
    """Keeps a duel for many tests, and opens another when a test left the two in disagreement, or they grew old."""

    _OLDEST = 1000
    """Height at which the subsidy is still worth spending."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._duel: Duel | None = None

    def duel(self) -> Duel:
        """Return two chains at the same tip."""
        if self._duel is None or not self._duel.agrees or self._duel.ground.height > self._OLDEST:
            self.close()
            self._duel = self._stack.enter_context(duel())
        return self._duel

    def close(self) -> None:
        """End the duel."""
        self._duel = None
        self._stack.close()


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    """Chains that tests share: each builds on what those before left."""
    arena = Arena()
    yield arena
    arena.close()
