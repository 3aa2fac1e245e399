"""The operations that touch nothing but the stack, as a table from opcode to function.

Each is called with the stack, which it changes, and with whether numbers must be in their shortest form. They raise
ScriptError.
"""

from collections.abc import Callable
from hashlib import sha1

from altyn.consensus.hashes import hash160, ripemd160, sha256, sha256d
from altyn.consensus.script import opcodes as op
from altyn.consensus.script.errors import ScriptErrorCode, fail
from altyn.consensus.script.stack import FALSE, TRUE, decode_number, encode_number, is_true

Operation = Callable[[list[bytes], bool], None]


def _need(stack: list[bytes], count: int) -> None:
    if len(stack) < count:
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)


def _verify(stack: list[bytes], _: bool) -> None:
    _need(stack, 1)
    if not is_true(stack.pop()):
        fail(ScriptErrorCode.VERIFY)


def _return(_: list[bytes], __: bool) -> None:
    fail(ScriptErrorCode.OP_RETURN)


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
        fail(ScriptErrorCode.INVALID_STACK_OPERATION)
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
        fail(ScriptErrorCode.EQUALVERIFY)


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
        fail(ScriptErrorCode.NUMEQUALVERIFY)
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
TABLE = [_OPERATIONS.get(opcode) for opcode in range(256)]
"""The function of each opcode, or None: the interpreter knows those."""
