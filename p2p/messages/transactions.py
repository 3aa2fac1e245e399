"""Transactions, the mempool, and the bloom filters that choose among them (BIP35, BIP37)."""

from typing import Annotated

from altyn.consensus.transaction import Transaction
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
    """Set a bloom filter of up to 36,000 bytes (BIP37). Whether we offer that, and its size, are for the handler."""

    data: Annotated[bytes, VarBytes()]
    hash_functions: Annotated[int, U32]
    tweak: Annotated[int, U32]
    flags: Annotated[int, U8]


@message("filteradd")
class FilterAdd(Message):
    """Add up to 520 bytes to the bloom filter (BIP37); the handler looks at the size."""

    data: Annotated[bytes, VarBytes()]


@message("filterclear")
class FilterClear(Message):
    """Remove the bloom filter (BIP37)."""
