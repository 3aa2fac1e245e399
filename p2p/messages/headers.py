"""Headers and the locators by which they are asked for."""

from typing import Annotated

from altyn.consensus.block import Header
from altyn.p2p.errors import Disconnect
from altyn.p2p.limits import MAX_HEADERS_RESULTS, MAX_LOCATOR_SIZE
from altyn.p2p.messages.codec import COUNTED_HEADER, HASH, I32, ListOf, Message, message

# Core ends the connection over a long locator, without discouraging the address.
_GETHEADERS_LOCATOR = ListOf(
    HASH, most=MAX_LOCATOR_SIZE, fault=Disconnect, reason="getheaders locator size {count} > 101"
)
_GETBLOCKS_LOCATOR = ListOf(
    HASH, most=MAX_LOCATOR_SIZE, fault=Disconnect, reason="getblocks locator size {count} > 101"
)


@message("getheaders")
class GetHeaders(Message):
    """Ask for up to 2,000 headers after the first locator hash that the peer knows; newest first, 32 bytes each.

    `version` is the sender's protocol version, and means nothing.
    """

    version: Annotated[int, I32]
    locator: Annotated[tuple[bytes, ...], _GETHEADERS_LOCATOR]
    stop: Annotated[bytes, HASH] = bytes(32)


@message("getblocks")
class GetBlocks(Message):
    """Ask for an inv of up to 500 blocks after the first locator hash that the peer knows."""

    version: Annotated[int, I32]
    locator: Annotated[tuple[bytes, ...], _GETBLOCKS_LOCATOR]
    stop: Annotated[bytes, HASH] = bytes(32)


@message("headers")
class Headers(Message):
    """Up to 2,000 headers, each the child of the one before it."""

    headers: Annotated[
        tuple[Header, ...],
        ListOf(COUNTED_HEADER, most=MAX_HEADERS_RESULTS, reason="headers message size = {count}"),
    ]
