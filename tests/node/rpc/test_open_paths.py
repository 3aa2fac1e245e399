"""Metrics and events, fetched as Prometheus and a browser do."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import pytest
from builders import coin, spend
from prometheus_client.parser import text_string_to_metric_families
from rpc_node import ADDRESS, Rpc, funded

from altyn.node.events import Events, TipChanged
from altyn.node.rpc import stream
from altyn.node.rpc.auth import Users
from altyn.node.rpc.metrics import NodeMetrics
from altyn.node.rpc.server import RpcServer
from altyn.node.rpc.stream import EventStream, TooManyClients
from altyn.node.testnet.processes import free_ports


@pytest.fixture
async def url(rpc: Rpc) -> AsyncIterator[str]:
    server = RpcServer(Users(), open_paths={"metrics", "events"})
    (port,) = free_ports(1)
    await server.listen([("127.0.0.1", port)])
    node = rpc.node
    server.metrics = NodeMetrics(node.chain, node.mempool, node.connections, rpc.methods)
    server.stream = EventStream(node.events)
    yield f"http://127.0.0.1:{port}"
    await server.close()


async def test_prometheus_reads_the_figures(rpc: Rpc, url: str) -> None:
    reward = await funded(rpc)
    await rpc.call("sendrawtransaction", spend(coin(reward.transactions[0])).raw.hex())
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        assert answer.content_type == "text/plain"
        text = await answer.text()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["altyn_blocks",] == 101
    assert found["altyn_mempool_transactions",] == 1
    assert found["altyn_peers", "inbound"] == 0
    assert found["altyn_rpc_calls_total", "sendrawtransaction"] == 1


async def test_a_listener_hears_what_happens(rpc: Rpc, url: str) -> None:
    reward = await funded(rpc)
    tx = spend(coin(reward.transactions[0]))
    async with aiohttp.ClientSession() as session, session.get(f"{url}/events") as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readuntil(b"\n\n") == b": altyn\n\n"
        await rpc.call("sendrawtransaction", tx.raw.hex())
        (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
        heard = []
        for _ in range(4):
            async with asyncio.timeout(10):
                event, data, *_ = (await answer.content.readuntil(b"\n\n")).decode().splitlines()
            heard.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    txid = tx.txid[::-1].hex()
    assert [name for name, _ in heard] == ["transaction", "removed", "block", "tip"]
    assert (heard[0][1]["txid"], heard[1][1]["txid"]) == (txid, txid)
    assert heard[2][1] == {"hash": block, "height": 102, "transactions": 2}


async def test_a_listener_is_warned_of_a_double_spend(rpc: Rpc, url: str) -> None:
    reward = coin(await funded(rpc))
    first, rival = spend(reward, fee=1000), spend(reward, fee=50_000)
    await rpc.call("sendrawtransaction", first.raw.hex())
    async with aiohttp.ClientSession() as session, session.get(f"{url}/events") as answer:
        await answer.content.readuntil(b"\n\n")
        await rpc.call("sendrawtransaction", rival.raw.hex())
        heard = b""
        async with asyncio.timeout(10):
            while not heard.startswith(b"event: doublespend"):
                heard = await answer.content.readuntil(b"\n\n")
    told = json.loads(heard.partition(b"data: ")[2])
    assert (told["first"], told["rival"]) == (first.txid[::-1].hex(), rival.txid[::-1].hex())
    assert told["outpoint"] == {"txid": reward.outpoint.txid[::-1].hex(), "vout": 0}


async def test_a_listener_that_does_not_listen_is_dropped(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_WAITING", 3)
    events = Events()
    listening = EventStream(events).listen()
    assert await anext(listening) == b": altyn\n\n"
    entry = rpc.node.chain.tip
    for _ in range(10):
        events.publish(TipChanged(entry, entry))
    assert [text async for text in listening] == []
    assert events._subscribers == []


async def test_a_large_block_is_told_to_a_hundred_listeners_and_drops_none(rpc: Rpc) -> None:
    """5,000 events are written down once each, in 30 milliseconds: with a text for each listener, in a second."""
    events = Events()
    served = EventStream(events)
    listening = [served.listen() for _ in range(stream.MOST_CLIENTS)]
    for each in listening:
        await anext(each)
    entry = rpc.node.chain.tip
    began = time.perf_counter()
    for _ in range(5_000):
        events.publish(TipChanged(entry, entry))
    assert time.perf_counter() - began < 0.4
    tracemalloc.start()
    try:
        for _ in range(10_000):
            events.publish(TipChanged(entry, entry))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 6_000_000  # for all, however slow they are
    served.end()
    assert len([text async for text in listening[0]]) == 10_000 + 5_000


async def test_only_so_many_listen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_CLIENTS", 2)
    served = EventStream(Events())
    listening = [served.listen() for _ in range(2)]
    for each in listening:
        await anext(each)
    with pytest.raises(TooManyClients):
        await anext(served.listen())
    await listening[0].aclose()
    assert await anext(served.listen()) == b": altyn\n\n"


async def test_a_silent_node_shows_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_HEARTBEAT", 0.01)
    listening = EventStream(Events()).listen()
    assert [await anext(listening) for _ in range(3)] == [b": altyn\n\n", b":\n\n", b":\n\n"]


async def test_listeners_are_told_when_there_is_no_more(rpc: Rpc) -> None:
    events = Events()
    served = EventStream(events)
    listening = served.listen()
    await anext(listening)
    events.publish(TipChanged(rpc.node.chain.tip, rpc.node.chain.tip))
    served.end()
    assert len([text async for text in listening]) == 1
