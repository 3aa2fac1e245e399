"""What fuzzers drive: everything that strangers' bytes reach first. A target raises only for a bug."""

import random
from collections.abc import Callable
from functools import partial

from altyn.consensus.encoding import EncodingError
from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.p2p.errors import Disconnect
from altyn.p2p.framing.bip324 import Session
from altyn.p2p.framing.frame import Frame, Framing
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.framing.v2 import MAX_GARBAGE, V2Framing
from altyn.p2p.messages import MESSAGES, Message

MAGIC = b"\xfa\xbf\xb5\xda"
SECP = LibSecp256k1()
SECRET = bytes([7] * 32)


def decode(kind: type[Message], data: bytes) -> None:
    """Read a message; what was read is written so that it reads the same."""
    try:
        message = kind.parse(data)
    except (EncodingError, Disconnect):
        return
    assert kind.parse(message.payload()) == message


def stream(make: Callable[[], Framing], data: bytes) -> None:
    """Feed a stream in pieces: each begins with a byte that gives its length."""
    framing, position = make(), 0
    try:
        while position < len(data):
            end = position + 1 + data[position]
            for frame in framing.feed(data[position + 1 : end]):
                assert not frame.fault or not frame.command
            framing.take_unsent()
            position = end
    except Disconnect:
        pass


def end_of_v2(*, initiating: bool) -> V2Framing:
    """Return one end of an encrypted connection, the same every time."""
    return V2Framing(SECP, MAGIC, random.Random(1).randbytes, initiating=initiating)


def session(data: bytes) -> None:
    """Shake hands as a stranger who does everything that is allowed, and say what `data` says, decoys and lies too.

    What is sealed right comes out whole and in order; the first lie ends the connection.
    """
    head, steps = data[:4].ljust(4, b"\0"), data[4:]
    initiating, pieces = bool(head[0] & 1), 1 + (head[0] >> 1)
    garbage = bytes(int.from_bytes(head[1:3], "little") % (MAX_GARBAGE + 1))
    end = end_of_v2(initiating=not initiating)
    key = SECP.ellswift_create(SECRET, bytes(31) + head[3:])
    said = b""
    if initiating:  # it does not speak before it knows that we are no v1
        end.feed(key)
    said += end.take_unsent()
    if not initiating:
        end.feed(key)
    shared = SECP.ellswift_agree(SECRET, key, said[:64], initiating=initiating)
    sending = Session.derive(shared, MAGIC, initiating=initiating)
    seal = sending.sending.seal
    told, expected, lied = garbage + sending.sending_terminator, list[bytes](), False
    first, greeted = True, False
    while steps and not lied:
        order, size, steps = steps[0], int.from_bytes(steps[1:2], "little"), steps[2:]
        contents, steps = steps[:size], steps[size:]
        packet = bytearray(seal(contents, aad=garbage if first else b"", ignore=bool(order & 1)))
        first = False
        if order & 2:
            packet[3 + (order >> 2) % (len(packet) - 3)] ^= 1 + (order >> 2)
            lied = True
        elif not order & 1:
            expected += [contents] if greeted else []
            greeted = True
        told += packet
    frames: list[Frame] = []
    ended = ""
    try:
        for position in range(0, len(told), pieces):
            frames += end.feed(told[position : position + pieces])
    except Disconnect as error:
        ended = error.reason
    assert bool(ended) is lied, ended or "a forged packet was taken"
    if not ended:
        assert (end.name == "v2") is greeted
        assert [frame.size - 20 for frame in frames] == [len(contents) for contents in expected]
        for frame, contents in zip(frames, expected, strict=True):
            assert frame.fault or contents.endswith(frame.payload)


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{command: partial(decode, kind) for command, kind in MESSAGES.items()},
    "v1-stream": partial(stream, lambda: V1Framing(MAGIC)),
    "v2-called": partial(stream, lambda: end_of_v2(initiating=False)),
    "v2-calling": partial(stream, lambda: end_of_v2(initiating=True)),
    "v2-session": session,
}
