"""The miner: blocks that the chain takes, bounds on the search, and work that became worthless."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from builders import ANYONE, coin, spend

from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import REGTEST, custom_signet
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.stores import Stores
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.miner import Miner
from altyn.node.mining.search.hashlib import HashlibSearch
from altyn.node.mining.source import ChainTemplates
from altyn.node.offload import Inline, Threads
from altyn.node.writer import Writer
from altyn.p2p.clock import SystemClock

IMPOSSIBLE = 0x1C00FFFF
"""Compact target of a difficulty of 256: 2**40 hashes."""


async def test_blocks_are_mined_one_on_the_other(setup: Any) -> None:
    tx = spend(setup.coin(1))
    await setup.accept(tx)
    hashes = await setup.miner.generate(3, ANYONE)
    assert [block.hash for block in setup.chain.blocks()][2::-1] == hashes
    assert setup.chain.tip.height == 23
    assert len(setup.mempool) == 0


async def test_no_block_more_than_tries(setup: Any) -> None:
    assert await setup.miner.generate(1, ANYONE, max_tries=0) == []
    hashes = await setup.miner.generate(1000, ANYONE, max_tries=20)
    assert 1 <= len(hashes) <= 20


async def test_the_search_ends_after_the_tries_it_was_given(setup: Any) -> None:
    template = replace(await setup.templates.template(ANYONE), bits=IMPOSSIBLE)
    block, tried = await setup.miner.solve(template, 10_000)
    assert (block, tried) == (None, 10_000)


class Backend:
    """Finds nothing, and remembers where it looked."""

    name, pow_hash = "nothing", "sha256d"

    def __init__(self) -> None:
        self.ranges: list[tuple[bytes, int, int]] = []

    def search(self, header: bytes, target: int, first: int, count: int) -> int | None:
        self.ranges.append((header, first, count))
        return None


async def test_work_is_dropped_when_a_block_comes_from_elsewhere(setup: Any) -> None:
    template = await setup.templates.template(ANYONE)
    await setup.miner.generate(1, ANYONE)
    backend = Backend()
    block, tried = await Miner(setup.templates, backend, Inline(), setup.clock).solve(template, 10**9)
    assert (block, tried, backend.ranges) == (None, 0, [])


async def test_all_nonces_are_tried_before_the_coinbase_changes(setup: Any) -> None:
    backend = Backend()
    miner = Miner(setup.templates, backend, Inline(), setup.clock)
    miner._slice = 1 << 30
    template = await setup.templates.template(ANYONE)
    assert await miner.solve(template, (1 << 32) + 5) == (None, (1 << 32) + 5)
    assert [(first, count) for _, first, count in backend.ranges] == [
        *((part << 30, 1 << 30) for part in range(4)),
        (0, 5),
    ]
    assert backend.ranges[0][0] == template.to_block(0).header.raw
    assert backend.ranges[4][0] == template.to_block(1).header.raw


async def test_the_loop_goes_on_while_threads_search_and_the_search_can_be_cancelled(setup: Any) -> None:
    loop, searched = asyncio.get_running_loop(), asyncio.Event()

    class Telling(HashlibSearch):
        slices = 0

        def search(self, header: bytes, target: int, first: int, count: int) -> int | None:
            found = super().search(header, target, first, count)
            self.slices += 1
            if self.slices == 3:
                loop.call_soon_threadsafe(searched.set)
            return found

    threads = Threads(1)
    miner = Miner(setup.templates, Telling(), threads, SystemClock())
    template = replace(await setup.templates.template(ANYONE), bits=IMPOSSIBLE)
    task = asyncio.create_task(miner.solve(template, 1 << 40))
    async with asyncio.timeout(20):
        await searched.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    threads.close()
    assert miner.hashes_per_second > 1000


async def test_a_signet_that_wants_signatures_is_not_mined(setup: Any) -> None:
    setup.chain.network = replace(setup.chain.network, signet_challenge=b"\x00")
    with pytest.raises(ValidationError, match="bad-signet-blksig"):
        await setup.miner.generate(1, ANYONE)
    setup.chain.network = replace(setup.chain.network, signet_challenge=b"\x51")
    assert len(await setup.miner.generate(1, ANYONE)) == 1
    assert custom_signet(b"\x51").signet_challenge == b"\x51"


async def test_a_backend_for_another_proof_of_work_is_refused(setup: Any) -> None:
    setup.chain.network = replace(setup.chain.network, pow_hash="scrypt")
    with pytest.raises(ValueError, match="computes sha256d, this network needs scrypt"):
        Miner(setup.templates, HashlibSearch(), Inline(), setup.clock)


class StepTimer:
    """Time passes as it is waited for, up to an end at which waiting never returns."""

    def __init__(self, clock: Any, end: float) -> None:
        self.clock, self.end = clock, end
        self.done = asyncio.Event()

    def now(self) -> float:
        return float(self.clock.time)

    def monotonic(self) -> float:
        return float(self.clock.time)

    async def sleep_until(self, when: float) -> None:
        if when > self.end:
            self.done.set()
            await asyncio.Event().wait()
        self.clock.time = when


@pytest.mark.parametrize(("random", "blocks"), [(None, range(10, 11)), (Random(1), range(3, 25))])
async def test_a_local_network_gets_a_block_now_and_then(setup: Any, random: Random | None, blocks: range) -> None:
    timer = StepTimer(setup.clock, setup.clock.time + 305)
    task = asyncio.create_task(setup.miner.mine_every(30, ANYONE, timer, random))
    async with asyncio.timeout(20):
        await timer.done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert setup.chain.tip.height - 20 in blocks


async def test_a_refused_block_does_not_end_the_mining(
    setup: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([ValidationError("time-too-new")])
    add_block = setup.chain.add_block

    async def moody(block: Any) -> None:
        for error in refusals:
            raise error
        await add_block(block)

    monkeypatch.setattr(setup.chain, "add_block", moody)
    timer = StepTimer(setup.clock, setup.clock.time + 65)
    task = asyncio.create_task(setup.miner.mine_every(30, ANYONE, timer))
    async with asyncio.timeout(20):
        await timer.done.wait()
    task.cancel()
    assert setup.chain.tip.height == 21
    assert "time-too-new" in caplog.text


@asynccontextmanager
async def real_node() -> AsyncIterator[tuple[Chain, Mempool, Acceptance, Miner]]:
    """The same parts on a real chain, in memory."""
    clock, writer, threads, secp, events = SystemClock(), Writer(), Threads(2), load(), Events()
    network = replace(REGTEST, coinbase_maturity=5)
    async with Chain.open(
        network,
        Stores.in_memory(network),
        clock,
        writer,
        offload=threads,
        secp=secp,
        events=events,
        options=ChainOptions(),
    ) as chain:
        task = asyncio.create_task(writer.run())
        mempool = Mempool(PolicyLimits(), clock, events)
        acceptance = Acceptance(chain, mempool, writer, threads, secp)
        chain.add_listener(ChainFollower(mempool, acceptance))
        templates = ChainTemplates(chain, mempool, writer, clock, secp)
        yield chain, mempool, acceptance, Miner(templates, HashlibSearch(), threads, clock)
        task.cancel()
        await asyncio.wait([task])
    threads.close()


async def test_the_parts_work_together_on_a_real_chain() -> None:
    async with real_node() as (chain, mempool, acceptance, miner):
        first = await miner.generate(10, ANYONE)
        entry = chain.tree.get(first[0])
        assert entry is not None
        coinbase = chain.read_block(entry).transactions[0]
        tx = spend(coin(coinbase))
        await acceptance.accept(tx)
        child = spend(coin(tx))
        await acceptance.accept(child)
        (mined,) = await miner.generate(1, ANYONE)
        block = chain.read_block(chain.tip)
        assert [each.txid for each in block.transactions[1:]] == [tx.txid, child.txid]
        assert len(mempool) == 0
        with pytest.raises(ValidationError, match="txn-already-known"):
            await acceptance.accept(child)
        tip = chain.tree.get(mined)
        assert tip is not None
        await chain.invalidate(tip)
        assert {entry.txid for entry in mempool} == {tx.txid, child.txid}
        await miner.generate(2, b"\x51")
        assert chain.tip.height == 12
        assert len(mempool) == 0
