"""What tests of the protocol do by RPC, and what comes of it on the wire."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from wire import CALLER, PORT, Caller, Node, node, until

from altyn.consensus.networks import REGTEST, SIGNET, Network
from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.network import SyncState, peer_form
from altyn.node.rpc.wire import WireMethods
from altyn.node.testnet.clock import SimulatedClock
from altyn.node.testnet.links import Links
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.messages import Ping, Pong, Verack, Version
from altyn.p2p.transport import Transport
from altyn.p2p.upload import UploadTarget

SECP = LibSecp256k1()
LATENCY = 0.002
DIALLED = f"{CALLER}:{PORT}"


@pytest.fixture
async def one() -> AsyncIterator[Node]:
    """A node that speaks both transports."""
    async with node(ellswift=SECP, links=Links(latency=LATENCY)) as made:
        yield made


@pytest.fixture
async def dialled(one: Node) -> list[Caller]:
    """Who was dialled at DIALLED."""
    callers: list[Caller] = []

    def accept(transport: Transport) -> None:
        callers.append(Caller(transport))

    await one.links.listener(CALLER)(Endpoint("", PORT), accept)
    return callers


def methods(one: Node, network: Network = REGTEST) -> WireMethods:
    upload = UploadTarget(0, lambda: one.connections.total_bytes_sent, 0.0)
    return WireMethods(one.connections, network, upload, SimulatedClock(), connect_timeout=5.0)


async def refusal(call: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await call
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("kind", ["outbound-full-relay", "block-relay-only", "addr-fetch", "feeler"])
async def test_connections_of_every_type_are_opened(one: Node, dialled: list[Caller], kind: str) -> None:
    answer = await methods(one).addconnection(f" {DIALLED} ", kind, False)
    assert answer == {"address": DIALLED, "connection_type": kind}
    [caller] = dialled
    theirs = await caller.expect(Version)
    assert theirs.relay is (kind in {"outbound-full-relay", "addr-fetch"})
    await caller.send(Version(70016, 9, 0))
    if kind == "feeler":
        await caller.until_closed()
        assert not one.connections.peers
        return
    await caller.expect(Verack)
    await caller.send(Verack())
    peer = await one.peer()
    form = peer_form(peer, SyncState())
    assert (form["connection_type"], form["inbound"], form["transport_protocol_type"]) == (kind, False, "v1")


async def test_a_type_has_a_capacity(one: Node, dialled: list[Caller]) -> None:
    add = methods(one).addconnection
    for kind, most in (("block-relay-only", 2), ("outbound-full-relay", 8)):
        for _ in range(most):
            await add(DIALLED, kind, False)
        refused = -34, "Error: Already at capacity for specified connection type."
        assert await refusal(add(DIALLED, kind, False)) == refused
    assert len(dialled) == 10


async def test_connections_for_tests_are_opened_on_regtest_only_and_as_asked(one: Node) -> None:
    on_signet = methods(one, SIGNET)
    assert await refusal(on_signet.addconnection(DIALLED, "feeler", False)) == (
        -1,
        "addconnection is for regression testing (-regtest mode) only.",
    )
    code, text = await refusal(methods(one).addconnection(DIALLED, "friend", False))
    assert (code, text.partition("\n")[0]) == (-8, 'addconnection "address" "connection_type" v2transport')
    async with node() as plain:
        assert await refusal(methods(plain).addconnection(DIALLED, "feeler", True)) == (
            -8,
            "Error: Adding v2transport connections requires -v2transport init flag to be set.",
        )


async def test_an_encrypted_connection_is_opened_on_request(one: Node) -> None:
    async with node(links=one.links, host=CALLER, ellswift=SECP) as other:
        await methods(one).addconnection(DIALLED, "outbound-full-relay", True)
        mine, theirs = await one.peer(), await other.peer()
        forms = [peer_form(peer, SyncState()) for peer in (mine, theirs)]
        assert [form["transport_protocol_type"] for form in forms] == ["v2", "v2"]
        assert forms[0]["session_id"] == forms[1]["session_id"] != ""


async def test_whoever_is_not_there_is_no_error(one: Node) -> None:
    assert (await methods(one).addconnection("10.9.9.9", "feeler", True))["address"] == "10.9.9.9"
    assert (await methods(one).addconnection("no such:port", "feeler", True))["connection_type"] == "feeler"


async def test_ids_begin_with_0_and_are_not_used_again_by_either_transport(one: Node) -> None:
    async with node(links=one.links, host=CALLER):  # speaks v1 only
        await methods(one).addconnection(DIALLED, "outbound-full-relay", True)
        await until(lambda: list(one.connections.peers) == [1])  # 0 was the try with v2
        one.connections.disconnect(1)
        await until(lambda: not one.connections.peers)
        await methods(one).addconnection(DIALLED, "outbound-full-relay", False)
        assert list(one.connections.peers) == [2]


async def test_any_message_is_sent_to_a_peer_by_hand(one: Node) -> None:
    caller = await one.call()
    await caller.handshake()
    await one.peer()
    assert methods(one).sendmsgtopeer(0, "twelveletter", "00ff") == {}
    while (frame := await caller.next_frame()) and frame.command != "twelveletter":
        continue
    assert frame is not None
    assert frame.payload == b"\x00\xff"
    assert one.connections.peers[0].stats.bytes_sent_by_command["*other*"] == 24 + 2


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ((7, "addr", "00"), (-1, "Error: Could not send message to peer")),
        ((0, "addr", "00"), (-1, "Error: Could not send message to peer")),
        ((0, "thirteenchars", "00"), (-8, "Error: msg_type too long, max length is 12")),
        ((0, "addr", "0"), (-8, "Error parsing input for msg")),
    ],
)
async def test_what_cannot_be_sent_is_refused(one: Node, arguments: tuple[Any, ...], refused: tuple[int, str]) -> None:
    await one.call()  # connected, and silent
    with pytest.raises(RpcError) as caught:
        methods(one).sendmsgtopeer(*arguments)
    assert (caught.value.code, caught.value.message) == refused


async def test_a_ping_that_has_waited_for_no_time_is_not_shown_as_waiting() -> None:
    clock = SystemClock()
    clock.set_mock_time(1_700_000_000)
    async with node(clock=clock) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.expect(Ping)
        peer = await one.peer()
        assert "pingwait" not in peer_form(peer, SyncState())
        clock.set_mock_time(1_700_000_003)
        assert peer_form(peer, SyncState())["pingwait"] == 3


async def test_a_ping_by_hand_goes_out_at_once_and_its_time_is_told(one: Node) -> None:
    caller = await one.call()
    await caller.handshake()
    peer = await one.peer()
    first = await caller.expect(Ping)
    await caller.send(Pong(first.nonce))
    await caller.sync()
    assert peer_form(peer, SyncState())["minping"] > 0
    methods(one).ping()
    assert "pingwait" in peer_form(peer, SyncState())
    await caller.send(Pong((await caller.expect(Ping)).nonce))
    await caller.sync()
    form = peer_form(peer, SyncState())
    assert "pingwait" not in form
    assert form["pingtime"] >= form["minping"] > 0
    assert form["bytesrecv_per_msg"]["pong"] == 2 * 32


async def test_bytes_of_all_connections_are_summed_with_headers_those_of_past_ones_too(one: Node) -> None:
    callers = [await one.call(f"10.0.1.{number}") for number in range(2)]
    for caller in callers:
        await caller.handshake()
        await caller.send_raw("nonsense", b"abc")
        await caller.sync()
    totals = methods(one).getnettotals()
    stats = [peer.stats for peer in one.connections.peers.values()]
    assert totals["totalbytesrecv"] == sum(one.bytes_received for one in stats)
    assert [one.bytes_received_by_command["*other*"] for one in stats] == [27, 27]
    assert totals["totalbytessent"] == sum(sum(one.bytes_sent_by_command.values()) for one in stats)
    assert totals["uploadtarget"] == {
        "timeframe": 86400,
        "target": 0,
        "target_reached": False,
        "serve_historical_blocks": True,
        "bytes_left_in_cycle": 0,
        "time_left_in_cycle": 0,
    }
    assert methods(one).getconnectioncount() == 2
    callers[0].transport.abort()
    await until(lambda: methods(one).getconnectioncount() == 1)
    assert methods(one).getnettotals()["totalbytesrecv"] == totals["totalbytesrecv"]


async def test_the_network_is_switched_off_and_on(one: Node) -> None:
    caller = await one.call()
    await caller.handshake()
    assert methods(one).setnetworkactive(False) is False
    await caller.until_closed()
    await methods(one).addconnection(DIALLED, "feeler", False)
    late = await one.call()
    assert await late.until_closed() == []
    assert one.connections.peers == {}
    assert methods(one).setnetworkactive(True) is True
    await (await one.call()).handshake()


async def test_what_a_peer_said_is_shown_before_its_handshake_is_done(one: Node) -> None:
    caller = await one.call()
    await until(lambda: one.connections.peers)
    [peer] = one.connections.peers.values()
    silent = peer_form(peer, SyncState())
    assert (silent["version"], silent["subver"], silent["startingheight"]) == (0, "", -1)
    assert silent["transport_protocol_type"] == "detecting"
    await caller.send(Version(70016, 9, 0, user_agent="/t/", start_height=5))
    await caller.expect(Verack)
    form = peer_form(peer, SyncState())
    assert (form["version"], form["subver"], form["startingheight"]) == (70016, "/t/", 5)
    assert (form["servicesnames"], form["transport_protocol_type"]) == (["NETWORK", "WITNESS"], "v1")
