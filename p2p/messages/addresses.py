"""Gossip of addresses."""

from typing import Annotated

from altyn.p2p.addresses import TIMED_ADDRESS_V1, TIMED_ADDRESS_V2, TimedAddress
from altyn.p2p.limits import MAX_ADDR_TO_SEND
from altyn.p2p.messages.codec import ListOf, Message, message


@message("getaddr")
class GetAddr(Message):
    """Ask for addresses of other nodes."""


@message("addr")
class Addr(Message):
    """Up to 1,000 addresses of the IP networks."""

    addresses: Annotated[
        tuple[TimedAddress, ...],
        ListOf(TIMED_ADDRESS_V1, most=MAX_ADDR_TO_SEND, reason="addr message size = {count}"),
    ]


@message("addrv2")
class AddrV2(Message):
    """Up to 1,000 addresses of any network (BIP155)."""

    addresses: Annotated[
        tuple[TimedAddress, ...],
        ListOf(TIMED_ADDRESS_V2, most=MAX_ADDR_TO_SEND, reason="addrv2 message size = {count}"),
    ]
