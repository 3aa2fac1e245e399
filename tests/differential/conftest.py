"""Differential tests: the same blocks and transactions for Altyn and for a program made from Core's code."""

import os
from collections.abc import Iterator

import pytest
from differential.arena import Arena, arena_of
from differential.duel import Duel, duel

ROUNDS = {"quick": 4, "slow": 30, "exhaustive": 400}[os.environ.get("ALTYN_EFFORT", "quick")]
"""How often each mutation is tried, and in proportion how many trees of blocks."""


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena[Duel]]:
    """The kernel and Altyn."""
    with arena_of(duel) as arena:
        yield arena
