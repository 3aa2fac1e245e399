"""Compact blocks (BIP152)."""

from typing import Annotated, NamedTuple

from altyn.consensus.block import Header
from altyn.consensus.encoding import Cursor, EncodingError, compact_size
from altyn.consensus.transaction import Transaction
from altyn.p2p.messages.codec import (
    HASH,
    HEADER,
    TRANSACTION,
    U64,
    Differences,
    Fixed,
    ListOf,
    Message,
    message,
)

SHORT_ID = Fixed(6)


class Prefilled(NamedTuple):
    """A transaction that comes with the compact block, and its position in the block."""

    position: int
    tx: Transaction


class PrefilledList:
    """Prefilled transactions by rising position; on the wire each is its distance from the one before."""

    smallest = 1

    def read(self, cursor: Cursor) -> tuple[Prefilled, ...]:
        count = cursor.compact_size()
        if count * (TRANSACTION.smallest + 1) > cursor.remaining:
            raise EncodingError("end of data")
        found, least = [], 0
        for _ in range(count):
            position = least + cursor.compact_size()
            if position > 0xFFFF:
                raise EncodingError("indexes overflowed 16 bits")
            found.append(Prefilled(position, TRANSACTION.read(cursor)))
            least = position + 1
        return tuple(found)

    def write(self, value: tuple[Prefilled, ...]) -> bytes:
        written, least = [compact_size(len(value))], 0
        for position, tx in value:
            if position < least:
                raise ValueError("positions must rise")
            written += (compact_size(position - least), tx.raw)
            least = position + 1
        return b"".join(written)


@message("cmpctblock")
class CompactBlock(Message):
    """A header, the short ids of its transactions (6 bytes each), and some transactions themselves."""

    header: Annotated[Header, HEADER]
    nonce: Annotated[int, U64]
    short_ids: Annotated[tuple[bytes, ...], ListOf(SHORT_ID)]
    prefilled: Annotated[tuple[Prefilled, ...], PrefilledList()]


@message("getblocktxn")
class GetBlockTransactions(Message):
    """Ask for the transactions of a block at these indexes, rising."""

    block_hash: Annotated[bytes, HASH]
    indexes: Annotated[tuple[int, ...], Differences()]


@message("blocktxn")
class BlockTransactions(Message):
    """The transactions asked for, in the same order."""

    block_hash: Annotated[bytes, HASH]
    transactions: Annotated[tuple[Transaction, ...], ListOf(TRANSACTION)]
