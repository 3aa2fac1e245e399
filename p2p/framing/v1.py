"""The old transport: magic, command, length, checksum, payload, in the clear (Core: V1Transport)."""

import struct

from altyn.consensus.hashes import sha256d
from altyn.p2p.errors import Disconnect
from altyn.p2p.framing.frame import Frame, read_command
from altyn.p2p.limits import MAX_PROTOCOL_MESSAGE_LENGTH

_HEADER = struct.Struct("<4s12sI4s")
HEADER_SIZE = 24


class V1Framing:
    """Cuts a stream into frames (a Framing). Holds at most one message's bytes besides what it is fed."""

    name = "v1"
    session_id = ""
    can_send = True
    unanswered = False

    def __init__(self, magic: bytes) -> None:
        """`magic`: the four bytes that begin every message of the network."""
        self._magic = magic
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was received; return the frames that it completed, in order.

        Raises Disconnect on a header of another network or of too large a message: from there on nothing can be
        understood. Frames completed before that header are lost with it.
        """
        buffer = self._buffer
        buffer += data
        frames, position = [], 0
        while len(buffer) - position >= HEADER_SIZE:
            magic, padded, length, checksum = _HEADER.unpack_from(buffer, position)
            if magic != self._magic:
                raise Disconnect(f"Header error: Wrong MessageStart {magic.hex()} received")
            if length > MAX_PROTOCOL_MESSAGE_LENGTH:
                raise Disconnect(f"Header error: Size too large ({_readable(padded)}, {length} bytes)")
            end = position + HEADER_SIZE + length
            if end > len(buffer):
                break
            payload = bytes(buffer[position + HEADER_SIZE : end])
            frames.append(_frame(padded, payload, checksum))
            position = end
        del buffer[:position]
        return frames

    def take_unsent(self) -> bytes:
        return b""

    def frame(self, command: str, payload: bytes) -> bytes:
        return _HEADER.pack(self._magic, command.encode("ascii"), len(payload), sha256d(payload)[:4]) + payload


def _frame(padded: bytes, payload: bytes, checksum: bytes) -> Frame:
    size = HEADER_SIZE + len(payload)
    if sha256d(payload)[:4] != checksum:
        return Frame("", b"", size, f"Header error: Wrong checksum ({_readable(padded)}, {len(payload)} bytes)")
    command = read_command(padded)
    if command is None:
        return Frame("", b"", size, f"Header error: Invalid message type ({_readable(padded)}, {len(payload)} bytes)")
    return Frame(command, payload, size)


def _readable(padded: bytes) -> str:
    return "".join(chr(c) if 0x20 <= c <= 0x7E else "?" for c in padded.rstrip(b"\0"))
