"""The simulated links themselves, and nodes' connections over them."""

import asyncio
import time

import pytest
from wire import CALLER, NODE, PORT, node, until

from altyn.node.testnet.clock import SimulatedLoop
from altyn.node.testnet.links import WINDOW, Links
from altyn.p2p.addresses import Endpoint
from altyn.p2p.messages import FeeFilter, Ping, Pong
from altyn.p2p.transport import READ_SIZE, Transport


async def stream(links: Links) -> tuple[Transport, Transport]:
    accepted: list[Transport] = []
    listening = await links.listener("b")(Endpoint("0.0.0.0", 1), accepted.append)
    dialled = await links.dialer("a")(listening.endpoint)
    await listening.close()
    return dialled, accepted[0]


async def test_bytes_arrive_whole_in_order_and_after_the_latency() -> None:
    links = Links(latency=0.2)
    near, far = await stream(links)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await near.write(b"one")
    await near.write(b"two")
    assert await far.read() == b"onetwo"
    assert loop.time() - start == pytest.approx(0.2)
    await near.close()
    assert await far.read() == b""
    assert (near.remote, far.local) == (Endpoint("b", 1), Endpoint("b", 1))
    assert near.local == far.remote
    assert links.between("a", "b").carried_bytes == 6


async def test_bandwidth_spreads_bytes_over_time() -> None:
    links = Links(latency=0.0, bandwidth=1000.0)
    near, far = await stream(links)
    start = asyncio.get_running_loop().time()
    await near.write(bytes(500))
    await near.write(bytes(1500))
    got = 0
    while got < 2000:
        got += len(await far.read())
    assert asyncio.get_running_loop().time() - start == pytest.approx(2.0)


async def test_a_writer_waits_for_a_reader() -> None:
    near, far = await stream(Links())
    await near.write(bytes(WINDOW))
    writing = asyncio.create_task(near.write(b"more"))
    await asyncio.sleep(3600)
    assert not writing.done()
    assert len(await far.read()) == READ_SIZE
    await writing


async def test_a_cut_link_holds_back_and_a_restored_one_delivers() -> None:
    links = Links()
    near, far = await stream(links)
    link = links.between("b", "a")
    await near.write(b"under way")
    link.cut()
    reading = asyncio.create_task(far.read())
    await asyncio.sleep(3600)
    assert not reading.done()
    await near.close()
    link.restore()
    assert await reading == b"under way"
    assert await far.read() == b""


async def test_writing_to_who_has_left_is_noticed_by_reading_the_end() -> None:
    near, far = await stream(Links())
    far.abort()
    for _ in range(10):
        await near.write(bytes(WINDOW))
    assert await near.read() == b""


async def test_hosts_can_be_isolated_whether_their_links_exist_or_not() -> None:
    links = Links()
    known = links.between("a", "b")
    links.isolate("a", "c")
    assert not known.is_up
    assert not links.between("c", "d").is_up
    assert links.between("a", "c").is_up
    links.heal()
    assert known.is_up
    assert links.between("a", "d").is_up


async def test_connections_outlive_a_short_partition_and_end_in_a_long_one() -> None:
    async with node() as one, node(links=one.links, host=CALLER) as other:
        link = one.links.between(NODE, CALLER)
        other.connections.add_node(NODE, PORT)
        peer = await one.peer()
        link.cut()
        peer.send(FeeFilter(1))
        await asyncio.sleep(600)
        assert FeeFilter(1) not in other.handler.messages
        link.restore()
        await until(lambda: FeeFilter(1) in other.handler.messages)
        assert peer.is_ready
        link.cut()
        await until(lambda: not one.connections.peers and not other.connections.peers, within=1500)
        link.restore()
        await until(lambda: len(one.handler.connected) == 2, within=70)


def test_a_simulation_in_which_nothing_can_happen_any_more_says_so() -> None:
    loop = SimulatedLoop()
    with pytest.raises(RuntimeError, match="simulation is stuck"):
        loop.run_until_complete(loop.create_future())
    loop.close()


async def test_ten_hours_of_pings_take_no_time() -> None:
    start = time.monotonic()
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        loop = asyncio.get_running_loop()
        while loop.time() < 36_000:
            await caller.send(Pong((await caller.expect(Ping)).nonce))
    assert time.monotonic() - start < 10
