"""Transactions, the mempool, and the bloom filters that choose among them (BIP35, BIP37)."""

from typing import Annotated

from altyn.consensus.transaction import Transaction
from altyn.p2p.errors import Misbehaving
from altyn.p2p.limits import MAX_BLOOM_FILTER_SIZE, MAX_FILTER_ADD_SIZE
from altyn.p2p.messages.codec import TRANSACTION, U8, U32, Message, VarBytes, message


@message("tx")
class Tx(Message):
    """A transaction, with its witness if asked for with it."""

    tx: Annotated[Transaction, TRANSACTION]


@message("mempool")
class Mempool(Message):
    """Ask for an inv of everything in the mempool (BIP35)."""


@message("filterload")
class FilterLoad(Message):
    """Set a bloom filter of up to 36,000 bytes (BIP37). Whether we offer that at all, the handler decides."""

    data: Annotated[bytes, VarBytes(MAX_BLOOM_FILTER_SIZE, fault=Misbehaving, reason="too-large bloom filter")]
    hash_functions: Annotated[int, U32]
    tweak: Annotated[int, U32]
    flags: Annotated[int, U8]


@message("filteradd")
class FilterAdd(Message):
    """Add up to 520 bytes to the bloom filter (BIP37)."""

    data: Annotated[bytes, VarBytes(MAX_FILTER_ADD_SIZE, fault=Misbehaving, reason="bad filteradd message")]


@message("filterclear")
class FilterClear(Message):
    """Remove the bloom filter (BIP37)."""
