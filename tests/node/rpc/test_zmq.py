"""Publications, received by a subscriber of pyzmq."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from builders import coin, spend
from rpc_node import ADDRESS, Rpc, funded

from altyn.node.rpc.zmq import TOPICS, Publication, Publishers, ZmqMethods


class Subscriber:
    """Receives all topics of an address, by topic."""

    def __init__(self, socket: "zmq.asyncio.Socket") -> None:
        self._socket = socket
        self.received: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}

    async def take(self, count: int) -> list[tuple[str, bytes]]:
        """Return the next messages; each topic numbers its own without a gap."""
        taken = []
        for _ in range(count):
            async with asyncio.timeout(10):
                topic, body, number = await self._socket.recv_multipart()
            bodies = self.received[topic.decode()]
            assert int.from_bytes(number, "little") == len(bodies)
            bodies.append(body)
            taken.append((topic.decode(), body))
        return taken


@asynccontextmanager
async def subscribed(rpc: Rpc, folder: Path, *topics: str) -> AsyncIterator[Subscriber]:
    address = f"ipc://{folder}/zmq"
    publications = [Publication(topic, address, 1000) for topic in topics]
    with Publishers.open(rpc.node.chain, publications) as publishers, zmq.asyncio.Context() as context:
        unsubscribe = rpc.node.events.subscribe(publishers.note)
        with context.socket(zmq.SUB) as socket:
            socket.subscribe(b"")
            socket.connect(address)
            await asyncio.sleep(0.2)  # until the publisher knows: ZMQ has no word for it
            yield Subscriber(socket)
        unsubscribe()


def hashes(messages: list[tuple[str, bytes]], topic: str) -> list[str]:
    return [body.hex() for each, body in messages if each == topic]


async def test_blocks_and_their_transactions_are_published(rpc: Rpc, tmp_path: Path) -> None:
    async with subscribed(rpc, tmp_path, *TOPICS) as subscriber:
        (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
        got = await subscriber.take(5)
        raw = await rpc.call("getblock", block, 0)
        coinbase = (await rpc.call("getblock", block))["tx"][0]
        assert [topic for topic, _ in got] == ["hashtx", "rawtx", "sequence", "hashblock", "rawblock"]
        assert (hashes(got, "hashblock"), hashes(got, "rawblock")) == ([block], [raw])
        assert (hashes(got, "hashtx"), hashes(got, "sequence")) == ([coinbase], [block + b"C".hex()])
        assert hashes(got, "rawtx") == [await rpc.call("getrawtransaction", coinbase)]


async def test_a_transaction_is_followed_into_the_mempool_and_out_of_it(rpc: Rpc, tmp_path: Path) -> None:
    reward = coin(await funded(rpc))
    tx = spend(reward)
    txid = tx.txid[::-1].hex()
    async with subscribed(rpc, tmp_path, "sequence", "hashtx") as subscriber:
        before = (await rpc.call("getrawmempool", False, True))["mempool_sequence"]
        await rpc.call("sendrawtransaction", tx.raw.hex())
        got = await subscriber.take(2)
        number = before.to_bytes(8, "little").hex()
        assert (hashes(got, "hashtx"), hashes(got, "sequence")) == ([txid], [txid + b"A".hex() + number])
        await rpc.call("generateblock", ADDRESS, [spend(reward, fee=5000).raw.hex()])
        got = await subscriber.take(4)
        removed = [body for body in hashes(got, "sequence") if body.startswith(txid)]
        assert removed == [txid + b"R".hex() + (before + 1).to_bytes(8, "little").hex()]


async def test_nothing_is_lost_over_a_reorganisation(rpc: Rpc, tmp_path: Path) -> None:
    old = await rpc.call("generatetodescriptor", 2, "raw(51)")
    raw = [await rpc.call("getblock", each, 0) for each in old]
    await rpc.call("invalidateblock", old[0])
    new = await rpc.call("generatetodescriptor", 3, "raw(52)")
    await rpc.call("invalidateblock", new[0])
    await rpc.call("reconsiderblock", old[0])
    assert await rpc.call("getbestblockhash") == old[1]
    async with subscribed(rpc, tmp_path, "sequence", "hashblock", "hashtx", "rawblock") as subscriber:
        await rpc.call("reconsiderblock", new[0])
        got = await subscriber.take(5 * 2 + 2)
    connected, disconnected = b"C".hex(), b"D".hex()
    assert hashes(got, "sequence") == [
        *(each + disconnected for each in reversed(old)),
        *(each + connected for each in new),
    ]
    assert hashes(got, "hashblock") == [new[2]]
    assert len(hashes(got, "hashtx")) == 5
    assert raw[0] not in hashes(got, "rawblock")


async def test_a_branch_of_less_work_is_told_when_the_best_one_is_invalid(rpc: Rpc, tmp_path: Path) -> None:
    best = await rpc.call("generatetodescriptor", 2, "raw(51)")
    await rpc.call("invalidateblock", best[0])
    (other,) = await rpc.call("generatetodescriptor", 1, "raw(52)")
    await rpc.call("reconsiderblock", best[0])
    async with subscribed(rpc, tmp_path, "hashblock", "rawblock") as subscriber:
        await rpc.call("invalidateblock", best[0])
        got = await subscriber.take(2)
        assert hashes(got, "hashblock") == [other]
        assert hashes(got, "rawblock") == [await rpc.call("getblock", other, 0)]


async def test_a_slow_subscriber_loses_messages_and_sees_which(rpc: Rpc, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/slow"
    with (
        Publishers.open(rpc.node.chain, [Publication("hashtx", address, 1)]) as publishers,
        zmq.Context() as context,
        context.socket(zmq.SUB) as socket,
    ):
        socket.set(zmq.RCVHWM, 1)
        socket.subscribe(b"")
        socket.connect(address)
        await asyncio.sleep(0.2)
        for number in range(5000):
            publishers._send("hashtx", partial(int.to_bytes, number, 32, "little"))
        await asyncio.sleep(0.1)
        got: list[Any] = []
        while socket.poll(100):
            got.append(socket.recv_multipart())
    assert 0 < len(got) < 5000
    assert all(body == number.ljust(32, b"\0") for _, body, number in got)


async def test_several_addresses_are_listed_and_one_that_is_none_is_refused(rpc: Rpc, tmp_path: Path) -> None:
    publications = [Publication(topic, f"ipc://{tmp_path}/{topic}", 7) for topic in ("rawblock", "rawtx")]
    with Publishers.open(rpc.node.chain, publications):
        listed = ZmqMethods(publications).getzmqnotifications()
    assert listed == [
        {"type": "pubrawblock", "address": f"ipc://{tmp_path}/rawblock", "hwm": 7},
        {"type": "pubrawtx", "address": f"ipc://{tmp_path}/rawtx", "hwm": 7},
    ]
    with pytest.raises(zmq.ZMQError), Publishers.open(rpc.node.chain, [Publication("rawtx", "nonsense", 1)]):
        pass
