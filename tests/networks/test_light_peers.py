"""How a light node finds its peers, in simulated time, and what attackers gain who want to be all of them."""

import asyncio
import dataclasses
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from builders import chain, coin, spend
from scripted_node import FULL, ScriptedNode

from altyn.consensus.block import Block
from altyn.consensus.filters import encode_filter
from altyn.consensus.networks import REGTEST
from altyn.node.light.node import LightNode
from altyn.node.light.sync import HEADER_PEERS
from altyn.node.sync.headers import CHAIN_SYNC_TIMEOUT, HEADERS_PROOF_TIMEOUT
from altyn.node.testnet.simulation import ANYONE, SimulatedLight, SimulatedNetwork
from altyn.p2p.addresses import TimedAddress
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.messages import Addr, AddrV2, GetAddr, GetHeaders, Inv, Message
from altyn.p2p.netgroups import net_group, parse_address

NOW = 1_700_000_000
LENGTH = 20
NO_FILTERS = Services.NETWORK | Services.WITNESS


class Neighbour(ScriptedNode):
    """Tells of others when it is asked."""

    knows: Sequence[TimedAddress] = ()

    def answer(self, message: Message) -> list[Message]:
        if isinstance(message, GetAddr):
            return [Addr(tuple(self.knows))]
        return super().answer(message)


def timed(*hosts: str, services: int = FULL) -> list[TimedAddress]:
    return [TimedAddress(NOW - 3600, services, parse_address(host, REGTEST.port)) for host in hosts]


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    drawing = chain(f"g a1..a{LENGTH}", start=NOW - (LENGTH + 1) * 60)
    return [drawing["g"], *drawing.line(f"a1..a{LENGTH}")]


class World:
    """A network of scripted nodes at addresses of the street."""

    def __init__(self, network: SimulatedNetwork, stack: AsyncExitStack, blocks: list[Block]) -> None:
        self.network, self._stack, self.blocks = network, stack, blocks
        self.nodes: dict[str, Neighbour] = {}

    async def add(self, *hosts: str, services: Services = FULL, blocks: Sequence[Block] = ()) -> list[str]:
        """Put a node at each host, with the chain or with `blocks`."""
        for host in hosts:
            node = self.nodes[host] = Neighbour(blocks or self.blocks, services=services)
            await self._stack.enter_async_context(node.serve(self.network.surroundings(host)))
        return list(hosts)

    async def seed(self, *known: TimedAddress) -> str:
        """Add a node that serves no filters, but knows others; return its host."""
        [host] = await self.add("9.9.9.9", services=NO_FILTERS)
        self.nodes[host].knows = known
        return host

    async def light(self, *peers: str, **settings: object) -> SimulatedLight:
        return await self.network.add_light(*peers, **settings)


@pytest.fixture
async def world(blocks: list[Block]) -> AsyncIterator[World]:
    async with SimulatedNetwork.open(seed=11) as network, AsyncExitStack() as stack:
        yield World(network, stack, blocks)


def groups_of(count: int, first: int = 20) -> list[str]:
    """Hosts, each in a group of its own."""
    return [f"{first + number}.{number}.0.1" for number in range(count)]


def connected(node: LightNode, *kinds: PeerKind) -> list[str]:
    peers = node.connections.peers.values()
    return [peer.address.host for peer in peers if peer.is_ready and peer.kind in kinds]


LASTING = PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY


async def test_slots_are_filled_with_nodes_that_serve_filters_each_in_a_network_of_its_own(world: World) -> None:
    serving = await world.add(*groups_of(14))
    others = await world.add(*groups_of(14, first=100), services=NO_FILTERS)
    lying = others[:4]  # said to serve filters, by others
    seed = await world.seed(*timed(*serving, *lying), *timed(*others[4:], services=NO_FILTERS))
    light = await world.light(seednode=(seed,))
    await world.network.until(lambda: len(connected(light.node, *LASTING)) == 10, within=600)
    found = connected(light.node, *LASTING)
    assert set(found) <= set(serving)
    assert len(connected(light.node, PeerKind.BLOCK_RELAY_ONLY)) == 2
    assert len({net_group(parse_address(host)) for host in found}) == 10
    await world.network.until(lambda: light.node.filters.height == LENGTH, within=60)
    for host in others:
        told = light.node.memory.book.find(parse_address(host, REGTEST.port))
        dialled = bool(world.nodes[host].gone)
        assert told is not None
        assert dialled <= (host in lying)
        assert not (dialled and told.services & Services.COMPACT_FILTERS)  # found out, and not called again


async def test_one_network_full_of_attackers_gets_one_place(world: World) -> None:
    """They are 900 of 910 addresses, with a shorter chain; all other places go to the honest within two minutes."""
    honest = await world.add(*groups_of(10))
    attackers = [f"66.6.{number >> 8}.{number & 255}" for number in range(1, 901)]
    await world.add(*attackers[:30], blocks=world.blocks[:5])
    seed = await world.seed(*timed(*honest), *timed(*attackers))
    light = await world.light(seednode=(seed,))
    await world.network.until(lambda: len(connected(light.node, *LASTING)) >= 9, within=120)
    found = connected(light.node, *LASTING)
    assert len(set(found) - set(honest)) <= 1
    assert light.tip == world.blocks[-1].hash
    await world.network.until(lambda: light.node.filters.height == LENGTH, within=60)


async def test_peers_that_give_no_headers_stall_the_first_sync_for_a_bounded_time(world: World) -> None:
    """As many as are asked at once: they go after 22 minutes at the most."""
    mute = await world.add(*groups_of(HEADER_PEERS, first=66))
    for host in mute:
        world.nodes[host].silent = {GetHeaders}
    light = await world.light(seednode=(await world.seed(*timed(*mute)),))
    await world.network.until(lambda: all(world.nodes[host].requests(GetHeaders) for host in mute), within=60)
    [honest] = await world.add("20.0.0.1")
    light.node.memory.book.add(timed(honest), parse_address("31.0.0.1"), NOW)
    await world.network.until(lambda: bool(world.nodes[honest].peers), within=60)
    await asyncio.sleep(60)
    assert light.tip == world.blocks[0].hash
    await asyncio.sleep(CHAIN_SYNC_TIMEOUT + HEADERS_PROOF_TIMEOUT)
    assert light.tip == world.blocks[-1].hash


async def test_a_flood_of_addresses_stays_small(world: World) -> None:
    """20,000 addresses, 0.6 MB, of a peer that was asked for some: a thousand are looked at, 250 kept; some 0.5 MB."""
    [flooder] = await world.add("66.6.0.1")
    world.nodes[flooder].silent = {GetAddr}
    light = await world.light(flooder)
    await world.network.until(lambda: bool(world.nodes[flooder].requests(GetAddr)), within=10)
    [peer] = world.nodes[flooder].peers
    floods = [
        Addr(tuple(timed(*(f"{30 + first}.{number >> 8}.{number & 255}.1" for number in range(1_000)))))
        for first in range(20)
    ]
    counts = light.node.sync.addresses.counts
    gc.collect()
    tracemalloc.start()
    began = time.process_time()
    for flood in floods:
        peer.send(flood)
        await peer.drained()
    await world.network.until(lambda: sum(counts(0)[1:]) == 20_000, within=600)
    spent = time.process_time() - began
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts(0).processed < 1_100
    assert len(light.node.memory.book) < 1_100
    assert held < 2_000_000
    assert spent < 20
    await world.network.until(lambda: light.node.filters.height == LENGTH, within=60)


async def test_a_light_node_tells_nobody_whom_it_knows(world: World) -> None:
    [asker] = await world.add("30.0.0.1")
    light = await world.light(asker)
    await world.network.until(lambda: light.node.filters.height == LENGTH, within=60)
    book = light.node.memory.book
    book.add(timed(*groups_of(50)), parse_address("31.0.0.1"), NOW)
    [peer] = world.nodes[asker].peers
    peer.send(GetAddr())
    await asyncio.sleep(300)
    assert not world.nodes[asker].requests(Addr)
    assert not world.nodes[asker].requests(AddrV2)


async def test_a_liar_that_was_found_by_itself_is_not_called_again(world: World) -> None:
    honest = await world.add(*groups_of(4))
    [liar] = await world.add("66.6.0.1")
    world.nodes[liar].filters[5] = encode_filter(world.blocks[5].hash, [ANYONE, b"\x51"])
    seed = await world.seed(*timed(*honest, liar))
    light = await world.light(seednode=(seed,))
    await world.network.until(lambda: bool(world.nodes[liar].gone), within=600)
    assert light.node.memory.bans.is_discouraged(parse_address(liar))
    times = len(world.nodes[liar].gone)
    await asyncio.sleep(1_200)
    assert len(world.nodes[liar].gone) == times
    assert not world.nodes[liar].peers
    assert set(connected(light.node, *LASTING)) == set(honest)


async def test_payments_are_offered_to_no_peer_that_is_there_for_blocks_alone(world: World) -> None:
    serving = await world.add(*groups_of(10))
    light = await world.light(seednode=(await world.seed(*timed(*serving)),))
    await world.network.until(lambda: len(connected(light.node, *LASTING)) == 10, within=600)
    tx = spend(coin(world.blocks[1]))
    await light.node.broadcast(tx)
    quiet = set(connected(light.node, PeerKind.BLOCK_RELAY_ONLY))
    told = {host for host in serving if world.nodes[host].requests(Inv)}
    assert told == set(serving) - quiet


async def test_one_more_peer_is_called_when_no_block_comes(world: World) -> None:
    serving = await world.add(*groups_of(16))
    light = await world.light(seednode=(await world.seed(*timed(*serving)),))
    await world.network.until(lambda: len(connected(light.node, *LASTING)) == 10, within=600)
    await asyncio.sleep(3 * REGTEST.target_spacing)
    async with asyncio.timeout(1_200):
        while len(connected(light.node, PeerKind.OUTBOUND_FULL_RELAY)) < 9:  # noqa: ASYNC110 - simulated time
            await asyncio.sleep(10)


async def test_peers_are_remembered_and_the_anchors_called_first(world: World, tmp_path: Path) -> None:
    serving = await world.add(*groups_of(14))
    seed = await world.seed(*timed(*serving))

    async def run(**settings: object) -> tuple[list[str], set[str]]:
        """Run a light node for five minutes; return whom it called first, and whom for blocks alone at the end."""
        surroundings = dataclasses.replace(world.network.surroundings("10.1.0.1"), in_memory=False)
        chosen = world.network._settings(datadir=tmp_path, **settings)
        async with LightNode.open(chosen, surroundings=surroundings) as node:
            await world.network.until(lambda: len(connected(node, *LASTING)) >= 1, within=600)
            first = connected(node, *LASTING)
            await world.network.until(lambda: len(connected(node, *LASTING)) == 10, within=600)
            assert len(node.memory.book) >= 14
            return first, set(connected(node, PeerKind.BLOCK_RELAY_ONLY))

    _, anchors = await run(seednode=(seed,))
    world.nodes[seed].knows = ()
    first, again = await run()
    assert len(anchors) == 2
    assert set(first) <= anchors
    assert again == anchors
