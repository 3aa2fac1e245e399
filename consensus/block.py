"""Block headers and blocks, kept with the bytes they came from."""

import struct
from collections.abc import Iterable
from typing import Self

from altyn.consensus.encoding import EncodingError, compact_size, read_compact_size
from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import WITNESS_SCALE_FACTOR
from altyn.consensus.transaction import Transaction

_HEADER = struct.Struct("<i32s32sIII")
HEADER_SIZE = 80


class Header:
    """A block header, 80 bytes; treat it as immutable. Hashes are in internal order, `time` in seconds."""

    __slots__ = ("_hash", "bits", "merkle_root", "nonce", "prev_hash", "raw", "time", "version")

    raw: bytes
    version: int
    prev_hash: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    def __init__(self, version: int, prev_hash: bytes, merkle_root: bytes, time: int, bits: int, nonce: int) -> None:
        self.version, self.prev_hash, self.merkle_root = version, prev_hash, merkle_root
        self.time, self.bits, self.nonce = time, bits, nonce
        self.raw = _HEADER.pack(version, prev_hash, merkle_root, time, bits, nonce)
        self._hash: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read exactly 80 bytes. Raises EncodingError."""
        if len(data) != HEADER_SIZE:
            raise EncodingError("a header has 80 bytes")
        self = cls.__new__(cls)
        (self.version, self.prev_hash, self.merkle_root, self.time, self.bits, self.nonce) = _HEADER.unpack(data)
        self.raw = data
        self._hash = None
        return self

    @property
    def hash(self) -> bytes:
        """The block hash, 32 bytes: sha256d of the header."""
        block_hash = self._hash
        if block_hash is None:
            block_hash = self._hash = sha256d(self.raw)
        return block_hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Header {self.hash[::-1].hex()}>"


class Block:
    """A block; treat it as immutable. `raw` is its full serialisation, with witnesses."""

    __slots__ = ("header", "raw", "root_is_right", "transactions", "witness_root_is_right")

    header: Header
    transactions: tuple[Transaction, ...]
    raw: bytes
    root_is_right: bool
    witness_root_is_right: bool
    """What a check has found of this very value, so that it need not be hashed again (Core: m_checked_merkle_root)."""

    def __init__(self, header: Header, transactions: Iterable[Transaction]) -> None:
        self.header = header
        self.root_is_right = self.witness_root_is_right = False
        self.transactions = tuple(transactions)
        count = compact_size(len(self.transactions))
        self.raw = b"".join((header.raw, count, *(tx.raw for tx in self.transactions)))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read exactly one block. Raises EncodingError."""
        self, end = cls.parse_from(data, 0)
        if end != len(data):
            raise EncodingError(f"{len(data) - end} bytes behind the block")
        return self

    @classmethod
    def parse_from(cls, data: bytes, start: int) -> tuple[Self, int]:
        """Read a block at `start` of a buffer; return it and the position behind it. Raises EncodingError."""
        self = cls.__new__(cls)
        self.root_is_right = self.witness_root_is_right = False
        self.header = Header.parse(data[start : start + HEADER_SIZE])
        count, position = read_compact_size(data, start + HEADER_SIZE)
        transactions = []
        for _ in range(count):
            tx, position = Transaction.parse_from(data, position)
            transactions.append(tx)
        self.transactions = tuple(transactions)
        self.raw = data if start == 0 and position == len(data) else data[start:position]
        return self, position

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def stripped_size(self) -> int:
        """Bytes of the serialisation without witnesses."""
        count = len(compact_size(len(self.transactions)))
        return HEADER_SIZE + count + sum(len(tx.stripped) for tx in self.transactions)

    @property
    def weight(self) -> int:
        """Weight units (BIP141)."""
        return self.stripped_size * (WITNESS_SCALE_FACTOR - 1) + len(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Block {self.hash[::-1].hex()}, {len(self.transactions)} transactions>"
