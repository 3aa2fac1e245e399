"""A light node between honest and lying full nodes, in simulated time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from builders import ANYONE, block_on, chain, coin, spend
from scripted_node import ScriptedNode, filters_of

from altyn.consensus.block import Block, Header
from altyn.consensus.filters import encode_filter, match_any
from altyn.consensus.hashes import hash160
from altyn.consensus.pow import bits_to_target
from altyn.consensus.script.templates import p2wpkh
from altyn.node.light.errors import LightError
from altyn.node.testnet.simulation import SimulatedLight, SimulatedNetwork
from altyn.p2p.messages import FilterClear, GetCFHeaders, GetCFilters

OURS = p2wpkh(hash160(b"a key of ours"))
START = 1_700_000_000 - 200 * 60


def payment_chain(length: int = 110) -> list[Block]:
    """Return a chain from genesis whose last block but one pays OURS."""
    drawing = chain(f"g a1..a{length - 2}", start=START)
    drawing.extend(f"a{length - 2} a{length - 1}", [spend(coin(drawing["a1"]), OURS)], fees=1000)
    drawing.extend(f"a{length - 1} a{length}")
    return [drawing["g"], *drawing.line(f"a1..a{length}")]


class World:
    """A simulated network with scripted nodes and one light node."""

    def __init__(self, network: SimulatedNetwork, stack: AsyncExitStack) -> None:
        self.network = network
        self._stack = stack
        self._hosts = 0

    async def serve(self, node: ScriptedNode) -> str:
        """Put a scripted node on a host of its own and return the host."""
        self._hosts += 1
        host = f"10.9.0.{self._hosts}"
        await self._stack.enter_async_context(node.serve(self.network.surroundings(host)))
        return host

    async def light(self, *nodes: ScriptedNode) -> SimulatedLight:
        """Start a light node that is connected to `nodes`."""
        return await self.network.add_light(*[await self.serve(node) for node in nodes])

    async def connect(self, light: SimulatedLight, node: ScriptedNode) -> None:
        """Have a light node call another scripted node."""
        light.node.connections.add_node(await self.serve(node), light.node.network.port)

    async def until_synced(self, light: SimulatedLight, height: int, within: float = 60) -> None:
        await self.network.until(lambda: light.node.filters.height == height, within=within)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedNetwork.open(seed=3) as network, AsyncExitStack() as stack:
        yield World(network, stack)


async def test_headers_and_filters_are_followed_to_the_tip(world: World) -> None:
    blocks = payment_chain()
    light = await world.light(ScriptedNode(blocks))
    await world.until_synced(light, 110)
    node = light.node
    assert node.chain.tip.hash == blocks[-1].hash
    assert node.filters.checked == 111
    entry = node.chain.active(109)
    assert entry is not None
    data, _ = await node.block_filter(entry)
    assert data == filters_of(blocks)[109]
    assert match_any(data, entry.hash, [OURS])
    assert (await node.block(entry)).raw == blocks[109].raw


async def test_a_fresh_network_with_nothing_but_genesis_will_do(world: World) -> None:
    blocks = payment_chain()
    honest = ScriptedNode(blocks[:1])
    light = await world.light(honest)
    await world.until_synced(light, 0)
    honest.extend(blocks[1:2])
    honest.announce()
    await world.until_synced(light, 1)
    assert light.tip == blocks[1].hash


async def test_more_work_wins_through_a_reorganisation(world: World) -> None:
    drawing = chain("g a1..a8; a3 b4..b9", start=START)
    honest = ScriptedNode([drawing["g"], *drawing.line("a1..a8")])
    light = await world.light(honest)
    await world.until_synced(light, 8)
    other = ScriptedNode([drawing["g"], *drawing.line("a1..a3 b4..b9")])
    await world.connect(light, other)
    await world.network.until(lambda: light.tip == drawing["b9"].hash, within=60)
    await world.until_synced(light, 9)
    entry = light.node.chain.active(5)
    assert entry is not None
    assert (await light.node.block_filter(entry))[0] == other.filters[5]


async def expect_refused_header(
    world: World, caplog: pytest.LogCaptureFixture, bad: Header, good: list[Block], reason: str
) -> None:
    """Have a lying node put `bad` on top of `good`, and see that the light node leaves it and stays right."""
    liar, honest = ScriptedNode(good), ScriptedNode(good)
    light = await world.light(honest, liar)
    await world.until_synced(light, len(good) - 1)
    liar.headers.append(bad)
    liar.announce()
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert light.tip == good[-1].hash
    assert light.node.chain.tree.get(bad.hash) is None
    assert reason in caplog.text
    assert honest.gone == []


async def test_a_header_without_the_work_it_claims_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good = payment_chain()[:20]
    header = block_on(good[-1].header, 20).header
    target = bits_to_target(header.bits)
    nonce = next(nonce for nonce in range(1000) if int.from_bytes(_with(header, nonce=nonce).hash, "little") > target)
    await expect_refused_header(world, caplog, _with(header, nonce=nonce), good, "header with invalid proof of work")


async def test_a_header_with_the_wrong_difficulty_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good = payment_chain()[:20]
    bad = block_on(good[-1].header, 20, bits=0x207FFFFE).header
    await expect_refused_header(world, caplog, bad, good, "bad-diffbits")


async def test_a_header_of_the_past_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good = payment_chain()[:20]
    bad = block_on(good[-1].header, 20, time=good[5].header.time).header
    await expect_refused_header(world, caplog, bad, good, "time-too-old")


async def test_headers_that_do_not_link_are_refused(world: World) -> None:
    good = payment_chain()[:20]
    liar, honest = ScriptedNode(good), ScriptedNode(good)
    light = await world.light(honest, liar)
    await world.until_synced(light, 19)
    following = block_on(good[-1].header, 20).header
    stray = block_on(good[3].header, 4, extra=b"stray").header
    liar.headers += [following, stray]
    liar.announce(2)
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert light.tip == good[-1].hash


async def test_a_filter_that_omits_our_script_is_found_out(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.filters[109] = encode_filter(blocks[109].hash, [ANYONE])
    light = await world.light(liar, honest)
    await world.until_synced(light, 110)
    assert liar.gone
    assert not honest.gone
    entry = light.node.chain.active(109)
    assert entry is not None
    data, _ = await light.node.block_filter(entry)
    assert match_any(data, entry.hash, [OURS])


async def test_a_filter_that_does_not_match_its_own_header_is_refused(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.claimed = list(liar.filters)
    liar.filters[109] = encode_filter(blocks[109].hash, [ANYONE])
    light = await world.light(liar)
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert light.node.filters.height == -1
    await world.connect(light, honest)
    await world.until_synced(light, 110)
    assert not honest.gone
    assert light.node.filters.checked == 111


async def test_a_wrong_filter_header_alone_is_found_out(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.claimed = [*liar.filters[:50], b"\x00", *liar.filters[51:]]
    light = await world.light(liar, honest)
    await world.until_synced(light, 110)
    assert liar.gone
    assert not honest.gone


async def test_an_honest_latecomer_overturns_what_a_lone_liar_said(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.filters[109] = encode_filter(blocks[109].hash, [ANYONE])
    light = await world.light(liar)
    await world.until_synced(light, 110)
    entry = light.node.chain.active(109)
    assert entry is not None
    assert not match_any((await light.node.block_filter(entry))[0], entry.hash, [OURS])
    await world.connect(light, honest)
    await world.network.until(lambda: bool(liar.gone), within=60)
    await world.until_synced(light, 110)
    assert match_any((await light.node.block_filter(entry))[0], entry.hash, [OURS])
    assert light.node.filters.checked == 111


async def test_a_latecomer_that_lies_is_dropped(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.filters[70] = encode_filter(blocks[70].hash, [OURS])
    light = await world.light(honest)
    await world.until_synced(light, 110)
    await world.connect(light, liar)
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert not honest.gone
    assert light.node.filters.height == 110


async def test_a_fetched_block_gives_a_lone_liar_the_lie(world: World) -> None:
    blocks = payment_chain()
    liar = ScriptedNode(blocks)
    liar.filters[109] = encode_filter(blocks[109].hash, [ANYONE])
    light = await world.light(liar)
    await world.until_synced(light, 110)
    entry = light.node.chain.active(109)
    assert entry is not None
    await light.node.block(entry)
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert light.node.filters.header_height == 108


async def test_a_block_that_its_header_does_not_stand_for_is_refused(world: World) -> None:
    blocks = payment_chain()
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    light = await world.light(liar)
    await world.until_synced(light, 110)
    await world.connect(light, honest)
    await world.network.until(lambda: bool(honest.requests(GetCFHeaders)), within=60)
    real = blocks[109]
    liar._by_hash[real.hash] = Block(real.header, real.transactions[:1])
    entry = light.node.chain.active(109)
    assert entry is not None
    assert (await light.node.block(entry)).raw == real.raw
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert not honest.gone


async def test_disagreements_beyond_a_checkpoint_are_found(world: World) -> None:
    drawing = chain("g a1..a1100", start=1_700_000_000 - 1200 * 60)
    blocks = [drawing["g"], *drawing.line("a1..a1100")]
    liar, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    liar.filters[1050] = encode_filter(blocks[1050].hash, [OURS])
    light = await world.light(honest)
    await world.until_synced(light, 1100)
    await world.connect(light, liar)
    await world.network.until(lambda: bool(liar.gone), within=60)
    assert not honest.gone


async def test_a_peer_that_gives_no_filters_is_replaced_by_one_that_does(world: World) -> None:
    blocks = payment_chain()
    mute, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    mute.silent = {GetCFilters, GetCFHeaders}
    light = await world.light(mute, honest)
    await world.until_synced(light, 110, within=300)
    assert not honest.gone


async def test_a_transaction_is_taken_by_every_peer(world: World) -> None:
    blocks = payment_chain()
    one, other = ScriptedNode(blocks), ScriptedNode(blocks)
    light = await world.light(one, other)
    await world.until_synced(light, 110)
    tx = spend(coin(blocks[2]), OURS)
    await light.node.broadcast(tx)
    await world.network.until(lambda: one.transactions == other.transactions == [tx], within=30)


async def test_a_transaction_that_nobody_takes_is_an_error(world: World) -> None:
    blocks = payment_chain()
    deaf = ScriptedNode(blocks)
    deaf.wants_transactions = False
    light = await world.light(deaf)
    await world.until_synced(light, 110)
    with pytest.raises(LightError, match="no peer asked"):
        await light.node.broadcast(spend(coin(blocks[2]), OURS))


async def test_a_light_node_has_no_use_for_bloom_filters(world: World) -> None:
    odd = ScriptedNode(payment_chain())
    light = await world.light(odd)
    await world.until_synced(light, 110)
    odd.peers[0].send(FilterClear())
    await world.network.until(lambda: bool(odd.gone), within=60)


async def test_a_real_full_node_serves_a_light_one(world: World) -> None:
    full = await world.network.add_node()
    await full.mine(101)
    light = await world.network.add_light(full)
    await world.until_synced(light, 101)
    assert light.tip == full.tip
    first = full.node.chain.active(1)
    assert first is not None
    tx = spend(coin(full.node.chain.read_block(first)), OURS)
    await light.node.broadcast(tx)
    await world.network.until(lambda: tx.txid in full.node.mempool, within=30)
    tip = await full.mine()
    await world.until_synced(light, 102)
    entry = light.node.chain.tree.get(tip)
    assert entry is not None
    assert match_any((await light.node.block_filter(entry))[0], tip, [OURS])
    assert tx in (await light.node.block(entry)).transactions


def _with(header: Header, *, nonce: int) -> Header:
    return Header(header.version, header.prev_hash, header.merkle_root, header.time, header.bits, nonce)
