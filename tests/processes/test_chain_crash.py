"""A node killed at any instant starts again at a tip it had accepted, with the right coins, and goes on."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import caught_up, coins_hash, replay

from altyn.consensus.block import Block
from altyn.consensus.muhash import MuHash
from altyn.consensus.networks import REGTEST
from altyn.consensus.pow import work
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.coin_statistics import coin_element
from altyn.node.chain.prune import PruneOptions
from altyn.node.chain.stores import Stores
from altyn.node.offload import Threads
from altyn.node.storage.folder import DataFolder
from altyn.node.storage.layout import encode_coin
from altyn.node.writer import Writer

PROGRAM = Path(__file__).with_name("chain_node.py")
FLUSH = ("flush-begin", "flush-files", "flush-headers", "flush-coins", "flush-indexes")
PRUNING = ("prune-begin", "prune-files", "prune-end")
REORGANISATION = ("reorganise-begin", "disconnect")
MANY_KILLS = 500 if os.environ.get("ALTYN_EFFORT") == "exhaustive" else 50
SECONDS_A_KILL = 12.0


class LateClock:
    def now(self) -> float:
        return REGTEST.genesis.header.time + 1e7

    def monotonic(self) -> float:
        return 0.0


def scenario() -> list[Block]:
    """Draw about 200 blocks with payments, and every tenth height a branch that takes over."""
    drawing = builders.chain("g a1..a110")
    tip, blocks = "a110", drawing.line("a1..a110")
    for number in range(12):
        letter, height = chr(ord("b") + number), drawing.height(tip)
        money = coin(drawing[f"a{number + 1}"])
        first = drawing.extend(f"{tip} {letter}{height + 1}", [spend(money)])
        rest = drawing.extend(f"{letter}{height + 1} {letter}{height + 2}..{letter}{height + 4}")
        letter += "x"
        other = drawing.extend(f"{tip} {letter}{height + 1}..{letter}{height + 3}")
        last = drawing.extend(f"{letter}{height + 3} {letter}{height + 4}", [spend(money, fee=2000)])
        more = drawing.extend(f"{letter}{height + 4} {letter}{height + 5}")
        blocks += [*first, *rest, *other, *last, *more]
        tip = f"{letter}{height + 5}"
    return blocks


def as_file(blocks: list[Block]) -> bytes:
    """Write blocks the way the process reads them."""
    return b"".join(len(block.raw).to_bytes(4, "little") + block.raw for block in blocks)


class Victim:
    """The process, and what is known of it from its log."""

    def __init__(self, folder: Path, blocks: Path) -> None:
        self._folder, self._blocks = folder, blocks
        self.given: set[str] = set()
        self.tips: list[str] = []

    def run(self, log: Path, mode: str, seed: int, aim: tuple[str, int, float] | None, patience: float) -> bool:
        """Run it until it is dead; return whether it died inside a flush or a reorganisation."""
        arguments = [sys.executable, PROGRAM, self._folder, self._blocks, log, mode, seed, *(aim or ())]
        process = subprocess.Popen([str(argument) for argument in arguments])
        try:
            if aim is None:
                deadline = time.monotonic() + 30
                while "started" not in (log.read_text() if log.exists() else "") and time.monotonic() < deadline:
                    assert process.poll() is None, "ended by itself before it had started"
                with_deadline(process, patience)
            else:
                with_deadline(process, 30)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode in (0, -signal.SIGKILL), process.returncode
        return self._read(log)

    def _read(self, log: Path) -> bool:
        flushing = reorganising = False
        for line in log.read_text().splitlines():
            kind, *rest = line.split()
            if kind == "given":
                self.given.add(rest[0])
            elif kind == "tip":
                self.tips.append(rest[0])
            elif kind == "checkpoint":
                flushing = {"flush-begin": True, "flush-end": False}.get(rest[0], flushing)
                reorganising = {"reorganise-begin": True, "reorganise-end": False}.get(rest[0], reorganising)
        return flushing or reorganising


def with_deadline(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


async def examine(folder: Path, victim: Victim, pruned: Mapping[bytes, Block] | None = None) -> Any:
    """Open the folder as a restarted node would, and check what it holds; return its tip.

    `pruned` are the blocks, by hash, of a node that does not have all itself.
    """
    options = ChainOptions(
        filter_index=True,
        transaction_index=pruned is None,
        address_index=True,
        spender_index=True,
        coin_statistics_index=True,
        prune=PruneOptions() if pruned is not None else None,
    )
    threads, writer = Threads(2), Writer()
    with DataFolder.open(folder, REGTEST) as owner:
        async with Chain.open(
            REGTEST,
            Stores.open(owner),
            LateClock(),
            writer,
            offload=threads,
            secp=load(),
            options=options,
        ) as chain:
            tip = chain.tip
            assert tip.height == 0 or tip.hash.hex() in victim.given
            if victim.tips:  # not even one block is lost: the process died, not the machine
                last = chain.tree.get(bytes.fromhex(victim.tips[-1]))
                assert last is not None
                assert tip.chain_work >= last.chain_work
            line = [tip.ancestor(height) for height in range(1, tip.height + 1)]
            gone = chain.pruner.height if chain.pruner is not None else 0
            assert gone <= max(0, tip.height - 20)
            read = chain.read_block if pruned is None else lambda entry: pruned[entry.hash]
            blocks = [read(entry) for entry in line]
            assert [chain.read_block(entry) for entry in line[gone:]] == blocks[gone:]
            coins = replay(blocks)
            assert coins_hash(chain.coins) == coins_hash(coins.items())
            background = asyncio.create_task(chain.run())
            for index in chain.indexes:
                await caught_up(chain, index)
            addresses, statistics = chain.indexes.addresses, chain.indexes.coin_statistics
            assert addresses is not None
            assert statistics is not None
            assert {each.outpoint for each in addresses.unspent(builders.ANYONE, tip)} == coins.keys()
            after = statistics.get(tip)
            assert after is not None
            muhash = MuHash()
            muhash.insert(coin_element(outpoint, encode_coin(each)) for outpoint, each in coins.items())
            assert MuHash.from_state(after.muhash).digest() == muhash.digest()
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
    threads.close()
    return tip


async def kill_again_and_again(tmp_path: Path, kills: int, seed: int, seconds: float) -> None:
    chance = random.Random(seed)
    blocks = scenario()
    source, folder = tmp_path / "blocks", tmp_path / "node"
    victim = Victim(folder, source)
    inside = 0
    deadline = time.monotonic() + seconds
    for number in range(kills):
        assert time.monotonic() < deadline, f"only {number} kills in {seconds} seconds"
        mode, aim = ("sync", "mine")[number % 2], None
        if number % 3:
            where = FLUSH if mode == "sync" else FLUSH + REORGANISATION
            aim = (chance.choice(where), 1 if mode == "sync" else chance.randint(1, 4), chance.random() * 0.0004)
        source.write_bytes(as_file(blocks[: len(blocks) * (number + 1) // kills]))
        log = tmp_path / f"log{number}"
        inside += victim.run(log, mode, chance.randrange(1 << 30), aim, chance.random() * 0.5)
        await examine(folder, victim)
    assert inside * 4 >= kills, f"only {inside} of {kills} inside a flush or a reorganisation (seed {seed})"
    log = tmp_path / "last"
    victim.run(log, "sync", 1, None, 60)
    assert "done" in log.read_text()
    tip = await examine(folder, victim)
    assert tip.chain_work >= (len(blocks[:110]) + 12 * 5 + 1) * work(REGTEST.genesis.header.bits)


async def test_a_killed_node_loses_nothing(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path, kills=4, seed=int.from_bytes(os.urandom(4)), seconds=60)


@pytest.mark.slow
async def test_a_node_killed_while_it_prunes_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(1)
    blocks = scenario()
    by_hash = {block.hash: block for block in blocks}
    source, folder = tmp_path / "blocks", tmp_path / "node"
    source.write_bytes(as_file(blocks))
    victim = Victim(folder, source)
    for number, where in enumerate(PRUNING * 4):
        aim = where, chance.randint(1, 2), chance.random() * 0.0004
        victim.run(tmp_path / f"log{number}", "prune", chance.randrange(1 << 30), aim, 30)
        await examine(folder, victim, by_hash)
    victim.run(tmp_path / "last", "prune", 1, None, 60)
    assert "done" in (tmp_path / "last").read_text()
    await examine(folder, victim, by_hash)
    assert not (folder / "regtest" / "blocks" / "blk00000.dat").exists()


@pytest.mark.slow
@pytest.mark.timeout(2 * MANY_KILLS * SECONDS_A_KILL)
async def test_a_node_killed_many_times_loses_nothing(tmp_path: Path) -> None:
    seconds = MANY_KILLS * SECONDS_A_KILL
    await kill_again_and_again(tmp_path, kills=MANY_KILLS, seed=int.from_bytes(os.urandom(4)), seconds=seconds)
