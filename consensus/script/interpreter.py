"""Run one script on a stack (Core: EvalScript).

Operations that only touch the stack are small functions in a table (operations.py); what needs the script, the
conditions or the transaction stands in one flat loop. On CPython a call costs about as much as five comparisons, so
that a chain of a hundred would be slower for most scripts; and each operation can be read alone.
"""

from enum import IntEnum
from typing import Protocol

from altyn.consensus.limits import SEQUENCE_LOCKTIME_DISABLE_FLAG
from altyn.consensus.script import opcodes as op
from altyn.consensus.script.errors import ScriptErrorCode, fail
from altyn.consensus.script.flags import (
    CHECKLOCKTIMEVERIFY,
    CHECKSEQUENCEVERIFY,
    CONST_SCRIPTCODE,
    DISCOURAGE_UPGRADABLE_NOPS,
    DISCOURAGE_UPGRADABLE_PUBKEYTYPE,
    MINIMALDATA,
    MINIMALIF,
    NULLDUMMY,
    NULLFAIL,
)
from altyn.consensus.script.operations import TABLE
from altyn.consensus.script.sighash import NO_CODE_SEPARATOR, find_and_delete
from altyn.consensus.script.signatures import check_encodings
from altyn.consensus.script.stack import FALSE, TRUE, decode_number, encode_number, is_true

SIGNATURE_WEIGHT = 50
"""What a signature check in tapscript takes from the weight of the witness (BIP342)."""


class Version(IntEnum):
    """The rules by which a script runs (Core: SigVersion)."""

    BASE = 0
    WITNESS_V0 = 1
    TAPROOT = 2
    """A key path: no script at all."""
    TAPSCRIPT = 3


BASE, WITNESS_V0, TAPROOT, TAPSCRIPT = Version  # an attribute of an Enum costs ten times a global


class Execution:
    """What a taproot spend carries into its digests, and what it may still check (Core: ScriptExecutionData)."""

    __slots__ = ("annex_hash", "code_separator", "leaf_hash", "weight_left")

    def __init__(self) -> None:
        self.annex_hash: bytes | None = None
        self.leaf_hash: bytes | None = None
        self.weight_left = 0
        self.code_separator = NO_CODE_SEPARATOR


class Checker(Protocol):
    """What a script asks of the transaction that spends by it (Core: BaseSignatureChecker)."""

    def check_ecdsa(self, signature: bytes, public_key: bytes, script_code: bytes, version: Version) -> bool:
        """Check a signature with its hash type behind it, which may be empty, by any bytes as a key."""
        ...

    def check_schnorr(self, signature: bytes, public_key: bytes, execution: Execution) -> None:
        """Check a signature by a 32-byte key. Raises ScriptError."""
        ...

    def check_commitment(self, control: bytes, program: bytes, leaf: bytes) -> bool:
        """Tell whether the output key `program` commits to a leaf hash (BIP341)."""
        ...

    def check_lock_time(self, lock_time: int) -> bool:
        """Tell whether the transaction waits for `lock_time`, not negative (BIP65)."""
        ...

    def check_sequence(self, sequence: int) -> bool:
        """Tell whether the input waits for `sequence`, not negative (BIP112)."""
        ...


def evaluate(
    stack: list[bytes],
    script: bytes,
    flags: int,
    checker: Checker,
    version: Version = BASE,
    execution: Execution | None = None,
) -> None:
    """Run `script` on `stack`, which it changes. `execution` is needed in tapscript. Raises ScriptError."""
    size = len(script)
    limited = version is not TAPSCRIPT
    if limited and size > op.MAX_SCRIPT_SIZE:
        fail(ScriptErrorCode.SCRIPT_SIZE)
    minimal = bool(flags & MINIMALDATA)
    alternative: list[bytes] = []
    room = op.MAX_STACK_SIZE
    operations = 0  # those that count towards the limit
    code_start = 0  # behind the last OP_CODESEPARATOR executed
    depth, skipped_from = 0, -1  # open conditions; the outermost that is false, -1 when the branch runs
    position, number = 0, -1
    table = TABLE
    while position < size:
        opcode = script[position]
        position += 1
        number += 1

        if opcode <= op.OP_PUSHDATA4:
            end = position + opcode
            if opcode >= op.OP_PUSHDATA1:
                width = 1 << (opcode - op.OP_PUSHDATA1)
                length = int.from_bytes(script[position : position + width], "little")
                position += width
                end = position + length
                if length > op.MAX_SCRIPT_ELEMENT_SIZE and end <= size:
                    fail(ScriptErrorCode.PUSH_SIZE)
            if end > size:
                fail(ScriptErrorCode.BAD_OPCODE)
            if skipped_from < 0:
                data = script[position:end]
                if minimal and not _is_minimal_push(opcode, data):
                    fail(ScriptErrorCode.MINIMALDATA)
                stack.append(data)
                if len(stack) > room:
                    fail(ScriptErrorCode.STACK_SIZE)
            position = end
            continue

        if limited and opcode > op.OP_16:
            operations += 1
            if operations > op.MAX_OPS_PER_SCRIPT:
                fail(ScriptErrorCode.OP_COUNT)

        if skipped_from < 0:
            operation = table[opcode]
            if operation is not None:
                operation(stack, minimal)

            elif opcode <= op.OP_16 and opcode != op.OP_RESERVED:
                stack.append(_SMALL_NUMBERS[opcode])

            elif opcode in _CHECKSIG:
                if len(stack) < 2:
                    fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                public_key, signature = stack.pop(), stack.pop()
                if version is TAPSCRIPT:
                    assert execution is not None
                    valid = _check_tapscript_signature(signature, public_key, flags, checker, execution)
                else:
                    valid = check_signature(signature, public_key, script[code_start:], flags, checker, version)
                if opcode == op.OP_CHECKSIG:
                    stack.append(TRUE if valid else FALSE)
                elif not valid:
                    fail(ScriptErrorCode.CHECKSIGVERIFY)

            elif opcode in _CHECKMULTISIG:
                if version is TAPSCRIPT:
                    fail(ScriptErrorCode.TAPSCRIPT_CHECKMULTISIG)
                keys, operations = _pop_keys(stack, minimal, operations)
                valid = _check_signatures(stack, minimal, keys, script[code_start:], flags, checker, version)
                if opcode == op.OP_CHECKMULTISIG:
                    stack.append(TRUE if valid else FALSE)
                elif not valid:
                    fail(ScriptErrorCode.CHECKMULTISIGVERIFY)

            elif opcode in _CONDITIONS:
                if not stack:
                    fail(ScriptErrorCode.EMPTY_CONDITIONAL)
                element = stack.pop()
                if element and element != TRUE:
                    if version is TAPSCRIPT:
                        fail(ScriptErrorCode.TAPSCRIPT_MINIMALIF)
                    if version is WITNESS_V0 and flags & MINIMALIF:
                        fail(ScriptErrorCode.MINIMALIF)
                if is_true(element) is not (opcode == op.OP_IF):
                    skipped_from = depth
                depth += 1

            elif opcode == op.OP_ELSE:
                if not depth:
                    fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)
                skipped_from = depth - 1

            elif opcode == op.OP_ENDIF:
                if not depth:
                    fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)
                depth -= 1

            elif opcode == op.OP_TOALTSTACK:
                if not stack:
                    fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                alternative.append(stack.pop())
                room -= 1

            elif opcode == op.OP_FROMALTSTACK:
                if not alternative:
                    fail(ScriptErrorCode.INVALID_ALTSTACK_OPERATION)
                stack.append(alternative.pop())
                room += 1

            elif opcode == op.OP_CHECKLOCKTIMEVERIFY:
                if flags & CHECKLOCKTIMEVERIFY and not checker.check_lock_time(_peek_lock_time(stack, minimal)):
                    fail(ScriptErrorCode.UNSATISFIED_LOCKTIME)

            elif opcode == op.OP_CHECKSEQUENCEVERIFY:
                if flags & CHECKSEQUENCEVERIFY:
                    sequence = _peek_lock_time(stack, minimal)
                    if not sequence & SEQUENCE_LOCKTIME_DISABLE_FLAG and not checker.check_sequence(sequence):
                        fail(ScriptErrorCode.UNSATISFIED_LOCKTIME)

            elif opcode == op.OP_CHECKSIGADD and version is TAPSCRIPT:
                if len(stack) < 3:
                    fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                total = decode_number(stack[-2], minimal)
                public_key, _, signature = stack.pop(), stack.pop(), stack.pop()
                assert execution is not None
                valid = _check_tapscript_signature(signature, public_key, flags, checker, execution)
                stack.append(encode_number(total + valid))

            elif opcode == op.OP_CODESEPARATOR:
                if version is BASE and flags & CONST_SCRIPTCODE:
                    fail(ScriptErrorCode.OP_CODESEPARATOR)
                code_start = position
                if execution is not None:
                    execution.code_separator = number

            elif opcode in _FREE_NOPS:
                if flags & DISCOURAGE_UPGRADABLE_NOPS:
                    fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_NOPS)

            elif opcode in _DISABLED:
                fail(ScriptErrorCode.DISABLED_OPCODE)

            elif opcode != op.OP_NOP:
                fail(ScriptErrorCode.BAD_OPCODE)

            if len(stack) > room:
                fail(ScriptErrorCode.STACK_SIZE)

        # A branch that does not run: conditions are followed, and a few opcodes are forbidden even here.
        elif opcode in _CONDITIONS:
            depth += 1
        elif opcode == op.OP_ELSE:
            if skipped_from == depth - 1:
                skipped_from = -1
        elif opcode == op.OP_ENDIF:
            depth -= 1
            if skipped_from == depth:
                skipped_from = -1
        elif opcode in _NEVER:
            fail(ScriptErrorCode.BAD_OPCODE)
        elif opcode in _DISABLED:
            fail(ScriptErrorCode.DISABLED_OPCODE)
        elif opcode == op.OP_CODESEPARATOR and version is BASE and flags & CONST_SCRIPTCODE:
            fail(ScriptErrorCode.OP_CODESEPARATOR)

    if depth:
        fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)


# Pushes


def _is_minimal_push(opcode: int, data: bytes) -> bool:
    """Tell whether no shorter operation pushes the same (Core: CheckMinimalPush)."""
    size = len(data)
    if size == 0:
        return opcode == op.OP_0
    if size == 1:
        return not 1 <= data[0] <= 16 and data[0] != 0x81 and opcode == 1
    if size < op.OP_PUSHDATA1:
        return opcode == size
    if size <= 0xFF:
        return opcode == op.OP_PUSHDATA1
    return size > 0xFFFF or opcode == op.OP_PUSHDATA2


def _peek_lock_time(stack: list[bytes], minimal: bool) -> int:
    """Read the number on top, of up to five bytes and not negative, and leave it there."""
    if not stack:
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    number = decode_number(stack[-1], minimal, 5)
    if number < 0:
        fail(ScriptErrorCode.NEGATIVE_LOCKTIME)
    return number


# Signatures


def check_signature(
    signature: bytes, public_key: bytes, script_code: bytes, flags: int, checker: Checker, version: Version
) -> bool:
    """Check one signature outside of tapscript (Core: EvalChecksigPreTapscript)."""
    if version is BASE:
        script_code = _delete_signature(script_code, signature, flags)
    check_encodings(signature, public_key, flags, version is WITNESS_V0)
    valid = checker.check_ecdsa(signature, public_key, script_code, version)
    if not valid and signature and flags & NULLFAIL:
        fail(ScriptErrorCode.NULLFAIL)
    return valid


def _check_tapscript_signature(
    signature: bytes, public_key: bytes, flags: int, checker: Checker, execution: Execution
) -> bool:
    """Check one signature in tapscript (Core: EvalChecksigTapscript): False for an empty one, a wrong one raises."""
    if signature:
        execution.weight_left -= SIGNATURE_WEIGHT
        if execution.weight_left < 0:
            fail(ScriptErrorCode.TAPSCRIPT_VALIDATION_WEIGHT)
    if len(public_key) == 32:
        if signature:
            checker.check_schnorr(signature, public_key, execution)
    elif not public_key:
        fail(ScriptErrorCode.TAPSCRIPT_EMPTY_PUBKEY)
    elif flags & DISCOURAGE_UPGRADABLE_PUBKEYTYPE:
        fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_PUBKEYTYPE)
    return bool(signature)


def _pop_keys(stack: list[bytes], minimal: bool, operations: int) -> tuple[list[bytes], int]:
    """Take the number of keys and the keys; return them, last first, and the operations counted with them."""
    if not stack:
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    count = decode_number(stack.pop(), minimal)
    if not 0 <= count <= op.MAX_PUBKEYS_PER_MULTISIG:
        fail(ScriptErrorCode.PUBKEY_COUNT)
    operations += count
    if operations > op.MAX_OPS_PER_SCRIPT:
        fail(ScriptErrorCode.OP_COUNT)
    if len(stack) <= count:  # the number of signatures stands below
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    return [stack.pop() for _ in range(count)], operations


def _check_signatures(
    stack: list[bytes],
    minimal: bool,
    keys: list[bytes],
    script_code: bytes,
    flags: int,
    checker: Checker,
    version: Version,
) -> bool:
    """Take the number of signatures, the signatures and one element too much; match them with the keys in order."""
    count = decode_number(stack.pop(), minimal)
    if not 0 <= count <= len(keys):
        fail(ScriptErrorCode.SIG_COUNT)
    if len(stack) <= count:
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    signatures = [stack.pop() for _ in range(count)]
    if version is BASE:
        for signature in signatures:
            script_code = _delete_signature(script_code, signature, flags)
    valid = True
    matched = 0
    keys_left = len(keys)
    while valid and matched < count:
        signature, public_key = signatures[matched], keys[-keys_left]
        check_encodings(signature, public_key, flags, version is WITNESS_V0)
        if checker.check_ecdsa(signature, public_key, script_code, version):
            matched += 1
        keys_left -= 1
        valid = count - matched <= keys_left
    if not valid and flags & NULLFAIL and any(signatures):
        fail(ScriptErrorCode.NULLFAIL)
    if stack.pop() and flags & NULLDUMMY:
        fail(ScriptErrorCode.SIG_NULLDUMMY)
    return valid


def _delete_signature(script_code: bytes, signature: bytes, flags: int) -> bytes:
    deleted = find_and_delete(script_code, signature)
    if flags & CONST_SCRIPTCODE and len(deleted) != len(script_code):
        fail(ScriptErrorCode.SIG_FINDANDDELETE)
    return deleted


_SMALL_NUMBERS = {op.OP_1NEGATE: b"\x81"} | {op.OP_1 + n - 1: bytes((n,)) for n in range(1, 17)}
_CHECKSIG = frozenset((op.OP_CHECKSIG, op.OP_CHECKSIGVERIFY))
_CHECKMULTISIG = frozenset((op.OP_CHECKMULTISIG, op.OP_CHECKMULTISIGVERIFY))
_CONDITIONS = frozenset((op.OP_IF, op.OP_NOTIF))
_NEVER = frozenset((op.OP_VERIF, op.OP_VERNOTIF))
_FREE_NOPS = frozenset((op.OP_NOP1, *range(op.OP_NOP4, op.OP_NOP10 + 1)))
_DISABLED = frozenset(
    (
        *range(op.OP_CAT, op.OP_RIGHT + 1),
        *range(op.OP_INVERT, op.OP_XOR + 1),
        *range(op.OP_2MUL, op.OP_2DIV + 1),
        *range(op.OP_MUL, op.OP_RSHIFT + 1),
    )
)
"""Opcodes that fail a script even where they do not run (CVE-2010-5137)."""
