"""Old block files go when they may, and what they held is said to be pruned, over restarts too."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import builders
import pytest
from crash_stores import Machine
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.networks import REGTEST
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.prune import PruneOptions
from altyn.node.chain.reindex import forget_for_reindex, rebuild_index
from altyn.node.chain.stores import Stores
from altyn.node.storage.blocks import BlockFiles
from altyn.node.storage.disk import MemoryDisk
from altyn.node.storage.errors import BlockNotStored, StoreError
from altyn.node.storage.folder import DataFolder

PER_FILE = 5
FILE_SIZE = 1300
ROOM = 17 << 20
"""What is kept free below a target."""
KEEP = PruneOptions(keep=10, margin=2)

Reopen = Callable[..., Any]


@pytest.fixture(scope="module")
def drawing() -> builders.Drawing:
    return builders.chain("g a1..a60; a3 b4..b6; a45 c46..c62")


@pytest.fixture
def machine() -> Machine:
    return Machine.new()


@pytest.fixture
def reopen(open_chain: Any, machine: Machine) -> Reopen:
    """Open what the machine holds, which stays when the chain is closed."""

    @asynccontextmanager
    async def opened(prune: PruneOptions | None = KEEP, **options: Any) -> AsyncIterator[Any]:
        stores = machine.stores(REGTEST, max_file_size=FILE_SIZE)
        async with open_chain(stores=stores, prune=prune, **options) as chain:
            yield chain

    return opened


def kept(chain: Any) -> list[int]:
    """Return the heights of the active chain whose blocks are here."""
    return [height for height in range(chain.tip.height + 1) if chain.active(height).has_block]


async def test_files_go_whose_blocks_are_all_low_enough(
    reopen: Reopen, add_all: Any, drawing: builders.Drawing, machine: Machine
) -> None:
    async with reopen() as chain:
        await add_all(chain, drawing.line("a1..a60"))
        files = {chain.active(height).block_position.file for height in range(61)}
        before = chain.size_on_disk
        await chain.prune(22)
        first = kept(chain)[0]
        assert first == chain.pruner.height + 1
        assert kept(chain) == list(range(first, 61))
        assert 22 - PER_FILE <= chain.pruner.height <= 22
        gone = files - {chain.active(height).block_position.file for height in kept(chain)}
        assert gone == set(range(len(gone)))
        assert not any(name[3:8] == f"{file:05}" for name in machine.disk.names() for file in gone)
        assert chain.size_on_disk == sum(map(machine.disk.size, machine.disk.names())) < before
        for read in (chain.read_block, chain.read_block_bytes, chain.read_spent):
            with pytest.raises(BlockNotStored):
                read(chain.active(first - 1))
        assert chain.active(first - 1).is_pruned
        assert chain.read_block(chain.active(first)) == drawing[f"a{first}"]
        assert coins_of(chain) == replay(drawing.line("a1..a60"))
        await chain.prune(60)  # as far as may be
        assert 50 - PER_FILE <= chain.pruner.height <= 50
        reached = chain.pruner.height
    async with reopen() as chain:
        assert chain.pruner.height == reached
        assert kept(chain) == list(range(reached + 1, 61))
        assert chain.tip.chain_tx_count == 61
        assert coins_of(chain) == replay(drawing.line("a1..a60"))
        await add_all(chain, drawing.extend("a60 d61..d63"))
        assert chain.tip.hash == drawing["d63"].hash


async def test_the_oldest_files_go_by_themselves_at_the_target(
    reopen: Reopen, add_all: Any, drawing: builders.Drawing
) -> None:
    target = PruneOptions(ROOM + 6 * FILE_SIZE, keep=10, step=FILE_SIZE, after=20)
    async with reopen(target) as chain:
        await add_all(chain, drawing.line("a1..a20"))
        assert kept(chain) == list(range(21))
        sizes = []
        for block in drawing.line("a21..a60"):
            await chain.add_block(block)
            sizes.append(chain.size_on_disk)
        assert chain.pruner.height > 10
        assert chain.pruner.is_automatic
        assert max(sizes) < 6 * FILE_SIZE + 3 * FILE_SIZE  # one step, a file that is begun, and their undo data
        assert kept(chain) == list(range(chain.pruner.height + 1, 61))


async def test_room_is_made_for_all_that_is_still_to_come(
    reopen: Reopen, add_all: Any, drawing: builders.Drawing
) -> None:
    target = PruneOptions(ROOM + 6 * FILE_SIZE, keep=10, step=FILE_SIZE)
    async with reopen(target, max_tip_age=1) as chain:
        await chain.add_headers([block.header for block in drawing.line("a1..a60")])
        assert chain.is_initial_block_download
        await add_all(chain, drawing.line("a1..a40"))
        assert chain.pruner.height >= 20 - PER_FILE  # everything that may go, however little is needed


async def test_an_index_that_is_behind_keeps_what_it_needs(
    reopen: Reopen, add_all: Any, drawing: builders.Drawing
) -> None:
    async with reopen(None) as chain:
        await add_all(chain, drawing.line("a1..a60"))
    async with reopen(filter_index=True, background=False) as chain:
        await chain.prune(60)
        assert kept(chain)[0] == 0
        running = asyncio.create_task(chain.run())
        await caught_up(chain, chain.filters)
        await chain.prune(60)
        assert chain.pruner.height > 40
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with reopen(KEEP) as chain:
        await chain.flush()
    with pytest.raises(StoreError, match="coinstatsindex best block of the index goes beyond pruned data"):
        async with reopen(coin_statistics_index=True):
            pass


async def test_who_pruned_must_go_on_pruning(reopen: Reopen, add_all: Any, drawing: builders.Drawing) -> None:
    async with reopen() as chain:
        await add_all(chain, drawing.line("a1..a60"))
        await chain.prune(30)
    with pytest.raises(StoreError, match="You need to rebuild the database using -reindex to go back to unpruned mode"):
        async with reopen(None):
            pass


async def test_a_chain_that_keeps_all_blocks_does_not_prune(reopen: Reopen) -> None:
    async with reopen(None) as chain:
        with pytest.raises(ValueError, match="keeps all blocks"):
            await chain.prune(0)


async def test_a_pruned_branch_is_fetched_again_before_it_can_win(
    reopen: Reopen, add_all: Any, drawing: builders.Drawing
) -> None:
    drawing.extend("b6 b7..b70")
    branch = drawing.line("b4..b70")
    async with reopen() as chain:
        await add_all(chain, drawing.line("a1..a3 b4..b6 a4..a60"))
        await chain.invalidate(chain.active(46))
        await chain.prune(45)
        await chain.reconsider(chain.tree.get(drawing["a46"].hash))
        assert chain.tree.get(drawing["b6"].hash).is_pruned
        assert chain.pruner.height > 3
        await chain.add_headers([block.header for block in branch])
        await add_all(chain, branch[3:])
        assert chain.tip.hash == drawing["a60"].hash

    async def give_the_rest() -> None:
        async with reopen() as chain:
            assert chain.tip.hash == drawing["a60"].hash
            await add_all(chain, branch[:3])

    with pytest.raises(StoreError, match="leaves the active one where blocks are pruned"):
        await give_the_rest()


async def test_a_pruned_side_branch_comes_back(reopen: Reopen, add_all: Any, drawing: builders.Drawing) -> None:
    side = drawing.line("c46..c62")
    async with reopen(PruneOptions(keep=12, margin=2)) as chain:
        await add_all(chain, [*drawing.line("a1..a45"), *side[:3], *drawing.line("a46..a60")])
        await add_all(chain, drawing.extend("a60 e61..e64"))
        for entry in (chain.tree.get(block.hash) for block in side[:3]):  # as if their file were pruned alone
            chain._branches.pruned([entry], chain.tip)
            chain._flusher.changed(entry)
        await add_all(chain, side[3:])
        await add_all(chain, drawing.extend("c62 c63..c66"))
        assert chain.tip.hash == drawing["e64"].hash
    async with reopen(PruneOptions(keep=12, margin=2)) as chain:
        assert chain.tip.hash == drawing["e64"].hash
        await add_all(chain, side[:2])
        assert chain.tip.hash == drawing["e64"].hash
        await add_all(chain, side[2:3])
        assert chain.tip.hash == drawing["c66"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a45 c46..c66"))


async def test_what_is_pruned_cannot_be_left(reopen: Reopen, add_all: Any, drawing: builders.Drawing) -> None:
    async with reopen() as chain:
        await add_all(chain, drawing.line("a1..a60"))
        await chain.prune(30)
        with pytest.raises(BlockNotStored, match="some are pruned"):
            await chain.invalidate(chain.active(chain.pruner.height))
        assert chain.tip.hash == drawing["a60"].hash
        await chain.invalidate(chain.active(chain.pruner.height + 1))
        assert chain.tip.height == chain.pruner.height
        await chain.reconsider(chain.tree.get(drawing["a60"].hash))
        assert chain.tip.hash == drawing["a60"].hash


async def test_a_pruned_block_that_comes_again_is_kept(reopen: Reopen, add_all: Any, drawing: builders.Drawing) -> None:
    async with reopen() as chain:
        await add_all(chain, drawing.line("a1..a60"))
        await chain.prune(30)
        height = chain.pruner.height
        assert not (await chain.add_block(drawing["a7"], requested=False)).is_new
        assert (await chain.add_block(drawing["a7"])).is_new
        assert chain.read_block(chain.active(7)) == drawing["a7"]
        assert chain.pruner.height == height  # what it spent is not here
    async with reopen() as chain:
        assert chain.read_block(chain.active(7)) == drawing["a7"]
        assert chain.pruner.height == height
        assert chain.tip.hash == drawing["a60"].hash


def test_a_read_that_comes_too_late_finds_the_block_pruned(drawing: builders.Drawing) -> None:
    files = BlockFiles(MemoryDisk(), REGTEST.magic)
    entry: Any = type("Entry", (), {"hash": bytes(32), "has_block": True, "parent": None})()
    entry.parent = entry

    class Removing(BlockFiles):
        def read_block(self, position: Any) -> bytes:
            entry.block_position = entry.undo_position = None
            files.remove([position.file])
            return files.read_block(position)

        def read_undo(self, position: Any, previous_hash: bytes) -> bytes:
            return self.read_block(position)

    for read in (StoredBlocks.read_bytes, StoredBlocks.read_spent):
        entry.block_position = entry.undo_position = files.write_block(drawing["a1"].raw)
        with pytest.raises(BlockNotStored, match="was pruned"):
            read(StoredBlocks(Removing(MemoryDisk(), REGTEST.magic)), entry)


async def test_a_pruned_node_is_indexed_anew_from_what_has_no_gap(
    open_chain: Any, add_all: Any, secp: Any, drawing: builders.Drawing, tmp_path: Path
) -> None:
    blocks = tmp_path / "regtest" / "blocks"
    with DataFolder.open(tmp_path, REGTEST) as owner:
        stores = Stores.open(owner, max_file_size=FILE_SIZE)
        async with open_chain(stores=stores, prune=KEEP) as chain:
            await add_all(chain, drawing.line("a1..a60"))
            await chain.prune(30)
        assert not (blocks / "blk00000.dat").exists()
        assert forget_for_reindex(owner, reindex=True, reindex_chainstate=False, pruned=True)
        assert not list(blocks.glob("*.dat"))
        stores = Stores.open(owner, max_file_size=FILE_SIZE)
        told: list[tuple[int, int]] = []
        assert rebuild_index(stores, REGTEST, secp, 2e9, lambda done, total: told.append((done, total))) == 1
        assert told[-1] == (stores.files.usage, stores.files.usage)
        owner.reindexed()
        async with open_chain(stores=stores, prune=KEEP) as chain:
            assert chain.tip.height == 0
            await add_all(chain, drawing.line("a1..a60"))
            assert coins_of(chain) == replay(drawing.line("a1..a60"))


def test_files_before_a_gap_are_kept(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path, REGTEST) as owner:
        for number in (0, 1, 3, 4):
            (owner.blocks / f"blk{number:05}.dat").touch()
        owner.forget(block_index=True, pruned=True)
        assert sorted(path.name for path in owner.blocks.glob("*.dat")) == ["blk00000.dat", "blk00001.dat"]
