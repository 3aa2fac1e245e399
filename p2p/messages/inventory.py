"""Announcing, asking for and not finding things by hash."""

from enum import IntEnum
from typing import Annotated, NamedTuple

from altyn.consensus.encoding import Cursor
from altyn.p2p.limits import MAX_INV_SIZE
from altyn.p2p.messages.codec import ListOf, Message, message

_WITNESS = 1 << 30


class InventoryType(IntEnum):
    """What a hash stands for. With WITNESS the answer has witnesses (BIP144); WTX is by wtxid (BIP339)."""

    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    COMPACT_BLOCK = 4
    WTX = 5
    WITNESS_TX = TX | _WITNESS
    WITNESS_BLOCK = BLOCK | _WITNESS


class Inventory(NamedTuple):
    """A thing by its hash, 32 bytes. `type` may be one that we do not know."""

    type: int
    hash: bytes


class InventoryCodec:
    """Type and hash, 36 bytes."""

    smallest = 36

    def read(self, cursor: Cursor) -> Inventory:
        return Inventory(cursor.u32(), cursor.read(32))

    def write(self, value: Inventory) -> bytes:
        return value.type.to_bytes(4, "little") + value.hash


INVENTORY = InventoryCodec()


@message("inv")
class Inv(Message):
    """Announce up to 50,000 transactions and blocks."""

    items: Annotated[tuple[Inventory, ...], ListOf(INVENTORY, most=MAX_INV_SIZE, reason="inv message size = {count}")]


@message("getdata")
class GetData(Message):
    """Ask for up to 50,000 transactions and blocks."""

    items: Annotated[
        tuple[Inventory, ...], ListOf(INVENTORY, most=MAX_INV_SIZE, reason="getdata message size = {count}")
    ]


@message("notfound")
class NotFound(Message):
    """Answer a getdata for what is not there."""

    items: Annotated[tuple[Inventory, ...], ListOf(INVENTORY)]
