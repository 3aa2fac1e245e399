"""Encrypted connections, and those that turn out to be none: in simulated time."""

import pytest
from wire import CALLER, NODE, PORT, node, until, version

from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.p2p.addresses import Endpoint
from altyn.p2p.kinds import PeerKind
from altyn.p2p.messages import FeeFilter, Version
from altyn.p2p.peer import PeerSettings

SECP = LibSecp256k1()


async def test_two_nodes_meet_encrypted_and_count_every_byte() -> None:
    async with node(ellswift=SECP) as one, node(links=one.links, host=CALLER, ellswift=SECP) as other:
        calling = await other.connections.connect(NODE, PORT)
        assert calling.transport_name == "detecting"
        await calling.ready.wait()
        called = await one.peer()
        calling.send(FeeFilter(5))
        await until(lambda: FeeFilter(5) in one.handler.messages)
        assert calling.transport_name == called.transport_name == "v2"
        assert calling.session_id == called.session_id != ""
        sent, received = calling.stats, called.stats
        await until(lambda: sent.bytes_sent_by_command == received.bytes_received_by_command)
        assert sent.bytes_sent == received.bytes_received
        assert sent.bytes_sent_by_command["feefilter"] == 20 + 1 + 8
        handshake = sent.bytes_sent - sum(sent.bytes_sent_by_command.values())
        assert 64 + 16 + 20 <= handshake <= 64 + 4095 + 16 + 20


@pytest.mark.parametrize("kind", [PeerKind.MANUAL, PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY])
async def test_a_peer_that_speaks_v1_only_is_dialled_again_with_v1(kind: PeerKind) -> None:
    async with node() as one, node(links=one.links, host=CALLER, ellswift=SECP) as other:
        first = await other.connections.connect(NODE, PORT, kind)
        await first.gone.wait()
        assert list(other.connections.peers) == [1]
        second = other.connections.peers[1]
        await second.ready.wait()
        assert (second.kind, second.address, second.transport_name) == (kind, first.address, "v1")
        assert (first.session_id, second.session_id) == ("", "")


async def test_an_added_node_that_speaks_v1_only_is_not_kept_waiting_for() -> None:
    async with node() as one, node(links=one.links, host=CALLER, ellswift=SECP) as other:
        began = other.connections._clock.now()
        assert other.connections.add_node(NODE, PORT)
        await until(lambda: other.handler.connected)
        assert other.connections._clock.now() - began < 1.0
        assert other.connections.added_nodes == {Endpoint(NODE, PORT): other.handler.connected[0]}
        assert list(other.connections.peers) == [1]


async def test_a_caller_that_speaks_v1_is_served_in_v1() -> None:
    async with node(ellswift=SECP) as one:
        caller = await one.call()
        await caller.handshake()
        assert (await one.peer()).transport_name == "v1"
        await caller.sync()


async def test_v1_is_spoken_to_whom_we_are_told_to() -> None:
    async with node(ellswift=SECP) as one, node(links=one.links, host=CALLER, ellswift=SECP) as other:
        peer = await other.connections.connect(NODE, PORT, v2=False)
        await peer.ready.wait()
        assert (peer.id, peer.transport_name) == (0, "v1")


async def test_who_was_told_to_hang_up_does_not_dial_again() -> None:
    async with node(ellswift=SECP) as one:
        silent = await one.links.listener(CALLER)(Endpoint("", PORT), lambda transport: None)
        peer = await one.connections.connect(CALLER, PORT)
        peer.disconnect("enough")
        await peer.gone.wait()
        assert not one.connections.peers
        await silent.close()


async def test_a_peer_that_answers_neither_v2_nor_v1_is_given_up() -> None:
    async with node(ellswift=SECP, peer=PeerSettings(handshake_timeout=10.0)) as one:
        silent = await one.links.listener(CALLER)(Endpoint("", PORT), lambda transport: None)
        first = await one.connections.connect(CALLER, PORT)
        await first.gone.wait()
        second = one.connections.peers[1]
        await second.gone.wait()
        assert not one.connections.peers
        assert str(first.ended) == str(second.ended) == "socket no message in first 10 seconds, 0 1"
        await silent.close()


async def test_a_key_exchange_that_is_never_finished_times_out() -> None:
    async with node(ellswift=SECP, peer=PeerSettings(handshake_timeout=10.0)) as one:
        caller = await one.call()
        await caller.transport.write(b"\x00" * 63)
        assert len(await caller.transport.read()) >= 64
        [peer] = one.connections.peers.values()
        assert peer.transport_name == "detecting"
        await peer.gone.wait()
        assert str(peer.ended) == "V2 handshake timeout"


async def test_a_node_without_encryption_hangs_up_on_keys() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.transport.write(bytes(64))
        assert await caller.until_closed() == []


async def test_an_encrypted_stream_does_not_begin_in_v1() -> None:
    async with node(ellswift=SECP) as one:
        caller = await one.call()
        await caller.transport.write(bytes(5000))
        [peer] = one.connections.peers.values()
        await peer.gone.wait()
        assert "V2 transport error" in str(peer.ended)
        other = await one.call()
        await other.send(version())
        assert (await other.expect(Version)).version == 70016
