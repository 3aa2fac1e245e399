"""The version handshake, without I/O: messages in, messages out, ending in `Features` (Core: ProcessMessage)."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from altyn.p2p.addresses import NetworkAddress
from altyn.p2p.errors import Disconnect
from altyn.p2p.kinds import PeerKind
from altyn.p2p.limits import MIN_PEER_PROTOCOL_VERSION, PROTOCOL_VERSION, WTXID_RELAY_VERSION
from altyn.p2p.messages import (
    Message,
    SendAddrV2,
    SendCompact,
    SendHeaders,
    Verack,
    Version,
    WtxidRelay,
)

_SAFE_CHARACTERS = frozenset(string.ascii_letters + string.digits + " .,;-_/:?@()")


@dataclass(frozen=True, slots=True)
class Features:
    """What a peer said of itself, and what was agreed on.

    `version`: as the peer gave it; `common_version`: the lower one of both. `time_offset`: the peer's clock less ours,
    in seconds. `receiver`: our address as the peer sees it. `relay`: it wants transactions announced. `wtxid_relay`:
    announcements go by wtxid, both ways. `send_addr_v2`: it wants addresses as addrv2.
    """

    version: int
    common_version: int
    services: int
    time_offset: int
    receiver: NetworkAddress
    nonce: int
    user_agent: str
    start_height: int
    relay: bool
    wtxid_relay: bool = False
    send_addr_v2: bool = False


class Stage(Enum):
    """How far a handshake has come."""

    AWAITING_VERSION = auto()
    AWAITING_VERACK = auto()
    DONE = auto()


class Handshake:
    """One side of a handshake; both sides are the same but for who speaks first.

    What comes at a wrong time is ignored or ends the connection exactly as in Core: everything but `version` before it,
    and everything but the feature messages before `verack`, is ignored.
    """

    def __init__(
        self,
        kind: PeerKind,
        introduce: Callable[[], Version],
        now: Callable[[], float],
        *,
        required_services: Callable[[int], int] = lambda offered: 0,
        is_own_nonce: Callable[[int], bool] = lambda nonce: False,
    ) -> None:
        """`introduce` makes our version message. `required_services` tells what an automatic outbound peer must offer,
        given what it offers, to be of use. `is_own_nonce` tells whether a connection that we are opening has this
        nonce: then we called ourselves.
        """
        self._kind, self._introduce, self._now = kind, introduce, now
        self._required_services, self._is_own_nonce = required_services, is_own_nonce
        self.stage = Stage.AWAITING_VERSION
        self.offered = 0
        """The services that our version message told of: bits of `Services`."""
        self._peer: Version | None = None
        self._wtxid_relay = False
        self._send_addr_v2 = False
        self.early: dict[type[Message], Message] = {}
        """What came before verack and is for later: the last `sendheaders` and `sendcmpct`."""

    def start(self) -> list[Message]:
        """Return what to send at once: who dials speaks first."""
        return [] if self._kind is PeerKind.INBOUND else [self._introduction()]

    def expects(self, message: type[Message]) -> bool:
        """Whether `feed` has a use for such a message now; any other one is not even to be read."""
        match self.stage:
            case Stage.AWAITING_VERSION:
                return message is Version
            case Stage.AWAITING_VERACK:
                return message in (Verack, WtxidRelay, SendAddrV2, SendHeaders, SendCompact)
            case Stage.DONE:
                return message in (WtxidRelay, SendAddrV2)

    def feed(self, message: Message) -> list[Message]:
        """Take a message of the peer; return what to send. Raises Disconnect."""
        match self.stage, message:
            case Stage.AWAITING_VERSION, Version():
                return self._version(message)
            case Stage.AWAITING_VERACK, Verack():
                self.stage = Stage.DONE
            case Stage.AWAITING_VERACK, WtxidRelay():
                self._wtxid_relay = self._common_version >= WTXID_RELAY_VERSION
            case Stage.AWAITING_VERACK, SendAddrV2():
                self._send_addr_v2 = True
            case Stage.AWAITING_VERACK, SendHeaders() | SendCompact():
                self.early[type(message)] = message
            case Stage.DONE, WtxidRelay() | SendAddrV2():
                raise Disconnect(f"{message.command} received after verack")
        return []

    @property
    def features(self) -> Features:
        """What is known once the peer's version is there."""
        peer = self._peer
        if peer is None:
            raise RuntimeError("no version message yet")
        return Features(
            version=peer.version,
            common_version=self._common_version,
            services=peer.services,
            time_offset=self._time_offset,
            receiver=peer.receiver[1],
            nonce=peer.nonce,
            user_agent="".join(character for character in peer.user_agent if character in _SAFE_CHARACTERS),
            start_height=peer.start_height,
            relay=peer.relay,
            wtxid_relay=self._wtxid_relay,
            send_addr_v2=self._send_addr_v2,
        )

    def _introduction(self) -> Version:
        introduction = self._introduce()
        self.offered = introduction.services
        return introduction

    def _version(self, peer: Version) -> list[Message]:
        if self._kind is PeerKind.INBOUND and peer.nonce and self._is_own_nonce(peer.nonce):
            raise Disconnect("connected to self")
        self._peer = peer
        self._common_version = min(peer.version, PROTOCOL_VERSION)
        self._time_offset = max(peer.time, 0) - int(self._now())
        self.stage = Stage.AWAITING_VERACK
        if self._kind.expects_services and (missing := self._required_services(peer.services) & ~peer.services):
            raise Disconnect(f"peer does not offer the expected services ({missing:08x} missing)")
        if peer.version < MIN_PEER_PROTOCOL_VERSION:
            raise Disconnect(f"peer using obsolete version {peer.version}")
        answer: list[Message] = [self._introduction()] if self._kind is PeerKind.INBOUND else []
        if self._common_version >= WTXID_RELAY_VERSION:
            answer += (WtxidRelay(), SendAddrV2())
        answer.append(Verack())
        if self._kind is PeerKind.FEELER:
            raise Disconnect("feeler connection completed")
        return answer
