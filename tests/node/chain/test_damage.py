"""Flipped bits and missing files: the node says what is damaged and which command mends it, and that does mend it."""

import dataclasses
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import ANYONE, coin, spend
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.networks import REGTEST
from altyn.node.chain.chain import Chain
from altyn.node.chain.reindex import forget_for_reindex, rebuild_index
from altyn.node.chain.stores import Stores
from altyn.node.full import FullNode
from altyn.node.settings import Settings
from altyn.node.storage.errors import StoreError
from altyn.node.storage.folder import DataFolder

FLIPS = {"quick": 6, "slow": 100, "exhaustive": 1000}[os.environ.get("ALTYN_EFFORT", "quick")]
NOW = 2_000_000_000.0
Opened = Callable[[Path], Any]


@pytest.fixture(scope="module")
def drawing() -> builders.Drawing:
    drawing = builders.chain("g a1..a102")
    drawing.extend("a102 a103", [spend(coin(drawing["a1"]))])
    drawing.extend("a103 a104..a106")
    drawing.extend("a103 b104..b105")
    return drawing


@pytest.fixture
async def folder(open_chain: Any, add_all: Any, tmp_path: Path, drawing: builders.Drawing) -> Path:
    """A node's folder, closed, with its databases in tables."""
    for line in ("a1..a90", "a91..a106 b104..b105"):
        async with open_chain(tmp_path / "node", filter_index=True) as chain:
            await add_all(chain, drawing.line(line))
    async with open_chain(tmp_path / "node", filter_index=True):
        return tmp_path / "node" / "regtest"


def flip(path: Path, position: int, mask: int = 0x10) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= mask
    path.write_bytes(raw)


@pytest.fixture
def mended(open_chain: Any, secp: Any) -> Callable[..., Any]:
    """Open a chain as a node does that was told to reindex."""

    @asynccontextmanager
    async def opened(folder: Path, *, chainstate: bool = False, **options: Any) -> AsyncIterator[Chain]:
        with DataFolder.open(folder.parent, REGTEST) as owner:
            reads = forget_for_reindex(owner, reindex=not chainstate, reindex_chainstate=chainstate)
            assert reads is not chainstate
            if reads:
                stores = Stores.open(owner)
                rebuild_index(stores, REGTEST, secp, NOW)
                stores.close()
                owner.reindexed()
        async with open_chain(folder.parent, **options) as chain:
            yield chain

    return opened


async def read_all(chain: Chain) -> None:
    """Read whatever a node has, as peers and wallets would ask for it."""
    for height in range(chain.tip.height + 1):
        entry = chain.active(height)
        assert entry is not None
        chain.read_block(entry)
        chain.read_spent(entry)
        assert chain.filters is None or chain.filters.get(height, entry.hash)
    assert coins_of(chain)


async def error_of(open_chain: Any, folder: Path, **options: Any) -> str:
    """Open a damaged node and read all; return what it says of the damage."""
    with pytest.raises(StoreError) as caught:
        async with open_chain(folder.parent, **options) as chain:
            await read_all(chain)
    return str(caught.value)


async def go_on(chain: Chain, add_all: Any, drawing: builders.Drawing) -> None:
    """Get what is lost again, as peers would send it."""
    await chain.add_headers([block.header for block in drawing.line("a1..a106 b104..b105")])
    await add_all(chain, drawing.line("a1..a106 b104..b105"))
    assert chain.tip.hash == drawing["a106"].hash
    assert coins_of(chain) == replay(drawing.line("a1..a106"))
    await read_all(chain)


@pytest.mark.timeout(1200)
async def test_any_flipped_byte_of_a_block_file_is_found_and_mended_by_a_reindex(
    open_chain: Any, add_all: Any, mended: Any, folder: Path, drawing: builders.Drawing, tmp_path: Path
) -> None:
    end = (folder / "blocks" / "blk00000.dat").read_bytes().index(drawing["a106"].raw)
    chance = random.Random()
    for position in [9, *sorted(chance.sample(range(300, end), FLIPS))]:
        copy = tmp_path / "copy" / "regtest"
        shutil.copytree(folder, copy)
        flip(copy / "blocks" / "blk00000.dat", position, 1 << chance.randrange(8))
        said = await error_of(open_chain, copy)
        assert "blk00000.dat" in said, position
        assert "start again with --reindex " in said, position
        async with mended(copy) as chain:
            assert coins_of(chain) == replay(
                [chain.read_block(chain.active(height)) for height in range(1, chain.tip.height + 1)]
            )
            await go_on(chain, add_all, drawing)
        async with open_chain(copy.parent) as chain:
            await read_all(chain)
        shutil.rmtree(copy.parent)


@pytest.mark.parametrize("name", ["blk00000.dat", "rev00000.dat"])
async def test_a_missing_file_is_named_and_mended_by_a_reindex(
    open_chain: Any, add_all: Any, mended: Any, folder: Path, drawing: builders.Drawing, name: str
) -> None:
    (folder / "blocks" / name).unlink()
    said = await error_of(open_chain, folder)
    assert said.startswith(f"{name} is missing from the blocks folder: start again with --reindex")
    async with mended(folder) as chain:
        assert chain.tip.height == (106 if name.startswith("rev") else 0)
        await go_on(chain, add_all, drawing)


async def test_flipped_undo_data_is_mended_by_a_reindex(
    open_chain: Any, add_all: Any, mended: Any, folder: Path, drawing: builders.Drawing
) -> None:
    undo = folder / "blocks" / "rev00000.dat"
    flip(undo, undo.stat().st_size - 40)
    assert "rev00000.dat in the blocks folder is damaged" in await error_of(open_chain, folder)
    async with mended(folder, filter_index=True) as chain:
        assert chain.tip.hash == drawing["a106"].hash
        assert chain.tree.get(drawing["b105"].hash).has_block
        await caught_up(chain, chain.filters)
        await go_on(chain, add_all, drawing)


@pytest.mark.parametrize(
    ("part", "command"),
    [
        ("blocks/index", "start again with --reindex "),
        ("chainstate", "start again with --reindex-chainstate "),
        ("indexes/filters", "rm -r "),
    ],
)
async def test_flipped_bits_in_a_database_are_named_and_mended(
    open_chain: Any, add_all: Any, mended: Any, folder: Path, drawing: builders.Drawing, part: str, command: str
) -> None:
    table = max((folder / part).glob("*.ldb"), key=lambda path: path.stat().st_size)
    for position in range(50, table.stat().st_size, 200):
        flip(table, position)
    said = await error_of(open_chain, folder, filter_index=True)
    assert str(folder / part) in said
    assert command in said
    if part.startswith("indexes"):
        shutil.rmtree(folder / part)
        async with open_chain(folder.parent, filter_index=True) as chain:
            await caught_up(chain, chain.filters)
            await read_all(chain)
        return
    async with mended(folder, chainstate=part == "chainstate", filter_index=True) as chain:
        assert chain.tip.hash == drawing["a106"].hash
        await caught_up(chain, chain.filters)
        await go_on(chain, add_all, drawing)


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "*.ldb"])
async def test_a_database_that_lacks_a_file_is_named(open_chain: Any, folder: Path, pattern: str) -> None:
    for path in (folder / "chainstate").glob(pattern):
        path.unlink()
    said = await error_of(open_chain, folder)
    assert str(folder / "chainstate") in said
    assert "start again with --reindex-chainstate " in said


async def test_an_index_older_than_the_coins_is_refused_and_mended(
    open_chain: Any, add_all: Any, mended: Any, folder: Path, drawing: builders.Drawing
) -> None:
    drawing = builders.Drawing()
    drawing.extend("g a1..a3")
    new = folder.parent.with_name("new") / "regtest"
    async with open_chain(new.parent) as chain:
        await chain.flush()
        shutil.copytree(new / "blocks" / "index", new / "old")
        await add_all(chain, drawing.line("a1..a3"))
    shutil.rmtree(new / "blocks" / "index")
    (new / "old").rename(new / "blocks" / "index")
    with pytest.raises(StoreError, match=r"older than the coins .* start again with --reindex-chainstate "):
        async with open_chain(new.parent):
            pass
    async with mended(new, chainstate=True) as chain:
        assert chain.tip.hash == drawing["a3"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a3"))
        await chain.invalidate(chain.active(1))
        assert chain.tip.height == 0


async def test_an_interrupted_reindex_begins_again(mended: Any, folder: Path, drawing: builders.Drawing) -> None:
    with DataFolder.open(folder.parent, REGTEST) as owner:
        assert forget_for_reindex(owner, reindex=True, reindex_chainstate=False)
        assert forget_for_reindex(owner, reindex=False, reindex_chainstate=False)  # the next start, asked nothing
        owner.reindexed()
        assert not forget_for_reindex(owner, reindex=False, reindex_chainstate=False)
    async with mended(folder) as chain:
        assert chain.tip.hash == drawing["a106"].hash


async def test_a_node_reindexes_when_told_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = dataclasses.replace(
        Settings(), chain="regtest", network=REGTEST, datadir=tmp_path, listen=False, blockfilterindex=True
    )
    caplog.set_level(logging.INFO)
    async with FullNode.open(settings) as node:
        await node.miner.generate(5, ANYONE)
        tip = node.chain.tip.hash
    (tmp_path / "regtest" / "blocks" / "rev00000.dat").unlink()
    with pytest.raises(StoreError, match="--reindex"):
        async with FullNode.open(settings):
            pass
    async with FullNode.open(dataclasses.replace(settings, reindex=True)) as node:
        assert node.chain.tip.hash == tip
        assert "Reindexing finished: 6 blocks" in caplog.text
        await node.miner.generate(1, ANYONE)
    shutil.rmtree(tmp_path / "regtest" / "indexes")
    async with FullNode.open(dataclasses.replace(settings, reindex_chainstate=True)) as node:
        assert node.chain.tip.height == 6
        assert node.filters is not None
        await caught_up(node.chain, node.filters)
