"""Closing and opening again; flushes; what a crash leaves behind."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.networks import REGTEST
from altyn.node.chain.stores import Stores
from altyn.node.storage.errors import StoreError


async def test_a_chain_opens_again_where_it_was_closed(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a103; a101 b102..b102")
    payment = spend(coin(drawing["a1"]))
    drawing.extend("a103 a104", [payment], fees=1000)
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("a1..a104 b102"))
        before = [(entry.hash, entry.status, entry.chain_tx_count) for entry in chain.tree]
    async with open_chain(tmp_path) as chain:
        assert chain.tip.hash == drawing["a104"].hash
        assert sorted((entry.hash, entry.status, entry.chain_tx_count) for entry in chain.tree) == sorted(before)
        assert coins_of(chain) == replay(drawing.line("a1..a104"))
        assert chain.read_block(chain.tip) == drawing["a104"]
        assert chain.read_spent(chain.tip)[1] == [(coin(drawing["a1"]).output, 1, True)]
        await add_all(chain, drawing.extend("b102 b103..b105"))
        assert chain.tip.hash == drawing["b105"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a101 b102..b105"))


async def test_invalid_blocks_are_remembered_over_a_restart(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a3; a1 b2")
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("a1..a3 b2"))
        await chain.invalidate(chain.active(2))
        assert chain.tip.hash == drawing["b2"].hash
    async with open_chain(tmp_path) as chain:
        assert chain.tip.hash == drawing["b2"].hash
        assert chain.tree.get(drawing["a3"].hash).is_failed
        await chain.reconsider(chain.tree.get(drawing["a2"].hash))
        assert chain.tip.hash == drawing["a3"].hash


def crash(folder: Path, to: Path) -> Path:
    """Copy a folder that is in use: what a killed process would leave."""
    shutil.copytree(folder, to)
    return to


async def test_blocks_behind_the_last_flush_are_found_again(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a6; a3 b4..b9")
    async with open_chain(tmp_path / "one") as chain:
        await add_all(chain, drawing.line("a1..a4"))
        await chain.flush()
        await add_all(chain, drawing.line("a5..a6 b4..b9"))
        left = crash(tmp_path / "one", tmp_path / "two")
    async with open_chain(left) as chain:
        assert chain.tip.hash == drawing["b9"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a3 b4..b9"))


async def test_a_torn_record_at_the_end_is_cut_off(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a6")
    async with open_chain(tmp_path / "one") as chain:
        await add_all(chain, drawing.line("a1..a4"))
        await chain.flush()
        await add_all(chain, drawing.line("a5..a6"))
        left = crash(tmp_path / "one", tmp_path / "two")
    file = left / "regtest" / "blocks" / "blk00000.dat"
    whole = file.read_bytes()
    for cut in (1, 7, len(drawing["a6"].raw), len(drawing["a6"].raw) + 7):
        again = crash(left, tmp_path / f"cut{cut}")
        (again / "regtest" / "blocks" / "blk00000.dat").write_bytes(whole[:-cut])
        async with open_chain(again) as chain:
            assert chain.tip.hash == drawing["a5"].hash
            await add_all(chain, drawing.line("a6"))
            assert chain.tip.hash == drawing["a6"].hash
        async with open_chain(again) as chain:
            assert chain.tip.hash == drawing["a6"].hash


async def test_a_torn_witness_costs_its_block_only(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a101")
    drawing.extend("a101 a102", [spend(coin(drawing["a1"]))])
    drawing.extend("a102 a103")
    async with open_chain(tmp_path / "one") as chain:
        await chain.flush()
        await add_all(chain, drawing.line("a1..a103"))
        left = crash(tmp_path / "one", tmp_path / "two")
    file = left / "regtest" / "blocks" / "blk00000.dat"
    whole = bytearray(file.read_bytes())
    whole[whole.index(drawing["a102"].raw) + len(drawing["a102"].raw) - 5] ^= 1  # before the lock time: OP_TRUE
    file.write_bytes(whole)
    for _ in range(2):
        async with open_chain(left) as chain:
            assert chain.tip.hash == drawing["a101"].hash
    async with open_chain(left) as chain:
        await add_all(chain, drawing.line("a102..a103"))
        assert chain.tip.hash == drawing["a103"].hash


async def test_a_block_file_shorter_than_the_index_is_named(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a6")
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("a1..a6"))
    file = tmp_path / "regtest" / "blocks" / "blk00000.dat"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"blk00000.dat in the blocks folder is damaged"):
        async with open_chain(tmp_path):
            pass


@pytest.mark.parametrize("step", ["flush-begin", "flush-files", "flush-headers", "flush-coins", "flush-indexes"])
async def test_a_crash_at_any_step_of_a_flush_loses_nothing(
    open_chain: Any, add_all: Any, tmp_path: Path, step: str
) -> None:
    drawing = builders.chain("g a1..a104; a102 b103..b106")
    drawing.extend("a104 a105", [spend(coin(drawing["a1"]))])
    drawing.extend("b106 b107", [spend(coin(drawing["a1"]), fee=7)])
    copies: list[Path] = []

    def checkpoint(name: str) -> None:
        if name == step:
            copies.append(crash(tmp_path / "one", tmp_path / f"copy{len(copies)}"))

    async with open_chain(tmp_path / "one", checkpoint=checkpoint, filter_index=True) as chain:
        await add_all(chain, drawing.line("a1..a105"))
        await chain.flush()
        await add_all(chain, drawing.line("b103..b106"))
        await chain.flush()
        await add_all(chain, drawing.line("b107"))
    assert len(copies) == 3
    lines = ("a1..a105", "a1..a102 b103..b106", "a1..a102 b103..b107")
    for copy, line in zip(copies, lines, strict=True):
        async with open_chain(copy, filter_index=True) as chain:
            blocks = drawing.line(line)
            assert chain.tip.hash == blocks[-1].hash
            assert coins_of(chain) == replay(blocks)
            await caught_up(chain, chain.filters)
            assert chain.filters.get(chain.tip.height, chain.tip.hash) is not None


@pytest.mark.parametrize("background", [True, False], ids=["by the task", "in place"])
async def test_a_full_cache_is_flushed_while_blocks_go_on(
    open_chain: Any, add_all: Any, tmp_path: Path, background: bool
) -> None:
    drawing = builders.chain("g a1..a200")
    steps: list[str] = []
    async with open_chain(tmp_path, cache_size=20_000, checkpoint=steps.append, background=background) as chain:
        await add_all(chain, drawing.line("a1..a200"))
        assert steps.count("flush-begin") >= 3
        assert chain.coins.size < 20_000
        assert coins_of(chain) == replay(drawing.line("a1..a200"))
    async with open_chain(tmp_path) as chain:
        assert coins_of(chain) == replay(drawing.line("a1..a200"))


async def test_what_is_in_memory_is_flushed_when_time_has_passed(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a5")
    flushed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def checkpoint(name: str) -> None:
        if name == "flush-end":
            loop.call_soon_threadsafe(flushed.set)

    async with open_chain(tmp_path, checkpoint=checkpoint, flush_interval=0.05) as chain:
        await add_all(chain, drawing.line("a1..a5"))
        flushed.clear()
        async with asyncio.timeout(10):
            while chain.coins.size:
                await flushed.wait()
                flushed.clear()


async def test_a_failed_flush_ends_the_chain_and_keeps_what_was_durable(
    open_chain: Any, add_all: Any, tmp_path: Path
) -> None:
    drawing = builders.chain("g a1..a4")

    def checkpoint(name: str) -> None:
        if name == "flush-coins" and armed:
            raise StoreError("no space left on device")

    armed: list[bool] = []

    async def use() -> None:
        async with open_chain(tmp_path, checkpoint=checkpoint) as chain:
            await add_all(chain, drawing.line("a1..a2"))
            await chain.flush()
            await add_all(chain, drawing.line("a3"))
            armed.append(True)
            await chain.flush()

    with pytest.raises(StoreError, match="no space"):
        await use()
    armed.clear()
    async with open_chain(tmp_path) as chain:
        assert chain.tip.hash == drawing["a3"].hash
        await add_all(chain, drawing.line("a4"))


async def test_stores_that_contradict_each_other_are_refused(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a4")
    async with open_chain(tmp_path / "one") as chain:
        await add_all(chain, drawing.line("a1..a2"))
    stores = Stores.in_memory(REGTEST)
    stores.coins.write(drawing["a4"].hash, [])
    with pytest.raises(StoreError, match="the coins stand at block"):
        async with open_chain(stores=stores):
            pass
    assert stores.coins.best_block == drawing["a4"].hash


async def test_reading_goes_on_while_a_flush_is_written(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a10")
    seen: list[int] = []
    chains: list[Any] = []

    def checkpoint(name: str) -> None:
        if name == "flush-coins" and chains:  # the layer is frozen, the database does not have it yet
            seen.append(len(coins_of(chains[0])))

    async with open_chain(checkpoint=checkpoint) as chain:
        chains.append(chain)
        await add_all(chain, drawing.line("a1..a10"))
        await chain.flush()
        assert seen == [10]
        assert chain.coins.size == 0
        chains.clear()


async def test_a_chain_closed_in_the_middle_of_a_flush_ends_it_first(
    open_chain: Any, add_all: Any, tmp_path: Path
) -> None:
    drawing = builders.chain("g a1..a3")
    writing, go_on = threading.Event(), threading.Event()

    def checkpoint(name: str) -> None:
        if name == "flush-coins" and not writing.is_set():
            writing.set()
            go_on.wait(10)

    async with open_chain(tmp_path, checkpoint=checkpoint) as chain:
        await add_all(chain, drawing.line("a1..a2"))
        flush = asyncio.create_task(chain.flush())
        await asyncio.get_running_loop().run_in_executor(None, writing.wait, 10)
        flush.cancel()
        await add_all(chain, drawing.line("a3"))
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await flush
    async with open_chain(tmp_path) as chain:
        assert chain.tip.hash == drawing["a3"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a3"))
