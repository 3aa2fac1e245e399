"""A full node and the world outside, in simulated time: clocks that lie, a day's limit, memory of a restart."""

from pathlib import Path

import pytest
from scripted_node import ScriptedNode
from wire import Caller, version

from altyn.consensus.networks import REGTEST
from altyn.node.peer_memory import ANCHORS, PeerMemory
from altyn.node.testnet.simulation import SimulatedNetwork
from altyn.p2p.addresses import Endpoint, TimedAddress
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.messages import Block, CFilter, GetCFilters, GetData, Inventory, InventoryType, Verack, Version
from altyn.p2p.netgroups import parse_address
from altyn.p2p.subnets import Subnet

WEEK = 7 * 86400


async def test_callers_that_lie_about_the_time_change_nothing() -> None:
    """40 callers, each a decade ahead: no warning, no offset, and the node's own blocks are in time."""
    async with SimulatedNetwork.open(seed=5) as network:
        node = await network.add_node()
        for number in range(40):
            caller = Caller(await network.links.dialer(f"50.{number}.0.1")(Endpoint(node.host, network.network.port)))
            await caller.handshake(time=int(network.clock.now()) + 315_000_000)
        assert node.node.sync.clocks.median == 0
        await node.mine()
        assert abs(node.node.chain.tip.header.time - network.clock.now()) < 60


async def test_a_clock_that_all_nodes_we_chose_contradict_makes_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with SimulatedNetwork.open(seed=5) as network:
        node = await network.add_node()
        network.clock._start += 0.0
        for number in range(5):
            script = ScriptedNode([REGTEST.genesis])
            surroundings = network.surroundings(f"50.{number}.0.1")
            late = type(network.clock)(network.clock._start - 3600)
            async with script.serve(type(surroundings)(late, surroundings.offload, surroundings.random,
                                                       surroundings.dialer, surroundings.listener)):  # fmt: skip
                peer = await node.node.connections.connect(f"50.{number}.0.1", network.network.port)
                await peer.ready.wait()
        assert node.node.sync.clocks.median == pytest.approx(-3600, abs=1)
        assert "10 minutes out of sync" in caplog.text


@pytest.mark.parametrize(
    ("permission", "kind"),
    [
        ("", InventoryType.BLOCK),
        ("download@50.0.0.1", InventoryType.BLOCK),
        ("", InventoryType.FILTERED_BLOCK),  # which count as old ones
    ],
)
async def test_old_blocks_are_not_given_away_once_the_day_is_used_up(permission: str, kind: InventoryType) -> None:
    async with SimulatedNetwork.open(seed=5) as network:
        whitelist = (permission,) if permission else ()
        node = await network.add_node(maxuploadtarget=600 << 20, whitelist=whitelist, peertimeout=10**9)
        old = await node.mine()
        network.clock._start += 2 * WEEK
        fresh = await node.mine()
        network.clock._start += 3600
        caller = Caller(await network.links.dialer("50.0.0.1")(Endpoint(node.host, network.network.port)))
        await caller.send(version())
        await caller.expect(Version)
        await caller.send(Verack())
        await caller.send(GetData((Inventory(InventoryType.BLOCK, old),)))
        await caller.expect(Block)  # there is still room for a day of new blocks
        node.node.upload.target = 500 << 20
        await caller.send(GetData((Inventory(InventoryType.BLOCK, fresh),)))
        await caller.expect(Block)
        await caller.send(GetData((Inventory(kind, old if kind is InventoryType.BLOCK else fresh),)))
        if permission:
            await caller.expect(Block)
        else:
            await caller.until_closed()


@pytest.mark.parametrize("permission", ["", "blockfilters@50.0.0.1"])
async def test_filters_are_served_to_those_who_may_have_them(permission: str) -> None:
    async with SimulatedNetwork.open(seed=5) as network:
        whitelist = (permission,) if permission else ()
        node = await network.add_node(peerblockfilters=False, whitelist=whitelist)
        tip = await node.mine()
        caller = Caller(await network.links.dialer("50.0.0.1")(Endpoint(node.host, network.network.port)))
        theirs = await caller.handshake()
        assert not theirs.services & Services.COMPACT_FILTERS
        await caller.send(GetCFilters(0, 0, tip))
        if permission:
            await caller.expect(CFilter)
        else:
            await caller.until_closed()


async def test_a_newcomer_asks_its_seed_node_for_addresses() -> None:
    async with SimulatedNetwork.open(seed=5) as network:
        old = [await network.add_node() for _ in range(3)]
        await old[0].mine(2)
        newcomer = await network.add_node(seednode=(old[0].host,))
        await network.until(lambda: bool(newcomer.node.connections.peers), within=30)
        [peer] = newcomer.node.connections.peers.values()
        assert peer.kind is PeerKind.ADDR_FETCH


async def test_what_was_known_of_peers_outlives_a_restart(tmp_path: Path) -> None:
    async with SimulatedNetwork.open(seed=5) as network:
        memory = PeerMemory(tmp_path, network.clock, network.random)
        target = parse_address("20.1.2.3", 8333)
        memory.book.add([TimedAddress(1_700_000_000, 9, target)], target, network.clock.now())
        memory.bans.ban(Subnet.parse("6.6.0.0/16"), 0, 1 << 40)
        memory.bans.discourage(parse_address("7.7.7.7"))
        memory.keep_anchors([target])
        memory.save()
        again = PeerMemory(tmp_path, network.clock, network.random)
        assert again.book.find(target) is not None
        assert again.book.key == memory.book.key
        assert again.anchors == [target]
        assert again.bans.is_banned(parse_address("6.6.6.6"), 5)
        assert again.bans.is_discouraged(parse_address("7.7.7.7"))
        assert not (tmp_path / ANCHORS).exists()  # used once only
