"""A pruned node among others: what it serves, what it does not, and how it gets a block back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from builders import Drawing, chain
from scripted_node import ScriptedNode

from altyn.node.testnet.simulation import SimulatedNetwork, SimulatedNode
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.limits import PROTOCOL_VERSION
from altyn.p2p.messages import Block, GetBlocks, GetData, Inv, Inventory, InventoryType

NOW = 1_700_000_000
TIP = 640


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return chain(f"g a1..a{TIP}", start=NOW - (TIP + 1) * 60)


@pytest.fixture
async def network() -> AsyncIterator[SimulatedNetwork]:
    async with SimulatedNetwork.open(seed=7) as network:
        yield network


@pytest.fixture
async def pruned(network: SimulatedNetwork, drawing: Drawing) -> SimulatedNode:
    """A node without its first blocks."""
    node = await network.add_node(prune=1, fastprune=True)
    for block in drawing.line(f"a1..a{TIP}"):
        await node.node.chain.add_block(block)
    await node.node.chain.prune(TIP)
    pruner = node.node.chain.pruner
    assert pruner is not None
    assert 200 < pruner.height <= TIP - 288
    return node


async def test_a_pruned_node_serves_the_last_blocks_and_sends_away_who_wants_older_ones(
    network: SimulatedNetwork, pruned: SimulatedNode, drawing: Drawing
) -> None:
    script = ScriptedNode([drawing["g"]])
    async with AsyncExitStack() as stack:
        host = network._next_host()
        await stack.enter_async_context(script.serve(network.surroundings(host), call=pruned.host))
        await network.until(lambda: bool(script.peers), within=60)
        peer = script.peers[0]
        services = Services(peer.features.services)
        assert services & Services.NETWORK_LIMITED
        assert not services & Services.NETWORK

        def ask(height: int) -> bytes:
            block_hash = drawing[f"a{height}"].hash
            peer.send(GetData((Inventory(InventoryType.WITNESS_BLOCK, block_hash),)))
            return block_hash

        served = ask(TIP - 290)
        await network.until(lambda: bool(script.requests(Block)), within=60)
        assert [message.block.hash for message in script.requests(Block)] == [served]  # type: ignore[attr-defined]

        peer.send(GetBlocks(PROTOCOL_VERSION, (drawing[f"a{TIP - 290}"].hash,)))  # too old soon
        peer.send(GetBlocks(PROTOCOL_VERSION, (drawing[f"a{TIP - 282}"].hash,)))
        await network.until(lambda: bool(script.requests(Inv)), within=60)
        [answer] = script.requests(Inv)
        assert isinstance(answer, Inv)
        assert answer.items[0].hash == drawing[f"a{TIP - 281}"].hash

        ask(TIP - 291)
        await network.until(lambda: bool(script.gone), within=60)
        assert len(script.requests(Block)) == 1


async def test_a_pruned_block_is_fetched_again_from_a_peer(
    network: SimulatedNetwork, pruned: SimulatedNode, drawing: Drawing
) -> None:
    node = pruned.node
    script = ScriptedNode([drawing["g"], *drawing.line(f"a1..a{TIP}")])
    async with AsyncExitStack() as stack:
        host = network._next_host()
        await stack.enter_async_context(script.serve(network.surroundings(host)))
        peer = await node.connections.connect(host, network.network.port, PeerKind.MANUAL)
        await network.until(lambda: bool(script.peers), within=60)
        entry = node.chain.active(7)
        assert entry is not None
        assert node.sync.follow.fetch(peer.id + 1, entry) == "Peer does not exist"
        assert node.sync.follow.fetch(peer.id, entry) is None
        await network.until(lambda: entry.has_block, within=60)
        assert node.chain.read_block(entry) == drawing["a7"]
    old = ScriptedNode([drawing["g"]], services=Services.NETWORK)
    async with AsyncExitStack() as stack:
        host = network._next_host()
        await stack.enter_async_context(old.serve(network.surroundings(host), call=pruned.host))
        await network.until(lambda: bool(old.peers), within=60)
        [peer] = [each for each in node.connections.peers.values() if each.inbound]
        await network.until(lambda: peer.is_ready, within=60)
        entry = node.chain.active(8)
        assert entry is not None
        assert node.sync.follow.fetch(peer.id, entry) == "Pre-SegWit peer"
