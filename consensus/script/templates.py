"""The standard forms of output scripts: recognise them and build them."""

from collections.abc import Sequence
from typing import NamedTuple

from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.opcodes import (
    MAX_PUBKEYS_PER_MULTISIG,
    MAX_SCRIPT_SIZE,
    OP_0,
    OP_1,
    OP_16,
    OP_CHECKMULTISIG,
    OP_CHECKSIG,
    OP_DUP,
    OP_EQUAL,
    OP_EQUALVERIFY,
    OP_HASH160,
    OP_RETURN,
    push,
    push_number,
    script_operations,
)

ANCHOR_PROGRAM = bytes.fromhex("4e73")
"""The two bytes of a pay-to-anchor output, witness version 1 (Core: CScript::IsPayToAnchor)."""

_P2PKH_HEAD = bytes((OP_DUP, OP_HASH160, 20))
_P2PKH_TAIL = bytes((OP_EQUALVERIFY, OP_CHECKSIG))
_RETURN = bytes((OP_RETURN,))
_P2SH_HEAD = bytes((OP_HASH160, 20))


class Template(NamedTuple):
    """What an output script is. `kind` is Core's name of the form.

    `data` holds, by kind: `pubkey` the key; `pubkeyhash`, `scripthash` and `witness_v0_keyhash` 20 bytes;
    `witness_v0_scripthash` 32 bytes; `witness_v1_taproot` the 32-byte output key; `witness_unknown` and `anchor` the
    program; `multisig` the keys in order; nothing for `nulldata` and `nonstandard`.
    `required` is the number of signatures of a `multisig`, `version` the witness version, else None.
    """

    kind: str
    data: tuple[bytes, ...] = ()
    required: int = 0
    version: int | None = None


NONSTANDARD = Template("nonstandard")


def classify(script_pubkey: bytes) -> Template:
    """Tell which standard form `script_pubkey` has (Core: Solver)."""
    if is_p2sh(script_pubkey):
        return Template("scripthash", (script_pubkey[2:22],))
    witness = witness_program(script_pubkey)
    if witness is not None:
        return _classify_witness(*witness)
    if script_pubkey[:1] == _RETURN and is_push_only(script_pubkey[1:]):
        return Template("nulldata")
    if len(script_pubkey) in {35, 67} and script_pubkey[-1] == OP_CHECKSIG:
        key = script_pubkey[1:-1]
        if script_pubkey[0] == len(key) and has_public_key_size(key):
            return Template("pubkey", (key,))
    if is_p2pkh(script_pubkey):
        return Template("pubkeyhash", (script_pubkey[3:23],))
    return _classify_multisig(script_pubkey) or NONSTANDARD


def _classify_witness(version: int, program: bytes) -> Template:
    match version, len(program):
        case 0, 20:
            return Template("witness_v0_keyhash", (program,), version=0)
        case 0, 32:
            return Template("witness_v0_scripthash", (program,), version=0)
        case 0, _:
            return NONSTANDARD
        case 1, 32:
            return Template("witness_v1_taproot", (program,), version=1)
        case 1, 2 if program == ANCHOR_PROGRAM:
            return Template("anchor", (program,), version=1)
    return Template("witness_unknown", (program,), version=version)


def _classify_multisig(script: bytes) -> Template | None:
    """Recognise M KEY... N CHECKMULTISIG (Core: MatchMultisig)."""
    if script[-1:] != bytes((OP_CHECKMULTISIG,)):
        return None
    try:
        operations = list(script_operations(script))
    except ScriptError:  # a push that the script ends in: its last byte is no opcode
        return None
    if len(operations) < 4:
        return None
    (first, first_push, _), *middle, (last, last_push, _), (end, _, _) = operations
    required = _small_number(first, first_push)
    count = _small_number(last, last_push)
    keys = tuple(pushed or b"" for _, pushed, _ in middle)
    if end != OP_CHECKMULTISIG or required is None or count is None or not all(map(has_public_key_size, keys)):
        return None
    if not 1 <= required <= count <= MAX_PUBKEYS_PER_MULTISIG or count != len(keys):
        return None
    return Template("multisig", keys, required=required)


def _small_number(opcode: int, pushed: bytes | None) -> int | None:
    """Read 1 to 16 from its opcode, or 17 to 127 from a minimal push of one byte; None for anything else."""
    if OP_1 <= opcode <= OP_16:
        return opcode - OP_1 + 1
    if opcode == 1 and pushed is not None and OP_16 - OP_1 + 1 < pushed[0] < 0x80:
        return pushed[0]
    return None


def has_public_key_size(key: bytes) -> bool:
    """Whether the length fits the first byte of a public key (Core: CPubKey::ValidSize)."""
    return bool(key) and len(key) == {2: 33, 3: 33, 4: 65, 6: 65, 7: 65}.get(key[0], 0)


def witness_program(script_pubkey: bytes) -> tuple[int, bytes] | None:
    """Return the version (0 to 16) and program of a witness output, None for any other script (BIP141)."""
    if not 4 <= len(script_pubkey) <= 42 or script_pubkey[1] + 2 != len(script_pubkey):
        return None
    opcode = script_pubkey[0]
    if opcode == OP_0:
        return 0, script_pubkey[2:]
    if OP_1 <= opcode <= OP_16:
        return opcode - OP_1 + 1, script_pubkey[2:]
    return None


def is_p2sh(script_pubkey: bytes) -> bool:
    """Whether the script is HASH160 <20 bytes> EQUAL (BIP16)."""
    return len(script_pubkey) == 23 and script_pubkey[:2] == _P2SH_HEAD and script_pubkey[22] == OP_EQUAL


def is_p2pkh(script_pubkey: bytes) -> bool:
    """Whether the script is DUP HASH160 <20 bytes> EQUALVERIFY CHECKSIG."""
    return len(script_pubkey) == 25 and script_pubkey[:3] == _P2PKH_HEAD and script_pubkey[23:] == _P2PKH_TAIL


def is_push_only(script: bytes) -> bool:
    """Whether every operation only pushes; a truncated script does not (Core: CScript::IsPushOnly)."""
    try:
        return all(opcode <= OP_16 for opcode, _, _ in script_operations(script))
    except ScriptError:
        return False


def is_unspendable(script_pubkey: bytes) -> bool:
    """Whether the output can never be spent, so that it is no coin (Core: CScript::IsUnspendable)."""
    return script_pubkey[:1] == _RETURN or len(script_pubkey) > MAX_SCRIPT_SIZE


def p2pk(public_key: bytes) -> bytes:
    """Pay to a bare public key."""
    return push(public_key) + bytes((OP_CHECKSIG,))


def p2pkh(key_hash: bytes) -> bytes:
    """Pay to the 20-byte hash160 of a public key."""
    return _P2PKH_HEAD + key_hash + _P2PKH_TAIL


def p2sh(script_hash: bytes) -> bytes:
    """Pay to the 20-byte hash160 of a redeem script (BIP16)."""
    return _P2SH_HEAD + script_hash + bytes((OP_EQUAL,))


def p2sh_of(redeem_script: bytes) -> bytes:
    """Pay to a redeem script, through its hash."""
    return p2sh(hash160(redeem_script))


def p2wpkh(key_hash: bytes) -> bytes:
    """Pay to the 20-byte hash160 of a compressed public key (BIP141)."""
    return witness_output(0, key_hash)


def p2wsh(script_hash: bytes) -> bytes:
    """Pay to the 32-byte SHA-256 of a witness script (BIP141)."""
    return witness_output(0, script_hash)


def p2wsh_of(witness_script: bytes) -> bytes:
    """Pay to a witness script, through its hash."""
    return witness_output(0, sha256(witness_script))


def p2tr(output_key: bytes) -> bytes:
    """Pay to a 32-byte taproot output key (BIP341)."""
    return witness_output(1, output_key)


def witness_output(version: int, program: bytes) -> bytes:
    """Pay to a witness program of 2 to 40 bytes, version 0 to 16 (BIP141)."""
    return bytes((OP_1 + version - 1 if version else OP_0, len(program))) + program


def null_data(data: bytes) -> bytes:
    """An unspendable output that carries `data`."""
    return _RETURN + push(data)


def multisig(required: int, public_keys: Sequence[bytes]) -> bytes:
    """Demand `required` signatures of the given keys, in their order (Core: GetScriptForMultisig)."""
    keys = b"".join(map(push, public_keys))
    return push_number(required) + keys + push_number(len(public_keys)) + bytes((OP_CHECKMULTISIG,))
