"""No space left at any of the places that write: the chain stops and says so, and has all that it accepted."""

import asyncio
import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import plyvel
import pytest
from crash_scenario import NETWORK, Scenario, go_on, opened
from node_chain_tools import coins_of

from altyn.consensus.errors import ValidationError
from altyn.node.storage.errors import StoreError
from altyn.node.storage.kv import Batch, LevelDb

PLACES = {"quick": 25, "slow": 1000, "exhaustive": 1000}[os.environ.get("ALTYN_EFFORT", "quick")]


class Disk:
    """The real disk, full from a certain write on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.full_at = 1 << 60
        write, sync, batch = os.pwrite, os.fsync, LevelDb.batch

        def full_write(handle: int, data: bytes, offset: int) -> int:
            if self._is_full():
                if self.writes == self.full_at and len(data) > 1:  # some of it still fits
                    return write(handle, data[: len(data) // 2], offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(handle, data, offset)

        def full_sync(handle: int) -> None:
            if self._is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(handle)

        @contextmanager
        def full_batch(database: LevelDb) -> Iterator[Batch]:
            if self._is_full():
                with database._errors():
                    raise plyvel.IOError(b"IO error: 000003.log: " + os.strerror(errno.ENOSPC).encode())
            with batch(database) as changes:
                yield changes

        monkeypatch.setattr(os, "pwrite", full_write)
        monkeypatch.setattr(os, "fsync", full_sync)
        monkeypatch.setattr(LevelDb, "batch", full_batch)

    def _is_full(self) -> bool:
        self.writes += 1
        return self.writes >= self.full_at


async def play(scenario: Scenario, folder: Path, acknowledged: Callable[[bytes], None]) -> None:
    """Hand in all blocks of the scenario and tell of every one that was taken."""
    async with opened(folder) as chain:
        for names in scenario.portions:
            blocks = [scenario.blocks[name] for name in names]
            for block in sorted(blocks, key=lambda block: scenario.height(block.hash)):
                await chain.add_headers([block.header])
            for block in blocks:
                try:
                    await chain.add_block(block)
                except ValidationError:
                    assert block is scenario.blocks["x10"]
                acknowledged(chain.tip.hash)
            await chain.flush()


@pytest.mark.timeout(600)
async def test_a_full_disk_stops_the_chain_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario()
    disk = Disk(monkeypatch)
    await play(scenario, tmp_path / "measured", lambda tip: None)
    total = disk.writes
    assert total > 60
    for number in sorted(random.Random(3).sample(range(3, total), min(PLACES, total - 3))):
        folder = tmp_path / str(number)
        disk.writes, disk.full_at = 0, number
        tips = [NETWORK.genesis.hash]
        with pytest.raises(StoreError, match=r"the disk is full: make room and start again"):
            async with asyncio.timeout(20):  # who handed in a block must hear of it
                await play(scenario, folder, tips.append)
        disk.full_at = 1 << 60
        async with opened(folder) as chain:
            assert scenario.height(chain.tip.hash) >= scenario.height(tips[-1]), number
            assert coins_of(chain) == scenario.coins(chain.tip.hash), number
            await go_on(scenario, chain)
