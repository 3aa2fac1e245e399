"""One connection, talked to byte by byte in simulated time."""

import asyncio
import itertools
import logging
import re
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import CALLER, MAGIC, Caller, node, until, version

from altyn.consensus.block import Block as ConsensusBlock
from altyn.consensus.block import Header
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut
from altyn.node.testnet.clock import SimulatedLoop
from altyn.p2p import messages
from altyn.p2p.clock import SystemClock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.kinds import Permission
from altyn.p2p.limits import MAX_UNSETTLED, MAX_UNSETTLED_BYTES_OF_ALL, MESSAGES_AT_ONCE, READ_AT_ONCE
from altyn.p2p.messages import MESSAGES, FeeFilter, GetAddr, Headers, Message, Ping, Pong, Verack
from altyn.p2p.peer import OTHER, Peer, PeerSettings, Settlement
from altyn.p2p.permissions import Whitelisted
from altyn.p2p.subnets import Subnet

HEADER = Header(1, bytes(32), bytes(32), 0, 0, 0)


def disconnections(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that say why a connection ended, each ending in the peer, as Core's do."""
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("altyn.p2p")]
    return [line for line in lines if re.search(r", disconnecting peer=\d+$", line)]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


async def test_a_handshake_makes_a_peer_and_a_ping_follows_at_once() -> None:
    async with node() as one:
        caller = await one.call()
        theirs = await caller.handshake(user_agent="/caller/", services=0x409, start_height=5, relay=False)
        assert (theirs.version, theirs.services, theirs.user_agent, theirs.relay) == (70016, 9, "/Altyn:0/", True)
        assert theirs.receiver[1].text == CALLER
        await caller.expect(Ping)
        peer = await one.peer()
        features = peer.features
        assert (features.user_agent, features.services, features.start_height) == ("/caller/", 0x409, 5)
        assert not features.relay
        assert peer.inbound
        assert peer.is_ready
        assert caller.heard == ["version", "wtxidrelay", "sendaddrv2", "verack", "ping"]


async def test_messages_before_verack_are_ignored_and_what_is_for_later_comes_after_the_connection() -> None:
    async with node() as one:
        caller = await one.call()
        early = messages.SendCompact(True, 2)
        await caller.send(Ping(1), GetAddr(), version(), Ping(2), FeeFilter(5), messages.SendHeaders(), early)
        assert one.handler.messages == []
        await caller.send(Verack(), Verack(), version())
        await caller.sync(3)
        assert "pong" not in caller.heard[:-1]
        assert one.handler.messages == [messages.SendHeaders(), early]


async def test_a_peer_is_known_from_its_version_on_and_ready_from_its_verack_on() -> None:
    async with node() as one:
        caller = await one.call()
        await until(lambda: one.connections.peers)
        [peer] = one.connections.peers.values()
        assert peer.introduction is None
        with pytest.raises(RuntimeError):
            _ = peer.features
        await caller.send(version(user_agent="/caller/"))
        await caller.expect(Verack)
        assert peer.introduction is not None
        assert peer.introduction.user_agent == "/caller/"
        assert not peer.is_ready
        await caller.send(Verack())
        await peer.ready.wait()
        assert peer.introduction == peer.features


async def test_a_stranger_who_says_nothing_first_hears_nothing() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.send(Verack(), Ping(1))
        assert await caller.until_closed(within=70) == []


async def test_unknown_messages_bad_checksums_and_offers_we_do_not_take_cost_nothing() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send_raw("alert", b"x" * 100)
        framed = bytearray(caller.framing.frame("feefilter", bytes(8)))
        framed[-1] ^= 1
        await caller.transport.write(bytes(framed))
        await caller.send(messages.SendTxReconciliation(1, 1))
        await caller.sync()
        assert one.handler.messages == []
        stats = one.handler.connected[0].stats
        assert stats.bytes_received_by_command[OTHER] == 124 + 32


async def test_bytes_are_counted_by_command_and_in_all() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(FeeFilter(1), FeeFilter(2))
        await caller.sync()
        stats = one.handler.connected[0].stats
        assert stats.bytes_received_by_command["feefilter"] == 64
        assert stats.bytes_received_by_command["verack"] == 24
        assert stats.bytes_sent_by_command["pong"] == 32
        assert sum(stats.bytes_received_by_command.values()) == stats.bytes_received
        assert sum(stats.bytes_sent_by_command.values()) == stats.bytes_sent
        assert (one.connections.total_bytes_sent, one.connections.total_bytes_received) == (
            stats.bytes_sent,
            stats.bytes_received,
        )
        before = stats.bytes_sent
        caller.transport.abort()
        await until(lambda: not one.connections.peers)
        assert one.connections.total_bytes_sent == before


BROKEN = {
    "malformed": ("headers", b"\xfd\x01\x00", "non-canonical"),
    "truncated": ("inv", b"\x02" + bytes(36), "end of data"),
    "empty": ("tx", b"", "end of data"),
    "too many": ("inv", b"\xfd\x51\xc3" + bytes(50001 * 36), "inv message size = 50001"),
    "long locator": ("getheaders", bytes(4) + b"\x66" + bytes(103 * 32), "getheaders locator size 102 > 101"),
    "feature after verack": ("wtxidrelay", b"", "wtxidrelay received after verack"),
}


@pytest.mark.parametrize(("command", "payload", "reason"), BROKEN.values(), ids=BROKEN)
async def test_who_breaks_the_protocol_is_dropped_with_one_log_line(
    command: str, payload: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with node() as one:
        good, bad = await one.call("10.0.0.3"), await one.call()
        await good.handshake()
        await bad.handshake()
        await bad.send_raw(command, payload)
        await bad.until_closed()
        [line] = disconnections(caplog)
        assert reason in line
        assert [peer.ended is None for peer in one.handler.connected] == [True, False]
        assert one.handler.disconnected == [one.handler.connected[1]]
        await good.sync()


RAW = {
    "wrong network": V1Framing(b"\xf9\xbe\xb4\xd9").frame("ping", bytes(8)),
    "oversized": MAGIC + b"block".ljust(12, b"\0") + (4_000_001).to_bytes(4, "little") + bytes(4),
    "noise": b"GET / HTTP/1.1\r\n\r\n" * 2,
}


@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
@pytest.mark.parametrize("first", ["handshake", "nothing"])
async def test_a_stream_that_is_not_ours_is_dropped_with_one_log_line(
    data: bytes, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with node() as one:
        caller = await one.call()
        if first == "handshake":
            await caller.handshake()
        await caller.transport.write(data)
        await caller.until_closed()
        [line] = disconnections(caplog)
        assert "Header error" in line


@pytest.mark.parametrize("command", sorted(MESSAGES))
def test_no_payload_of_any_message_reveals_a_bug(command: str, caplog: pytest.LogCaptureFixture) -> None:
    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=150), st.booleans())
    def attempt(payload: bytes, shake_hands: bool) -> None:
        async def talk() -> None:
            async with node() as one:
                caller = await one.call()
                if shake_hands:
                    await caller.handshake()
                await caller.send_raw(command, payload)
                other = await one.call("10.0.0.3")
                await other.handshake()
                await other.sync()

        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            runner.run(talk())

    attempt()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_malformed_messages_are_only_ignored_where_core_is_to_be_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with node(peer=PeerSettings(drop_malformed=False)) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send_raw("addrv2", b"")
        await caller.sync()
        assert "ProcessMessages(addrv2, 0 bytes): Exception 'end of data' caught, peer=0" in caplog.messages
        await caller.send_raw("inv", b"\xfd\x51\xc3")
        await caller.until_closed()
        assert "Misbehaving: peer=0: inv message size = 50001" in caplog.messages


async def test_strangers_who_come_and_go_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with node() as one:
        for reason in (b"", b"\xfd\x51\xc3"):
            caller = await one.call()
            await caller.handshake()
            await caller.send_raw("inv", reason)
            await caller.until_closed()
    ends = [record for record in caplog.records if "disconnecting peer=" in record.getMessage()]
    assert [record.levelno for record in ends] == [logging.DEBUG, logging.INFO]


@pytest.mark.parametrize("permission", [Permission.NONE, Permission.NO_BAN])
async def test_noban_peers_may_misbehave(permission: Permission) -> None:
    async def fail_later() -> None:
        raise Misbehaving("as comes out later")

    def fail(peer: Peer, message: Message) -> Settlement:
        if isinstance(message, Headers):
            return fail_later()
        raise Misbehaving("as the handler finds")

    whitelist = (Whitelisted(Subnet.parse(CALLER), permission, inbound=True, outbound=False),)
    async with node(fail, whitelist=whitelist) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(FeeFilter(1))
        if permission is Permission.NO_BAN:
            await caller.send_raw("inv", b"\xfd\x51\xc3")
            await caller.send(Headers(()))
            await caller.sync()
            one.handler.connected[0].punish("found out later")
            await caller.sync()
        else:
            await caller.until_closed()
            assert str(one.handler.connected[0].ended) == "as the handler finds"


async def test_a_bug_in_the_handler_costs_one_peer_and_leaves_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(peer: Peer, message: Message) -> None:
        if peer.id == 0:
            raise KeyError("bug")

    async with node(fail) as one:
        caller, other = await one.call(), await one.call("10.0.0.3")
        await caller.handshake()
        await other.handshake()
        await caller.send(FeeFilter(1))
        await caller.until_closed()
        await other.sync()
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.exc_info
        assert len(one.handler.disconnected) == 1


class Settlements:
    """Answers each `headers` with work that ends when the test says so."""

    def __init__(self) -> None:
        self.open: list[asyncio.Future[None]] = []
        self.started: list[int] = []

    def __call__(self, peer: Peer, message: Message) -> Settlement | None:
        if not isinstance(message, Headers):
            return None
        self.open.append(asyncio.get_running_loop().create_future())
        return self._work(len(self.open) - 1)

    async def _work(self, number: int) -> None:
        self.started.append(number)
        await self.open[number]


async def test_a_pong_waits_until_all_that_came_before_is_settled() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(Headers((HEADER,)), Headers(()), Ping(5))
        await until(lambda: len(work.open) == 2)
        pong = asyncio.create_task(caller.expect(Pong))
        work.open[1].set_result(None)
        await asyncio.sleep(60)
        assert not pong.done()
        work.open[0].set_result(None)
        assert (await asyncio.wait_for(pong, 1)).nonce == 5
        assert work.started == [0, 1]


async def test_work_behind_a_peers_back_begins_before_the_next_message_is_handled() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(1)

    def answer(peer: Peer, message: Message) -> Settlement:
        steps.append("handled")
        return work()

    async with node(answer) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.transport.write(caller.framing.frame("headers", b"\0") * 2)
        await caller.sync()
        assert steps == ["handled", "begun", "handled", "begun"]


async def test_work_goes_on_after_its_peer_has_hung_up() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(Headers(()))
        await caller.transport.close()
        await asyncio.sleep(60)
        assert not one.handler.disconnected
        assert not work.open[0].cancelled()
        work.open[0].set_result(None)
        await until(lambda: one.handler.disconnected)


async def test_messages_that_depend_on_state_wait_and_those_in_the_pipeline_do_not() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(Headers((HEADER,)), Headers(()), FeeFilter(1), Headers(()))
        await asyncio.sleep(60)
        assert one.handler.messages == [Headers((HEADER,)), Headers(())]
        for one_piece in work.open:
            one_piece.set_result(None)
        await until(lambda: len(one.handler.messages) == 4)


async def test_the_pipeline_is_bounded_in_number() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(*[Headers(())] * (MAX_UNSETTLED + 24))
        await asyncio.sleep(60)
        assert len(work.open) == MAX_UNSETTLED
        work.open[3].set_result(None)
        await asyncio.sleep(60)
        assert len(work.open) == MAX_UNSETTLED + 1


async def test_the_pipeline_is_bounded_in_bytes() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        stuffed = Headers((HEADER,)).payload() + bytes(3_900_000)
        sender = asyncio.create_task(_send_many(caller, "headers", stuffed, 8))
        await asyncio.sleep(600)
        assert len(work.open) == 3  # the third went over 8,000,000 bytes
        sender.cancel()
        for piece in work.open:
            piece.set_result(None)


async def _send_many(caller: Caller, command: str, payload: bytes, times: int) -> None:
    for _ in range(times):
        await caller.send_raw(command, payload)


@pytest.mark.parametrize("fault", [Disconnect("late"), Misbehaving("late")])
async def test_a_settlement_may_end_the_connection(fault: Disconnect) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise fault

    def answer(peer: Peer, message: Message) -> Awaitable[None]:
        return fail()

    async with node(answer) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(Headers(()))
        await caller.until_closed()
        assert one.handler.connected[0].ended is fault


async def test_what_was_sent_before_hanging_up_is_still_settled() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(FeeFilter(3))
        await caller.transport.close()
        await until(lambda: one.handler.disconnected)
        assert one.handler.messages == [FeeFilter(3)]
        assert str(one.handler.disconnected[0].ended) == "socket closed"


async def test_a_peer_that_does_not_read_is_given_up_and_costs_bounded_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
        most = 0
        while peer.is_ready:
            peer.send_raw("block", bytes(100_000))
            most = max(most, peer.queued_bytes)
            await asyncio.sleep(0.01)
        assert 7_800_000 < most <= 8_000_000
        await until(lambda: one.handler.disconnected)
        assert ["reads too slowly" in line for line in disconnections(caplog)] == [True]


async def test_who_sends_much_can_wait_for_the_peer_to_read() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()

        async def serve() -> None:
            for _ in range(100):
                await peer.drained()
                peer.send_raw("block", bytes(200_000))

        server = asyncio.create_task(serve())
        await asyncio.sleep(60)
        assert peer.queued_bytes < 1_300_000
        for _ in range(100):
            while (frame := await caller.next_frame()) is not None and frame.command != "block":
                pass
        await server
        assert peer.is_ready


async def test_nothing_more_is_handled_of_a_peer_that_does_not_read_the_answers() -> None:
    def answer(peer: Peer, message: Message) -> None:
        peer.send_raw("block", bytes(1_000_000))

    async with node(answer) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(*[GetAddr()] * 50)
        await asyncio.sleep(60)
        assert len(one.handler.messages) <= 4
        assert one.handler.connected[0].queued_bytes < 3_000_000


async def test_reading_stops_while_messages_wait_to_be_handled() -> None:
    work = Settlements()
    async with node(work) as one:
        caller = await one.call()
        await caller.handshake()
        await caller.send(Headers(()), FeeFilter(1))
        sender = asyncio.create_task(_send_many(caller, "unknown", bytes(1_000_000), 50))
        await asyncio.sleep(600)
        assert not sender.done()
        assert one.handler.connected[0].stats.bytes_received < 6_500_000
        work.open[0].set_result(None)
        await caller.sync()
        assert sender.done()


async def test_two_nodes_that_send_each_other_much_do_not_block_each_other() -> None:
    def answer(peer: Peer, message: Message) -> None:
        if isinstance(message, GetAddr):
            peer.send_raw("block-of-fun", bytes(1_000_000))

    async with node(answer) as one, node(answer, links=one.links, host=CALLER) as other:
        peer = await other.connections.connect(one.host, 18444)
        await peer.ready.wait()
        await until(lambda: one.handler.connected)
        ends = [peer, one.handler.connected[0]]
        for end in ends:
            for _ in range(4):
                end.send(GetAddr())
        await until(lambda: all(end.stats.bytes_received_by_command[OTHER] > 4_000_000 for end in ends))


async def test_pings_are_periodic_and_measured() -> None:
    async with node() as one:
        one.links.between(one.host, CALLER).latency = 0.25
        caller = await one.call()
        await caller.handshake()
        loop, times = asyncio.get_running_loop(), []
        for _ in range(3):
            ping = await caller.expect(Ping)
            times.append(loop.time())
            await caller.send(Pong(ping.nonce))
        assert [round(later - times[0]) for later in times] == [0, 120, 240]
        await asyncio.sleep(1)
        peer = await one.peer()
        assert peer.stats.ping_time == pytest.approx(0.5)
        assert peer.stats.min_ping == pytest.approx(0.5)
        assert peer.ping_wait is None


async def test_only_the_right_pong_answers_and_a_short_or_zero_one_ends_the_wait() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        await caller.expect(Ping)
        peer = await one.peer()
        await caller.send(Pong(12345))
        await caller.sync()
        assert peer.ping_wait is not None
        await caller.send(Pong(0))
        await caller.sync()
        assert peer.ping_wait is None
        peer.ping()
        await caller.expect(Ping)
        await caller.send_raw("pong", b"\0")
        await caller.sync()
        assert peer.ping_wait is None
        assert peer.stats.ping_time is None


async def test_a_peer_that_answers_no_ping_is_given_up_after_twenty_minutes(caplog: pytest.LogCaptureFixture) -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        start = asyncio.get_running_loop().time()
        talker = asyncio.create_task(_chatter(caller))
        await caller.until_closed(within=1300)
        talker.cancel()
        assert 1190 < asyncio.get_running_loop().time() - start < 1210
        assert ["ping timeout" in line for line in disconnections(caplog)] == [True]


async def _chatter(caller: Caller) -> None:
    while True:
        await asyncio.sleep(60)
        await caller.send(FeeFilter(1))


async def test_a_silent_peer_is_given_up_after_twenty_minutes() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        start = asyncio.get_running_loop().time()
        await caller.until_closed(within=1300)
        assert 1190 < asyncio.get_running_loop().time() - start < 1210


@pytest.mark.parametrize(
    ("said", "reason"),
    [([], "socket no message in first 60 seconds, 0 0"), ([version()], "version handshake timeout")],
)
async def test_a_handshake_has_a_minute(said: list[Message], reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with node() as one:
        caller = await one.call()
        await caller.send(*said)
        start = asyncio.get_running_loop().time()
        await caller.until_closed(within=70)
        assert 59 < asyncio.get_running_loop().time() - start < 61
        [line] = disconnections(caplog)
        assert line == f"{reason}, disconnecting peer=0"
        assert one.handler.disconnected == []


async def test_a_byte_now_and_then_does_not_keep_a_stranger_connected() -> None:
    async with node() as one:
        caller = await one.call()
        framed = caller.framing.frame("version", version().payload())

        async def drip() -> None:
            for position in range(len(framed)):
                await caller.transport.write(framed[position : position + 1])
                await asyncio.sleep(10)

        dripping = asyncio.create_task(drip())
        await caller.until_closed(within=65)
        dripping.cancel()


async def test_time_outs_follow_the_mock_time() -> None:
    clock = SystemClock()
    clock.set_mock_time(1_700_000_000)
    async with node(clock=clock, peer=PeerSettings(handshake_timeout=3)) as one:
        caller, silent = await one.call(), await one.call("10.0.0.3")
        await caller.handshake()
        await asyncio.sleep(5000)
        clock.set_mock_time(1_700_000_003)
        await asyncio.sleep(5)
        assert len(one.connections.peers) == 2  # three seconds are over when the fourth has come
        clock.set_mock_time(1_700_000_004)
        await silent.until_closed()
        await caller.expect(Ping)
        await caller.send(Pong(0))
        await caller.sync()
        clock.set_mock_time(1_700_000_120)
        await asyncio.sleep(5)
        await caller.sync()
        assert caller.heard.count("ping") == 1
        clock.set_mock_time(1_700_000_121)
        await caller.expect(Ping)
        await caller.sync()
        clock.set_mock_time(1_700_001_321)
        await asyncio.sleep(5)
        await caller.sync()
        clock.set_mock_time(1_700_001_322)
        await caller.until_closed()


async def test_no_time_out_is_looked_at_for_as_long_as_a_handshake_may_take() -> None:
    clock = SystemClock()
    clock.set_mock_time(1_700_000_000)
    async with node(clock=clock, peer=PeerSettings(handshake_timeout=999_999_999)) as one:
        caller = await one.call()
        await caller.handshake()
        clock.set_mock_time(1_700_500_000)
        await caller.sync()


async def test_a_peer_of_old_is_not_pinged_and_its_pings_are_not_answered() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.send(version(version=60000))
        await caller.expect(Verack)
        await caller.send(Verack())
        await caller.send_raw("ping", b"")
        await caller.send(FeeFilter(1))
        await until(lambda: one.handler.messages)
        one.connections.disconnect(0)
        assert await caller.until_closed() == ["version", "verack"]


async def test_last_words_are_heard_before_we_hang_up() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
        peer.send_raw("block", bytes(300_000))
        await asyncio.sleep(10)  # more than the link takes at once: what follows has to wait
        peer.send(FeeFilter(9))
        peer.disconnect("enough")
        peer.send(FeeFilter(10))
        await asyncio.sleep(0.5)
        assert (await caller.until_closed()).count("feefilter") == 1
        assert str(peer.ended) == "enough"


async def test_hanging_up_on_who_does_not_read_takes_no_longer_than_a_second() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
        peer.send_raw("block", bytes(300_000))
        await asyncio.sleep(10)
        peer.send(FeeFilter(9))
        peer.disconnect("enough")
        await asyncio.wait_for(peer.gone.wait(), 1.1)


async def test_nothing_is_handled_of_a_peer_that_was_told_to_go() -> None:
    async with node(lambda peer, message: peer.disconnect("enough")) as one:
        caller = await one.call()
        await caller.handshake()
        both = caller.framing.frame("getaddr", b"") * 2
        await caller.transport.write(both)
        await caller.until_closed()
        assert one.handler.messages == [GetAddr()]


async def test_sent_messages_arrive_in_order() -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
        for number in range(100):
            peer.send(FeeFilter(number))
        assert [(await caller.expect(FeeFilter)).feerate for _ in range(100)] == list(range(100))


async def test_a_handler_is_called_for_one_message_at_a_time() -> None:
    inside = 0

    async def slow(peer: Peer, message: Message) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(1)
        inside -= 1

    async with node() as one:
        one.handler.message_received = slow  # type: ignore[method-assign]
        caller = await one.call()
        await caller.handshake()
        await caller.send(*[FeeFilter(1)] * 5)
        start: Any = asyncio.get_running_loop().time()
        await caller.sync()
        assert asyncio.get_running_loop().time() - start >= 5


@pytest.mark.parametrize(("count", "size", "most"), [(1000, 0, MESSAGES_AT_ONCE), (50, 4000, 1 + READ_AT_ONCE // 4000)])
async def test_a_flood_of_messages_that_make_nobody_wait_lets_others_run_in_between(
    count: int, size: int, most: int
) -> None:
    turns = [0]
    tasks: list[asyncio.Task[None]] = []

    async def others() -> None:
        while turns[-1] < count:
            turns.append(len(one.handler.messages))
            await asyncio.sleep(0)

    def answer(peer: Peer, message: Message) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(others()))

    async with node(answer) as one:
        caller = await one.call()
        await caller.handshake()
        for number in range(count):
            await caller.send_raw("feefilter", FeeFilter(number).payload() + bytes(size))
        await caller.sync()
        await tasks[0]
    assert max(after - before for before, after in itertools.pairwise(turns)) <= most


async def test_a_message_that_never_ends_holds_its_bytes_and_no_longer_than_any_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with node() as one:
        caller = await one.call()
        await caller.handshake()
        peer = await one.peer()
        framed = caller.framing.frame("block", bytes(4_000_000))
        await caller.transport.write(framed[:2_000_000])

        async def drip() -> None:
            for position in range(2_000_000, len(framed)):
                await caller.transport.write(framed[position : position + 1])
                await asyncio.sleep(10)

        dripping = asyncio.create_task(drip())
        start = asyncio.get_running_loop().time()
        await caller.until_closed(within=2000)
        dripping.cancel()
        assert asyncio.get_running_loop().time() - start < 1500
        assert str(peer.ended) == "ping timeout"  # the pong would have to follow the message
        assert len(peer._framing._buffer) < 2_001_000  # type: ignore[attr-defined]


async def test_large_transactions_of_all_peers_wait_unread_while_too_many_are_being_worked_on() -> None:
    release = asyncio.Event()
    tx = messages.Tx(Transaction(2, [TxIn(OutPoint.make(bytes(32), 0))], [TxOut(0, bytes(3_900_000))]))
    handled = 0

    async def slow(peer: Peer, message: Message) -> None:
        nonlocal handled
        handled += 1
        await release.wait()

    async with node() as one:
        one.handler.message_received = slow  # type: ignore[method-assign]
        callers = [await one.call() for _ in range(6)]
        for caller in callers:
            await caller.handshake()
            await caller.send(tx)
        await until(lambda: handled >= 4)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert handled == MAX_UNSETTLED_BYTES_OF_ALL // 3_900_000 == 4
        small = await one.call()  # who sends nothing large does not wait
        await small.handshake()
        await small.send(FeeFilter(1))
        await until(lambda: handled == 5)
        release.set()
        for caller in callers:
            await caller.sync()
        assert handled == 7


async def test_blocks_of_all_peers_wait_unread_while_too_many_are_being_worked_on() -> None:
    release = asyncio.Event()
    block = messages.Block(
        ConsensusBlock(HEADER, [Transaction(1, [TxIn(NULL_OUTPOINT)], [TxOut(0, bytes(3_900_000))])])
    )

    def answer(peer: Peer, message: Message) -> Settlement | None:
        return release.wait() if isinstance(message, messages.Block) else None  # type: ignore[return-value]

    async with node(answer) as one:
        callers = [await one.call() for _ in range(6)]
        for caller in callers:
            await caller.handshake()
            await caller.send(block)
        await until(lambda: len(one.handler.messages) >= 4)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(one.handler.messages) == MAX_UNSETTLED_BYTES_OF_ALL // 3_900_000 == 4
        one.connections.disconnect(0)  # whoever leaves makes room
        await until(lambda: len(one.handler.messages) == 5)
        release.set()
        await until(lambda: len(one.handler.messages) == 6)
        for caller in callers[1:]:
            await caller.sync()
