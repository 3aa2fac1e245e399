"""A chain that stands on a snapshot: at the tip at once, proved later, and whole after a crash at any instant."""

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.networks import REGTEST, Network, TrustedSnapshot
from altyn.node.chain.chain import Chain
from altyn.node.chain.prune import PruneOptions
from altyn.node.chain.snapshot import dump, load, read_head
from altyn.node.chain.stores import Stores
from altyn.node.events import SnapshotChanged
from altyn.node.offload import Inline
from altyn.node.storage.errors import BlockNotStored, StoreError
from altyn.node.storage.folder import DataFolder
from altyn.node.storage.snapshot import SnapshotError

PLAIN = dataclasses.replace(REGTEST, coinbase_maturity=2)
BASE = 8


class Story:
    """Twelve blocks with payments; the coins after the eighth in a file, and a network that lists them."""

    def __init__(self) -> None:
        drawing = builders.Drawing(PLAIN)
        drawing.extend("g a1..a5")
        drawing.extend("a5 a6", [spend(coin(drawing["a1"])), spend(coin(drawing["a2"]))])
        drawing.extend("a6 a7..a8")
        drawing.extend("a8 a9", [spend(coin(drawing["a6"].transactions[1])), spend(coin(drawing["a3"]))])
        drawing.extend("a9 a10..a12")
        drawing.extend("a3 b4..b5")
        self.blocks = [drawing[f"a{height}"] for height in range(1, 13)]
        self.branch = [drawing["b4"], drawing["b5"]]
        self.network = PLAIN
        self.path = Path()

    def coins(self, height: int) -> Any:
        return replay(self.blocks[:height])

    def lists(self, **changes: Any) -> Network:
        """Return a network that lists the snapshot, with something else about it."""
        [listed] = self.network.snapshots
        return dataclasses.replace(self.network, snapshots=(dataclasses.replace(listed, **changes),))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story()


@pytest.fixture
async def snapshot(story: Story, open_chain: Any, tmp_path: Path) -> Story:
    """The story with its file."""
    story.path = tmp_path / "coins.dat"
    async with open_chain(network=PLAIN) as chain:
        for block in story.blocks[:10]:
            await chain.add_block(block)
        dumped = await dump(chain, Inline(), story.path, chain.active(BASE))
        assert dumped is not None
        assert dumped.coins == len(story.coins(BASE))
        assert chain.tip.height == 10
    listed = TrustedSnapshot(BASE, story.blocks[BASE - 1].hash, dumped.digest, dumped.entry.chain_tx_count)
    story.network = dataclasses.replace(PLAIN, snapshots=(listed,))
    return story


async def stand_on(chain: Chain, story: Story, path: Path | None = None, *, mempool_is_empty: bool = True) -> None:
    with (path or story.path).open("rb") as file:
        head = read_head(file, story.network)
        await load(chain, Inline(), file, head, mempool_is_empty=lambda: mempool_is_empty)


async def proved(chain: Chain) -> None:
    """Wait until nothing is in the background any more; at most 20 seconds."""
    done = asyncio.Event()
    end = chain.events.subscribe(lambda event: done.set() if isinstance(event, SnapshotChanged) else None)
    async with asyncio.timeout(20):
        if chain.background is not None:
            await done.wait()
    end()
    assert chain.background is None


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so; at most 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of what happens in the background nothing tells
            await asyncio.sleep(0)


async def stopped_by(open_chain: Any, folder: Path, network: Network, story: Story, blocks: list[Block]) -> str:
    """Stand on the snapshot, hand in the blocks below, and return why the node stops."""

    async def run() -> None:
        async with open_chain(folder, network=story.network) as chain:
            await chain.add_headers([block.header for block in blocks])
            await stand_on(chain, story)
            assert chain.background is not None
            chain.background._listed = network.snapshots[0]
            await add(chain, blocks)
            await until(lambda: chain._stores.coins.base is None)
            await asyncio.sleep(0.01)

    with pytest.raises((ExceptionGroup, StoreError)) as caught:
        await run()
    error: BaseException = caught.value
    if isinstance(error, ExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, StoreError)
    return str(error)


async def add(chain: Chain, blocks: list[Block]) -> None:
    for block in blocks:
        await chain.add_block(block)


async def test_the_tip_is_reached_at_once_and_the_rest_proved_later(
    snapshot: Story, open_chain: Any, tmp_path: Path
) -> None:
    story = snapshot
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        await add(chain, story.blocks[:2])
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        assert (chain.tip.height, chain.validated.height) == (BASE, 2)
        assert coins_of(chain) == story.coins(BASE)
        await add(chain, story.blocks[BASE:10])
        assert chain.tip.height == 10
        assert coins_of(chain) == story.coins(10)
        assert chain.tip.chain_tx_count == 1 + sum(len(block.transactions) for block in story.blocks[:10])
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        assert (chain.tip.height, chain.validated.height) == (10, 2)
        await add(chain, story.blocks[10:])
        await add(chain, story.blocks[5:BASE][::-1])  # in any order
        await add(chain, story.blocks[2:5])
        await proved(chain)
        assert chain.tip.height == 12
        assert coins_of(chain) == story.coins(12)
        assert (tmp_path / "node/regtest/chainstate/snapshot").exists()
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        assert not (tmp_path / "node/regtest/chainstate/snapshot").exists()
        assert chain.background is None
        assert coins_of(chain) == story.coins(12)
        await chain.invalidate(chain.active(5))  # all can be undone
        assert coins_of(chain) == story.coins(4)


async def test_a_branch_that_does_not_lead_to_the_base_is_left(snapshot: Story, open_chain: Any) -> None:
    story = snapshot
    async with open_chain(network=story.network) as chain:
        await add(chain, [*story.blocks[:3], *story.branch])
        assert chain.tip.hash == story.branch[-1].hash
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks)
        await proved(chain)
        assert coins_of(chain) == story.coins(12)


async def test_indexes_follow_what_is_validated(snapshot: Story, open_chain: Any) -> None:
    story = snapshot
    kept = {"filter_index": True, "coin_statistics_index": True, "transaction_index": True}
    async with open_chain(network=story.network, **kept) as chain:
        await add(chain, story.blocks[:2])
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks[BASE:])
        await add(chain, story.blocks[2:5])
        await until(lambda: chain.validated.height == 5)
        assert [index.best.height for index in chain.indexes] == [5, 5, 5]
        await add(chain, story.blocks[5:BASE])
        for index in chain.indexes:
            await caught_up(chain, index)
        async with open_chain(network=PLAIN, **kept) as plain:
            await add(plain, story.blocks)
            for height in range(13):
                entry, other = chain.active(height), plain.active(height)
                assert chain.filters.get(height, entry.hash) == plain.filters.get(height, other.hash)
                assert chain.indexes.coin_statistics.get(entry) == plain.indexes.coin_statistics.get(other)


async def test_what_is_not_here_is_neither_left_nor_read(snapshot: Story, open_chain: Any) -> None:
    story = snapshot
    async with open_chain(network=story.network) as chain:
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks[BASE:])
        with pytest.raises(BlockNotStored):
            chain.read_block(chain.active(BASE))
        with pytest.raises(BlockNotStored):
            await chain.invalidate(chain.active(BASE))
        await chain.invalidate(chain.active(BASE + 1))
        assert chain.tip.height == BASE
        assert coins_of(chain) == story.coins(BASE)


async def test_blocks_still_to_be_validated_are_not_pruned(snapshot: Story, open_chain: Any) -> None:
    story = snapshot
    async with open_chain(network=story.network, prune=PruneOptions(keep=1)) as chain:
        assert chain.pruner is not None
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks[BASE:])
        assert chain.pruner._last(chain.tip) == -1
        await chain.prune(12)
        await add(chain, story.blocks[:BASE])
        await proved(chain)
        assert chain.pruner._last(chain.tip) == 11
        assert coins_of(chain) == story.coins(12)


@pytest.mark.parametrize("change", [{"chain_tx_count": 12}, {"coins_hash": bytes(32)}])
async def test_a_false_snapshot_stops_the_node_and_is_forgotten(
    snapshot: Story, open_chain: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    """What the list says is not what the file was loaded by: as if that had fooled us."""
    story = snapshot
    why = await stopped_by(open_chain, tmp_path / "node", story.lists(**change), story, story.blocks[:BASE])
    assert why.startswith("the snapshot at height 8 is false: the blocks up to there leave coins of the hash ")
    assert why.endswith("It is forgotten: start again to go on without it")
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        assert chain.background is None
        assert chain.tip.height == BASE
        await add(chain, story.blocks[BASE:])
        assert coins_of(chain) == story.coins(12)


async def test_an_invalid_block_below_the_base_stops_the_node(snapshot: Story, open_chain: Any, tmp_path: Path) -> None:
    story = snapshot
    drawing = builders.Drawing(PLAIN)
    drawing.extend("g a1..a5")
    drawing.extend("a5 x6", fees=1)  # takes more than it may
    drawing.extend("x6 x7..x8")
    blocks = list(drawing.values())[-8:]
    good = story.network
    data = story.path.read_bytes()
    story.path.write_bytes(data.replace(good.snapshots[0].block_hash, drawing["x8"].hash))
    story.network = story.lists(block_hash=drawing["x8"].hash)
    why = await stopped_by(open_chain, tmp_path / "node", story.network, story, blocks)
    name = drawing["x6"].hash[::-1].hex()
    assert f"block {name} at height 6, which it builds on, is invalid (bad-cb-amount" in why
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        assert chain.background is None
        assert chain.tip.height == 5
        assert chain.tree.get(drawing["x6"].hash).is_failed
        await add(chain, story.blocks)
        assert coins_of(chain) == story.coins(12)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"block_hash": bytes(32)}, "assumeutxo block hash in snapshot metadata not recognized (hash: "),
        ({"coins_hash": bytes(32)}, "Population failed: Bad snapshot content hash: expected 00000000"),
        ({"height": 5}, "Population failed: Bad snapshot data after deserializing "),
    ],
)
async def test_only_what_the_network_lists_is_loaded(
    snapshot: Story, open_chain: Any, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    async with open_chain(tmp_path / "node", network=snapshot.lists(**change)) as chain:
        await chain.add_headers([block.header for block in snapshot.blocks])
        with pytest.raises(SnapshotError) as caught:
            await stand_on(chain, snapshot)
        assert str(caught.value).startswith(why)
        assert not (tmp_path / "node/regtest/chainstate/snapshot").exists()
        assert chain.tip.height == 0
        await add(chain, snapshot.blocks)
        assert coins_of(chain) == snapshot.coins(12)


async def test_a_snapshot_is_refused_where_the_chain_cannot_stand_on_it(snapshot: Story, open_chain: Any) -> None:
    story = snapshot

    async def refusal(chain: Chain, **how: Any) -> str:
        with pytest.raises(SnapshotError) as caught:
            await stand_on(chain, story, **how)
        return str(caught.value)

    name = story.blocks[BASE - 1].hash[::-1].hex()
    async with open_chain(network=story.network) as chain:
        assert (await refusal(chain)).startswith(f"The base block header ({name}) must appear in the headers chain")
        await chain.add_headers([block.header for block in story.blocks])
        assert (await refusal(chain, mempool_is_empty=False)) == "Can't activate a snapshot when mempool not empty"
        await chain.invalidate(chain.tree.get(story.blocks[2].hash))
        assert await refusal(chain) == f"The base block header ({name}) is part of an invalid chain"
        await chain.reconsider(chain.tree.get(story.blocks[2].hash))
        fork = builders.chain("g z1..z13", PLAIN)
        await chain.add_headers([block.header for block in fork.values()])
        assert (await refusal(chain)).startswith("A forked headers-chain with more work")
        await chain.invalidate(chain.tree.get(fork["z1"].hash))
        await stand_on(chain, story)
        assert await refusal(chain) == "Can't activate a snapshot-based chainstate more than once"
    async with open_chain(network=story.network) as chain:
        await add(chain, story.blocks[:BASE])
        assert await refusal(chain) == "Population failed: Work does not exceed active chainstate."


async def test_coins_that_are_built_anew_begin_at_genesis(snapshot: Story, open_chain: Any, tmp_path: Path) -> None:
    story = snapshot
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks[BASE:] + story.blocks[:3])
    with DataFolder.open(tmp_path / "node", story.network) as folder:
        folder.forget(block_index=False)
    async with open_chain(tmp_path / "node", network=story.network) as chain:
        assert (chain.background, chain.tip.height) == (None, 3)
        await add(chain, story.blocks[3:BASE])
        assert chain.tip.height == 12
        assert coins_of(chain) == story.coins(12)


async def test_a_crash_at_any_instant_is_survived(snapshot: Story, open_chain: Any, tmp_path: Path) -> None:
    """The folder is copied wherever a crash would be interesting, as SIGKILL would leave it, and opened again."""
    story, node = snapshot, tmp_path / "node"
    copies: list[tuple[str, Path]] = []

    def crash(name: str) -> None:
        copy = tmp_path / f"crash{len(copies)}"
        shutil.copytree(node, copy)
        copies.append((name, copy))

    async def go_on(folder: Path) -> None:
        async with open_chain(folder, network=story.network) as chain:
            if chain.tip.height < BASE:
                await chain.add_headers([block.header for block in story.blocks])
                await stand_on(chain, story)
            for block in story.blocks:
                entry = chain.tree.get(block.hash)
                if entry is None or not entry.has_block:
                    await chain.add_block(block)
            await proved(chain)
            assert chain.tip.height == 12
            assert coins_of(chain) == story.coins(12)
        async with open_chain(folder, network=story.network) as chain:
            assert coins_of(chain) == story.coins(12)
            assert not (folder / "regtest/chainstate/snapshot").exists()

    async with open_chain(node, network=story.network, checkpoint=crash) as chain:
        await add(chain, story.blocks[:2])
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks[BASE:10])
        await chain.flush()
        await add(chain, story.blocks[2:6])
        await chain._flush_all()
        await add(chain, story.blocks[6:BASE])
        await proved(chain)
        crash("proved")
    names = [name for name, _ in copies]
    assert {"snapshot-loaded", "snapshot-begin", "flush-coins", "proved"} <= set(names)
    for _, copy in copies:
        await go_on(copy)


async def test_a_crash_while_the_proved_coins_move_is_survived(
    snapshot: Story, open_chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, node = snapshot, tmp_path / "node"
    async with open_chain(node, network=story.network) as chain:
        await chain.add_headers([block.header for block in story.blocks])
        await stand_on(chain, story)
        await add(chain, story.blocks)
        await proved(chain)

    class Crash(Exception):
        pass

    def crashing_after(steps: Iterator[int], change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any) -> Any:
            if next(steps, None) is None:
                raise Crash
            return change(*args)

        return changed

    survived = 0
    while True:
        folder = tmp_path / f"moving{survived}"
        shutil.copytree(node, folder)
        steps = iter(range(survived))
        with monkeypatch.context() as patch:
            for name in ("rename", "unlink", "rmdir", "touch"):
                patch.setattr(Path, name, crashing_after(steps, getattr(Path, name)))
            try:
                with DataFolder.open(folder, story.network) as owner:
                    Stores.open(owner).close()
                    break
            except Crash:
                survived += 1
        async with open_chain(folder, network=story.network) as chain:
            assert coins_of(chain) == story.coins(12)
            assert sorted(each.name for each in (folder / "regtest/chainstate").iterdir() if each.is_dir()) == []
    assert survived > 10
