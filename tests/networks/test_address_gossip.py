"""Gossip of addresses: a full node in simulated time, and callers that say exactly what they are told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from wire import Caller, version

from altyn.node.sync.addresses import MAX_TOKENS, AddressCounts
from altyn.node.testnet.simulation import SimulatedNetwork, SimulatedNode
from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.kinds import PeerKind
from altyn.p2p.messages import Addr, AddrV2, GetAddr, SendAddrV2, Verack, Version
from altyn.p2p.netgroups import parse_address
from altyn.p2p.subnets import Subnet

START = 1_700_000_000
PATIENT = 10**9
"""A -peertimeout that looks at no peer's silence, for tests in which days go by."""
ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
I2P = "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jna.b32.i2p"


def timed(number: int, age: int = 0) -> TimedAddress:
    """An address of its own for each number, last seen `age` seconds before the start."""
    host = bytes((20 + (number >> 16), number >> 8 & 255, number & 255, 1))
    return TimedAddress(START - age, 9, NetworkAddress(NetworkId.IPV4, host, 8333))


def batch(first: int, count: int) -> Addr:
    return Addr(tuple(timed(number) for number in range(first, first + count)))


class World:
    """A node, and who calls it."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self.network = network
        self.hosts = 0

    async def add_node(self, **settings: object) -> SimulatedNode:
        """Start a node that opens no connections by itself."""
        return await self.network.add_node(given=frozenset({"connect"}), **settings)

    async def call(self, node: SimulatedNode, *, v2: bool = False, host: str = "", **fields: object) -> Caller:
        self.hosts += 1
        host = host or f"50.{self.hosts}.0.1"
        caller = Caller(await self.network.links.dialer(host)(Endpoint(node.host, self.network.network.port)))
        await caller.send(version(**fields))
        await caller.expect(Version)
        if v2:
            await caller.send(SendAddrV2())
        await caller.send(Verack())
        await caller.sync()
        return caller

    def leap(self, seconds: float) -> None:
        """Put the clock forward, as `setmocktime` does; `PATIENT` nodes do not mind."""
        self.network.clock._start += seconds

    def counts(self, node: SimulatedNode, peer_id: int = 0) -> AddressCounts:
        return node.node.sync.addresses.counts(peer_id)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedNetwork.open(seed=3) as network:
        yield World(network)


async def heard(caller: Caller, seconds: float) -> list[TimedAddress]:
    """Return the addresses that come within so many seconds."""
    found: list[TimedAddress] = []
    try:
        async with asyncio.timeout(seconds):
            while (frame := await caller.next_frame()) is not None:
                if frame.command in {"addr", "addrv2"}:
                    kind = Addr if frame.command == "addr" else AddrV2
                    found += kind.parse(frame.payload).addresses
    except TimeoutError:
        pass
    return found


async def test_a_few_fresh_addresses_go_on_to_two_peers(world: World) -> None:
    node = await world.add_node()
    source = await world.call(node)
    others = [await world.call(node) for _ in range(5)]
    for caller in others:
        await caller.send(GetAddr())  # so that it takes part
        await caller.sync()
    await source.send(Addr((timed(1),)))
    await source.sync()
    told = [len(await heard(caller, 600)) for caller in others]
    assert sorted(told) == [0, 0, 0, 1, 1]
    assert await heard(source, 600) == []
    assert node.node.memory.book.find(timed(1).address) is not None


@pytest.mark.parametrize("message", [batch(1, 11), Addr((timed(1, age=600),)), Addr((timed(1)._replace(services=0),))])
async def test_many_at_once_or_old_or_useless_addresses_go_nowhere(world: World, message: Addr) -> None:
    node = await world.add_node()
    source, other = await world.call(node), await world.call(node)
    await other.send(GetAddr())
    await asyncio.sleep(120)
    await source.send(message)
    await source.sync()
    assert await heard(other, 600) == []


async def test_addresses_of_every_network_go_to_those_who_understand_them(world: World) -> None:
    node = await world.add_node(onion="127.0.0.1:9050")
    source = await world.call(node, v2=True)
    modern, old = await world.call(node, v2=True), await world.call(node)
    for caller in (modern, old):
        await caller.send(GetAddr())
        await caller.sync()
    cjdns = NetworkAddress(NetworkId.CJDNS, bytes.fromhex("fc32" + "17" * 14), 8333)
    targets = [parse_address(host, 8333) for host in ("31.0.0.1", "2a00:1450::1", ONION, I2P)] + [cjdns]
    await asyncio.sleep(60)  # so that it may tell several
    await source.send(AddrV2(tuple(TimedAddress(START + 60, 9, target) for target in targets)))
    await source.sync()
    assert {one.address for one in await heard(modern, 600)} >= {targets[0], targets[1], targets[2]}
    assert {one.address for one in await heard(old, 600)} == set(targets[:2])
    book = node.node.memory.book
    assert [book.find(target) is not None for target in targets] == [
        True,
        True,
        True,
        False,
        False,
    ]  # no way to the last


async def test_a_flood_of_addresses_is_cut_down_to_one_in_ten_seconds(world: World) -> None:
    """A stranger sends 100,000 addresses: one is looked at, then one every ten seconds; the book stays as small."""
    node = await world.add_node()
    caller = await world.call(node)
    for number in range(100):
        await caller.send(batch(number * 1000, 1000))
    await caller.sync()
    enabled, processed, limited = world.counts(node)
    assert enabled
    assert processed + limited == 100_000
    assert processed <= 3  # the flood itself takes some seconds on its link
    await asyncio.sleep(600)
    await caller.send(batch(300_000, 1000))
    await caller.sync()
    assert 55 <= world.counts(node).processed - processed <= 65
    assert len(node.node.memory.book) <= 70


async def test_patience_is_bounded_and_those_with_the_permission_need_none(world: World) -> None:
    node = await world.add_node(whitelist=("addr@60.0.0.1",), peertimeout=PATIENT)
    stranger, friend = await world.call(node), await world.call(node, host="60.0.0.1")
    world.leap(100 * MAX_TOKENS)
    for number in range(2):
        await stranger.send(batch(number * 1000, 1000))
        await friend.send(batch(number * 1000, 1000))
    await stranger.sync()
    await friend.sync()
    assert world.counts(node, 0) == AddressCounts(True, 1000, 1000)
    assert world.counts(node, 1) == AddressCounts(True, 2000, 0)


async def test_getaddr_is_answered_once_and_to_all_alike_for_a_day(world: World) -> None:
    node = await world.add_node(whitelist=("addr@60.0.0.1",), peertimeout=PATIENT)
    book = node.node.memory.book
    for number in range(2000):
        book.add([timed(number)], timed(number).address, world.network.clock.now())
    first, second = await world.call(node), await world.call(node)
    await first.send(GetAddr(), GetAddr())
    await second.send(GetAddr())
    answer = await heard(first, 300)
    assert len(answer) == len(book) * 23 // 100
    assert set(answer) == set(await heard(second, 300))
    friend = await world.call(node, host="60.0.0.1")
    await friend.send(GetAddr())
    assert set(await heard(friend, 300)) != set(answer)
    world.leap(28 * 3600)
    third = await world.call(node)
    await third.send(GetAddr())
    assert set(await heard(third, 300)) != set(answer)


async def test_the_banned_are_not_told_of(world: World) -> None:
    node = await world.add_node()
    book, bans = node.node.memory.book, node.node.memory.bans
    for number in range(100):
        book.add([timed(number)], timed(number).address, world.network.clock.now())
    bans.ban(Subnet.parse("20.0.0.0/17"), 0, 1 << 40)
    caller = await world.call(node)
    await caller.send(GetAddr())
    assert await heard(caller, 600) == []
    assert node.node.sync.addresses.known_addresses(0, 0) == []


async def test_who_is_called_is_asked_and_may_answer_at_length(world: World) -> None:
    one, other = await world.add_node(), await world.add_node()
    for number in range(1500):
        other.node.memory.book.add([timed(number)], timed(number).address, world.network.clock.now())
    port = world.network.network.port
    await one.node.connections.connect(other.host, port, PeerKind.OUTBOUND_FULL_RELAY)
    await world.network.until(lambda: world.counts(one).processed > 50, within=600)
    assert world.counts(one).rate_limited == 0
    assert len(one.node.memory.book) > 40


async def test_an_addr_fetch_ends_when_it_has_what_it_came_for(world: World) -> None:
    one, other = await world.add_node(), await world.add_node()
    for number in range(100):
        other.node.memory.book.add([timed(number)], timed(number).address, world.network.clock.now())
    peer = await one.node.connections.connect(other.host, world.network.network.port, PeerKind.ADDR_FETCH)
    await world.network.until(peer.gone.is_set, within=600)
    assert str(peer.ended) == "addrfetch connection completed"


async def test_an_addr_fetch_ends_after_five_minutes_without_an_answer(world: World) -> None:
    one, other = await world.add_node(), await world.add_node()  # which know no addresses
    peer = await one.node.connections.connect(other.host, world.network.network.port, PeerKind.ADDR_FETCH)
    await asyncio.sleep(299)
    assert not peer.is_ending
    await world.network.until(peer.gone.is_set, within=5)
    assert str(peer.ended) == "addrfetch connection timeout"


async def test_blocks_only_connections_say_nothing_of_addresses(world: World) -> None:
    one, other = await world.add_node(), await world.add_node()
    await one.node.connections.connect(other.host, world.network.network.port, PeerKind.BLOCK_RELAY_ONLY)
    await asyncio.sleep(600)
    assert world.counts(one) == world.counts(other) == AddressCounts(False, 0, 0)


async def test_a_node_tells_its_own_address_when_it_is_of_use(world: World) -> None:
    node = await world.add_node(externalip=("31.32.33.34:1234",), peertimeout=PATIENT)
    caller = await world.call(node)
    await caller.send(GetAddr())
    assert await heard(caller, 600) == []  # it has no blocks yet
    await node.mine()
    [told] = await heard(caller, 600)
    assert told.address == parse_address("31.32.33.34", 1234)
    again = 0
    for _ in range(10):
        world.leap(86400)
        again += len(await heard(caller, 300))
    assert 3 <= again <= 10  # about once a day


async def test_a_node_believes_what_peers_see_half_of_the_time(world: World) -> None:
    node = await world.add_node()
    await node.mine()
    seen = NetworkAddress(NetworkId.IPV4, bytes((31, 32, 33, 34)), 18444)
    caller = await world.call(node, receiver=(9, seen))
    await caller.send(GetAddr())
    assert [one.address for one in await heard(caller, 600)] == [seen]
