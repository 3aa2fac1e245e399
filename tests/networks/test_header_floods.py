"""Floods of headers against full and light nodes in simulated time: what they cost, and that honest peers go first."""

import dataclasses
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
from builders import SPACING, chain, mine
from scripted_node import ScriptedNode
from simulated_world import NOW, World

from altyn.consensus.block import Block, Header
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import work
from altyn.node.testnet.simulation import SimulatedLight, SimulatedNode
from altyn.p2p.messages import GetHeaders, Headers

LENGTH = 4_100
"""Blocks of the chain with just enough work: three messages of headers."""


def network_with(needed: int) -> Network:
    return dataclasses.replace(REGTEST, minimum_chain_work=needed * work(REGTEST.genesis.header.bits))


def header_chain(count: int, parent: Header, salt: int = 0) -> list[Header]:
    headers = []
    for _ in range(count):
        parent = mine(0x20000000, parent.hash, bytes([salt]) * 32, parent.time + SPACING, parent.bits)
        headers.append(parent)
    return headers


@pytest.fixture(scope="module")
def long_chain() -> list[Header]:
    start = mine(
        0x20000000, REGTEST.genesis.hash, bytes(32), NOW - (LENGTH + 1_001) * SPACING, REGTEST.genesis.header.bits
    )
    return [REGTEST.genesis.header, start, *header_chain(LENGTH - 1, start)]


def scripted(headers: list[Header]) -> ScriptedNode:
    script = ScriptedNode([REGTEST.genesis])
    script.headers = headers
    return script


Node = SimulatedNode | SimulatedLight
Start = Callable[..., Awaitable[Node]]


@pytest.fixture(params=["full", "light"])
def start(request: pytest.FixtureRequest, world: World) -> Start:
    """Starts a node that is connected to nobody."""
    return world.network.add_node if request.param == "full" else world.network.add_light


def presynced(node: Node) -> list[int]:
    presynced = node.node.sync.follow.presynced if isinstance(node, SimulatedNode) else node.node.sync.presynced
    return [presynced(peer) for peer in sorted(node.node.connections.peers)]


async def test_headers_are_stored_once_their_chain_is_known_to_have_enough_work(
    world: World, start: Start, long_chain: list[Header]
) -> None:
    node = await start(network=network_with(LENGTH))
    script = scripted(long_chain)
    await world.be_called(node, script)
    await world.until(lambda: node.node.chain.tree.best_header.height == LENGTH)
    asked = script.requests(GetHeaders)
    assert len(asked) >= 6  # twice three
    assert presynced(node) == [-1]


async def test_a_flood_of_low_work_headers_leaves_nothing_behind(
    world: World, start: Start, long_chain: list[Header]
) -> None:
    """4,000 headers, 324 kB, from each of five peers: of 1.6 MB, 0.2 are held (last reads), for a second of work."""
    node = await start(network=network_with(LENGTH + 1_000))
    scripts = [scripted(long_chain[:4_001]) for _ in range(5)]
    for script in scripts:
        script.silent = {GetHeaders}
        await world.be_called(node, script)
    gc.collect()
    tracemalloc.start()
    began = time.process_time()
    for first in (1, 2_001):
        for script in scripts:
            script.peers[0].send(Headers(tuple(long_chain[first : first + 2_000])))
        await world.until(lambda first=first: presynced(node) == [first + 1_999] * 5)
    spent = time.process_time() - began
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 300_000
    assert spent < 20
    assert len(node.node.chain.tree) == 1
    for script in scripts:
        script.headers, script.silent = long_chain[:1], set()
        script.peers[0].send(Headers(()))  # and no more, now or when asked again
    await world.until(lambda: presynced(node) == [-1] * 5)
    honest = scripted([*long_chain, *header_chain(1_000, long_chain[-1])])
    await world.be_called(node, honest)
    await world.until(lambda: node.node.chain.tree.best_header.height == LENGTH + 1_000)


async def test_a_short_chain_with_too_little_work_is_not_stored(
    world: World, start: Start, long_chain: list[Header]
) -> None:
    node = await start(network=network_with(LENGTH))
    script = scripted(long_chain[:1_000])
    await world.be_called(node, script)
    script.announce(999)
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert len(node.node.chain.tree) == 1
    assert presynced(node) == [-1]


async def test_headers_without_work_end_the_connection(world: World, start: Start, long_chain: list[Header]) -> None:
    node = await start(network=network_with(LENGTH))
    script = scripted(long_chain)
    script.silent = {GetHeaders}
    await world.be_called(node, script)
    first = long_chain[1]
    bad = [Header(first.version, first.prev_hash, first.merkle_root, first.time, first.bits, n) for n in range(100)]
    script.peers[0].send(Headers((next(header for header in bad if header.hash[31] >= 0x80),)))
    await world.until(lambda: bool(script.gone))


async def test_branches_of_old_headers_are_not_stored(world: World, start: Start) -> None:
    """A thousand branches of one header, 81 kB, each deeper than a day below the tip: none is stored, in some 0.3 s."""
    drawing = chain("g a1..a400", start=NOW - 401 * SPACING)
    blocks: list[Block] = [drawing["g"], *drawing.line("a1..a400")]
    node = await start()
    script, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    await world.be_called(node, script)
    await world.be_called(node, honest)
    await world.until(lambda: node.tip == blocks[-1].hash)
    known = len(node.node.chain.tree)
    began = time.process_time()
    for number in range(1_000):
        branch = header_chain(1, drawing[f"a{number % 200 + 1}"].header, salt=number // 200 + 1)
        script.peers[0].send(Headers(tuple(branch)))
    drawing.extend("a400 a401")
    honest.extend([drawing["a401"]])
    honest.announce()
    await world.until(lambda: node.tip == drawing["a401"].hash, within=5)
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert time.process_time() - began < 10
    assert len(node.node.chain.tree) == known + 1
    assert not script.gone
