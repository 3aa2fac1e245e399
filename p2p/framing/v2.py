"""The encrypted transport (BIP324; Core: V2Transport): keys, garbage, version packet, then messages in packets.

Every byte looks random from outside. Who is called cannot know beforehand whether the caller speaks v2: it does not, if
its first bytes are those of a v1 version message. A caller learns that the other side speaks v1 by being hung up on.
"""

from collections.abc import Callable
from enum import Enum, auto

from altyn.consensus.secp256k1 import Ellswift
from altyn.p2p.errors import Disconnect
from altyn.p2p.framing.bip324 import EXPANSION, HEADER_SIZE, LENGTH_SIZE, TAG_SIZE, TERMINATOR_SIZE, Session
from altyn.p2p.framing.frame import Frame, read_command
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.limits import MAX_PROTOCOL_MESSAGE_LENGTH

KEY_SIZE = 64
MAX_GARBAGE = 4095
MAX_CONTENTS = 1 + 12 + MAX_PROTOCOL_MESSAGE_LENGTH
_V1_VERSION = b"version\0\0\0\0\0"
_V1_PREFIX_SIZE = 16

SHORT_COMMANDS = (
    *("addr", "block", "blocktxn", "cmpctblock", "feefilter", "filteradd", "filterclear", "filterload", "getblocks"),
    *("getblocktxn", "getdata", "getheaders", "headers", "inv", "mempool", "merkleblock", "notfound", "ping", "pong"),
    *("sendcmpct", "tx", "getcfilters", "cfilter", "getcfheaders", "cfheaders", "getcfcheckpt", "cfcheckpt", "addrv2"),
)
"""The commands that go by one byte: the first by 1, and so on. All others follow a zero, in twelve bytes."""
_COMMAND_BY_ID = dict(enumerate(SHORT_COMMANDS, 1))
_PREFIX_BY_COMMAND = {command: bytes((number,)) for number, command in _COMMAND_BY_ID.items()}


class Stage(Enum):
    """What is to be received next."""

    KEY_OR_V1 = auto()
    KEY = auto()
    GARBAGE = auto()
    VERSION = auto()
    MESSAGES = auto()
    V1 = auto()


class V2Framing:
    """One end of a v2 connection (a Framing). Holds at most one packet's bytes besides what it is fed."""

    def __init__(
        self, ellswift: Ellswift, magic: bytes, randbytes: Callable[[int], bytes], *, initiating: bool
    ) -> None:
        """`randbytes` makes our key and up to 4095 bytes of garbage behind it."""
        self._ellswift, self._magic, self._initiating = ellswift, magic, initiating
        self._secret = randbytes(32)
        self._key = ellswift.ellswift_create(self._secret, randbytes(32))
        self._garbage = randbytes(int.from_bytes(randbytes(2), "little") % (MAX_GARBAGE + 1))
        self._stage = Stage.KEY if initiating else Stage.KEY_OR_V1
        self._unsent = self._key + self._garbage if initiating else b""
        self._buffer = bytearray()
        self._session: Session | None = None
        self._v1: V1Framing | None = None
        self._aad = b""
        self._length: int | None = None  # of the contents that are being received

    @property
    def name(self) -> str:
        return {Stage.MESSAGES: "v2", Stage.V1: "v1"}.get(self._stage, "detecting")

    @property
    def session_id(self) -> str:
        return self._session.id.hex() if self._session and self._stage is Stage.MESSAGES else ""

    @property
    def can_send(self) -> bool:
        return self._session is not None or self._v1 is not None

    @property
    def unanswered(self) -> bool:
        return self._stage is Stage.KEY and self._initiating and not self._buffer

    def take_unsent(self) -> bytes:
        unsent, self._unsent = self._unsent, b""
        return unsent

    def frame(self, command: str, payload: bytes) -> bytes:
        if self._v1 is not None:
            return self._v1.frame(command, payload)
        if self._session is None:
            raise RuntimeError("no keys yet")
        prefix = _PREFIX_BY_COMMAND.get(command) or b"\0" + command.encode("ascii").ljust(12, b"\0")
        return self._session.sending.seal(prefix + payload)

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was received; return the frames that it completed, in order.

        Raises Disconnect on what cannot be read: from there on nothing can. Frames completed before are lost with it.
        """
        if self._v1 is not None:
            return self._v1.feed(data)
        self._buffer += data
        if self._stage is Stage.KEY_OR_V1:
            self._detect()
        if self._stage is Stage.KEY:
            self._agree()
        if self._stage is Stage.GARBAGE:
            self._skip_garbage()
        if self._stage in (Stage.VERSION, Stage.MESSAGES):
            return self._open_packets()
        if self._v1 is None:
            return []
        received = bytes(self._buffer)
        self._buffer.clear()
        return self._v1.feed(received)

    def _detect(self) -> None:
        """Stay undecided while all that came could begin a v1 version message."""
        expected = self._magic + _V1_VERSION
        if not expected.startswith(self._buffer[:_V1_PREFIX_SIZE]):
            self._stage = Stage.KEY
            self._unsent += self._key + self._garbage
        elif len(self._buffer) >= _V1_PREFIX_SIZE:
            self._stage, self._v1 = Stage.V1, V1Framing(self._magic)

    def _agree(self) -> None:
        buffer = self._buffer
        if not self._initiating and buffer[len(self._magic) : _V1_PREFIX_SIZE] == _V1_VERSION:
            raise Disconnect(f"V2 transport error: V1 peer with wrong MessageStart {buffer[:4].hex()}")
        if len(buffer) < KEY_SIZE:
            return
        shared = self._ellswift.ellswift_agree(
            self._secret, self._key, bytes(buffer[:KEY_SIZE]), initiating=self._initiating
        )
        del buffer[:KEY_SIZE]
        session = self._session = Session.derive(shared, self._magic, initiating=self._initiating)
        self._unsent += session.sending_terminator + session.sending.seal(b"", aad=self._garbage)
        self._secret = self._garbage = b""
        self._stage = Stage.GARBAGE

    def _skip_garbage(self) -> None:
        terminator = self._opened.receiving_terminator
        position = self._buffer.find(terminator, 0, MAX_GARBAGE + TERMINATOR_SIZE)
        if position >= 0:
            self._aad = bytes(self._buffer[:position])  # authenticated by the first packet, whatever it is
            del self._buffer[: position + TERMINATOR_SIZE]
            self._stage = Stage.VERSION
        elif len(self._buffer) >= MAX_GARBAGE + TERMINATOR_SIZE:
            raise Disconnect("V2 transport error: missing garbage terminator")

    def _open_packets(self) -> list[Frame]:
        buffer, packets = self._buffer, self._opened.receiving
        frames, position = [], 0
        while True:
            if self._length is None:
                if len(buffer) - position < LENGTH_SIZE:
                    break
                self._length = packets.open_length(bytes(buffer[position : position + LENGTH_SIZE]))
                position += LENGTH_SIZE
                if self._length > MAX_CONTENTS:
                    raise Disconnect(f"V2 transport error: packet too large ({self._length} bytes)")
            end = position + HEADER_SIZE + self._length + TAG_SIZE
            if end > len(buffer):
                break
            opened = packets.open(bytes(buffer[position:end]), aad=self._aad)
            if opened is None:
                raise Disconnect(f"V2 transport error: packet decryption failure ({self._length} bytes)")
            position, self._aad, self._length = end, b"", None
            is_decoy, contents = opened
            if is_decoy:
                continue
            if self._stage is Stage.VERSION:
                self._stage = Stage.MESSAGES  # its contents are for versions to come
            else:
                frames.append(_frame(contents))
        del buffer[:position]
        return frames

    @property
    def _opened(self) -> Session:
        if self._session is None:
            raise RuntimeError("no keys yet")
        return self._session


def _frame(contents: bytes) -> Frame:
    size = len(contents) + EXPANSION
    if contents[:1] == b"\0" and len(contents) >= 13:
        command, payload = read_command(contents[1:13]), contents[13:]
    else:
        command, payload = _COMMAND_BY_ID.get(contents[0]) if contents else None, contents[1:]
    if command is None:
        return Frame("", b"", size, f"V2 transport error: invalid message type ({len(contents)} bytes contents)")
    return Frame(command, payload, size)
