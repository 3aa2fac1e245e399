"""Partially signed transactions (BIP174, taproot's fields BIP371): the format, as Core reads and writes it."""

import base64
import binascii
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from altyn.consensus.encoding import Cursor, EncodingError, compact_size, var_bytes
from altyn.consensus.hashes import hash160
from altyn.consensus.script import flags
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.signatures import check_signature_encoding
from altyn.consensus.script.taproot import LEAF_VERSION_MASK, Leaf
from altyn.consensus.script.templates import has_public_key_size
from altyn.consensus.transaction import Transaction, TxIn, TxOut, serialize_witness
from altyn.wallet.formats.signing import InputData, KeyPath

_MAGIC = b"psbt\xff"
_UNSIGNED_TX, _XPUB, _VERSION, _PROPRIETARY = 0x00, 0x01, 0xFB, 0xFC
_LARGEST_VERSION = 0
_MOST_DEPTH = 128
_U32 = struct.Struct("<I")


class PsbtError(ValueError):
    """Bytes that are no such transaction. The message is Core's where Core has one."""


TapTree = tuple[tuple[int, int, bytes], ...]
"""The leaves of an output's tree, depth first: depth, leaf version, script (BIP371)."""


@dataclass(slots=True)
class PsbtInput(InputData):
    """An input: what is known about spending its output, the output itself, and at the end what spends it."""

    non_witness_utxo: Transaction | None = None
    """The transaction that made the output."""
    witness_utxo: TxOut | None = None
    sighash_type: int | None = None
    ripemd160_preimages: dict[bytes, bytes] = field(default_factory=dict)
    sha256_preimages: dict[bytes, bytes] = field(default_factory=dict)
    hash160_preimages: dict[bytes, bytes] = field(default_factory=dict)
    hash256_preimages: dict[bytes, bytes] = field(default_factory=dict)
    final_script_sig: bytes = b""
    final_witness: tuple[bytes, ...] = ()
    proprietary: dict[bytes, bytes] = field(default_factory=dict)
    unknown: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        return bool(self.final_script_sig or self.final_witness)


@dataclass(slots=True)
class PsbtOutput:
    """An output: what its owner tells of it."""

    redeem_script: bytes = b""
    witness_script: bytes = b""
    origins: dict[bytes, KeyPath] = field(default_factory=dict)
    internal_key: bytes = b""
    tree: TapTree = ()
    taproot_origins: dict[bytes, tuple[frozenset[bytes], KeyPath]] = field(default_factory=dict)
    proprietary: dict[bytes, bytes] = field(default_factory=dict)
    unknown: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Psbt:
    """A transaction without signatures, and what is known for its inputs and outputs."""

    tx: Transaction
    inputs: list[PsbtInput]
    outputs: list[PsbtOutput]
    xpubs: dict[bytes, KeyPath] = field(default_factory=dict)
    """By extended key, 78 bytes."""
    version: int | None = None
    proprietary: dict[bytes, bytes] = field(default_factory=dict)
    unknown: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def create(cls, tx: Transaction) -> Self:
        """Start with a transaction, whose scripts and witnesses are dropped."""
        bare = Transaction(
            tx.version, [TxIn(each.prevout, b"", each.sequence) for each in tx.inputs], tx.outputs, tx.lock_time
        )
        return cls(bare, [PsbtInput() for _ in tx.inputs], [PsbtOutput() for _ in tx.outputs])

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """Read it. Raises PsbtError."""
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise PsbtError("invalid base64") from None
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read exactly one. Raises PsbtError."""
        try:
            cursor = Cursor(data)
            if cursor.read(5) != _MAGIC:
                raise PsbtError("Invalid PSBT magic bytes")
            self = cls._read_global(cursor)
            for txin in self.tx.inputs:
                self.inputs.append(_read_map(cursor, PsbtInput(), _INPUT_FIELDS, "an input map", "Inputs", "inputs"))
                _check_non_witness_utxo(self.inputs[-1], txin)
            for _ in self.tx.outputs:
                self.outputs.append(
                    _read_map(cursor, PsbtOutput(), _OUTPUT_FIELDS, "an output map", "Outputs", "outputs")
                )
        except EncodingError as error:
            raise PsbtError(str(error)) from None
        if cursor.remaining:
            raise PsbtError("extra data after PSBT")
        return self

    @classmethod
    def _read_global(cls, cursor: Cursor) -> Self:
        tx: Transaction | None = None
        self = cls(Transaction(2, (), ()), [], [])
        for key, value in _entries(cursor, "the global map"):
            match key[0]:
                case 0x00:
                    if tx is not None:
                        raise PsbtError("Duplicate Key, unsigned tx already provided")
                    if len(key) != 1:
                        raise PsbtError("Global unsigned tx key is more than one byte type")
                    tx = Transaction.parse(value, allow_witness=False)
                    if any(txin.script_sig for txin in tx.inputs):
                        raise PsbtError("Unsigned tx does not have empty scriptSigs and scriptWitnesses.")
                case 0x01:
                    if len(key) != 79:
                        raise PsbtError("Size of key was not the expected size for the type global xpub")
                    if key[1:] in self.xpubs:
                        raise PsbtError("Duplicate key, global xpub already provided")
                    self.xpubs[key[1:]] = _read_key_path(value)
                case 0xFB:
                    if self.version is not None:
                        raise PsbtError("Duplicate Key, version already provided")
                    if len(key) != 1:
                        raise PsbtError("Global version key is more than one byte type")
                    self.version = _read_u32(value)
                    if self.version > _LARGEST_VERSION:
                        raise PsbtError("Unsupported version number")
                case _:
                    _keep(self, key, value)
        if tx is None:
            raise PsbtError("No unsigned transaction was provided")
        self.tx = tx
        return self

    def serialize(self) -> bytes:
        """Write it as Core does: fields by their number, keys in order."""
        parts = [_MAGIC, _entry(bytes((_UNSIGNED_TX,)), self.tx.raw)]
        paths = sorted(self.xpubs.items(), key=lambda item: (item[1], item[0]))
        parts += (_entry(bytes((_XPUB,)) + key, _write_key_path(path)) for key, path in paths)
        if self.version is not None:
            parts.append(_entry(bytes((_VERSION,)), _U32.pack(self.version)))
        parts += (*_write_kept(self), b"\0")
        for psbt_input in self.inputs:
            fields = _FINAL_FIELDS if psbt_input.is_final else _OPEN_FIELDS
            parts += (*_write_fields(psbt_input, fields), *_write_kept(psbt_input), b"\0")
        for output in self.outputs:
            parts += (*_write_fields(output, _OUTPUT_FIELDS), *_write_kept(output), b"\0")
        return b"".join(parts)

    def to_base64(self) -> str:
        """Write it as text."""
        return base64.b64encode(self.serialize()).decode()

    def spent_output(self, index: int) -> TxOut | None:
        """Return what input `index` spends, None if it does not say (Core: GetInputUTXO)."""
        psbt_input, prevout = self.inputs[index], self.tx.inputs[index].prevout
        if psbt_input.non_witness_utxo is not None:
            return psbt_input.non_witness_utxo.outputs[prevout.vout]
        return psbt_input.witness_utxo

    def merge(self, other: Self) -> None:
        """Take over what `other`, of the same transaction, knows and this one does not (Core: Merge)."""
        pairs: list[tuple[Any, Any]] = [(self, other)]
        pairs += zip(self.inputs, other.inputs, strict=True)
        pairs += zip(self.outputs, other.outputs, strict=True)
        for own, others in pairs:
            for name in own.__dataclass_fields__:
                if name in {"tx", "inputs", "outputs"}:
                    continue
                ours, theirs = getattr(own, name), getattr(others, name)
                if name == "leaves":
                    for leaf, controls in theirs.items():
                        ours.setdefault(leaf, set()).update(controls)
                elif isinstance(ours, dict):
                    for key, value in theirs.items():
                        ours.setdefault(key, value)
                elif not ours:
                    setattr(own, name, theirs)


# Fields, declared once for reading and writing


class _Single(NamedTuple):
    """A field with one value. `label` begins Core's message about its key, `name` stands in the one about a second."""

    number: int
    attribute: str
    label: str
    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


class _Keyed(NamedTuple):
    """A field with a value for each key; `check` refuses wrong keys, without their first byte."""

    number: int
    attribute: str
    name: str
    check: Callable[[bytes], None]
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    order: Callable[[bytes], Any] = bytes


def _read_u32(value: bytes) -> int:
    if len(value) != 4:
        raise PsbtError("Size of value was not the stated size")
    return int.from_bytes(value, "little")


def _read_key_path(value: bytes) -> KeyPath:
    if not value or len(value) % 4:
        raise PsbtError("Invalid length for HD key path")
    return KeyPath(value[:4], struct.unpack(f"<{len(value) // 4 - 1}I", value[4:]))


def _write_key_path(path: KeyPath) -> bytes:
    return path.fingerprint + struct.pack(f"<{len(path.path)}I", *path.path)


def _any_key(key: bytes) -> None:
    """Leave the check to where it is read."""


def _read_output(value: bytes) -> TxOut:
    cursor = Cursor(value)
    amount = int.from_bytes(cursor.read(8), "little", signed=True)
    output = TxOut(amount, cursor.var_bytes())
    if cursor.remaining:
        raise PsbtError("Size of value was not the stated size")
    return output


def _read_witness(value: bytes) -> tuple[bytes, ...]:
    cursor = Cursor(value)
    stack = tuple(cursor.var_bytes() for _ in range(cursor.compact_size()))
    if cursor.remaining:
        raise PsbtError("Size of value was not the stated size")
    return stack


def _read_signature(value: bytes) -> bytes:
    try:
        check_signature_encoding(value, flags.DERSIG | flags.STRICTENC)
    except ScriptError:
        value = b""
    if not value:
        raise PsbtError("Signature is not a valid encoding")
    return value


def _read_schnorr(kind: str) -> Callable[[bytes], bytes]:
    def read(value: bytes) -> bytes:
        if len(value) < 64:
            raise PsbtError(f"Input Taproot {kind} path signature is less than 64 bytes")
        if len(value) > 65:
            raise PsbtError(f"Input Taproot {kind} path signature is more than 65 bytes")
        return value

    return read


def _read_hash(value: bytes) -> bytes:
    if len(value) != 32:
        raise PsbtError("Size of value was not the stated size")
    return value


def _read_taproot_origin(value: bytes) -> tuple[frozenset[bytes], KeyPath]:
    cursor = Cursor(value)
    try:
        hashes = frozenset(cursor.read(32) for _ in range(cursor.compact_size()))
    except EncodingError:
        raise PsbtError("Input Taproot BIP32 keypath has an invalid length") from None
    return hashes, _read_key_path(cursor.read(cursor.remaining))


def _write_taproot_origin(value: tuple[frozenset[bytes], KeyPath]) -> bytes:
    hashes, path = value
    return compact_size(len(hashes)) + b"".join(sorted(hashes)) + _write_key_path(path)


def _read_tree(value: bytes) -> TapTree:
    if not value:
        raise PsbtError("Output Taproot tree must not be empty")
    cursor = Cursor(value)
    leaves: list[tuple[int, int, bytes]] = []
    branches: list[int] = []
    """Depths of the subtrees that wait for their right sibling."""
    while cursor.remaining:
        depth, version, script = *cursor.read(2), cursor.var_bytes()
        if depth > _MOST_DEPTH:
            raise PsbtError("Output Taproot tree has as leaf greater than Taproot maximum depth")
        if version & ~LEAF_VERSION_MASK:
            raise PsbtError("Output Taproot tree has a leaf with an invalid leaf version")
        leaves.append((depth, version, script))
        while branches and branches[-1] == depth:
            branches.pop()
            depth -= 1
        if (branches and branches[-1] > depth) or (not depth and cursor.remaining):
            raise PsbtError("Output Taproot tree is malformed")
        branches.append(depth)
    if branches != [0]:
        raise PsbtError("Output Taproot tree is malformed")
    return tuple(leaves)


def _write_tree(tree: TapTree) -> bytes:
    return b"".join(bytes((depth, version)) + var_bytes(script) for depth, version, script in tree)


def _key_size(size: int, message: str) -> Callable[[bytes], None]:
    def check(key: bytes) -> None:
        if len(key) != size:
            raise PsbtError(message)

    return check


def _public_key(name: str) -> Callable[[bytes], None]:
    def check(key: bytes) -> None:
        if len(key) not in {33, 65}:
            raise PsbtError(f"Size of key was not the expected size for the type {name}")
        if not has_public_key_size(key):
            raise PsbtError("Invalid pubkey")

    return check


def _preimage(number: int, name: str, size: int) -> _Keyed:
    wrong = f"Size of key was not the expected size for the type {name} preimage"
    return _Keyed(number, f"{name}_preimages", f"input {name} preimage", _key_size(size, wrong), bytes, bytes)


def _without_witness(tx: Transaction) -> bytes:
    return tx.stripped  # as Core writes it: the txid vouches for no more


_HD_PATH = "pubkey derivation path"
_Field = _Single | _Keyed
_UTXOS: tuple[_Field, ...] = (
    _Single(
        0x00, "non_witness_utxo", "Non-witness utxo", "input non-witness utxo", Transaction.parse, _without_witness
    ),
    _Single(0x01, "witness_utxo", "Witness utxo", "input witness utxo", _read_output, TxOut.serialize),
)
_SIGNING: tuple[_Field, ...] = (
    _Keyed(
        0x02,
        "signatures",
        "input partial signature for pubkey",
        _public_key("partial signature pubkey"),
        _read_signature,
        bytes,
        hash160,
    ),
    _Single(0x03, "sighash_type", "Sighash type", "input sighash type", _read_u32, _U32.pack),
    _Single(0x04, "redeem_script", "Input redeemScript", "input redeemScript", bytes, bytes),
    _Single(0x05, "witness_script", "Input witnessScript", "input witnessScript", bytes, bytes),
    _Keyed(0x06, "origins", _HD_PATH, _public_key("BIP32 keypath"), _read_key_path, _write_key_path),
    _preimage(0x0A, "ripemd160", 20),
    _preimage(0x0B, "sha256", 32),
    _preimage(0x0C, "hash160", 20),
    _preimage(0x0D, "hash256", 32),
    _Single(
        0x13,
        "taproot_signature",
        "Input Taproot key signature",
        "input Taproot key signature",
        _read_schnorr("key"),
        bytes,
    ),
    _Keyed(
        0x14,
        "leaf_signatures",
        "input Taproot script signature",
        _key_size(64, "Input Taproot script signature key is not 65 bytes"),
        _read_schnorr("script"),
        bytes,
    ),
    _Keyed(0x15, "leaves", "input Taproot leaf script", _any_key, bytes, bytes),
    _Keyed(
        0x16,
        "taproot_origins",
        "input Taproot BIP32 keypath",
        _key_size(32, "Input Taproot BIP32 keypath key is not at 33 bytes"),
        _read_taproot_origin,
        _write_taproot_origin,
    ),
    _Single(0x17, "internal_key", "Input Taproot internal key", "input Taproot internal key", _read_hash, bytes),
    _Single(0x18, "merkle_root", "Input Taproot merkle root", "input Taproot merkle root", _read_hash, bytes),
)
_FINAL: tuple[_Field, ...] = (
    _Single(0x07, "final_script_sig", "Final scriptSig", "input final scriptSig", bytes, bytes),
    _Single(
        0x08, "final_witness", "Final scriptWitness", "input final scriptWitness", _read_witness, serialize_witness
    ),
)
_INPUT_FIELDS = (*_UTXOS, *_SIGNING, *_FINAL)
_OPEN_FIELDS, _FINAL_FIELDS = (*_UTXOS, *_SIGNING), (*_UTXOS, *_FINAL)
_OUTPUT_FIELDS: tuple[_Field, ...] = (
    _Single(0x00, "redeem_script", "Output redeemScript", "output redeemScript", bytes, bytes),
    _Single(0x01, "witness_script", "Output witnessScript", "output witnessScript", bytes, bytes),
    _Keyed(0x02, "origins", _HD_PATH, _public_key("BIP32 keypath"), _read_key_path, _write_key_path),
    _Single(0x05, "internal_key", "Output Taproot internal key", "output Taproot internal key", _read_hash, bytes),
    _Single(0x06, "tree", "Output Taproot tree", "output Taproot tree", _read_tree, _write_tree),
    _Keyed(
        0x07,
        "taproot_origins",
        "output Taproot BIP32 keypath",
        _key_size(32, "Output Taproot BIP32 keypath key is not at 33 bytes"),
        _read_taproot_origin,
        _write_taproot_origin,
    ),
)


# Maps


def _entries(cursor: Cursor, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values up to the separator. Raises PsbtError."""
    while cursor.remaining:
        key = cursor.var_bytes()
        if not key:
            return
        yield key, cursor.var_bytes()
    raise PsbtError(f"Separator is missing at the end of {name}")


def _read_map(cursor: Cursor, into: Any, fields: tuple[_Field, ...], name: str, whose: str, what: str) -> Any:
    if not cursor.remaining:
        raise PsbtError(f"{whose} provided does not match the number of {what} in transaction.")
    by_number = {each.number: each for each in fields}
    seen: set[bytes] = set()
    for key, value in _entries(cursor, name):
        declared = by_number.get(key[0])
        if declared is None:
            _keep(into, key, value)
            continue
        if key in seen:
            raise PsbtError(f"Duplicate Key, {declared.name} already provided")
        seen.add(key)
        if isinstance(declared, _Single):
            if len(key) != 1:
                raise PsbtError(f"{declared.label} key is more than one byte type")
            setattr(into, declared.attribute, declared.read(value))
        elif declared.attribute == "leaves":
            _read_leaf(into, key[1:], value)
        else:
            declared.check(key[1:])
            at: Any = (key[1:33], key[33:]) if declared.attribute == "leaf_signatures" else key[1:]
            getattr(into, declared.attribute)[at] = declared.read(value)
    return into


def _read_leaf(into: PsbtInput, control: bytes, value: bytes) -> None:
    if len(control) < 33:
        raise PsbtError("Taproot leaf script key is less than 34 bytes")
    if (len(control) - 33) % 32:
        raise PsbtError("Input Taproot leaf script key's control block size is not valid")
    if not value:
        raise PsbtError("Input Taproot leaf script must be at least 1 byte")
    into.leaves.setdefault(Leaf(value[:-1], value[-1]), set()).add(control)


def _keep(into: Any, key: bytes, value: bytes) -> None:
    """Remember a field that is not understood."""
    if key[0] == _PROPRIETARY:
        split_proprietary(key)  # must have the form of one
        if key in into.proprietary:
            raise PsbtError("Duplicate Key, proprietary key already found")
        into.proprietary[key] = value
    else:
        if key in into.unknown:
            raise PsbtError("Duplicate Key, key for unknown value already provided")
        into.unknown[key] = value


def split_proprietary(key: bytes) -> tuple[bytes, int, bytes]:
    """Return identifier, type and what follows them of a proprietary field's key. Raises EncodingError."""
    cursor = Cursor(key[1:])
    return cursor.var_bytes(), cursor.compact_size(), cursor.read(cursor.remaining)


def _write_fields(of: Any, fields: tuple[_Field, ...]) -> Iterator[bytes]:
    for declared in fields:
        value = getattr(of, declared.attribute)
        head = bytes((declared.number,))
        if isinstance(declared, _Single):
            if value or value == 0:
                yield _entry(head, declared.write(value))
        elif declared.attribute == "leaves":
            for leaf, controls in sorted(value.items()):
                for control in sorted(controls, key=lambda each: (len(each), each)):
                    yield _entry(head + control, leaf.script + bytes((leaf.version,)))
        else:
            keys = {b"".join(key) if isinstance(key, tuple) else key: key for key in value}
            for key in sorted(keys, key=declared.order):
                yield _entry(head + key, declared.write(value[keys[key]]))


def _write_kept(of: Any) -> Iterator[bytes]:
    for kept in (of.proprietary, of.unknown):
        yield from (_entry(key, kept[key]) for key in sorted(kept))


def _entry(key: bytes, value: bytes) -> bytes:
    return var_bytes(key) + var_bytes(value)


def _check_non_witness_utxo(psbt_input: PsbtInput, txin: TxIn) -> None:
    made_in = psbt_input.non_witness_utxo
    if made_in is None:
        return
    if made_in.txid != txin.prevout.txid:
        raise PsbtError("Non-witness UTXO does not match outpoint hash")
    if txin.prevout.vout >= len(made_in.outputs):
        raise PsbtError("Input specifies output index that does not exist")
