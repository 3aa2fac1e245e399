"""What message fields are made of. A message is its declaration: annotations carry codec and limit.

Reading raises EncodingError when bytes are missing or not canonical, and Disconnect or Misbehaving where the bytes are
in order but Core ends the connection over them.
"""

import dataclasses
import struct
import typing
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, dataclass_transform

from altyn.consensus.block import HEADER_SIZE, Block, Header
from altyn.consensus.encoding import Cursor, EncodingError, compact_size, var_bytes
from altyn.consensus.transaction import Transaction
from altyn.p2p.errors import Disconnect, Misbehaving

T = TypeVar("T")
M = TypeVar("M", bound="Message")


class Codec(Protocol[T]):
    """Reads a value at a cursor and writes it back. `smallest` is the fewest bytes that a value takes."""

    @property
    def smallest(self) -> int: ...
    def read(self, cursor: Cursor) -> T: ...
    def write(self, value: T) -> bytes: ...


class Message:
    """A message of the protocol; subclasses are declared with `@message(command)`."""

    __slots__ = ()
    command: ClassVar[str]
    codecs: ClassVar[tuple[tuple[str, Codec[Any]], ...]]

    def payload(self) -> bytes:
        """Return the bytes behind the message's header."""
        return b"".join([codec.write(getattr(self, name)) for name, codec in self.codecs])

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the fields in order; ignore what follows, as Core does. Raises EncodingError, Disconnect."""
        cursor = Cursor(payload)
        return cls(*[codec.read(cursor) for _, codec in cls.codecs])


MESSAGES: dict[str, type[Message]] = {}
"""Every declared message by its command."""


@dataclass_transform(frozen_default=True)
def message(command: str) -> Callable[[type[M]], type[M]]:
    """Make a declaration a frozen value with codecs, and register it under `command`."""

    def declare(cls: type[M]) -> type[M]:
        made = dataclasses.dataclass(frozen=True, slots=True)(cls)
        hints = typing.get_type_hints(made, include_extras=True)
        names = [field.name for field in dataclasses.fields(made)]  # type: ignore[arg-type]  # a dataclass by now, unseen by mypy
        made.command = command
        made.codecs = tuple((name, hints[name].__metadata__[0]) for name in names)
        MESSAGES[command] = made
        return made

    return declare


class Number:
    """An integer of fixed width; `form` as in `struct`."""

    def __init__(self, form: str) -> None:
        self._struct = struct.Struct(form)
        self.smallest = self._struct.size

    def read(self, cursor: Cursor) -> int:
        number: int = self._struct.unpack(cursor.read(self.smallest))[0]
        return number

    def write(self, value: int) -> bytes:
        return self._struct.pack(value)


class Bool:
    """One byte; everything but 0 is true."""

    smallest = 1

    def read(self, cursor: Cursor) -> bool:
        return cursor.u8() != 0

    def write(self, value: bool) -> bytes:
        return b"\1" if value else b"\0"


class Fixed:
    """Exactly `size` bytes."""

    def __init__(self, size: int) -> None:
        self.smallest = size

    def read(self, cursor: Cursor) -> bytes:
        return cursor.read(self.smallest)

    def write(self, value: bytes) -> bytes:
        if len(value) != self.smallest:
            raise ValueError(f"{len(value)} bytes where {self.smallest} belong")
        return value


class VarBytes:
    """Bytes behind their length."""

    smallest = 1

    def read(self, cursor: Cursor) -> bytes:
        return cursor.read(cursor.compact_size())

    def write(self, value: bytes) -> bytes:
        return var_bytes(value)


class Text:
    """Bytes behind their length, at most `most`, as text; one character a byte (latin-1)."""

    smallest = 1

    def __init__(self, most: int) -> None:
        self._most = most

    def read(self, cursor: Cursor) -> str:
        size = cursor.compact_size()
        if size > self._most:
            raise EncodingError("String length limit exceeded")
        return cursor.read(size).decode("latin-1")

    def write(self, value: str) -> bytes:
        return var_bytes(value.encode("latin-1"))


class Optional(Generic[T]):
    """A last field that may be missing, with all that follow it: `default` then (Core: `if (!vRecv.empty())`)."""

    smallest = 0

    def __init__(self, codec: Codec[T], default: T) -> None:
        self._codec, self._default = codec, default

    def read(self, cursor: Cursor) -> T:
        return self._codec.read(cursor) if cursor.remaining else self._default

    def write(self, value: T) -> bytes:
        return self._codec.write(value)


class ListOf(Generic[T]):
    """A counted list. More than `most` raise `fault` with `reason`, where `{count}` is filled in.

    A count that the remaining bytes cannot hold is refused before anything is built.
    """

    smallest = 1

    def __init__(
        self,
        codec: Codec[T],
        *,
        most: int | None = None,
        fault: type[Disconnect] = Misbehaving,
        reason: str = "list of {count} is too long",
    ) -> None:
        self._codec, self._most, self._fault, self._reason = codec, most, fault, reason

    def read(self, cursor: Cursor) -> tuple[T, ...]:
        count = cursor.compact_size()
        if self._most is not None and count > self._most:
            raise self._fault(self._reason.format(count=count))
        if count * self._codec.smallest > cursor.remaining:
            raise EncodingError("end of data")
        read = self._codec.read
        return tuple([read(cursor) for _ in range(count)])

    def write(self, value: tuple[T, ...]) -> bytes:
        write = self._codec.write
        return b"".join([compact_size(len(value)), *[write(item) for item in value]])


class BlockHeader:
    """A header, 80 bytes."""

    smallest = HEADER_SIZE

    def read(self, cursor: Cursor) -> Header:
        return Header.parse(cursor.read(HEADER_SIZE))

    def write(self, value: Header) -> bytes:
        return value.raw


class CountedHeader:
    """A header and a count of transactions, which is 0 and not looked at (Core: HEADERS)."""

    smallest = HEADER_SIZE + 1

    def read(self, cursor: Cursor) -> Header:
        header = Header.parse(cursor.read(HEADER_SIZE))
        cursor.compact_size()
        return header

    def write(self, value: Header) -> bytes:
        return value.raw + b"\0"


class WholeBlock:
    """A block that fills the rest of the message; bytes behind it are an error."""

    smallest = HEADER_SIZE + 1

    def read(self, cursor: Cursor) -> Block:
        block, cursor.position = Block.parse_from(cursor.data, cursor.position)
        return block

    def write(self, value: Block) -> bytes:
        return value.raw


class WholeTransaction:
    """A transaction, with its witness if it has one (BIP144)."""

    smallest = 10

    def read(self, cursor: Cursor) -> Transaction:
        tx, cursor.position = Transaction.parse_from(cursor.data, cursor.position)
        return tx

    def write(self, value: Transaction) -> bytes:
        return value.raw


class Differences:
    """A counted list of rising indexes below 2**16, each sent as its distance from the one before (BIP152)."""

    smallest = 1

    def read(self, cursor: Cursor) -> tuple[int, ...]:
        count = cursor.compact_size()
        if count > cursor.remaining:
            raise EncodingError("end of data")
        indexes, least = [], 0
        for _ in range(count):
            least += cursor.compact_size()
            if least > 0xFFFF:
                raise EncodingError("differential value overflow")
            indexes.append(least)
            least += 1
        return tuple(indexes)

    def write(self, value: tuple[int, ...]) -> bytes:
        written, least = [compact_size(len(value))], 0
        for index in value:
            if index < least:
                raise ValueError("indexes must rise")
            written.append(compact_size(index - least))
            least = index + 1
        return b"".join(written)


U8, U16_BIG, U32, U64 = Number("<B"), Number(">H"), Number("<I"), Number("<Q")
I32, I64 = Number("<i"), Number("<q")
BOOL = Bool()
HASH = Fixed(32)
HEADER, COUNTED_HEADER, BLOCK, TRANSACTION = BlockHeader(), CountedHeader(), WholeBlock(), WholeTransaction()
