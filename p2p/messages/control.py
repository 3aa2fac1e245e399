"""Handshake, liveness and wishes: version, verack, ping, pong and the feature messages."""

from typing import Annotated

from altyn.consensus.encoding import Cursor
from altyn.p2p.addresses import ADDRESS_V1, NetworkAddress
from altyn.p2p.limits import MAX_USER_AGENT_LENGTH
from altyn.p2p.messages.codec import BOOL, I32, I64, U32, U64, Message, Optional, Text, message


class VersionAddress:
    """Services and an address without time, 26 bytes."""

    smallest = 26

    def read(self, cursor: Cursor) -> tuple[int, NetworkAddress]:
        return cursor.u64(), ADDRESS_V1.read(cursor)

    def write(self, value: tuple[int, NetworkAddress]) -> bytes:
        services, address = value
        return U64.write(services) + ADDRESS_V1.write(address)


class LastNumber:
    """A 64-bit number, or None where fewer than eight bytes are left."""

    smallest = 0

    def read(self, cursor: Cursor) -> int | None:
        return cursor.u64() if cursor.remaining >= 8 else None

    def write(self, value: int | None) -> bytes:
        return b"" if value is None else U64.write(value)


VERSION_ADDRESS = VersionAddress()
NOWHERE = (0, NetworkAddress.unspecified())


@message("version")
class Version(Message):
    """Introduce oneself. `receiver` and `sender` are services and address; `time` in seconds since 1970.

    Old peers end after `receiver`, or after any later field. `relay`: announce transactions to me (BIP37).
    """

    version: Annotated[int, I32]
    services: Annotated[int, U64]
    time: Annotated[int, I64]
    receiver: Annotated[tuple[int, NetworkAddress], VERSION_ADDRESS] = NOWHERE
    sender: Annotated[tuple[int, NetworkAddress], Optional(VERSION_ADDRESS, NOWHERE)] = NOWHERE
    nonce: Annotated[int, Optional(U64, 0)] = 0
    user_agent: Annotated[str, Optional(Text(MAX_USER_AGENT_LENGTH), "")] = ""
    start_height: Annotated[int, Optional(I32, -1)] = -1
    relay: Annotated[bool, Optional(BOOL, True)] = True


@message("verack")
class Verack(Message):
    """Accept the other's version."""


@message("wtxidrelay")
class WtxidRelay(Message):
    """Announce transactions to me by wtxid; before verack (BIP339)."""


@message("sendaddrv2")
class SendAddrV2(Message):
    """Send me addresses as addrv2; before verack (BIP155)."""


@message("sendtxrcncl")
class SendTxReconciliation(Message):
    """Offer transaction reconciliation; before verack (BIP330)."""

    version: Annotated[int, U32]
    salt: Annotated[int, U64]


@message("sendheaders")
class SendHeaders(Message):
    """Announce blocks to me by headers (BIP130)."""


@message("sendcmpct")
class SendCompact(Message):
    """Send me compact blocks of this version; `announce`: without asking first (BIP152)."""

    announce: Annotated[bool, BOOL]
    version: Annotated[int, U64]


@message("feefilter")
class FeeFilter(Message):
    """Announce no transactions below this feerate, in satoshis per 1000 virtual bytes (BIP133)."""

    feerate: Annotated[int, I64]


@message("ping")
class Ping(Message):
    """Ask for a pong with the same nonce (BIP31)."""

    nonce: Annotated[int, U64]


@message("pong")
class Pong(Message):
    """Answer a ping. A short payload reads as None: Core drops the ping for it, not the peer."""

    nonce: Annotated[int | None, LastNumber()]
