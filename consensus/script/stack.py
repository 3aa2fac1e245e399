"""What the elements of the stack mean: numbers and truth."""

from altyn.consensus.script.errors import ScriptError, ScriptErrorCode

TRUE, FALSE = b"\x01", b""


def is_true(element: bytes) -> bool:
    """Tell whether an element counts as true: anything but zero, or zero with a sign (Core: CastToBool)."""
    if element == TRUE:
        return True
    if not element:
        return False
    return bool(element[-1] & 0x7F) or element.count(0, 0, -1) < len(element) - 1


def decode_number(element: bytes, minimal: bool, limit: int = 4) -> int:
    """Return the number in an element of at most `limit` bytes: little-endian, the sign in the top bit.

    Raises ScriptError (SCRIPTNUM) when it is longer, or when `minimal` is asked and a shorter form exists.
    """
    size = len(element)
    if not size:
        return 0
    last = element[-1]
    if size > limit or (minimal and not last & 0x7F and (size == 1 or not element[-2] & 0x80)):
        raise ScriptError(ScriptErrorCode.SCRIPTNUM)
    number = int.from_bytes(element, "little")
    return number if last < 0x80 else -(number - (0x80 << (size * 8 - 8)))


def encode_number(number: int) -> bytes:
    """Return the shortest element that holds `number`; zero is empty."""
    if not number:
        return b""
    magnitude = abs(number)
    encoded = magnitude.to_bytes(magnitude.bit_length() // 8 + 1, "little")
    return encoded if number > 0 else encoded[:-1] + bytes((encoded[-1] | 0x80,))
