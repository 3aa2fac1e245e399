"""A toy chain with a mempool, a source of templates and a miner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from builders import chain, coin
from toy_chain import ToyChain, ToyClock

from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import Transaction
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.miner import Miner
from altyn.node.mining.search.hashlib import HashlibSearch
from altyn.node.mining.source import ChainTemplates
from altyn.node.offload import Inline
from altyn.node.writer import Writer

HEIGHT = 20
NETWORK = replace(REGTEST, coinbase_maturity=5)
DRAWING = chain(f"g a1..a{HEIGHT}", NETWORK, start=1_699_990_000)


@dataclass
class Setup:
    """The parts; coinbases up to height 16 are mature."""

    chain: ToyChain
    clock: ToyClock
    mempool: Mempool
    acceptance: Acceptance
    templates: ChainTemplates
    miner: Miner
    writer: Writer

    def coin(self, height: int) -> Any:
        return coin(DRAWING[f"a{height}"])

    async def accept(self, *transactions: Transaction) -> None:
        for tx in transactions:
            await self.acceptance.accept(tx)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    toy: Any = ToyChain(NETWORK)
    clock, events, writer = ToyClock(), Events(), Writer()
    mempool = Mempool(PolicyLimits(min_relay_feerate=0), clock, events)
    acceptance = Acceptance(toy, mempool, writer, Inline(), toy.secp)
    toy.add_listener(ChainFollower(mempool, acceptance))
    for height in range(1, HEIGHT + 1):
        toy.connect(DRAWING[f"a{height}"])
    templates = ChainTemplates(toy, mempool, writer, clock, toy.secp)
    miner = Miner(templates, HashlibSearch(), Inline(), clock)
    task = asyncio.create_task(writer.run())
    yield Setup(toy, clock, mempool, acceptance, templates, miner, writer)
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
