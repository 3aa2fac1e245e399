"""Transactions as values that keep the bytes they came from: ids hash slices, nothing is serialised twice."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from altyn.consensus.encoding import EncodingError, compact_size, read_compact_size, var_bytes
from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import SEQUENCE_FINAL, WITNESS_SCALE_FACTOR

_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_read_u32 = _U32.unpack_from
_read_outpoint = struct.Struct("<36sB").unpack_from
"""An outpoint, and the first byte of the size of the script behind it."""
_read_value = struct.Struct("<qB").unpack_from
"""A value, and the first byte of the size of the script behind it."""
_new = tuple.__new__
"""Half the price of calling a NamedTuple."""
_OUTPOINT_SIZE = 36
_INDEXES = [_U32.pack(index) for index in range(16)]
_NULL_INDEX = b"\xff\xff\xff\xff"


class OutPoint(bytes):
    """A reference to an output: 36 bytes, the txid and the index, as on the wire.

    Bytes, because it is the key of every coin: its hash is cached and it goes into the database as it is.
    """

    __slots__ = ()

    @classmethod
    def make(cls, txid: bytes, vout: int) -> Self:
        """Build it from a 32-byte txid and an output index."""
        return cls(txid + _U32.pack(vout))

    @property
    def txid(self) -> bytes:
        return bytes(self[:32])

    @property
    def vout(self) -> int:
        """The index of the output."""
        vout: int = _read_u32(self, 32)[0]
        return vout

    def __str__(self) -> str:
        return f"{self.txid[::-1].hex()}:{self.vout}"


NULL_OUTPOINT = OutPoint(bytes(32) + _NULL_INDEX)


class TxIn(NamedTuple):
    """An input. `witness` holds the stack elements, bottom first."""

    prevout: OutPoint
    script_sig: bytes = b""
    sequence: int = SEQUENCE_FINAL
    witness: tuple[bytes, ...] = ()


class TxOut(NamedTuple):
    """An output: `value` in satoshis (signed 64 bits on the wire) and the script that guards it."""

    value: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        return _I64.pack(self.value) + var_bytes(self.script_pubkey)


class Coin(NamedTuple):
    """An unspent output, with the height of its block and whether a coinbase made it."""

    output: TxOut
    height: int
    is_coinbase: bool


class Transaction:
    """A transaction; treat it as immutable. `raw` is its full serialisation, with the witness if it has one."""

    __slots__ = (
        "_stripped",
        "_txid",
        "_wtxid",
        "has_witness",
        "inputs",
        "is_sound",
        "legacy_sigops",
        "lock_time",
        "outputs",
        "raw",
        "version",
    )

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int
    raw: bytes
    has_witness: bool
    is_sound: bool
    legacy_sigops: int | None
    """What checks have found of this very value: that it passes alone, and its legacy signature operations."""
    _stripped: bytes | None
    _txid: bytes | None
    _wtxid: bytes | None

    def __init__(self, version: int, inputs: Iterable[TxIn], outputs: Iterable[TxOut], lock_time: int = 0) -> None:
        """Build a transaction from its parts and serialise it once (BIP144)."""
        self.version = version
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.lock_time = lock_time
        body = [compact_size(len(self.inputs))]
        for prevout, script_sig, sequence, _ in self.inputs:
            body += (prevout, var_bytes(script_sig), _U32.pack(sequence))
        body.append(compact_size(len(self.outputs)))
        body += (output.serialize() for output in self.outputs)
        head, tail = _U32.pack(version), _U32.pack(lock_time)
        stripped = b"".join((head, *body, tail))
        self.has_witness = any(txin.witness for txin in self.inputs)
        self._txid = self._wtxid = self.legacy_sigops = None
        self.is_sound = False
        if self.has_witness:
            self._stripped = stripped
            witness = b"".join(serialize_witness(txin.witness) for txin in self.inputs)
            self.raw = b"".join((head, b"\0\1", *body, witness, tail))
        else:
            self._stripped = None
            self.raw = stripped

    @classmethod
    def parse(cls, data: bytes, *, allow_witness: bool = True) -> Self:
        """Read exactly one transaction. Raises EncodingError."""
        tx, end = cls.parse_from(data, 0, allow_witness=allow_witness)
        if end != len(data):
            raise EncodingError(f"{len(data) - end} bytes behind the transaction")
        return tx

    @classmethod
    def parse_from(cls, data: bytes, start: int, *, allow_witness: bool = True) -> tuple[Self, int]:
        """Read a transaction at `start` of a buffer; return it and the position behind it. Raises EncodingError."""
        self = cls.__new__(cls)
        try:
            end = self._read(data, start, allow_witness)
        except (struct.error, IndexError):
            raise EncodingError("end of data") from None
        return self, end

    def _read(self, data: bytes, start: int, allow_witness: bool) -> int:
        # The hottest loop outside of signature checks: flat, local names, compact sizes of one byte read in place. A
        # script that the data ends in is cut short by the slice; then there is no lock time behind it to be read.
        (self.version,) = _read_u32(data, start)
        position = start + 4
        flags = 0
        if allow_witness and data[position] == 0:
            flags = data[position + 1]
            position += 2
            body = position
            if not flags:  # no inputs and no outputs: not a witness marker after all
                body -= 2
        else:
            body = position
        if allow_witness and not flags and position != body:
            self.inputs = self.outputs = ()
        else:
            count = data[position]
            position += 1
            if count >= 0xFD:
                count, position = read_compact_size(data, position - 1)
            inputs = []
            for _ in range(count):
                prevout, size = _read_outpoint(data, position)
                position += _OUTPOINT_SIZE + 1
                if size >= 0xFD:
                    size, position = read_compact_size(data, position - 1)
                end = position + size
                (sequence,) = _read_u32(data, end)
                inputs.append(_new(TxIn, (OutPoint(prevout), data[position:end], sequence, ())))
                position = end + 4
            count = data[position]
            position += 1
            if count >= 0xFD:
                count, position = read_compact_size(data, position - 1)
            outputs = []
            for _ in range(count):
                value, size = _read_value(data, position)
                position += 9
                if size >= 0xFD:
                    size, position = read_compact_size(data, position - 1)
                end = position + size
                outputs.append(_new(TxOut, (value, data[position:end])))
                position = end
            self.outputs = tuple(outputs)
            body_end = position
            if flags & 1:
                position = _read_witnesses(data, position, inputs)
            self.inputs = tuple(inputs)
        if flags & ~1:
            raise EncodingError("Unknown transaction optional data")
        (self.lock_time,) = _read_u32(data, position)
        position += 4
        self.raw = data if start == 0 and position == len(data) else data[start:position]
        self.has_witness = bool(flags)
        self._stripped = (
            b"".join((data[start : start + 4], data[body:body_end], data[position - 4 : position])) if flags else None
        )
        self._txid = self._wtxid = self.legacy_sigops = None
        self.is_sound = False
        return position

    def parts(self) -> tuple[Any, ...]:
        """Return it as plain values, from which `from_parts` makes it again: in a third of the time of parsing."""
        inputs, outputs = [tuple(txin) for txin in self.inputs], [tuple(output) for output in self.outputs]
        return self.raw, self.version, inputs, outputs, self.lock_time, self._stripped

    @classmethod
    def from_parts(cls, parts: tuple[Any, ...]) -> Self:
        """Make a transaction from what `parts` returned, here or in another process."""
        self = cls.__new__(cls)
        self.raw, self.version, inputs, outputs, self.lock_time, self._stripped = parts
        self.inputs = tuple([_new(TxIn, txin) for txin in inputs])
        self.outputs = tuple([_new(TxOut, output) for output in outputs])
        self.has_witness = self._stripped is not None
        self._txid = self._wtxid = self.legacy_sigops = None
        self.is_sound = False
        return self

    @property
    def stripped(self) -> bytes:
        """The serialisation without witness."""
        return self.raw if self._stripped is None else self._stripped

    @property
    def txid(self) -> bytes:
        """Hash of the serialisation without witness, 32 bytes."""
        txid = self._txid
        if txid is None:
            txid = self._txid = sha256d(self.raw if self._stripped is None else self._stripped)
        return txid

    @property
    def wtxid(self) -> bytes:
        """Hash of the full serialisation, 32 bytes; equal to the txid without witness (BIP141)."""
        wtxid = self._wtxid
        if wtxid is None:
            wtxid = self._wtxid = sha256d(self.raw) if self.has_witness else self.txid
        return wtxid

    @property
    def weight(self) -> int:
        """Weight units (BIP141)."""
        return len(self.stripped) * (WITNESS_SCALE_FACTOR - 1) + len(self.raw)

    @property
    def vsize(self) -> int:
        """Virtual bytes: the weight divided by four, rounded up."""
        return (self.weight + WITNESS_SCALE_FACTOR - 1) // WITNESS_SCALE_FACTOR

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].prevout == NULL_OUTPOINT

    def outpoint(self, index: int) -> OutPoint:
        """Return the reference to output `index` of this transaction."""
        return OutPoint(self.txid + _U32.pack(index))

    def outpoints(self) -> list[OutPoint]:
        """Return the references to all outputs of this transaction, in order."""
        txid, count = self.txid, len(self.outputs)
        indexes = _INDEXES if count <= len(_INDEXES) else map(_U32.pack, range(count))
        return [OutPoint(txid + index) for _, index in zip(self.outputs, indexes, strict=False)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Transaction {self.txid[::-1].hex()}>"


def serialize_witness(stack: Sequence[bytes]) -> bytes:
    """Encode one input's witness stack (BIP144)."""
    return compact_size(len(stack)) + b"".join(map(var_bytes, stack))


def _read_witnesses(data: bytes, position: int, inputs: list[TxIn]) -> int:
    found = False
    for number, (prevout, script_sig, sequence, _) in enumerate(inputs):
        count = data[position]
        position += 1
        if count >= 0xFD:
            count, position = read_compact_size(data, position - 1)
        if not count:
            continue
        found = True
        stack = []
        for _ in range(count):
            size = data[position]
            position += 1
            if size >= 0xFD:
                size, position = read_compact_size(data, position - 1)
            end = position + size
            stack.append(data[position:end])
            position = end
        inputs[number] = _new(TxIn, (prevout, script_sig, sequence, tuple(stack)))
    if not found:
        raise EncodingError("Superfluous witness record")
    return position
