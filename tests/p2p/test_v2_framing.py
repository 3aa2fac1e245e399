import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.p2p.errors import Disconnect
from altyn.p2p.framing.bip324 import EXPANSION, Session
from altyn.p2p.framing.frame import Frame
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.framing.v2 import MAX_CONTENTS, MAX_GARBAGE, SHORT_COMMANDS, V2Framing
from altyn.p2p.messages import MESSAGES

MAGIC = b"\xfa\xbf\xb5\xda"
SECP = LibSecp256k1()


def framing(seed: int, *, initiating: bool) -> V2Framing:
    return V2Framing(SECP, MAGIC, random.Random(seed).randbytes, initiating=initiating)


def pair(seed: int = 1) -> tuple[V2Framing, V2Framing]:
    """Two ends that have shaken hands."""
    caller, called = framing(seed, initiating=True), framing(seed + 1, initiating=False)
    for _ in range(2):
        assert called.feed(caller.take_unsent()) == []
        assert caller.feed(called.take_unsent()) == []
    return caller, called


class Stranger:
    """Somebody who does by hand what a machine would not: the other end of `framing`."""

    def __init__(self, end: V2Framing, *, initiating: bool) -> None:
        self.end = end
        secret = bytes([7] * 32)
        self.key = SECP.ellswift_create(secret, bytes(32))
        if initiating:
            assert end.feed(self.key) == []
        self.said = end.take_unsent()
        if not initiating:
            assert end.feed(self.key) == []
        shared = SECP.ellswift_agree(secret, self.key, self.said[:64], initiating=initiating)
        self.session = Session.derive(shared, MAGIC, initiating=initiating)

    def shake_hands(self) -> None:
        session = self.session
        assert self.end.feed(session.sending_terminator + session.sending.seal(b"")) == []
        assert self.end.name == "v2"


def test_both_ends_come_to_one_session_and_know_it_only_then() -> None:
    caller, called = framing(1, initiating=True), framing(2, initiating=False)
    key = caller.take_unsent()
    assert (called.take_unsent(), called.can_send, caller.can_send) == (b"", False, False)
    called.feed(key)
    assert called.can_send
    assert (called.name, called.session_id) == ("detecting", "")
    caller.feed(called.take_unsent())
    assert caller.name == "v2"
    assert (called.name, called.session_id) == ("detecting", "")
    called.feed(caller.take_unsent())
    assert called.name == "v2"
    assert caller.session_id == called.session_id
    assert len(bytes.fromhex(caller.session_id)) == 32


@given(
    messages=st.lists(st.tuples(st.sampled_from(["ping", "tx", "version", "unknown", "twelveletter"]), st.binary())),
    cuts=st.lists(st.integers(1, 3000), min_size=1),
    seed=st.integers(0, 1000),
)
def test_messages_come_whole_however_the_stream_is_cut(
    messages: list[tuple[str, bytes]], cuts: list[int], seed: int
) -> None:
    caller, called = framing(seed, initiating=True), framing(seed + 1, initiating=False)
    frames: list[Frame] = []
    turn = 0

    def carry(stream: bytes) -> None:
        nonlocal turn
        while stream:
            step = cuts[turn % len(cuts)]
            frames.extend(called.feed(stream[:step]))
            stream, turn = stream[step:], turn + 1

    carry(caller.take_unsent())
    caller.feed(called.take_unsent())
    sent = b"".join(caller.frame(command, payload) for command, payload in messages)
    carry(caller.take_unsent() + sent)
    assert [(frame.command, frame.payload) for frame in frames] == messages
    assert sum(frame.size for frame in frames) == len(sent)


def test_keys_change_on_both_sides_while_messages_go_on() -> None:
    caller, called = pair()
    for number in range(1000):
        [frame] = called.feed(caller.frame("ping", number.to_bytes(8, "little")))
        assert frame == Frame("ping", number.to_bytes(8, "little"), 1 + 8 + EXPANSION)


def test_common_messages_go_by_one_byte() -> None:
    caller, _ = pair()
    by_name = {command for command in MESSAGES if len(caller.frame(command, b"")) == EXPANSION + 13}
    assert by_name == {"version", "verack", "wtxidrelay", "sendaddrv2", "sendheaders", "sendtxrcncl", "getaddr"}
    assert [SHORT_COMMANDS.index(name) + 1 for name in ("addr", "ping", "getcfilters", "addrv2")] == [1, 18, 22, 28]


@pytest.mark.parametrize("initiating", [True, False])
def test_decoys_are_skipped_wherever_they_stand(initiating: bool) -> None:
    stranger = Stranger(framing(1, initiating=not initiating), initiating=initiating)
    seal, feed = stranger.session.sending.seal, stranger.end.feed
    garbage = b"garbage" * 100
    feed(garbage + stranger.session.sending_terminator)
    feed(seal(b"not the version packet", aad=garbage, ignore=True))
    assert stranger.end.name == "detecting"
    feed(seal(b"for versions to come"))
    assert stranger.end.name == "v2"
    assert feed(seal(b"x" * 1000, ignore=True) + seal(b"\x12abcdefgh") + seal(b"", ignore=True)) == [
        Frame("ping", b"abcdefgh", 29)
    ]


@pytest.mark.parametrize(
    "contents",
    [b"", b"\xff", b"\x1d", b"\0ping", b"\0" + b"ping".ljust(11, b"\0"), b"\0pi\0g" + bytes(8), b"\0\x7f" + bytes(11)],
)
def test_a_message_of_no_known_form_is_dropped_and_not_the_peer(contents: bytes) -> None:
    stranger = Stranger(framing(1, initiating=False), initiating=True)
    stranger.shake_hands()
    seal = stranger.session.sending.seal
    dropped, ping = stranger.end.feed(seal(contents) + seal(b"\x12" + bytes(8)))
    assert (dropped.command, dropped.payload, dropped.size) == ("", b"", len(contents) + EXPANSION)
    assert f"invalid message type ({len(contents)} bytes contents)" in dropped.fault
    assert ping.command == "ping"


def flipped(packet: bytes, bit: int) -> bytes:
    changed = bytearray(packet)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(bit=st.integers(3 * 8, (EXPANSION + 9) * 8 - 1))
def test_a_bit_that_was_changed_on_the_way_ends_the_connection(bit: int) -> None:
    caller, called = pair()
    with pytest.raises(Disconnect, match="packet decryption failure"):
        called.feed(flipped(caller.frame("ping", bytes(8)), bit))


def test_a_packet_that_comes_twice_ends_the_connection() -> None:
    caller, called = pair()
    packet = caller.frame("ping", bytes(8))
    called.feed(packet)
    with pytest.raises(Disconnect, match="V2 transport error: packet"):
        called.feed(packet + bytes(1 << 24))


def test_garbage_that_was_changed_on_the_way_ends_the_connection() -> None:
    stranger = Stranger(framing(1, initiating=False), initiating=True)
    session = stranger.session
    with pytest.raises(Disconnect, match="packet decryption failure"):
        stranger.end.feed(b"garbage" + session.sending_terminator + session.sending.seal(b"", aad=b"garbagf"))


def test_garbage_may_be_as_long_as_allowed_and_no_longer() -> None:
    longest = Stranger(framing(1, initiating=True), initiating=False)
    session, garbage = longest.session, bytes(MAX_GARBAGE)
    longest.end.feed(garbage + session.sending_terminator + session.sending.seal(b"", aad=garbage))
    assert longest.end.name == "v2"
    endless = Stranger(framing(1, initiating=True), initiating=False)
    endless.end.feed(bytes(MAX_GARBAGE + 15))
    with pytest.raises(Disconnect, match="missing garbage terminator"):
        endless.end.feed(bytes(1))


def test_a_packet_may_hold_the_longest_message_and_no_more() -> None:
    stranger = Stranger(framing(1, initiating=False), initiating=True)
    stranger.shake_hands()
    seal = stranger.session.sending.seal
    [frame] = stranger.end.feed(seal(b"\0" + b"unknown".ljust(12, b"\0") + bytes(4_000_000)))
    assert len(frame.payload) == 4_000_000
    with pytest.raises(Disconnect, match=f"packet too large \\({MAX_CONTENTS + 1} bytes\\)"):
        stranger.end.feed(seal(bytes(MAX_CONTENTS + 1))[:3])


def test_a_caller_that_speaks_v1_is_answered_in_v1() -> None:
    called, caller = framing(1, initiating=False), V1Framing(MAGIC)
    stream = caller.frame("version", b"abc") + caller.frame("ping", bytes(8))
    for position in range(15):
        assert called.feed(stream[position : position + 1]) == []
        assert (called.name, called.take_unsent()) == ("detecting", b"")
    frames = called.feed(stream[15:])
    assert [(frame.command, frame.payload) for frame in frames] == [("version", b"abc"), ("ping", bytes(8))]
    assert (called.name, called.can_send, called.take_unsent(), called.session_id) == ("v1", True, b"", "")
    assert called.feed(caller.frame("pong", bytes(8)))[0].command == "pong"
    assert called.frame("pong", bytes(8)) == caller.frame("pong", bytes(8))


def test_our_key_goes_out_with_the_first_byte_that_is_not_v1() -> None:
    called = framing(1, initiating=False)
    called.feed(MAGIC + b"versi")
    assert called.take_unsent() == b""
    called.feed(b"x")
    assert len(called.take_unsent()) >= 64


def test_a_v1_caller_of_another_network_is_hung_up_on() -> None:
    with pytest.raises(Disconnect, match="V1 peer with wrong MessageStart f9beb4d9"):
        framing(1, initiating=False).feed(V1Framing(bytes.fromhex("f9beb4d9")).frame("version", b""))


def test_who_called_and_was_not_answered_knows_it() -> None:
    caller, called = framing(1, initiating=True), framing(2, initiating=False)
    assert (caller.unanswered, called.unanswered) == (True, False)
    caller.feed(b"x")
    assert not caller.unanswered


@pytest.mark.parametrize("make", [lambda: framing(1, initiating=True), lambda: framing(2, initiating=False)])
def test_nothing_can_be_sent_before_there_are_keys(make: Callable[[], V2Framing]) -> None:
    with pytest.raises(RuntimeError):
        make().frame("ping", b"")


@given(start=st.sampled_from([b"", MAGIC, MAGIC + b"version\0\0\0\0\0"]), chunks=st.lists(st.binary(), max_size=20))
@pytest.mark.parametrize("initiating", [True, False])
def test_any_bytes_give_frames_or_a_disconnect(initiating: bool, start: bytes, chunks: list[bytes]) -> None:
    end = framing(1, initiating=initiating)
    try:
        for chunk in (start, *chunks):
            end.feed(chunk)
            end.take_unsent()
    except Disconnect:
        pass


def test_what_is_not_complete_is_all_that_is_kept() -> None:
    caller, called = pair()
    called.feed(b"".join(caller.frame("ping", bytes(8)) for _ in range(1000)) + caller.frame("ping", bytes(8))[:7])
    assert len(called._buffer) == 4
