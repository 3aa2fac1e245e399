"""The same over real sockets."""

import asyncio
import socket

import pytest
from wire import MAGIC, Caller, Recorder, running, settings, until

from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.messages import FeeFilter
from altyn.p2p.transport import dial_tcp


def made(recorder: Recorder) -> Connections:
    return Connections(settings(), recorder, SystemClock())


async def test_two_nodes_meet_over_tcp() -> None:
    one, other = Recorder(), Recorder()
    called, calling = made(one), made(other)
    endpoint = await called.listen("127.0.0.1", 0)
    async with running(called, calling):
        peer = await calling.connect(*endpoint)
        async with asyncio.timeout(10):
            await peer.ready.wait()
        peer.send(FeeFilter(5))
        await until(lambda: FeeFilter(5) in one.messages)
        assert called.listening == [endpoint]
        assert one.connected[0].address == peer.bound_address
        peer.disconnect("enough")
        await until(lambda: not called.peers and not calling.peers)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_ip_versions_are_spoken(host: str) -> None:
    recorder = Recorder()
    called = made(recorder)
    try:
        endpoint = await called.listen(host, 0)
    except OSError as error:
        pytest.skip(f"network namespaces: no {host} here: {error}")
    async with running(called):
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await caller.sync()
        assert recorder.connected[0].address.host == host
        await caller.transport.close()


async def test_a_reader_that_never_reads_costs_bounded_memory_and_then_its_connection() -> None:
    recorder = Recorder()
    called = made(recorder)
    endpoint = await called.listen("127.0.0.1", 0)
    async with running(called):
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await until(lambda: recorder.connected)
        [peer] = recorder.connected
        sent = 0
        while peer.is_ready:
            peer.send_raw("block", bytes(500_000))
            sent += 500_000
            assert sent < 40_000_000  # what the kernel holds besides
            assert peer.queued_bytes <= 8_000_000
            await asyncio.sleep(0)
        await until(lambda: recorder.disconnected)
        assert str(peer.ended) == "reads too slowly"
        caller.transport.abort()


async def test_what_we_do_not_read_stays_with_the_sender() -> None:
    blocked = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await blocked

    recorder = Recorder(lambda peer, message: wait() if message == FeeFilter(1) else None)
    called = made(recorder)
    endpoint = await called.listen("127.0.0.1", 0)
    async with running(called):
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await caller.send(FeeFilter(1), FeeFilter(2))
        sender = asyncio.create_task(caller.send_raw("unknown", bytes(4_000_000)))
        senders = [sender]
        await until(lambda: recorder.connected)
        [peer] = recorder.connected
        last = -1
        while peer.stats.bytes_received != last or not senders[-1].done():
            last = peer.stats.bytes_received
            if senders[-1].done():
                senders.append(asyncio.create_task(caller.send_raw("unknown", bytes(4_000_000))))
            await asyncio.sleep(0.05)
            if len(senders) > 1 and peer.stats.bytes_received == last and not senders[-1].done():
                break
        assert peer.stats.bytes_received < 10_000_000
        blocked.set_result(None)
        await asyncio.wait_for(senders[-1], 10)
        await caller.sync()
        caller.transport.abort()


async def test_a_connection_reset_is_an_end_like_any_other() -> None:
    recorder = Recorder()
    called = made(recorder)
    endpoint = await called.listen("127.0.0.1", 0)
    async with running(called):
        reader, writer = await asyncio.open_connection(*endpoint)
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.write(V1Framing(MAGIC).frame("ping", bytes(8)))
        await writer.drain()
        await until(lambda: any(peer.stats.bytes_received for peer in called.peers.values()))
        writer.transport.abort()
        await until(lambda: not called.peers)
        assert not await reader.read()


async def test_a_port_in_use_is_an_os_error() -> None:
    called, second = made(Recorder()), made(Recorder())
    endpoint = await called.listen("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await second.listen(*endpoint)
    async with running(called):
        await asyncio.sleep(0)


async def test_nobody_there_is_an_os_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await dial_tcp(Endpoint(*free.getsockname()))


@pytest.mark.parametrize("host", ["127.0.0..1", "a\0b", "\ud800", "a" * 64 + ".example"])
async def test_what_is_no_name_of_a_host_cannot_be_reached_and_stops_nothing(host: str) -> None:
    with pytest.raises(OSError, match="not the name of a host"):
        await dial_tcp(Endpoint(host, 18444))
    connections = made(Recorder())
    async with running(connections):
        assert connections.add_node(host, 18444)
        endpoint = await connections.listen("127.0.0.1", 0)
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await caller.transport.close()
