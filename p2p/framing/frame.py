"""What all transports have in common: frames, and the interface that a peer drives."""

from typing import NamedTuple, Protocol


class Frame(NamedTuple):
    """A message as it came: `size` counts its header too. With a `fault` it is to be dropped, not the peer."""

    command: str
    payload: bytes
    size: int
    fault: str = ""


class Framing(Protocol):
    """Bytes to messages and back, without I/O. What is to be sent besides messages waits in `take_unsent`."""

    @property
    def name(self) -> str:
        """Core's `transport_protocol_type`: v1, v2, or detecting while it is not yet known to be v2."""
        ...

    @property
    def session_id(self) -> str:
        """What both ends of a v2 connection can compare to find somebody in between, hexadecimal; else empty."""
        ...

    @property
    def can_send(self) -> bool:
        """Whether `frame` may be called yet."""
        ...

    @property
    def unanswered(self) -> bool:
        """Whether we began, and no byte came back: the other side may speak an older transport only."""
        ...

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was received; return the frames that it completed, in order. Raises Disconnect."""
        ...

    def take_unsent(self) -> bytes:
        """Return what the transport itself has to say, before any message; ask after making it and after `feed`."""
        ...

    def frame(self, command: str, payload: bytes) -> bytes:
        """Return the bytes to send for a message."""
        ...


def read_command(padded: bytes) -> str | None:
    """Return the command of twelve bytes, zeros behind it; None when it is no text (Core: IsMessageTypeValid)."""
    command, _, padding = padded.partition(b"\0")
    if padding.strip(b"\0") or not all(0x20 <= character <= 0x7E for character in command):
        return None
    return command.decode("ascii")
