"""A crash between two writes, or inside one, with and without what was not synced: the chain comes back and goes on."""

import asyncio
import dataclasses
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import builders
import pytest
from builders import coin, spend
from crash_stores import Batched, Machine, Reached, Step, Synced, Written
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.stores import Stores
from altyn.node.events import BlockConnected, Events
from altyn.node.offload import Inline
from altyn.node.storage.folder import DataFolder
from altyn.node.writer import Writer

NETWORK = dataclasses.replace(REGTEST, coinbase_maturity=2)
SMALL_FILES = 1500
"""Bytes of a block file: about six blocks."""
CASES = {"quick": 300, "slow": 5_000, "exhaustive": 1 << 30}[os.environ.get("ALTYN_EFFORT", "quick")]
"""Crashes to try, of some ten thousand there are."""
LOG_CUTS = {"quick": 1, "slow": 15, "exhaustive": 1 << 30}[os.environ.get("ALTYN_EFFORT", "quick")]
"""Places to cut LevelDB's log at, for every batch."""
SECTORS = (0, 16, 128, 512)
"""What a disk writes at once, in bytes; 0: it wrote nothing since it was synced."""


class LateClock:
    def now(self) -> float:
        return REGTEST.genesis.header.time + 1e7

    def monotonic(self) -> float:
        return 0.0


class Scenario:
    """Blocks in portions, as they are handed in between two flushes, and the coins at each of them."""

    def __init__(self) -> None:
        drawing = builders.Drawing(NETWORK)
        drawing.extend("g a1..a5")
        drawing.extend("a5 a6", [spend(coin(drawing["a1"]))])
        drawing.extend("a6 a7..a8")
        drawing.extend("a5 b6", [spend(coin(drawing["a1"]), fee=7), spend(coin(drawing["a2"]))])
        drawing.extend("b6 b7..b8")
        drawing.extend("b8 b9", [spend(coin(drawing["b6"].transactions[2]))])
        drawing.extend("b9 b10")
        drawing.extend("b9 x10", fees=1)  # takes more than it may
        drawing.extend("x10 x11")
        drawing.extend("a8 c9..c10")
        drawing.extend("c10 c11", [spend(coin(drawing["a3"]))])
        drawing.extend("c11 c12..c13")
        drawing.extend("b10 d11..d13")
        drawing.extend("d13 d14", [spend([coin(drawing["b9"].transactions[1]), coin(drawing["b8"])])])
        order = "a1 a2 a3 | a4 a5 a6 a7 a8 | b6 b7 b9 b8 | b10 x11 x10 c9 c10 c11 | c13 c12 d11 | d12 d13 d14"
        self.portions = [portion.split() for portion in order.split("|")]
        self.blocks = drawing
        self.valid = [drawing[name] for portion in self.portions for name in portion if name[0] != "x"]
        self.last = drawing["d14"]
        self._parents = {block.hash: block for block in drawing.values()}

    def coins(self, tip: bytes) -> dict[OutPoint, Coin]:
        """Return what a replay from genesis leaves at a block."""
        line: list[Block] = []
        while tip != NETWORK.genesis.hash:
            line.append(self._parents[tip])
            tip = line[-1].header.prev_hash
        return replay(reversed(line))

    def height(self, block_hash: bytes) -> int:
        """Return the height of a block, which tells its work too: all are equally hard here."""
        height = 0
        while block_hash != NETWORK.genesis.hash:
            block_hash = self._parents[block_hash].header.prev_hash
            height += 1
        return height


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario()


@asynccontextmanager
async def opened(on: Machine | Path, checkpoint: Callable[[str], None] | None = None) -> AsyncIterator[Chain]:
    """Open a chain on a machine, in whose journal it writes its tips, or in a real folder."""
    writer, events = Writer(), Events()
    options = ChainOptions(filter_index=True, transaction_index=True)
    async with AsyncExitStack() as stack:
        if isinstance(on, Path):
            stores = Stores.open(stack.enter_context(DataFolder.open(on, NETWORK)))
        else:
            stores = Machine.stores(on, NETWORK, max_file_size=SMALL_FILES)
            journal = on.journal

            def told(event: object) -> None:
                if isinstance(event, BlockConnected):
                    journal.append(Reached(event.entry.hash))

            events.subscribe(told)
        chain = await stack.enter_async_context(
            Chain.open(
                NETWORK,
                stores,
                LateClock(),
                writer,
                offload=Inline(),
                secp=load(),
                events=events,
                options=options,
                checkpoint=checkpoint,
            )
        )
        running = asyncio.create_task(writer.run())
        try:
            yield chain
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def play(scenario: Scenario, chain: Chain) -> None:
    """Hand in all blocks, and flush after each portion."""
    for names in scenario.portions:
        blocks = [scenario.blocks[name] for name in names]
        for block in sorted(blocks, key=lambda block: scenario.height(block.hash)):
            await chain.add_headers([block.header])
        for block in blocks:
            try:
                await chain.add_block(block)
            except ValidationError:
                assert block is scenario.blocks["x10"]
        await chain.flush()
    assert chain.tip.hash == scenario.last.hash


async def recorded(scenario: Scenario) -> list[Step]:
    """Return all that the scenario writes."""
    machine = Machine.new()
    async with opened(machine) as chain:
        journal = machine.journal
        await play(scenario, chain)
    return journal


class Crash(NamedTuple):
    """After `steps` steps of the journal and `cut` bytes of the next, if that writes to a file."""

    steps: int
    cut: int
    sector: int | None
    """None if only the process dies; else see SECTORS."""


def crashes(journal: list[Step]) -> Iterator[Crash]:
    """Return every crash there is: at each byte of each write, and at each step the power."""
    for number, step in enumerate(journal):
        for cut in range(len(step.data) if isinstance(step, Written) else 1):
            yield Crash(number, cut, None)
        for sector in SECTORS:
            yield Crash(number, 0, sector)
    yield Crash(len(journal), 0, None)


def some(journal: list[Step], chance: random.Random) -> list[Crash]:
    """Choose CASES of them, at least one for every step, in order."""
    every = list(crashes(journal))
    if len(every) <= CASES:
        return every
    by_step: dict[int, list[Crash]] = {}
    for one in every:
        by_step.setdefault(one.steps, []).append(one)
    chosen = {chance.choice(ones) for ones in by_step.values()}
    chosen |= set(chance.sample(every, max(0, CASES - len(chosen))))
    return sorted(chosen, key=every.index)


async def go_on(scenario: Scenario, chain: Chain) -> None:
    """Sync to the end, whatever is there already."""
    for block in sorted(scenario.valid, key=lambda block: scenario.height(block.hash)):
        await chain.add_headers([block.header])
    for block in scenario.valid:
        await chain.add_block(block)
    assert chain.tip.hash == scenario.last.hash
    assert coins_of(chain) == scenario.coins(chain.tip.hash)
    background = asyncio.create_task(chain.run())
    for index in (chain.filters, chain.transactions):
        assert index is not None
        await caught_up(chain, index)
    background.cancel()
    await asyncio.gather(background, return_exceptions=True)


async def check(machine: Machine, scenario: Scenario, floor: bytes, chance: random.Random, again: bool) -> None:
    """Start after a crash: the tip is at least `floor`, the coins are its own, and sync goes on to the end."""
    async with opened(machine) as chain:
        assert scenario.height(chain.tip.hash) >= scenario.height(floor)
        assert coins_of(chain) == scenario.coins(chain.tip.hash)
        if again:  # what was found is written now, and must not be lost any more
            await chain.flush()
            reached = chain.tip.hash
            machine = machine.copied()
            machine.disk.lose(chance, 0)
            await check(machine, scenario, reached, chance, again=False)
            return
        await go_on(scenario, chain)
    machine.disk.lose(chance, 0)
    async with opened(machine) as chain:
        assert chain.tip.hash == scenario.last.hash
        assert coins_of(chain) == scenario.coins(chain.tip.hash)
        assert chain.read_spent(chain.tip)


@pytest.mark.timeout(1200)
async def test_a_crash_at_any_write_loses_nothing(scenario: Scenario) -> None:
    journal = await recorded(scenario)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    machine, done = Machine.new(), 0
    reached = written = NETWORK.genesis.hash
    for crash in some(journal, chance):
        while done < crash.steps:
            step = journal[done]
            machine.do(step)
            if isinstance(step, Reached):
                reached = step.block_hash
            elif isinstance(step, Batched) and step.name == "coins":
                written = dict(step.changes)[b"B"] or b""
            done += 1
        fork = machine.copied()
        following = journal[crash.steps] if crash.cut else None
        if isinstance(following, Written):
            fork.do(following._replace(data=following.data[: crash.cut]))
        if crash.sector is not None:
            fork.disk.lose(chance, crash.sector)
        floor = reached if crash.sector is None else written
        try:
            await check(fork, scenario, floor, chance, again=chance.random() < 0.5)
        except Exception as error:
            raise AssertionError(f"{crash} before {journal[crash.steps : crash.steps + 1]}, seed {seed}") from error


WRITTEN = {"flush-coins": ["blocks/index"], "flush-indexes": ["chainstate"], "flush-end": ["indexes"]}
"""Which databases are written before a checkpoint, and after the one before."""


@pytest.mark.timeout(600)
async def test_a_database_log_cut_in_its_last_batch_loses_that_batch_only(scenario: Scenario, tmp_path: Path) -> None:
    source = tmp_path / "source"
    chance = random.Random(1)
    before: list[Path] = []
    count = 0

    def checkpoint(name: str) -> None:
        if name in {"flush-headers", *WRITTEN}:
            before.append(tmp_path / f"{len(before)} {name}")
            shutil.copytree(source, before[-1])

    async with opened(source, checkpoint) as chain:
        await play(scenario, chain)
    heights = []
    for earlier, later in pairwise(before):
        for part in WRITTEN.get(later.name.split()[1], []):
            for log in (later / "regtest" / part).rglob("*.log"):
                place = log.relative_to(later)
                old_size, whole = (earlier / place).stat().st_size, log.read_bytes()
                if len(whole) == old_size:
                    continue
                sizes = range(old_size, len(whole) + 1)
                for size in chance.sample(sizes, min(LOG_CUTS, len(sizes))):
                    copy = tmp_path / "copy"
                    shutil.copytree(earlier, copy)
                    (copy / place).write_bytes(whole[:size])
                    async with opened(copy) as chain:
                        heights.append(chain.tip.height)
                        assert coins_of(chain) == scenario.coins(chain.tip.hash)
                        await go_on(scenario, chain)
                    shutil.rmtree(copy)
                    count += 1
    assert heights == sorted(heights)
    assert count >= 20


async def test_every_flush_goes_from_the_files_to_the_index_to_the_coins_to_the_indexes(scenario: Scenario) -> None:
    order = ["file", "headers", "coins", "index"]
    flushes, last = 0, -1
    unsynced: set[str] = set()
    for step in await recorded(scenario):
        match step:
            case Written(name, _, _):
                unsynced.add(name)
                last = -1
                continue
            case Synced(name):
                unsynced.discard(name)
                stage = 0
            case Batched(name, _):
                assert not unsynced, f"{name} was written before {unsynced}"
                stage = order.index(name) if name in order else 3
            case _:
                continue
        if stage < last:  # only a new flush may begin again
            assert last == 3
        flushes += stage == 2
        last = stage
    assert flushes >= 5
