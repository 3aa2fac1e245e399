"""Run one script on a stack (Core: EvalScript).

Operations that only touch the stack are small functions in a table; what needs the script, the conditions or the
transaction stands in one flat loop. Measured on CPython 3.11, that is as fast as one long chain of comparisons for the
common scripts, faster for the others, and each operation can be read alone.
"""

from collections.abc import Callable
from enum import IntEnum
from hashlib import sha1
from typing import NoReturn, Protocol

from altyn.consensus.hashes import hash160, ripemd160, sha256, sha256d
from altyn.consensus.limits import SEQUENCE_LOCKTIME_DISABLE_FLAG
from altyn.consensus.script import opcodes as op
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
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

    def __init__(self, annex_hash: bytes | None = None, leaf_hash: bytes | None = None, weight_left: int = 0) -> None:
        self.annex_hash = annex_hash
        self.leaf_hash = leaf_hash
        self.weight_left = weight_left
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


def _fail(code: ScriptErrorCode) -> NoReturn:
    raise ScriptError(code)


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
        _fail(ScriptErrorCode.SCRIPT_SIZE)
    minimal = bool(flags & MINIMALDATA)
    alternative: list[bytes] = []
    room = op.MAX_STACK_SIZE
    operations = 0  # those that count towards the limit
    code_start = 0  # behind the last OP_CODESEPARATOR executed
    depth, skipped_from = 0, -1  # open conditions; the outermost that is false, -1 when the branch runs
    position, number = 0, -1
    table = _TABLE
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
                    _fail(ScriptErrorCode.PUSH_SIZE)
            if end > size:
                _fail(ScriptErrorCode.BAD_OPCODE)
            if skipped_from < 0:
                data = script[position:end]
                if minimal and not _is_minimal_push(opcode, data):
                    _fail(ScriptErrorCode.MINIMALDATA)
                stack.append(data)
                if len(stack) > room:
                    _fail(ScriptErrorCode.STACK_SIZE)
            position = end
            continue

        if limited and opcode > op.OP_16:
            operations += 1
            if operations > op.MAX_OPS_PER_SCRIPT:
                _fail(ScriptErrorCode.OP_COUNT)

        if skipped_from < 0:
            operation = table[opcode]
            if operation is not None:
                operation(stack, minimal)

            elif opcode <= op.OP_16 and opcode != op.OP_RESERVED:
                stack.append(_SMALL_NUMBERS[opcode])

            elif opcode in _CHECKSIG:
                if len(stack) < 2:
                    _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                public_key, signature = stack.pop(), stack.pop()
                if version is TAPSCRIPT:
                    assert execution is not None
                    valid = _check_tapscript_signature(signature, public_key, flags, checker, execution)
                else:
                    valid = _check_signature(signature, public_key, script[code_start:], flags, checker, version)
                if opcode == op.OP_CHECKSIG:
                    stack.append(TRUE if valid else FALSE)
                elif not valid:
                    _fail(ScriptErrorCode.CHECKSIGVERIFY)

            elif opcode in _CHECKMULTISIG:
                if version is TAPSCRIPT:
                    _fail(ScriptErrorCode.TAPSCRIPT_CHECKMULTISIG)
                keys, operations = _pop_keys(stack, minimal, operations)
                valid = _check_signatures(stack, minimal, keys, script[code_start:], flags, checker, version)
                if opcode == op.OP_CHECKMULTISIG:
                    stack.append(TRUE if valid else FALSE)
                elif not valid:
                    _fail(ScriptErrorCode.CHECKMULTISIGVERIFY)

            elif opcode in _CONDITIONS:
                if not stack:
                    _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                element = stack.pop()
                if element and element != TRUE:
                    if version is TAPSCRIPT:
                        _fail(ScriptErrorCode.TAPSCRIPT_MINIMALIF)
                    if version is WITNESS_V0 and flags & MINIMALIF:
                        _fail(ScriptErrorCode.MINIMALIF)
                if is_true(element) is not (opcode == op.OP_IF):
                    skipped_from = depth
                depth += 1

            elif opcode == op.OP_ELSE:
                if not depth:
                    _fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)
                skipped_from = depth - 1

            elif opcode == op.OP_ENDIF:
                if not depth:
                    _fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)
                depth -= 1

            elif opcode == op.OP_TOALTSTACK:
                if not stack:
                    _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                alternative.append(stack.pop())
                room -= 1

            elif opcode == op.OP_FROMALTSTACK:
                if not alternative:
                    _fail(ScriptErrorCode.INVALID_ALTSTACK_OPERATION)
                stack.append(alternative.pop())
                room += 1

            elif opcode == op.OP_CHECKLOCKTIMEVERIFY:
                if flags & CHECKLOCKTIMEVERIFY and not checker.check_lock_time(_peek_lock_time(stack, minimal)):
                    _fail(ScriptErrorCode.UNSATISFIED_LOCKTIME)

            elif opcode == op.OP_CHECKSEQUENCEVERIFY:
                if flags & CHECKSEQUENCEVERIFY:
                    sequence = _peek_lock_time(stack, minimal)
                    if not sequence & SEQUENCE_LOCKTIME_DISABLE_FLAG and not checker.check_sequence(sequence):
                        _fail(ScriptErrorCode.UNSATISFIED_LOCKTIME)

            elif opcode == op.OP_CHECKSIGADD and version is TAPSCRIPT:
                if len(stack) < 3:
                    _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
                total = decode_number(stack[-2], minimal)
                public_key, _, signature = stack.pop(), stack.pop(), stack.pop()
                assert execution is not None
                valid = _check_tapscript_signature(signature, public_key, flags, checker, execution)
                stack.append(encode_number(total + valid))

            elif opcode == op.OP_CODESEPARATOR:
                if version is BASE and flags & CONST_SCRIPTCODE:
                    _fail(ScriptErrorCode.OP_CODESEPARATOR)
                code_start = position
                if execution is not None:
                    execution.code_separator = number

            elif opcode in _FREE_NOPS:
                if flags & DISCOURAGE_UPGRADABLE_NOPS:
                    _fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_NOPS)

            elif opcode in _DISABLED:
                _fail(ScriptErrorCode.DISABLED_OPCODE)

            elif opcode != op.OP_NOP:
                _fail(ScriptErrorCode.BAD_OPCODE)

            if len(stack) > room:
                _fail(ScriptErrorCode.STACK_SIZE)

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
            _fail(ScriptErrorCode.BAD_OPCODE)
        elif opcode in _DISABLED:
            _fail(ScriptErrorCode.DISABLED_OPCODE)
        elif opcode == op.OP_CODESEPARATOR and version is BASE and flags & CONST_SCRIPTCODE:
            _fail(ScriptErrorCode.OP_CODESEPARATOR)

    if depth:
        _fail(ScriptErrorCode.UNBALANCED_CONDITIONAL)


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
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    number = decode_number(stack[-1], minimal, 5)
    if number < 0:
        _fail(ScriptErrorCode.NEGATIVE_LOCKTIME)
    return number


# Signatures


def _check_signature(
    signature: bytes, public_key: bytes, script_code: bytes, flags: int, checker: Checker, version: Version
) -> bool:
    """Check one signature outside of tapscript (Core: EvalChecksigPreTapscript)."""
    if version is BASE:
        script_code = _delete_signature(script_code, signature, flags)
    check_encodings(signature, public_key, flags, version is WITNESS_V0)
    valid = checker.check_ecdsa(signature, public_key, script_code, version)
    if not valid and signature and flags & NULLFAIL:
        _fail(ScriptErrorCode.NULLFAIL)
    return valid


def _check_tapscript_signature(
    signature: bytes, public_key: bytes, flags: int, checker: Checker, execution: Execution
) -> bool:
    """Check one signature in tapscript (Core: EvalChecksigTapscript): False for an empty one, a wrong one raises."""
    if signature:
        execution.weight_left -= SIGNATURE_WEIGHT
        if execution.weight_left < 0:
            _fail(ScriptErrorCode.TAPSCRIPT_VALIDATION_WEIGHT)
    if len(public_key) == 32:
        if signature:
            checker.check_schnorr(signature, public_key, execution)
    elif not public_key:
        _fail(ScriptErrorCode.TAPSCRIPT_EMPTY_PUBKEY)
    elif flags & DISCOURAGE_UPGRADABLE_PUBKEYTYPE:
        _fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_PUBKEYTYPE)
    return bool(signature)


def _pop_keys(stack: list[bytes], minimal: bool, operations: int) -> tuple[list[bytes], int]:
    """Take the number of keys and the keys; return them, last first, and the operations counted with them."""
    if not stack:
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    count = decode_number(stack.pop(), minimal)
    if not 0 <= count <= op.MAX_PUBKEYS_PER_MULTISIG:
        _fail(ScriptErrorCode.PUBKEY_COUNT)
    operations += count
    if operations > op.MAX_OPS_PER_SCRIPT:
        _fail(ScriptErrorCode.OP_COUNT)
    if len(stack) <= count:  # the number of signatures stands below
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
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
        _fail(ScriptErrorCode.SIG_COUNT)
    if len(stack) <= count:
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
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
        _fail(ScriptErrorCode.NULLFAIL)
    if stack.pop() and flags & NULLDUMMY:
        _fail(ScriptErrorCode.SIG_NULLDUMMY)
    return valid


def _delete_signature(script_code: bytes, signature: bytes, flags: int) -> bytes:
    deleted = find_and_delete(script_code, signature)
    if flags & CONST_SCRIPTCODE and len(deleted) != len(script_code):
        _fail(ScriptErrorCode.SIG_FINDANDDELETE)
    return deleted


# Operations on the stack alone. Each is called with the stack and whether numbers must be in their shortest form.

Operation = Callable[[list[bytes], bool], None]


def _need(stack: list[bytes], count: int) -> None:
    if len(stack) < count:
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)


def _verify(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    if not is_true(stack.pop()):
        _fail(ScriptErrorCode.VERIFY)


def _return(_: list[bytes], __: bool) -> None:
    _fail(ScriptErrorCode.OP_RETURN)


def _2drop(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    del stack[-2:]


def _2dup(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    stack += stack[-2:]


def _3dup(stack: list[bytes], _: bool) -> None:
    _need(stack, 3)
    stack += stack[-3:]


def _2over(stack: list[bytes], _: bool) -> None:
    _need(stack, 4)
    stack += stack[-4:-2]


def _2rot(stack: list[bytes], _: bool) -> None:
    _need(stack, 6)
    stack += stack[-6:-4]
    del stack[-8:-6]


def _2swap(stack: list[bytes], _: bool) -> None:
    _need(stack, 4)
    stack[-4:] = stack[-2:] + stack[-4:-2]


def _ifdup(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    if is_true(stack[-1]):
        stack.append(stack[-1])


def _depth(stack: list[bytes], _: bool) -> None:
    stack.append(encode_number(len(stack)))


def _drop(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    del stack[-1]


def _dup(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    stack.append(stack[-1])


def _nip(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    del stack[-2]


def _over(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    stack.append(stack[-2])


def _pop_index(stack: list[bytes], minimal: bool) -> int:
    """Take the number of the element wanted, 0 for the top; return its index from the end, -1 for the top."""
    _need(stack, 2)
    number = decode_number(stack.pop(), minimal)
    if not 0 <= number < len(stack):
        _fail(ScriptErrorCode.INVALID_STACK_OPERATION)
    return -number - 1


def _pick(stack: list[bytes], minimal: bool) -> None:
    stack.append(stack[_pop_index(stack, minimal)])


def _roll(stack: list[bytes], minimal: bool) -> None:
    stack.append(stack.pop(_pop_index(stack, minimal)))


def _rot(stack: list[bytes], _: bool) -> None:
    _need(stack, 3)
    stack.append(stack.pop(-3))


def _swap(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    stack.append(stack.pop(-2))


def _tuck(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    stack.insert(-2, stack[-1])


def _size(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    stack.append(encode_number(len(stack[-1])))


def _equal(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    stack.append(TRUE if stack.pop() == stack.pop() else FALSE)


def _equalverify(stack: list[bytes], _: bool) -> None:
    _need(stack, 2)
    if stack.pop() != stack.pop():
        _fail(ScriptErrorCode.EQUALVERIFY)


def _unary(function: Callable[[int], int]) -> Operation:
    def operation(stack: list[bytes], minimal: bool) -> None:
        _need(stack, 1)
        stack[-1] = encode_number(function(decode_number(stack[-1], minimal)))

    return operation


def _binary(function: Callable[[int, int], int]) -> Operation:
    def operation(stack: list[bytes], minimal: bool) -> None:
        _need(stack, 2)
        left, right = decode_number(stack[-2], minimal), decode_number(stack[-1], minimal)
        stack[-2:] = (encode_number(function(left, right)),)

    return operation


def _numequalverify(stack: list[bytes], minimal: bool) -> None:
    _need(stack, 2)
    if decode_number(stack[-2], minimal) != decode_number(stack[-1], minimal):
        _fail(ScriptErrorCode.NUMEQUALVERIFY)
    del stack[-2:]


def _within(stack: list[bytes], minimal: bool) -> None:
    _need(stack, 3)
    number, least, end = [decode_number(element, minimal) for element in stack[-3:]]
    stack[-3:] = (TRUE if least <= number < end else FALSE,)


def _hash(function: Callable[[bytes], bytes]) -> Operation:
    def operation(stack: list[bytes], _: bool) -> None:
        _need(stack, 1)
        stack[-1] = function(stack[-1])

    return operation


def _sha1(data: bytes) -> bytes:
    return sha1(data, usedforsecurity=False).digest()


_OPERATIONS: dict[int, Operation] = {
    op.OP_VERIFY: _verify,
    op.OP_RETURN: _return,
    op.OP_2DROP: _2drop,
    op.OP_2DUP: _2dup,
    op.OP_3DUP: _3dup,
    op.OP_2OVER: _2over,
    op.OP_2ROT: _2rot,
    op.OP_2SWAP: _2swap,
    op.OP_IFDUP: _ifdup,
    op.OP_DEPTH: _depth,
    op.OP_DROP: _drop,
    op.OP_DUP: _dup,
    op.OP_NIP: _nip,
    op.OP_OVER: _over,
    op.OP_PICK: _pick,
    op.OP_ROLL: _roll,
    op.OP_ROT: _rot,
    op.OP_SWAP: _swap,
    op.OP_TUCK: _tuck,
    op.OP_SIZE: _size,
    op.OP_EQUAL: _equal,
    op.OP_EQUALVERIFY: _equalverify,
    op.OP_1ADD: _unary(lambda number: number + 1),
    op.OP_1SUB: _unary(lambda number: number - 1),
    op.OP_NEGATE: _unary(lambda number: -number),
    op.OP_ABS: _unary(abs),
    op.OP_NOT: _unary(lambda number: number == 0),
    op.OP_0NOTEQUAL: _unary(lambda number: number != 0),
    op.OP_ADD: _binary(lambda left, right: left + right),
    op.OP_SUB: _binary(lambda left, right: left - right),
    op.OP_BOOLAND: _binary(lambda left, right: left != 0 and right != 0),
    op.OP_BOOLOR: _binary(lambda left, right: left != 0 or right != 0),
    op.OP_NUMEQUAL: _binary(lambda left, right: left == right),
    op.OP_NUMEQUALVERIFY: _numequalverify,
    op.OP_NUMNOTEQUAL: _binary(lambda left, right: left != right),
    op.OP_LESSTHAN: _binary(lambda left, right: left < right),
    op.OP_GREATERTHAN: _binary(lambda left, right: left > right),
    op.OP_LESSTHANOREQUAL: _binary(lambda left, right: left <= right),
    op.OP_GREATERTHANOREQUAL: _binary(lambda left, right: left >= right),
    op.OP_MIN: _binary(min),
    op.OP_MAX: _binary(max),
    op.OP_WITHIN: _within,
    op.OP_RIPEMD160: _hash(ripemd160),
    op.OP_SHA1: _hash(_sha1),
    op.OP_SHA256: _hash(sha256),
    op.OP_HASH160: _hash(hash160),
    op.OP_HASH256: _hash(sha256d),
}
_TABLE = [_OPERATIONS.get(opcode) for opcode in range(256)]

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
