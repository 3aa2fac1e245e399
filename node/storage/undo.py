"""Core's form of undo data: what a block spent, amounts and scripts compressed.

Core: CBlockUndo, TxInUndoFormatter, CompressAmount, ScriptCompression.
"""

from collections.abc import Sequence

from altyn.consensus.encoding import Cursor, EncodingError, compact_size
from altyn.consensus.transaction import Coin, TxOut

_SPECIAL_SCRIPTS = 6
_MAX_SCRIPT_SIZE = 10_000
_DIGITS = [bytes((digit,)) for digit in range(0x80)]


def write_varint(number: int) -> bytes:
    """Encode a number in base 128, most significant digit first, each but the last counting from one (Core: VARINT)."""
    if number <= 0x7F:
        return _DIGITS[number]
    digits = bytearray((number & 0x7F,))
    while number > 0x7F:
        number = (number >> 7) - 1
        digits.append(number & 0x7F | 0x80)
    digits.reverse()
    return bytes(digits)


def read_varint(cursor: Cursor) -> int:
    """Read what `write_varint` made. Raises EncodingError."""
    number = 0
    while True:
        digit = cursor.u8()
        number = number << 7 | digit & 0x7F
        if number >= 1 << 64:
            raise EncodingError("ReadVarInt(): size too large")
        if not digit & 0x80:
            return number
        number += 1


def compress_amount(value: int) -> int:
    """Return a smaller number for amounts with trailing zeros (Core: CompressAmount)."""
    if value == 0:
        return 0
    exponent = 0
    while value % 10 == 0 and exponent < 9:
        value //= 10
        exponent += 1
    if exponent < 9:
        value, last = divmod(value, 10)
        return 1 + (value * 9 + last - 1) * 10 + exponent
    return 1 + (value - 1) * 10 + 9


def decompress_amount(code: int) -> int:
    """Return the amount that `compress_amount` was given, in satoshis."""
    if code == 0:
        return 0
    code, exponent = divmod(code - 1, 10)
    if exponent < 9:
        code, last = divmod(code, 9)
        value = code * 10 + last + 1
    else:
        value = code + 1
    return int(value * 10**exponent)


def compress_script(script: bytes) -> bytes:
    """Encode a script: hash or key alone for the three oldest templates, else its size plus six and all of it."""
    size = len(script)
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return b"\x00" + script[3:23]
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return b"\x01" + script[2:22]
    if size == 35 and script[0] == 33 and script[34] == 0xAC and script[1] in (2, 3):
        return script[1:34]
    if size == 67 and script[0] == 65 and script[66] == 0xAC and script[1] == 4 and is_on_curve(script[2:66]):
        return bytes([4 | script[65] & 1]) + script[2:34]
    return write_varint(size + _SPECIAL_SCRIPTS) + script


def read_script(cursor: Cursor) -> bytes:
    """Read what `compress_script` made. Raises EncodingError."""
    kind = read_varint(cursor)
    if kind == 0:
        return b"\x76\xa9\x14" + cursor.read(20) + b"\x88\xac"
    if kind == 1:
        return b"\xa9\x14" + cursor.read(20) + b"\x87"
    if kind in (2, 3):
        return bytes([33, kind]) + cursor.read(32) + b"\xac"
    if kind in (4, 5):
        return b"\x41\x04" + _whole_point(cursor.read(32), kind & 1) + b"\xac"
    size = kind - _SPECIAL_SCRIPTS
    if size > _MAX_SCRIPT_SIZE:  # nobody can spend it: Core forgets what it said
        cursor.read(size)
        return b"\x6a"
    return cursor.read(size)


_FIELD = 2**256 - 2**32 - 977


def is_on_curve(point: bytes) -> bool:
    """Tell whether 64 bytes, x and y, are a point of secp256k1; only such a key can be restored from its x alone."""
    x, y = int.from_bytes(point[:32]), int.from_bytes(point[32:])
    return x < _FIELD and y < _FIELD and (y * y - x * x * x - 7) % _FIELD == 0


def _whole_point(x_bytes: bytes, parity: int) -> bytes:
    x = int.from_bytes(x_bytes)
    square = (pow(x, 3, _FIELD) + 7) % _FIELD
    y = pow(square, (_FIELD + 1) // 4, _FIELD)
    if x >= _FIELD or y * y % _FIELD != square:
        raise EncodingError("a compressed key that is not on the curve")
    if y & 1 != parity:
        y = _FIELD - y
    return x_bytes + y.to_bytes(32)


def encode_undo(spent: Sequence[Sequence[Coin]]) -> bytes:
    """Encode the coins spent by each transaction of a block, the coinbase left out."""
    parts = [compact_size(len(spent))]
    for coins in spent:
        parts.append(compact_size(len(coins)))
        for (value, script_pubkey), height, is_coinbase in coins:
            parts.append(write_varint(height << 1 | is_coinbase))
            if height > 0:
                parts.append(b"\x00")  # where old versions of Core kept a transaction's version
            parts.append(write_varint(compress_amount(value)))
            parts.append(compress_script(script_pubkey))
    return b"".join(parts)


def decode_undo(data: bytes) -> list[list[Coin]]:
    """Read what `encode_undo` made. Raises EncodingError."""
    cursor = Cursor(data)
    spent = []
    for _ in range(cursor.compact_size()):
        coins = []
        for _ in range(cursor.compact_size()):
            code = read_varint(cursor)
            if code >> 1:
                read_varint(cursor)
            value = decompress_amount(read_varint(cursor))
            coins.append(Coin(TxOut(value, read_script(cursor)), code >> 1, bool(code & 1)))
        spent.append(coins)
    cursor.finish()
    return spent
