"""Encrypted and plain transports against a real bitcoind's, whoever calls; what each counts is equal to the byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from node_processes import NodeProcess, bitcoind_process
from wire import MAGIC, Recorder, running, until

from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.kinds import Services
from altyn.p2p.messages import Block, GetData, Inventory, InventoryType
from altyn.p2p.peer import Peer

NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"
BLOCKS = 300
"""Blocks that travel in each direction: more packets than a key is used for."""


@contextlib.asynccontextmanager
async def our_side(*, v2: bool) -> AsyncIterator[tuple[Connections, Recorder, Endpoint]]:
    recorder = Recorder()
    services = Services.NETWORK | Services.WITNESS | (Services.P2P_V2 if v2 else 0)
    connections = Connections(
        ConnectionSettings(MAGIC, services, "/Altyn:0.1.0/"),
        recorder,
        SystemClock(),
        ellswift=LibSecp256k1() if v2 else None,
    )
    endpoint = await connections.listen("127.0.0.1", 0)
    async with running(connections):
        yield connections, recorder, endpoint


@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
async def test_both_directions_come_to_the_best_transport_that_both_speak(
    tmp_path: Path, ours: bool, theirs: bool
) -> None:
    with bitcoind_process(tmp_path / "bitcoind", f"-v2transport={int(theirs)}") as bitcoind:
        hashes = await call(bitcoind, "generatetoaddress", BLOCKS, NOBODY)
        async with our_side(v2=ours) as (connections, recorder, endpoint):
            host, port = bitcoind.address.split(":")
            await connections.connect(host, int(port))
            await until(lambda: len(recorder.connected) == 1)
            await call(bitcoind, "addnode", str(endpoint), "onetry")
            await until(lambda: len(recorder.connected) == 2)
            for peer in recorder.connected:
                for block_hash in hashes:  # a packet each
                    peer.send(GetData((Inventory(InventoryType.WITNESS_BLOCK, bytes.fromhex(block_hash)[::-1]),)))
            await until(lambda: sum(isinstance(message, Block) for message in recorder.messages) == 2 * BLOCKS)
            for peer in recorder.connected:
                assert peer.transport_name == ("v2" if ours and theirs else "v1")
                await agree(bitcoind, peer)


async def agree(bitcoind: NodeProcess, peer: Peer) -> None:
    """Wait until both sides tell the same of their connection."""
    stats = peer.stats

    def told_by_us() -> list[Any]:
        return [
            (peer.transport_name, peer.session_id, stats.bytes_sent, stats.bytes_received),
            dict(stats.bytes_sent_by_command),
            dict(stats.bytes_received_by_command),
        ]

    told: list[Any] = []
    for _ in range(100):
        form = next(form for form in await call(bitcoind, "getpeerinfo") if form["inbound"] is not peer.inbound)
        transport = form["transport_protocol_type"], form["session_id"], form["bytesrecv"], form["bytessent"]
        told = [transport, form["bytesrecv_per_msg"], form["bytessent_per_msg"]]
        if told == told_by_us():
            break
        await asyncio.sleep(0.05)
    assert told == told_by_us()


async def call(node: NodeProcess, method: str, *params: Any) -> Any:
    return await asyncio.to_thread(node.call, method, *params)
