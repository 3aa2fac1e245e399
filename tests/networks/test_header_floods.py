"""Floods of headers against a node in simulated time: what they cost, and that honest peers are followed meanwhile."""

import dataclasses

import pytest
from builders import SPACING, chain, mine
from scripted_node import ScriptedNode
from simulated_world import NOW, World, feed

from altyn.consensus.block import Block, Header
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import work
from altyn.node.testnet.simulation import SimulatedNode
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


def presynced(node: SimulatedNode) -> list[int]:
    follow = node.node.sync.follow
    return [follow.presynced(peer) for peer in sorted(node.node.connections.peers)]


async def test_headers_are_stored_once_their_chain_is_known_to_have_enough_work(
    world: World, long_chain: list[Header]
) -> None:
    node = await world.network.add_node(network=network_with(LENGTH))
    script = scripted(long_chain)
    await world.be_called(node, script)
    await world.until(lambda: node.node.chain.tree.best_header.height == LENGTH)
    asked = script.requests(GetHeaders)
    assert len(asked) >= 6  # twice three
    assert presynced(node) == [-1]


async def test_a_flood_of_low_work_headers_leaves_nothing_behind(world: World, long_chain: list[Header]) -> None:
    """4,000 headers, 324 kB, from each of five peers: not one is stored (`Presync` holds a bit for every 624)."""
    node = await world.network.add_node(network=network_with(LENGTH + 1_000))
    scripts = [scripted(long_chain[:4_001]) for _ in range(5)]
    for script in scripts:
        await world.call(node, script)
        script.silent = {GetHeaders}
        script.peers[0].send(Headers(tuple(long_chain[1:2001])))
        await world.until(lambda script=script: bool(script.requests(GetHeaders)) or bool(script.gone))
    await world.until(lambda: presynced(node) == [2_000] * 5)
    assert len(node.node.chain.tree) == 1
    for script in scripts:
        script.peers[0].send(Headers(tuple(long_chain[2001:4001])))
    await world.until(lambda: presynced(node) == [4_000] * 5)
    assert len(node.node.chain.tree) == 1
    for script in scripts:
        script.headers, script.silent = long_chain[:1], set()
        script.peers[0].send(Headers(()))  # and no more, now or when asked again
    await world.until(lambda: presynced(node) == [-1] * 5)
    honest = scripted([*long_chain, *header_chain(1_000, long_chain[-1])])
    await world.be_called(node, honest)
    await world.until(lambda: node.node.chain.tree.best_header.height == LENGTH + 1_000)


async def test_a_short_chain_with_too_little_work_is_not_stored(world: World, long_chain: list[Header]) -> None:
    node = await world.network.add_node(network=network_with(LENGTH))
    script = scripted(long_chain[:1_000])
    await world.call(node, script)
    script.announce(999)
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert len(node.node.chain.tree) == 1
    assert presynced(node) == [-1]


async def test_headers_without_work_end_the_connection(world: World, long_chain: list[Header]) -> None:
    node = await world.network.add_node(network=network_with(LENGTH))
    script = scripted(long_chain)
    await world.call(node, script)
    first = long_chain[1]
    bad = [Header(first.version, first.prev_hash, first.merkle_root, first.time, first.bits, n) for n in range(100)]
    script.peers[0].send(Headers((next(header for header in bad if header.hash[31] >= 0x80),)))
    await world.until(lambda: bool(script.gone))


async def test_branches_of_old_headers_are_not_stored(world: World) -> None:
    """A thousand branches of one header, 81 kB, each deeper than a day below the tip: none is stored."""
    drawing = chain("g a1..a400", start=NOW - 401 * SPACING)
    blocks: list[Block] = [drawing["g"], *drawing.line("a1..a400")]
    node = await world.network.add_node()
    await feed(node, blocks)
    script, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    await world.call(node, script)
    await world.call(node, honest)
    known = len(node.node.chain.tree)
    for number in range(1_000):
        branch = header_chain(1, drawing[f"a{number % 200 + 1}"].header, salt=number // 200 + 1)
        script.peers[0].send(Headers(tuple(branch)))
    drawing.extend("a400 a401")
    honest.extend([drawing["a401"]])
    honest.announce()
    await world.until(lambda: node.tip == drawing["a401"].hash, within=5)
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert len(node.node.chain.tree) == known + 1
    assert not script.gone
