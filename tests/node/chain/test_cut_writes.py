"""A crash between two writes, or inside one, with and without what was not synced: the chain comes back and goes on."""

import os
import random
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from crash_scenario import NETWORK, Scenario, go_on, opened, play
from crash_stores import Batched, Machine, Reached, Removed, Step, Synced, Written
from node_chain_tools import coins_of

CASES = {"quick": 300, "slow": 5_000, "exhaustive": 1 << 30}[os.environ.get("ALTYN_EFFORT", "quick")]
"""Crashes to try, of some ten thousand there are; half as many of a node that prunes."""
LOG_CUTS = {"quick": 1, "slow": 15, "exhaustive": 150}[os.environ.get("ALTYN_EFFORT", "quick")]
"""Places to cut LevelDB's log at, for every batch."""
SECTORS = (0, 16, 128, 512)
"""What a disk writes at once, in bytes; 0: it wrote nothing since it was synced."""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario()


async def recorded(scenario: Scenario, *, prunes: bool = False) -> list[Step]:
    """Return all that the scenario writes."""
    machine = Machine.new()
    async with opened(machine, prunes=prunes) as chain:
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


def some(journal: list[Step], chance: random.Random, cases: int) -> list[Crash]:
    """Choose `cases` of them, at least one for every step, in order."""
    every = list(crashes(journal))
    if len(every) <= cases:
        return every
    by_step: dict[int, list[Crash]] = {}
    for one in every:
        by_step.setdefault(one.steps, []).append(one)
    chosen = {chance.choice(ones) for ones in by_step.values()}
    chosen |= set(chance.sample(every, max(0, cases - len(chosen))))
    return sorted(chosen, key=every.index)


async def check(
    machine: Machine, scenario: Scenario, floor: bytes, chance: random.Random, *, again: bool, prunes: bool
) -> None:
    """Start after a crash: the tip is at least `floor`, the coins are its own, and sync goes on to the end."""
    async with opened(machine, prunes=prunes) as chain:
        gone = set(chain._stores.headers.pruned_files())
        assert not any(int(name[3:8]) in gone for name in machine.disk.names())
        assert scenario.height(chain.tip.hash) >= scenario.height(floor)
        assert coins_of(chain) == scenario.coins(chain.tip.hash)
        if again:  # what was found is written now, and must not be lost any more
            await chain.flush()
            reached = chain.tip.hash
            machine = machine.copied()
            machine.disk.lose(chance, 0)
            await check(machine, scenario, reached, chance, again=False, prunes=prunes)
            return
        await go_on(scenario, chain)
    machine.disk.lose(chance, 0)
    async with opened(machine, prunes=prunes) as chain:
        assert chain.tip.hash == scenario.last.hash
        assert coins_of(chain) == scenario.coins(chain.tip.hash)
        assert chain.read_spent(chain.tip)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("prunes", [False, True], ids=["keeps all blocks", "prunes"])
async def test_a_crash_at_any_write_loses_nothing(scenario: Scenario, prunes: bool) -> None:
    journal = await recorded(scenario, prunes=prunes)
    assert any(isinstance(step, Removed) for step in journal) is prunes
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    machine, done = Machine.new(), 0
    reached = written = NETWORK.genesis.hash
    for crash in some(journal, chance, CASES // 2 if prunes else CASES):
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
            await check(fork, scenario, floor, chance, again=chance.random() < 0.5, prunes=prunes)
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
