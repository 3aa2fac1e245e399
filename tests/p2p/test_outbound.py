"""The connections that a node opens by itself, in simulated time: how many, to whom, and what tells it where to go."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from wire import NODE, PORT, Node, node, until

from altyn.node.testnet.clock import SimulatedClock
from altyn.node.testnet.links import Links
from altyn.p2p.address_book import AddressBook
from altyn.p2p.addresses import Endpoint, NetworkAddress, TimedAddress
from altyn.p2p.kinds import PeerKind
from altyn.p2p.netgroups import net_group, parse_address
from altyn.p2p.outbound import Outbound, OutboundSettings, Slots
from altyn.p2p.seeds import FIXED_SEEDS, fixed_seeds
from altyn.p2p.subnets import Subnet


def others(count: int, *, group: int = 0) -> list[str]:
    """Hosts, each in a group of its own, or all in one."""
    return [
        f"66.{group}.{n >> 8}.{n & 255}" if group else f"{20 + n // 200}.{n % 200}.0.1" for n in range(1, count + 1)
    ]


def address(host: str) -> NetworkAddress:
    return parse_address(host, PORT)


@dataclass
class Self:
    """A node that opens connections, and what it knows."""

    node: Node
    book: AddressBook
    outbound: Outbound
    anchors: list[NetworkAddress]
    asked: list[str]
    """Names looked up by DNS."""

    def knows(self, *hosts: str, services: int = 9, port: int = PORT) -> None:
        for host in hosts:
            target = parse_address(host, port)
            self.book.add([TimedAddress(1_700_000_000, services, target)], target, 1_700_000_000.0)

    def connected(self, kind: PeerKind) -> list[str]:
        peers = self.node.connections.peers.values()
        return [peer.address.host for peer in peers if peer.kind is kind and peer.is_ready]


@contextlib.asynccontextmanager
async def world(
    hosts: Collection[str] = (),
    *,
    anchors: Sequence[NetworkAddress] = (),
    answers: Sequence[str] = (),
    **fields: object,
) -> AsyncIterator[Self]:
    """A node, and others that listen at `hosts`; DNS gives `answers`."""
    clock = SimulatedClock()
    asked: list[str] = []

    async def resolve(name: str) -> Sequence[str]:
        asked.append(name)
        if not answers:
            raise OSError("no such name")
        return answers

    async with AsyncExitStack() as stack:
        links = Links()
        one = await stack.enter_async_context(node(links=links, host=NODE, clock=clock))
        for host in hosts:
            await stack.enter_async_context(node(links=links, host=host, clock=clock))
        values: dict[str, object] = {
            "chain": "main", "port": PORT, "slots": Slots.of(125), "services": 9, "reachable": {"ipv4"},
        }  # fmt: skip
        book = AddressBook(random.Random(1))
        kept: list[NetworkAddress] = []
        outbound = Outbound(
            OutboundSettings(**values | fields),  # type: ignore[arg-type]
            one.connections,
            book,
            clock,
            random.Random(2),
            own_addresses={address("20.199.0.1")},
            anchors=anchors,
            keep_anchors=kept.extend,
            resolve=resolve,
        )
        made = Self(one, book, outbound, kept, asked)
        task = asyncio.create_task(outbound.run())
        try:
            yield made
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def test_slots_are_shared_out_as_core_does() -> None:
    assert Slots.of(125) == (8, 2, 114)
    assert Slots.of(9) == (8, 1, 0)
    assert Slots.of(3) == (3, 0, 0)
    assert Slots.of(0) == Slots.of(-5) == (0, 0, 0)


async def test_eight_full_and_two_block_relay_connections_each_to_another_group() -> None:
    hosts = others(14) + others(40, group=1)
    async with world(hosts) as me:
        me.knows(*hosts)
        await until(lambda: len(me.connected(PeerKind.BLOCK_RELAY_ONLY)) == 2, within=120)
        lasting = me.connected(PeerKind.OUTBOUND_FULL_RELAY) + me.connected(PeerKind.BLOCK_RELAY_ONLY)
        assert len(lasting) == 10
        assert len({net_group(address(host)) for host in lasting}) == 10
        await asyncio.sleep(60)
        assert len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 8
    assert {one.text for one in me.anchors} == set(lasting[8:])


async def test_a_connection_that_ends_is_replaced() -> None:
    hosts = others(14)
    async with world(hosts) as me:
        me.knows(*hosts)
        await until(lambda: len(me.connected(PeerKind.BLOCK_RELAY_ONLY)) == 2, within=120)
        gone = me.connected(PeerKind.OUTBOUND_FULL_RELAY)[0]
        me.node.connections.disconnect(Endpoint(gone, PORT))
        await until(lambda: len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 7)
        await until(lambda: len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 8, within=120)


async def test_feelers_find_out_whether_nodes_are_there() -> None:
    hosts = others(40)
    async with world(hosts) as me:
        me.knows(*hosts, "20.150.0.1")
        await asyncio.sleep(3600)
        tried = [known for _, known in me.book.rows(tried=True)]
        assert 10 <= len(tried) <= 41  # no handler here calls ordinary connections good: these are feelers
        assert "20.150.0.1" not in {known.address.text for known in tried}


async def test_what_is_no_use_or_not_allowed_is_not_dialled() -> None:
    hosts = others(6)
    async with world(hosts) as me:
        bans = me.node.connections.bans
        bans.ban(Subnet.parse(hosts[0]), 0, 1 << 40)
        bans.discourage(address(hosts[1]))
        me.knows(*hosts[:2], hosts[5])
        me.knows(hosts[2], services=1)
        me.knows("20.199.0.1")  # ourselves
        me.knows("2a00:1450::1")  # no way there
        await asyncio.sleep(300)
        assert me.connected(PeerKind.OUTBOUND_FULL_RELAY) == [hosts[5]]
        dialled = {known.address.text for _, known in me.book.rows(tried=False) if known.last_try}
        assert dialled <= {hosts[5], hosts[2]}  # the one without witness by a feeler at the most


async def test_a_switched_off_network_is_left_alone() -> None:
    hosts = others(3)
    async with world(hosts) as me:
        me.node.connections.set_network_active(False)
        me.knows(*hosts)
        await asyncio.sleep(60)
        assert not any(known.last_try for _, known in me.book.rows(tried=False))


async def test_one_more_is_called_when_asked_for() -> None:
    hosts = others(20)
    async with world(hosts) as me:
        me.knows(*hosts)
        await until(lambda: len(me.connected(PeerKind.BLOCK_RELAY_ONLY)) == 2, within=120)
        me.outbound.wants_another = True
        await until(lambda: len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 9, within=120)
        await asyncio.sleep(60)
        assert len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 9
        me.outbound.is_synced = True
        await until(lambda: len(me.connected(PeerKind.BLOCK_RELAY_ONLY)) > 2, within=3600)


async def test_anchors_are_dialled_first() -> None:
    hosts = others(12)
    async with world(hosts, anchors=[address(hosts[0]), address(hosts[1]), address(hosts[2])]) as me:
        me.knows(*hosts[3:])
        await until(lambda: len(me.connected(PeerKind.BLOCK_RELAY_ONLY)) == 2, within=5)
        assert set(me.connected(PeerKind.BLOCK_RELAY_ONLY)) == set(hosts[:2])


# --- where to begin ---


async def test_dns_is_asked_for_nodes_with_our_services_when_nobody_is_known() -> None:
    hosts = others(10)
    async with world(hosts, answers=hosts, dns_seeds=("seed.example.",)) as me:
        await until(lambda: len(me.connected(PeerKind.OUTBOUND_FULL_RELAY)) == 8, within=60)
        assert {known.source.text for _, known in me.book.rows(tried=False)} <= {
            known.source.text
            for _, known in me.book.rows(tried=False)
            if known.source.text.startswith("fd6b:88c0:8724")
        }


async def test_dns_is_not_asked_when_what_is_known_suffices() -> None:
    hosts = others(10)
    async with world(hosts, answers=["20.77.0.1"], dns_seeds=("seed.example.",)) as me:
        me.knows(*hosts)
        await asyncio.sleep(600)
        assert me.asked == []
    async with world(hosts, answers=["20.77.0.1"], dns_seeds=("seed.example.",), force_dns=True) as me:
        me.knows(*hosts)
        await asyncio.sleep(1)
        assert me.book.find(address("20.77.0.1")) is not None


async def test_a_name_that_nobody_can_have_is_not_looked_up() -> None:
    async with world(dns_seeds=("dummySeed.invalid.",), force_dns=True) as me:
        await asyncio.sleep(60)
        assert me.asked == []


async def test_behind_a_proxy_seeds_are_called_and_not_looked_up() -> None:
    async with world(["seed.example"], dns_seeds=("seed.example.",), names_by_proxy=True) as me:
        await until(lambda: me.connected(PeerKind.ADDR_FETCH) == ["seed.example"], within=20)


async def test_seed_nodes_are_asked_one_after_another_while_there_is_nobody() -> None:
    hosts = others(2)
    async with world(hosts, seed_nodes=[Endpoint(host, PORT) for host in hosts]) as me:
        await until(lambda: len(me.connected(PeerKind.ADDR_FETCH)) == 1, within=10)
        await until(lambda: len(me.connected(PeerKind.ADDR_FETCH)) == 2, within=20)


@pytest.mark.parametrize(("more", "patience"), [({}, 10), ({"dns_seeds": ("seed.example.",)}, 70)])
async def test_built_in_addresses_are_the_last_resort(more: dict[str, object], patience: int) -> None:
    async with world(fixed_seeds=True, **more) as me:
        if more:
            await asyncio.sleep(50)
            assert len(me.book) == 0
        await until(lambda: len(me.book) > 50, within=patience)


async def test_without_them_a_node_knows_nobody() -> None:
    async with world() as me:
        await asyncio.sleep(300)
        assert len(me.book) == 0


def test_built_in_addresses_lie_in_many_networks() -> None:
    addresses = FIXED_SEEDS["main"]
    assert len({net_group(one) for one in addresses}) == len(addresses) > 50
    now = 1_700_000_000.0
    assert all(7 <= (now - seed.time) / 86400 <= 14 for seed in fixed_seeds("main", 9, now, random.Random(1)))
    assert fixed_seeds("regtest", 9, now, random.Random(1)) == []
