import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.hashes import sha256d
from altyn.p2p.errors import Disconnect
from altyn.p2p.framing.frame import Frame
from altyn.p2p.framing.v1 import HEADER_SIZE, V1Framing
from altyn.p2p.limits import MAX_PROTOCOL_MESSAGE_LENGTH

MAGIC = b"\xfa\xbf\xb5\xda"


def framed(padded: bytes, payload: bytes, *, checksum: bytes | None = None, length: int | None = None) -> bytes:
    checksum = sha256d(payload)[:4] if checksum is None else checksum
    return struct.pack("<4s12sI4s", MAGIC, padded, len(payload) if length is None else length, checksum) + payload


def test_a_verack_is_the_bytes_that_the_protocol_documents() -> None:
    assert V1Framing(bytes.fromhex("f9beb4d9")).frame("verack", b"").hex() == (
        "f9beb4d9" + "76657261636b000000000000" + "00000000" + "5df6e0e2"
    )


@given(
    messages=st.lists(st.tuples(st.sampled_from(["ping", "tx", "unknown", "twelveletter"]), st.binary(max_size=300))),
    cuts=st.lists(st.integers(1, 100), min_size=1),
)
def test_frames_come_whole_however_the_stream_is_cut(messages: list[tuple[str, bytes]], cuts: list[int]) -> None:
    sender, receiver = V1Framing(MAGIC), V1Framing(MAGIC)
    stream = b"".join(sender.frame(command, payload) for command, payload in messages)
    frames: list[Frame] = []
    position = turn = 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        frames += receiver.feed(stream[position : position + step])
        position, turn = position + step, turn + 1
    assert [(frame.command, frame.payload) for frame in frames] == messages
    assert sum(frame.size for frame in frames) == len(stream)


@given(st.binary(max_size=2000))
def test_any_bytes_give_frames_or_a_disconnect(data: bytes) -> None:
    try:
        for frame in V1Framing(MAGIC).feed(MAGIC + data):
            assert frame.size >= HEADER_SIZE
    except Disconnect:
        pass


def test_another_networks_magic_ends_the_connection() -> None:
    with pytest.raises(Disconnect, match="Wrong MessageStart f9beb4d9"):
        V1Framing(MAGIC).feed(V1Framing(bytes.fromhex("f9beb4d9")).frame("ping", bytes(8)))


def test_a_header_of_too_large_a_message_ends_the_connection_before_its_payload_comes() -> None:
    largest = framed(b"badmsg", b"", length=MAX_PROTOCOL_MESSAGE_LENGTH)
    assert V1Framing(MAGIC).feed(largest) == []
    with pytest.raises(Disconnect, match=r"Size too large \(badmsg, 4000001 bytes\)"):
        V1Framing(MAGIC).feed(framed(b"badmsg", b"", length=MAX_PROTOCOL_MESSAGE_LENGTH + 1))


def test_a_wrong_checksum_drops_the_message_and_not_the_stream() -> None:
    framing = V1Framing(MAGIC)
    bad, good = framing.feed(framed(b"ping", bytes(8), checksum=b"abcd") + framing.frame("ping", bytes(8)))
    assert (bad.command, bad.payload, bad.size) == ("", b"", 32)
    assert "Wrong checksum (ping, 8 bytes)" in bad.fault
    assert good == Frame("ping", bytes(8), 32)


@pytest.mark.parametrize("padded", [b"ping\0x", b"pi\xffng", b"\x01", b"pi\x7fng"])
def test_a_command_that_is_no_text_drops_the_message_and_not_the_stream(padded: bytes) -> None:
    framing = V1Framing(MAGIC)
    bad, good = framing.feed(framed(padded, b"xy") + framing.frame("ping", bytes(8)))
    assert bad.command == ""
    assert "Invalid message type" in bad.fault
    assert good.command == "ping"


def test_what_is_not_complete_is_all_that_is_kept() -> None:
    framing = V1Framing(MAGIC)
    framing.feed(b"".join(framing.frame("ping", bytes(8)) for _ in range(1000)) + MAGIC)
    assert len(framing._buffer) == 4
