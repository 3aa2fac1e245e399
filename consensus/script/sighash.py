"""What signatures sign: the three digests, and what of them is the same for all inputs of a transaction."""

import hashlib
import struct
from collections.abc import Sequence
from hashlib import sha256

from altyn.consensus.encoding import compact_size, var_bytes
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.opcodes import OP_CODESEPARATOR, push, script_operations
from altyn.consensus.transaction import Transaction, TxOut

SIGHASH_DEFAULT = 0
"""All, in taproot, without a byte behind the signature."""
SIGHASH_ALL = 1
SIGHASH_NONE = 2
SIGHASH_SINGLE = 3
SIGHASH_ANYONECANPAY = 0x80

SIGHASH_NAMES = {
    SIGHASH_ALL: "ALL",
    SIGHASH_ALL | SIGHASH_ANYONECANPAY: "ALL|ANYONECANPAY",
    SIGHASH_NONE: "NONE",
    SIGHASH_NONE | SIGHASH_ANYONECANPAY: "NONE|ANYONECANPAY",
    SIGHASH_SINGLE: "SINGLE",
    SIGHASH_SINGLE | SIGHASH_ANYONECANPAY: "SINGLE|ANYONECANPAY",
}
TAPROOT_HASH_TYPES = frozenset((SIGHASH_DEFAULT, *SIGHASH_NAMES))

NO_CODE_SEPARATOR = 0xFFFFFFFF
"""The position of the last OP_CODESEPARATOR where none was executed (BIP342)."""

_OUTPUT_MASK = 0x1F
_ONE = b"\x01" + bytes(31)
_BLANK_OUTPUT = b"\xff" * 8 + b"\x00"
_BLANK_INPUT_SIZE = 41
_U32, _I64 = struct.Struct("<I"), struct.Struct("<q")
_pack_u32, _pack_i64 = _U32.pack, _I64.pack
_TAG = sha256(b"TapSighash").digest() * 2


class SighashCache:
    """The digests of one transaction's inputs; what they share is computed once, when first asked for.

    `spent_outputs` are what the inputs spend, in their order; taproot needs all of them, the other digests none. May be
    used from many threads: two may compute the same part twice, none sees half of one.
    """

    __slots__ = ("_blank", "_head_v0", "_outputs", "_prefixes", "_shared", "_taproot", "spent_outputs", "tx")

    def __init__(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> None:
        self.tx = tx
        self.spent_outputs = spent_outputs
        self._outputs: tuple[bytes, bytes] | None = None
        self._blank: tuple[bytes, bytes, bytes] | None = None
        self._shared: tuple[bytes, bytes, bytes] | None = None
        self._head_v0: tuple[bytes, bytes, bytes] | None = None
        self._prefixes: dict[int, hashlib._Hash] = {}
        self._taproot: tuple[bytes, bytes] | None = None

    # Before segwit

    def legacy(self, index: int, script_code: bytes, hash_type: int) -> bytes:
        """Return the digest that an input without witness signs, 32 bytes (Core: SignatureHash, BASE).

        `script_code` has gone through find_and_delete already; `hash_type` is any signed or unsigned 32-bit number.
        """
        hash_type &= 0xFFFFFFFF
        tx = self.tx
        output_type = hash_type & _OUTPUT_MASK
        if output_type == SIGHASH_SINGLE and index >= len(tx.outputs):
            return _ONE  # a mistake of the first version, kept since: signs nothing
        code = without_code_separators(script_code) if OP_CODESEPARATOR in script_code else script_code
        txin = tx.inputs[index]
        raw = tx.raw
        own = (txin.prevout, var_bytes(code), _pack_u32(txin.sequence))
        tail = raw[-4:] + _pack_u32(hash_type)
        if output_type == SIGHASH_NONE:
            outputs = b"\x00"
        elif output_type == SIGHASH_SINGLE:
            outputs = b"".join(
                (compact_size(index + 1), _BLANK_OUTPUT * index, tx.outputs[index].serialize()),
            )
        else:
            outputs = (self._outputs or self._make_outputs())[0]
        if hash_type & SIGHASH_ANYONECANPAY:
            preimage = b"".join((raw[:4], b"\x01", *own, outputs, tail))
        else:
            head, blank, blank_without_sequences = self._blank or self._make_blank()
            if output_type in {SIGHASH_NONE, SIGHASH_SINGLE}:
                blank = blank_without_sequences
            start = index * _BLANK_INPUT_SIZE
            preimage = b"".join((head, blank[:start], *own, blank[start + _BLANK_INPUT_SIZE :], outputs, tail))
        return sha256(sha256(preimage).digest()).digest()

    def _make_outputs(self) -> tuple[bytes, bytes]:
        """Return the outputs as the transaction has them, with their count, and without."""
        outputs = b"".join([_pack_i64(value) + var_bytes(script) for value, script in self.tx.outputs])
        made = self._outputs = compact_size(len(self.tx.outputs)) + outputs, outputs
        return made

    def _make_blank(self) -> tuple[bytes, bytes, bytes]:
        """Return version and count of inputs, all inputs with empty scripts, and those with sequences of zero."""
        inputs = self.tx.inputs
        blank = b"".join([prevout + b"\x00" + _pack_u32(sequence) for prevout, _, sequence, _ in inputs])
        unsequenced = b"".join([prevout + bytes(5) for prevout, _, _, _ in inputs])
        made = self._blank = self.tx.raw[:4] + compact_size(len(inputs)), blank, unsequenced
        return made

    # Segwit version 0

    def witness_v0(self, index: int, script_code: bytes, amount: int, hash_type: int) -> bytes:
        """Return the digest that a version 0 witness signs, 32 bytes (BIP143). It spends `amount` satoshis."""
        tx = self.tx
        raw = tx.raw
        prevout, _, sequence, _ = tx.inputs[index]
        head, all_prevouts, all_outputs = self._head_v0 or self._make_head_v0()
        if hash_type != SIGHASH_ALL:
            output_type = hash_type & _OUTPUT_MASK
            if hash_type & SIGHASH_ANYONECANPAY:
                head = raw[:4] + bytes(64)
            elif output_type in {SIGHASH_NONE, SIGHASH_SINGLE}:
                head = raw[:4] + all_prevouts + bytes(32)
            if output_type == SIGHASH_NONE or (output_type == SIGHASH_SINGLE and index >= len(tx.outputs)):
                all_outputs = bytes(32)
            elif output_type == SIGHASH_SINGLE:
                all_outputs = sha256(sha256(tx.outputs[index].serialize()).digest()).digest()
        preimage = b"".join(
            (
                head,
                prevout,
                var_bytes(script_code),
                _pack_i64(amount),
                _pack_u32(sequence),
                all_outputs,
                raw[-4:],
                _pack_u32(hash_type & 0xFFFFFFFF),
            )
        )
        return sha256(sha256(preimage).digest()).digest()

    def _make_head_v0(self) -> tuple[bytes, bytes, bytes]:
        """Return version with hashPrevouts and hashSequence, hashPrevouts, and hashOutputs."""
        sha_prevouts, sha_sequences, sha_outputs = self._shared or self._make_shared()
        prevouts = sha256(sha_prevouts).digest()
        head = self.tx.raw[:4] + prevouts + sha256(sha_sequences).digest()
        made = self._head_v0 = head, prevouts, sha256(sha_outputs).digest()
        return made

    def _make_shared(self) -> tuple[bytes, bytes, bytes]:
        """Return what BIP143 and BIP341 share: one SHA-256 each of all outpoints, all sequences, all outputs."""
        inputs = self.tx.inputs
        made = self._shared = (
            sha256(b"".join([txin.prevout for txin in inputs])).digest(),
            sha256(struct.pack(f"<{len(inputs)}I", *[txin.sequence for txin in inputs])).digest(),
            sha256((self._outputs or self._make_outputs())[1]).digest(),
        )
        return made

    # Taproot

    def taproot(
        self,
        index: int,
        hash_type: int,
        annex_hash: bytes | None = None,
        leaf_hash: bytes | None = None,
        code_separator: int = NO_CODE_SEPARATOR,
    ) -> bytes | None:
        """Return the digest that a taproot input signs, 32 bytes (BIP341, BIP342); None for an invalid hash type.

        With `leaf_hash` for a script, without for the key. `annex_hash` is the SHA-256 of the annex with its length.
        """
        if hash_type not in TAPROOT_HASH_TYPES:
            return None
        hasher = self._prefixes.get(hash_type)
        hasher = (hasher or self._make_prefix(hash_type)).copy()
        tx = self.tx
        spend_type = (
            (b"\x00" if leaf_hash is None else b"\x02")
            if annex_hash is None
            else (b"\x01" if leaf_hash is None else b"\x03")
        )
        if hash_type & SIGHASH_ANYONECANPAY:
            txin = tx.inputs[index]
            rest = [spend_type, txin.prevout, self.spent_outputs[index].serialize(), _pack_u32(txin.sequence)]
        else:
            rest = [spend_type, _pack_u32(index)]
        if annex_hash is not None:
            rest.append(annex_hash)
        if hash_type & 3 == SIGHASH_SINGLE:
            if index >= len(tx.outputs):
                return None
            rest.append(sha256(tx.outputs[index].serialize()).digest())
        if leaf_hash is not None:
            rest += (leaf_hash, b"\x00", _pack_u32(code_separator))
        hasher.update(b"".join(rest))
        return hasher.digest()

    def _make_prefix(self, hash_type: int) -> "hashlib._Hash":
        """Return the hash in progress up to the part that differs between inputs."""
        raw = self.tx.raw
        inputs_part, outputs_part = self._taproot or self._make_taproot()
        parts = [_TAG, b"\x00", bytes((hash_type,)), raw[:4], raw[-4:]]
        if not hash_type & SIGHASH_ANYONECANPAY:
            parts.append(inputs_part)
        if hash_type & 3 not in {SIGHASH_NONE, SIGHASH_SINGLE}:
            parts.append(outputs_part)
        hasher = self._prefixes[hash_type] = sha256(b"".join(parts))
        return hasher

    def _make_taproot(self) -> tuple[bytes, bytes]:
        """Return the hashes of outpoints, amounts, scripts and sequences, and the hash of outputs."""
        spent = self.spent_outputs
        if len(spent) != len(self.tx.inputs):
            raise ValueError("taproot digests need all outputs that the transaction spends")
        sha_prevouts, sha_sequences, sha_outputs = self._shared or self._make_shared()
        amounts = sha256(struct.pack(f"<{len(spent)}q", *[output.value for output in spent])).digest()
        scripts = sha256(b"".join([var_bytes(output.script_pubkey) for output in spent])).digest()
        made = self._taproot = sha_prevouts + amounts + scripts + sha_sequences, sha_outputs
        return made


def without_code_separators(script: bytes) -> bytes:
    """Return `script` without its OP_CODESEPARATOR operations; from a truncated push on it stays as it is."""
    kept, start = [], 0
    try:
        for opcode, _, end in script_operations(script):
            if opcode == OP_CODESEPARATOR:
                kept.append(script[start : end - 1])
                start = end
    except ScriptError:  # the script fails when it gets there, whatever was signed
        pass
    kept.append(script[start:])
    return b"".join(kept)


def find_and_delete(script: bytes, signature: bytes) -> bytes:
    """Return `script` without the pushes of `signature` that stand where operations begin (Core: FindAndDelete)."""
    needle = push(signature)
    if needle not in script:
        return script
    kept: list[bytes] = []
    start = position = 0
    operations = script_operations(script)
    size = len(needle)
    while True:
        if script.startswith(needle, position):
            kept.append(script[start:position])
            while script.startswith(needle, position):
                position += size
            start = position
            operations = script_operations(script, position)
        try:
            position = next(operations)[2]
        except (StopIteration, ScriptError):
            break
    kept.append(script[start:])
    return b"".join(kept)
