"""Dialling, listening, slots: in simulated time."""

import asyncio
import itertools
import logging
import time

import pytest
from wire import CALLER, NODE, PORT, Recorder, node, running, settings, until, version

from altyn.node.testnet.clock import SimulatedClock
from altyn.node.testnet.links import Links
from altyn.p2p.addresses import Endpoint, NetworkAddress, TimedAddress
from altyn.p2p.connections import Connections
from altyn.p2p.errors import Disconnect
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.messages import Addr
from altyn.p2p.permissions import Whitelisted
from altyn.p2p.subnets import Subnet


async def test_two_nodes_meet_and_part() -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        peer = await other.connections.connect(NODE, PORT)
        await peer.ready.wait()
        assert peer.kind is PeerKind.MANUAL
        assert peer.address == Endpoint(NODE, PORT)
        assert peer.features.wtxid_relay
        assert peer.features.send_addr_v2
        assert (await one.peer()).bound_address == Endpoint(NODE, PORT)
        assert one.connections.disconnect(0)
        await until(lambda: not one.connections.peers and not other.connections.peers)
        assert len(one.handler.disconnected) == len(other.handler.disconnected) == 1


async def test_a_node_that_calls_itself_notices() -> None:
    async with node() as one:
        peer = await one.connections.connect(NODE, PORT)
        await peer.gone.wait()
        await until(lambda: not one.connections.peers)
        assert one.handler.connected == []


async def test_no_more_may_call_than_there_are_slots() -> None:
    async with node(max_inbound=2) as one:
        callers = [await one.call(f"10.0.1.{number}") for number in range(3)]
        await callers[0].handshake()
        await callers[1].handshake()
        assert await callers[2].until_closed() == []  # two are too few to do without one of them
        assert len(one.connections.peers) == 2
        callers[0].transport.abort()
        await until(lambda: len(one.connections.peers) == 1)
        late = await one.call("10.0.1.9")
        await late.handshake()


async def test_outbound_connections_need_no_inbound_slot() -> None:
    async with node(max_inbound=0) as one, node(links=one.links, host=CALLER) as other:
        peer = await one.connections.connect(CALLER, PORT)
        await peer.ready.wait()
        assert other.connections.peers


async def test_connections_end_by_id_or_by_address() -> None:
    async with node() as one:
        first, second = await one.call(), await one.call("10.0.0.3")
        await first.handshake()
        await second.handshake()
        assert not one.connections.disconnect(77)
        assert not one.connections.disconnect(Endpoint(CALLER, 1))
        assert one.connections.disconnect(0)
        await first.until_closed()
        await until(lambda: len(one.connections.peers) == 1)
        [left] = one.connections.peers.values()
        assert one.connections.disconnect(left.address)
        await second.until_closed()


async def test_an_added_node_is_dialled_again_ever_less_often() -> None:
    links, clock = Links(), SimulatedClock()
    async with node(links=links, host=CALLER, clock=clock) as other:
        dials: list[float] = []
        dial = links.dialer(CALLER)

        async def counted(endpoint: Endpoint) -> object:
            dials.append(asyncio.get_running_loop().time())
            return await dial(endpoint)

        other.connections._dialer = counted  # type: ignore[assignment]
        assert other.connections.add_node(NODE, PORT)
        assert not other.connections.add_node(NODE, PORT)
        await asyncio.sleep(300)
        pauses = [round(later - sooner) for sooner, later in itertools.pairwise(dials)]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        async with node(links=links) as one:
            await until(lambda: one.handler.connected, within=61)
            assert other.connections.added_nodes[Endpoint(NODE, PORT)] is not None
        dials.clear()
        lost = asyncio.get_running_loop().time()
        async with node(links=links) as one:
            await until(lambda: one.handler.connected)
            assert dials[0] - lost < 2  # a connection that was good starts the pauses anew
            assert other.connections.remove_node(NODE, PORT)
            assert not other.connections.remove_node(NODE, PORT)
            assert one.connections.peers
        await until(lambda: not other.connections.peers)
        dials.clear()
        await asyncio.sleep(300)
        assert dials == []


async def test_a_switched_off_network_has_no_connections() -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        other.connections.add_node(NODE, PORT)
        await one.peer()
        other.connections.set_network_active(False)
        await until(lambda: not one.connections.peers and not other.connections.peers)
        await asyncio.sleep(280)
        assert not one.connections.peers
        with pytest.raises(Disconnect, match="switched off"):
            await other.connections.connect(NODE, PORT)
        stranger = await other.call("10.0.0.3")
        assert await stranger.until_closed() == []
        other.connections.set_network_active(True)
        await until(lambda: one.connections.peers, within=5)


async def test_nobody_there_is_an_os_error() -> None:
    async with node() as one:
        with pytest.raises(ConnectionRefusedError):
            await one.connections.connect("10.9.9.9", 1)
        one.links.between(NODE, CALLER).cut()
        with pytest.raises(TimeoutError):
            await one.connections.connect(CALLER, 1)
        assert not one.connections.peers


async def test_a_peer_without_the_needed_services_is_kept_only_if_asked_for_by_hand() -> None:
    async with node(services=Services.NETWORK) as one:
        wanted = Services.NETWORK | Services.COMPACT_FILTERS
        async with node(links=one.links, host=CALLER, required_services=wanted) as other:
            full = await other.connections.connect(NODE, PORT, PeerKind.OUTBOUND_FULL_RELAY)
            manual = await other.connections.connect(NODE, PORT)
            await manual.ready.wait()
            await full.gone.wait()
            assert "expected services" in str(full.ended)


@pytest.mark.parametrize("will_do", [True, False])
@pytest.mark.parametrize("kind", [PeerKind.OUTBOUND_FULL_RELAY, PeerKind.ADDR_FETCH])
async def test_a_peer_with_the_last_blocks_alone_is_kept_while_those_are_all_that_we_lack(
    kind: PeerKind, will_do: bool
) -> None:
    wanted = Services.NETWORK | Services.WITNESS
    async with (
        node(services=Services.NETWORK_LIMITED | Services.WITNESS) as one,
        node(links=one.links, host=CALLER, required_services=wanted, limited_will_do=lambda: will_do) as other,
    ):
        peer = await other.connections.connect(NODE, PORT, kind)
        await (peer.ready if will_do else peer.gone).wait()
        assert peer.is_ready is will_do


@pytest.mark.parametrize("permission", [Permission.RELAY, Permission.MEMPOOL])
async def test_who_may_relay_transactions_is_told_so_where_others_may_not(permission: Permission) -> None:
    trusted = Whitelisted(Subnet.parse(CALLER), permission, inbound=True, outbound=False)
    async with node(relay=False, whitelist=(trusted,)) as one:
        caller = await one.call()
        assert (await caller.handshake()).relay is (permission is Permission.RELAY)


@pytest.mark.parametrize("kind", [PeerKind.BLOCK_RELAY_ONLY, PeerKind.MANUAL])
async def test_block_relay_only_peers_are_told_not_to_announce_transactions(kind: PeerKind) -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        await other.connections.connect(NODE, PORT, kind)
        assert (await one.peer()).features.relay is (kind is PeerKind.MANUAL)


async def test_a_feeler_goes_when_it_has_seen_a_version() -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        feeler = await other.connections.connect(NODE, PORT, PeerKind.FEELER)
        await feeler.gone.wait()
        assert str(feeler.ended) == "feeler connection completed"
        assert one.handler.connected == other.handler.connected == []


async def test_what_is_asked_for_before_it_runs_happens_when_it_does() -> None:
    async with node() as one:
        recorder = Recorder()
        early = Connections(settings(), recorder, SimulatedClock(), dialer=one.links.dialer(CALLER))
        early.add_node(NODE, PORT)
        async with running(early):
            await until(lambda: recorder.connected)


async def test_stopping_closes_everything_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
    await caller.until_closed()
    assert str(peer.ended) == "shutting down"
    assert one.handler.disconnected == [peer]
    assert not one.connections.peers
    assert not one.connections.listening
    with pytest.raises(ConnectionRefusedError):
        await one.call()


async def test_all_peers_can_be_pinged_at_once() -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        await other.connections.connect(NODE, PORT)
        peer = await one.peer()
        await until(lambda: peer.stats.ping_time is not None)
        peer.stats.ping_time = None
        one.connections.ping_all()
        await until(lambda: peer.stats.ping_time is not None)


async def test_a_hundred_peers_come_and_go() -> None:
    async with node() as one:
        callers = [await one.call(f"10.1.0.{number}") for number in range(100)]
        for caller in callers:
            await caller.handshake()
        await until(lambda: len(one.handler.connected) == 100)
        for caller in callers:
            caller.transport.abort()
        await until(lambda: not one.connections.peers)
        assert len(one.handler.disconnected) == 100


async def test_an_inbound_flood_costs_the_honest_no_slot_and_the_node_no_memory() -> None:
    """2,000 callers from one network, against 32 slots: peers of use stay, and no more than 32 are ever there."""
    async with node(max_inbound=32) as one:
        honest = [await one.call(f"20.{number}.0.1") for number in range(16)]
        for caller in honest:
            await caller.handshake()
        await until(lambda: len(one.handler.connected) == 16)
        for number, peer in enumerate(one.connections.peers.values()):  # each is good at something
            peer.stats.min_ping = 0.01
            peer.stats.last_block, peer.stats.last_transaction = number // 8 * 100.0, number % 8 // 4 * 100.0
        most = 0
        started = time.perf_counter()
        for number in range(2_000):
            await one.call(f"66.66.{number >> 8}.{number & 255}")
            await asyncio.sleep(0)
            most = max(most, sum(not peer.is_ending for peer in one.connections.peers.values()))
        assert most <= 32
        assert time.perf_counter() - started < 30
        await asyncio.sleep(1)
        left = [peer.address.host for peer in one.connections.peers.values()]
        assert sum(host.startswith("20.") for host in left) == 16
        assert sum(host.startswith("66.") for host in left) <= 16


async def test_a_storm_of_connections_that_end_at_once_leaves_nothing_behind() -> None:
    """2,000 connections, cut at once or after a version message: all is given back, and the node still answers."""
    async with node() as one:
        for number in range(2_000):
            caller = await one.call(f"10.{number >> 8}.{number & 255}.1")
            if number % 2:
                await caller.send(version(nonce=number))
            caller.transport.abort()
            await asyncio.sleep(0)
        await until(lambda: not one.connections.peers)
        assert one.connections.total_bytes_received <= 1_000 * 200  # bytes of version messages
        assert len(asyncio.all_tasks()) < 10
        await (await one.call()).handshake()


async def test_a_peer_that_misbehaves_is_discouraged_with_all_at_its_address() -> None:
    async with node() as one:
        first, second = await one.call("1.2.3.4"), await one.call("1.2.3.4")
        await first.handshake()
        await second.handshake()
        await first.send(Addr((TimedAddress(0, 9, NetworkAddress(1, bytes(4), 1)),) * 1001))
        await first.until_closed()
        await second.until_closed()
        assert one.connections.bans.is_discouraged(NetworkAddress(1, bytes((1, 2, 3, 4)), 1))
        await (await one.call("1.2.3.4")).handshake()  # there is room: it may come back, and is the first to go


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_peer_on_this_machine_that_misbehaves_is_only_disconnected(host: str) -> None:
    async with node() as one:
        caller = await one.call(host)
        await caller.handshake()
        await caller.send(Addr((TimedAddress(0, 9, NetworkAddress(1, bytes(4), 1)),) * 1001))
        await caller.until_closed()
        assert one.connections.bans.as_json(0)["discouraged"] == []


async def test_who_is_banned_may_not_connect_unless_it_has_the_noban_permission() -> None:
    trusted = Whitelisted(Subnet.parse("1.2.3.4"), Permission.NO_BAN, inbound=True, outbound=False)
    async with node(whitelist=(trusted,)) as one:
        one.connections.bans.ban(Subnet.parse("1.2.0.0/16"), 0, 1 << 40)
        assert await (await one.call("1.2.3.5")).until_closed() == []
        await (await one.call("1.2.3.4")).handshake()
        assert (await one.peer()).permissions is Permission.NO_BAN


async def test_the_discouraged_do_not_get_the_last_slot_and_go_first() -> None:
    async with node(max_inbound=40) as one:
        one.connections._group_key = b"one with which 66.0 is not among the protected groups"
        one.connections.bans.discourage(NetworkAddress(1, bytes((66, 0, 0, 1)), 0))
        for number in range(38):
            await (await one.call(f"20.{number}.0.1")).handshake()
        await (await one.call("66.0.0.1")).handshake()
        await (await one.call("20.98.0.1")).handshake()
        assert await (await one.call("66.0.0.1")).until_closed() == []
        for number, peer in enumerate(one.connections.peers.values()):
            peer.stats.min_ping = peer.stats.last_transaction = peer.stats.last_block = float(number)
        one.connections.peers[38].stats.last_transaction = one.connections.peers[38].stats.last_block = 0.0
        await (await one.call("20.99.0.1")).handshake()
        assert 38 not in one.connections.peers


async def test_outbound_permissions_go_to_manual_connections_only() -> None:
    entry = Whitelisted(Subnet.parse(NODE), Permission.RELAY, inbound=False, outbound=True)
    async with node() as one, node(links=one.links, host=CALLER, whitelist=(entry,)) as other:
        manual = await other.connections.connect(NODE, PORT)
        full = await other.connections.connect(NODE, PORT, PeerKind.OUTBOUND_FULL_RELAY)
        assert manual.permissions is Permission.RELAY
        assert full.permissions is Permission.NONE


async def test_at_most_eight_added_nodes_are_connected_to_at_a_time() -> None:
    links = Links()
    async with node(links=links) as one:
        for number in range(10):
            door = links.listener(f"10.7.0.{number}")
            await door(Endpoint("any", PORT), lambda transport: None)
            one.connections.add_node(f"10.7.0.{number}", PORT)
        await until(lambda: len(one.connections.peers) == 8)
        await asyncio.sleep(50)
        assert len(one.connections.peers) == 8
