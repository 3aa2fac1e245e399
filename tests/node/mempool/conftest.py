"""A mempool on a toy chain that holds coins to spend."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from builders import ANYONE, Drawing, Spendable, chain, coin
from toy_chain import ToyChain, ToyClock

from altyn.consensus.transaction import Transaction
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Inline
from altyn.node.writer import Writer

HEIGHT = 130
_START = 1_700_000_000 - HEIGHT * 60


@dataclass
class Setup:
    """The parts under test, and the coins that coinbases made, oldest first: the first 31 are mature."""

    chain: ToyChain
    clock: ToyClock
    events: Events
    mempool: Mempool
    acceptance: Acceptance
    follower: ChainFollower
    writer: Writer
    drawing: Drawing
    seen: list[Any] = field(default_factory=list)

    def coin(self, height: int) -> Spendable:
        return coin(self.drawing[f"a{height}"])

    async def accept(self, tx: Transaction, **options: Any) -> Any:
        return (await self.acceptance.accept(tx, **options)).entry

    def block(self, name: str, *transactions: Transaction, fees: int = 0) -> Any:
        """Draw a block on the last of `a`, or on what `name` says ("a130 b131"), and return it."""
        return self.drawing.extend(name, transactions, fees=fees)[-1]


@pytest.fixture(scope="session")
def drawing() -> Drawing:
    return chain(f"g a1..a{HEIGHT}", start=_START, script_pubkey=ANYONE)


@pytest.fixture
async def make(drawing: Drawing) -> AsyncIterator[Callable[..., Setup]]:
    tasks = []

    def build(**limits: Any) -> Setup:
        toy, clock, events, writer = ToyChain(), ToyClock(), Events(), Writer()
        mempool = Mempool(PolicyLimits(**limits), clock, events)
        acceptance = Acceptance(toy, mempool, writer, Inline(), toy.secp)  # type: ignore[arg-type]
        follower = ChainFollower(mempool, acceptance)
        own = Drawing(start=_START, script_pubkey=ANYONE)
        own.update(drawing)
        own._heights.update(drawing._heights)
        for height in range(1, HEIGHT + 1):
            toy.connect(own[f"a{height}"])
        toy.add_listener(follower)
        setup = Setup(toy, clock, events, mempool, acceptance, follower, writer, own)
        events.subscribe(setup.seen.append)
        tasks.append(asyncio.create_task(writer.run()))
        return setup

    yield build
    await asyncio.sleep(0)  # a task that never began would complain
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def setup(make: Callable[..., Setup]) -> Setup:
    return make()
