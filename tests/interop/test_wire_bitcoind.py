"""Our side of the wire against a real bitcoind's: what each counts of the other is equal to the byte."""

import asyncio
from typing import Any

from node_processes import NodeProcess
from wire import MAGIC, Recorder, running, until

from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.messages import (
    Block,
    CFCheckpoint,
    CFHeaders,
    CFilter,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inventory,
    InventoryType,
)
from altyn.p2p.peer import Peer

NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


async def call(node: NodeProcess, method: str, *params: Any) -> Any:
    return await asyncio.to_thread(node.call, method, *params)


async def seen_by(bitcoind: NodeProcess, inbound: bool) -> dict[str, Any]:
    return next(peer for peer in await call(bitcoind, "getpeerinfo") if peer["inbound"] is inbound)


async def same_counts(bitcoind: NodeProcess, peer: Peer) -> None:
    """Wait until both sides have counted the same, in v1; v2 is in `test_v2_bitcoind.py`."""
    theirs: dict[str, Any] = {}
    for _ in range(100):
        theirs = await seen_by(bitcoind, inbound=not peer.inbound)
        counts = theirs["bytesrecv_per_msg"], theirs["bytessent_per_msg"]
        if counts == (dict(peer.stats.bytes_sent_by_command), dict(peer.stats.bytes_received_by_command)):
            break
        await asyncio.sleep(0.05)
    assert theirs["bytesrecv_per_msg"] == dict(peer.stats.bytes_sent_by_command)
    assert theirs["bytessent_per_msg"] == dict(peer.stats.bytes_received_by_command)
    assert (theirs["bytesrecv"], theirs["bytessent"]) == (peer.stats.bytes_sent, peer.stats.bytes_received)


async def test_bitcoind_is_met_in_both_directions_and_answers_what_we_ask(bitcoind: NodeProcess) -> None:
    [*_, tip] = await call(bitcoind, "generatetoaddress", 5, NOBODY)
    recorder = Recorder()
    services = Services.NETWORK | Services.WITNESS
    connections = Connections(ConnectionSettings(MAGIC, services, "/Altyn:0.1.0/"), recorder, SystemClock())
    host, port = bitcoind.address.split(":")
    endpoint = await connections.listen("127.0.0.1", 0)
    async with running(connections):
        peer = await connections.connect(host, int(port), PeerKind.OUTBOUND_FULL_RELAY)
        async with asyncio.timeout(30):
            await peer.ready.wait()
        assert peer.features.wtxid_relay
        assert peer.features.send_addr_v2
        assert peer.features.services & Services.COMPACT_FILTERS
        stop = bytes.fromhex(tip)[::-1]
        peer.send(GetHeaders(70016, (bytes(32),)))
        await until(lambda: any(isinstance(message, Headers) for message in recorder.messages))
        [headers] = [message.headers for message in recorder.messages if isinstance(message, Headers)]
        assert [header.hash for header in headers][-1] == stop
        peer.send(GetData(tuple(Inventory(InventoryType.WITNESS_BLOCK, header.hash) for header in headers)))
        peer.send(GetCFHeaders(0, 0, stop))
        peer.send(GetCFilters(0, 1, stop))
        peer.send(GetCFCheckpoint(0, stop))
        await until(lambda: any(isinstance(message, CFCheckpoint) for message in recorder.messages))
        received = recorder.messages
        assert [message.block.hash for message in received if isinstance(message, Block)] == [h.hash for h in headers]
        assert [len(message.filter_hashes) for message in received if isinstance(message, CFHeaders)] == [6]
        assert [m.block_hash for m in received if isinstance(m, CFilter)] == [h.hash for h in headers]
        await same_counts(bitcoind, peer)

        # Back from bitcoind, which tries the new transport first and then ours.
        await call(bitcoind, "addnode", str(endpoint), "onetry")
        await until(lambda: len(recorder.connected) == 2)
        back = recorder.connected[1]
        assert back.inbound
        await same_counts(bitcoind, back)
        theirs = await seen_by(bitcoind, inbound=False)
        assert (theirs["subver"], theirs["version"], theirs["relaytxes"]) == ("/Altyn:0.1.0/", 70016, True)
        assert theirs["servicesnames"] == ["NETWORK", "WITNESS"]
