"""Whole blocks, and blocks filtered for one client (BIP37)."""

from typing import Annotated

from altyn.consensus.block import Block as ConsensusBlock
from altyn.consensus.block import Header
from altyn.p2p.messages.codec import BLOCK, HASH, HEADER, U32, ListOf, Message, VarBytes, message


@message("block")
class Block(Message):
    """A block, with witnesses if asked for with them."""

    block: Annotated[ConsensusBlock, BLOCK]


@message("merkleblock")
class MerkleBlock(Message):
    """A header and the partial merkle tree of the transactions that matched (BIP37)."""

    header: Annotated[Header, HEADER]
    transaction_count: Annotated[int, U32]
    hashes: Annotated[tuple[bytes, ...], ListOf(HASH)]
    flags: Annotated[bytes, VarBytes()]
