"""Opcodes: their numbers and names, and how a script divides into operations."""

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.stack import encode_number

MAX_SCRIPT_SIZE = 10_000
"""Bytes of a script before taproot."""
MAX_SCRIPT_ELEMENT_SIZE = 520
MAX_OPS_PER_SCRIPT = 201
"""Operations other than pushes, before taproot."""
MAX_STACK_SIZE = 1000
"""Elements on stack and alternative stack together."""
MAX_PUBKEYS_PER_MULTISIG = 20

# Push values.
OP_0 = 0x00
OP_PUSHDATA1 = 0x4C
OP_PUSHDATA2 = 0x4D
OP_PUSHDATA4 = 0x4E
OP_1NEGATE = 0x4F
OP_RESERVED = 0x50
OP_1 = 0x51
OP_2 = 0x52
OP_3 = 0x53
OP_4 = 0x54
OP_5 = 0x55
OP_6 = 0x56
OP_7 = 0x57
OP_8 = 0x58
OP_9 = 0x59
OP_10 = 0x5A
OP_11 = 0x5B
OP_12 = 0x5C
OP_13 = 0x5D
OP_14 = 0x5E
OP_15 = 0x5F
OP_16 = 0x60
# Control.
OP_NOP = 0x61
OP_VER = 0x62
OP_IF = 0x63
OP_NOTIF = 0x64
OP_VERIF = 0x65
OP_VERNOTIF = 0x66
OP_ELSE = 0x67
OP_ENDIF = 0x68
OP_VERIFY = 0x69
OP_RETURN = 0x6A
# Stack.
OP_TOALTSTACK = 0x6B
OP_FROMALTSTACK = 0x6C
OP_2DROP = 0x6D
OP_2DUP = 0x6E
OP_3DUP = 0x6F
OP_2OVER = 0x70
OP_2ROT = 0x71
OP_2SWAP = 0x72
OP_IFDUP = 0x73
OP_DEPTH = 0x74
OP_DROP = 0x75
OP_DUP = 0x76
OP_NIP = 0x77
OP_OVER = 0x78
OP_PICK = 0x79
OP_ROLL = 0x7A
OP_ROT = 0x7B
OP_SWAP = 0x7C
OP_TUCK = 0x7D
# Byte strings; all but OP_SIZE disabled.
OP_CAT = 0x7E
OP_SUBSTR = 0x7F
OP_LEFT = 0x80
OP_RIGHT = 0x81
OP_SIZE = 0x82
# Bits; OP_INVERT to OP_XOR disabled.
OP_INVERT = 0x83
OP_AND = 0x84
OP_OR = 0x85
OP_XOR = 0x86
OP_EQUAL = 0x87
OP_EQUALVERIFY = 0x88
OP_RESERVED1 = 0x89
OP_RESERVED2 = 0x8A
# Numbers; OP_2MUL, OP_2DIV and OP_MUL to OP_RSHIFT disabled.
OP_1ADD = 0x8B
OP_1SUB = 0x8C
OP_2MUL = 0x8D
OP_2DIV = 0x8E
OP_NEGATE = 0x8F
OP_ABS = 0x90
OP_NOT = 0x91
OP_0NOTEQUAL = 0x92
OP_ADD = 0x93
OP_SUB = 0x94
OP_MUL = 0x95
OP_DIV = 0x96
OP_MOD = 0x97
OP_LSHIFT = 0x98
OP_RSHIFT = 0x99
OP_BOOLAND = 0x9A
OP_BOOLOR = 0x9B
OP_NUMEQUAL = 0x9C
OP_NUMEQUALVERIFY = 0x9D
OP_NUMNOTEQUAL = 0x9E
OP_LESSTHAN = 0x9F
OP_GREATERTHAN = 0xA0
OP_LESSTHANOREQUAL = 0xA1
OP_GREATERTHANOREQUAL = 0xA2
OP_MIN = 0xA3
OP_MAX = 0xA4
OP_WITHIN = 0xA5
# Hashes and signatures.
OP_RIPEMD160 = 0xA6
OP_SHA1 = 0xA7
OP_SHA256 = 0xA8
OP_HASH160 = 0xA9
OP_HASH256 = 0xAA
OP_CODESEPARATOR = 0xAB
OP_CHECKSIG = 0xAC
OP_CHECKSIGVERIFY = 0xAD
OP_CHECKMULTISIG = 0xAE
OP_CHECKMULTISIGVERIFY = 0xAF
# Room for extensions; 2 and 3 are taken.
OP_NOP1 = 0xB0
OP_CHECKLOCKTIMEVERIFY = 0xB1
OP_CHECKSEQUENCEVERIFY = 0xB2
OP_NOP4 = 0xB3
OP_NOP5 = 0xB4
OP_NOP6 = 0xB5
OP_NOP7 = 0xB6
OP_NOP8 = 0xB7
OP_NOP9 = 0xB8
OP_NOP10 = 0xB9
# Tapscript (BIP342).
OP_CHECKSIGADD = 0xBA
OP_INVALIDOPCODE = 0xFF

NAMES: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in sorted(globals().items()) if name.startswith("OP_")}
)
"""Every opcode with a name, OP_INVALIDOPCODE included."""

_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")


OP_SUCCESSES = frozenset(
    (80, 98, *range(126, 130), *range(131, 135), *range(137, 139), *range(141, 143), *range(149, 154), *range(187, 255))
)
"""The opcodes that make a tapscript succeed at once (BIP342)."""


def script_operations(script: bytes, position: int = 0) -> Iterator[tuple[int, bytes | None, int]]:
    """Yield each operation from `position` on: its opcode, the bytes it pushes, and the position behind it.

    Core: GetScriptOp. The bytes are None for what is not a push of data; OP_0 pushes b"", OP_1 and its like give None.
    Raises ScriptError (BAD_OPCODE) at a push that the script ends in.
    """
    size = len(script)
    while position < size:
        opcode = script[position]
        position += 1
        if opcode > OP_PUSHDATA4:
            yield opcode, None, position
            continue
        if opcode < OP_PUSHDATA1:
            length = opcode
        elif opcode == OP_PUSHDATA1 and position < size:
            length = script[position]
            position += 1
        elif opcode == OP_PUSHDATA2 and position + 2 <= size:
            (length,) = _U16.unpack_from(script, position)
            position += 2
        elif opcode == OP_PUSHDATA4 and position + 4 <= size:
            (length,) = _U32.unpack_from(script, position)
            position += 4
        else:
            raise ScriptError(ScriptErrorCode.BAD_OPCODE)
        end = position + length
        if end > size:
            raise ScriptError(ScriptErrorCode.BAD_OPCODE)
        yield opcode, script[position:end], end
        position = end


def push(data: bytes) -> bytes:
    """Return the operation that pushes `data` by its length alone, without OP_1 and its like (Core: CScript <<)."""
    size = len(data)
    if size < OP_PUSHDATA1:
        return size.to_bytes(1, "little") + data
    if size <= 0xFF:
        return bytes((OP_PUSHDATA1, size)) + data
    if size <= 0xFFFF:
        return b"\x4d" + _U16.pack(size) + data
    return b"\x4e" + _U32.pack(size) + data


def push_number(number: int) -> bytes:
    """Return the shortest operation that pushes `number` (Core: CScript << int64_t)."""
    if number == -1 or 1 <= number <= 16:
        return bytes((number + OP_1 - 1,))
    return push(encode_number(number))
