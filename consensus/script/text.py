"""Scripts as text, in the two forms that Core writes and reads."""

import re
from collections.abc import Iterator

from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import STRICTENC
from altyn.consensus.script.opcodes import (
    NAMES,
    OP_1,
    OP_1NEGATE,
    OP_16,
    OP_CHECKSIGADD,
    OP_NOP,
    OP_RESERVED,
    push,
    push_number,
    script_operations,
)
from altyn.consensus.script.sighash import SIGHASH_NAMES
from altyn.consensus.script.signatures import check_signature_encoding
from altyn.consensus.script.stack import decode_number
from altyn.consensus.script.templates import is_unspendable

_NUMBER = re.compile("-?[0-9]+", re.ASCII)
_HEX = re.compile("0x(?:[0-9a-fA-F]{2})+")
_MOST = 0xFFFFFFFF
_WORDS = {
    word: number
    for number, name in NAMES.items()
    if OP_NOP <= number <= OP_CHECKSIGADD or number == OP_RESERVED
    for word in (name, name.removeprefix("OP_"))
}


class ScriptTextError(ValueError):
    """Text that is no script, with the message that Core has for it."""


def to_asm(script: bytes, sighash_names: bool = False) -> str:
    """Write a script as Core's RPC shows it (Core: ScriptToAsmStr).

    Pushes of up to four bytes are numbers, longer ones hex. With `sighash_names` the hash type behind what has the form
    of a signature is written out, as in "[ALL]". A push that the script ends in shows as "[error]".
    """
    return " ".join(_words(script, sighash_names and not is_unspendable(script)))


def _words(script: bytes, sighash_names: bool) -> Iterator[str]:
    try:
        for opcode, data, _ in script_operations(script):
            if data is None:
                yield _opcode_name(opcode)
            elif len(data) <= 4:
                yield str(decode_number(data, minimal=False))
            elif sighash_names:
                yield _signature_text(data)
            else:
                yield data.hex()
    except ScriptError:
        yield "[error]"


def _opcode_name(opcode: int) -> str:
    if OP_1 <= opcode <= OP_16:
        return str(opcode - OP_1 + 1)
    if opcode == OP_1NEGATE:
        return "-1"
    return NAMES.get(opcode, "OP_UNKNOWN")


def _signature_text(data: bytes) -> str:
    try:
        check_signature_encoding(data, STRICTENC)
    except ScriptError:
        return data.hex()
    return f"{data[:-1].hex()}[{SIGHASH_NAMES[data[-1]]}]"


def from_asm(text: str) -> bytes:
    """Read a script in the form of Core's tests and of bitcoin-tx (Core: ParseScript).

    Words are decimal numbers, 0x and raw bytes of script, 'text' to push, or opcodes with or without OP_.
    Raises ScriptTextError.
    """
    return b"".join(map(_read_word, text.split()))


def _read_word(word: str) -> bytes:
    if _NUMBER.fullmatch(word):
        number = int(word)
        if abs(number) > _MOST:
            raise ScriptTextError(
                "script parse error: decimal numeric value only allowed in the range -0xFFFFFFFF...0xFFFFFFFF"
            )
        return push_number(number)
    if _HEX.fullmatch(word):
        return bytes.fromhex(word[2:])
    if len(word) >= 2 and word[0] == word[-1] == "'":
        return push(word[1:-1].encode())
    if word in _WORDS:
        return bytes((_WORDS[word],))
    raise ScriptTextError("script parse error: unknown opcode")
