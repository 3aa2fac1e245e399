"""The wire's elementary encodings: little-endian numbers, compact sizes, length-prefixed bytes."""

import struct

MAX_SIZE = 0x02000000
"""The largest count or length that a compact size may announce, 32 MiB (Core: MAX_SIZE)."""

_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_I64 = struct.Struct("<q")


class EncodingError(ValueError):
    """Bytes that are not what they claim to be: cut short, oversized or not canonical."""


def compact_size(number: int) -> bytes:
    """Encode a count in 1, 3, 5 or 9 bytes."""
    if number < 0xFD:
        return number.to_bytes(1, "little")
    if number <= 0xFFFF:
        return b"\xfd" + _U16.pack(number)
    if number <= 0xFFFFFFFF:
        return b"\xfe" + _U32.pack(number)
    return b"\xff" + _U64.pack(number)


def var_bytes(data: bytes) -> bytes:
    """Encode `data` behind its length."""
    return compact_size(len(data)) + data


def read_compact_size(data: bytes, position: int) -> tuple[int, int]:
    """Read a compact size at `position`; return it and the position behind it.

    Raises EncodingError when the data ends early, the form is not the shortest, or the number exceeds MAX_SIZE.
    """
    try:
        first = data[position]
        if first < 0xFD:
            return first, position + 1
        if first == 0xFD:
            number, least, end = _U16.unpack_from(data, position + 1)[0], 0xFD, position + 3
        elif first == 0xFE:
            number, least, end = _U32.unpack_from(data, position + 1)[0], 0x10000, position + 5
        else:
            number, least, end = _U64.unpack_from(data, position + 1)[0], 0x100000000, position + 9
    except (IndexError, struct.error):
        raise EncodingError("end of data") from None
    if number < least:
        raise EncodingError("non-canonical ReadCompactSize()")
    if number > MAX_SIZE:
        raise EncodingError("ReadCompactSize(): size too large")
    return number, end


class Cursor:
    """A position in a buffer; each `read...` takes what it returns. Raises EncodingError past the end."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def read(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise EncodingError("end of data")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _unpack(self, form: struct.Struct) -> int:
        if self.position + form.size > len(self.data):
            raise EncodingError("end of data")
        number: int = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return number

    def u8(self) -> int:
        return self.read(1)[0]

    def u32(self) -> int:
        return self._unpack(_U32)

    def u64(self) -> int:
        return self._unpack(_U64)

    def i64(self) -> int:
        return self._unpack(_I64)

    def compact_size(self) -> int:
        number, self.position = read_compact_size(self.data, self.position)
        return number

    def var_bytes(self) -> bytes:
        return self.read(self.compact_size())

    def finish(self) -> None:
        """Raise EncodingError unless everything was read."""
        if self.position != len(self.data):
            raise EncodingError(f"{self.remaining} bytes left over")
