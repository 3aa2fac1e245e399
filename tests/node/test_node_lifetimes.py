"""Whole nodes on disk, over real sockets: they start, meet, stop in order, remember, and say why they cannot start."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from builders import ANYONE
from wire import until

from altyn.consensus.networks import REGTEST
from altyn.node.full import FullNode
from altyn.node.lifetime import NodeError, background
from altyn.node.light.node import LightNode
from altyn.node.settings import Settings
from altyn.node.storage.errors import FolderRefused, StoreError
from altyn.node.testnet.processes import free_ports
from altyn.p2p.kinds import Services


def settings(folder: Path, **fields: object) -> Settings:
    port = fields.pop("port", None) or free_ports(1)[0]
    values: dict[str, object] = {
        "chain": "regtest",
        "network": REGTEST,
        "datadir": folder,
        "port": port,
        "bind": (f"127.0.0.1:{port}",),
        "blockfilterindex": True,
        "peerblockfilters": True,
        "quickrelay": True,
    }
    return dataclasses.replace(Settings(), **values | fields)  # type: ignore[arg-type]


@asynccontextmanager
async def full_node(folder: Path, **fields: object) -> AsyncIterator[FullNode]:
    async with FullNode.open(settings(folder, **fields)) as node:
        yield node


async def test_nodes_meet_and_remember(tmp_path: Path) -> None:
    async with full_node(tmp_path / "full") as full:
        await full.miner.generate(5, ANYONE)
        address = full.settings.bind[0]
        light_settings = settings(tmp_path / "light", addnode=(address,))
        async with full_node(tmp_path / "other", addnode=(address,)) as other, LightNode.open(light_settings) as light:
            tip = full.chain.tip.hash
            await until(lambda: other.chain.tip.hash == light.chain.tip.hash == tip)
            await until(lambda: light.filters.height == 5)
        assert light.filters.checked == 6
    lonely = dataclasses.replace(light_settings, addnode=())
    async with LightNode.open(lonely) as light:
        assert light.chain.tip.hash == tip
        assert light.filters.height == light.filters.header_height == 5
        entry = light.chain.active(3)
        assert entry is not None
        data, header = await light.block_filter(entry)
        assert data
        assert header == light.filters.header(entry)
    async with full_node(tmp_path / "other") as other:
        assert other.chain.tip.hash == tip


@pytest.mark.parametrize(
    ("ours", "transport", "services"),
    [({}, "v2", Services.P2P_V2), ({"v2transport": False}, "v1", 0), ({"secp256k1": "ecdsa"}, "v1", 0)],
)
async def test_nodes_encrypt_when_both_can(
    tmp_path: Path,
    ours: dict[str, object],
    transport: str,
    services: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with full_node(tmp_path / "full", **ours) as full, full_node(tmp_path / "other") as other:
        assert full.connections.settings.services & Services.P2P_V2 == services
        peer = await full.connections.connect("127.0.0.1", other.settings.port)
        callers = [peer, await other.connections.connect("127.0.0.1", full.settings.port)]
        await until(lambda: sum(one.is_ready for one in other.connections.peers.values()) == 2)
        assert callers[0].transport_name == transport
        assert {one.transport_name for one in other.connections.peers.values()} == {transport}
    assert ("v2transport needs libsecp256k1" in caplog.text) is ("secp256k1" in ours)


async def test_run_ends_when_the_node_is_told_to_stop(tmp_path: Path) -> None:
    async with full_node(tmp_path) as node:
        asyncio.get_running_loop().call_soon(node.stop)
        async with asyncio.timeout(5):
            await node.run()


async def test_a_height_to_stop_at_is_kept(tmp_path: Path) -> None:
    async with full_node(tmp_path, stopatheight=3) as node, background(_mine(node)), asyncio.timeout(20):
        await node.run()
    assert node.chain.tip.height >= 3


async def _mine(node: FullNode) -> None:
    await node.miner.generate(3, ANYONE)


async def test_what_breaks_the_writer_stops_the_node(tmp_path: Path) -> None:
    async def fail() -> None:
        raise StoreError("the disk is full")

    async def live() -> None:
        async with full_node(tmp_path) as node:
            try:
                await node.writer.do(fail)
            except StoreError:
                await node.run()

    with pytest.raises(StoreError, match="the disk is full"):
        await live()


async def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    async with full_node(tmp_path):
        with pytest.raises(FolderRefused, match="already running"):
            async with full_node(tmp_path):
                pass


async def test_a_port_in_use_is_an_error_in_one_line(tmp_path: Path) -> None:
    async with full_node(tmp_path / "one") as node:
        with pytest.raises(NodeError, match=r"Unable to bind to 127\.0\.0\.1"):
            async with full_node(tmp_path / "two", port=node.settings.port):
                pass


async def test_a_light_node_leaves_a_full_nodes_folder_alone(tmp_path: Path) -> None:
    async with full_node(tmp_path) as node:
        await node.miner.generate(1, ANYONE)
    with pytest.raises(NodeError, match="belongs to a full node"):
        async with LightNode.open(settings(tmp_path)):
            pass


async def test_background_work_is_cancelled_last_in_first_out() -> None:
    ended = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with background(work("one"), work("two")):
        await asyncio.sleep(0)
    assert ended == ["two", "one"]


async def test_what_background_work_raises_ends_the_body_as_it_is() -> None:
    async def fail() -> None:
        raise StoreError("broken")

    with pytest.raises(StoreError, match="broken"):
        async with background(fail()):
            await asyncio.Event().wait()


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with background(asyncio.sleep(100)):
            raise KeyError("body")
