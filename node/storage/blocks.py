"""Blocks and what they spent, in Core's `blk?????.dat` and `rev?????.dat` files.

A record is magic (4), size (4), data; undo data is followed by sha256d(hash of the block before + data). With a file
`xor.dat` of eight bytes, byte i of every file is combined with byte i mod 8 of it.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import MAX_BLOCK_SERIALIZED_SIZE
from altyn.node.storage.disk import Disk
from altyn.node.storage.errors import REINDEX, StoreError

MAX_FILE_SIZE = 128 << 20
"""Bytes of a block file (Core: MAX_BLOCKFILE_SIZE)."""
SMALL_FILE_SIZE = 64 << 10
"""The same with -fastprune."""
_HEAD = struct.Struct("<4sI")
HEAD_SIZE = _HEAD.size
_CHECKSUM_SIZE = 32
_MAX_UNDO_SIZE = 1 << 27
_BLOCK_FILE = re.compile(r"blk(\d{5})\.dat")
_FILE = re.compile(r"(blk|rev)\d{5}\.dat")
_XOR_FILE = "xor.dat"
_SEARCH_SIZE = 1 << 20


class FilePosition(NamedTuple):
    """Where a record's data begins, behind its eight bytes of magic and size."""

    file: int
    offset: int


class BlockFiles:
    """The block files of one folder. One writer at a time; any number of readers."""

    def __init__(self, disk: Disk, magic: bytes, *, max_file_size: int = MAX_FILE_SIZE) -> None:
        self._disk = disk
        self._magic = magic
        self._max_file_size = max_file_size
        names = disk.names()
        key = disk.read(_XOR_FILE, 0, 8) if _XOR_FILE in names else bytes(8)
        if len(key) != 8:
            raise StoreError(f"{_XOR_FILE} in the blocks folder has {len(key)} bytes instead of 8: restore it")
        self._key = b"" if key == bytes(8) else key
        self._ends = {name: disk.size(name) for name in names if _FILE.fullmatch(name)}  # where the next record goes
        self._unsynced: set[str] = set()
        self._file = max((int(match[1]) for match in map(_BLOCK_FILE.fullmatch, names) if match), default=0)

    def write_block(self, data: bytes) -> FilePosition:
        """Append a block; return where its data lies. Raises StoreError."""
        end = self._end(_block_name(self._file))
        if end and end + HEAD_SIZE + len(data) >= self._max_file_size:
            self._file += 1
        return FilePosition(self._file, self._append(_block_name(self._file), data))

    def read_block(self, position: FilePosition) -> bytes:
        """Return a block's bytes. Raises StoreError if the file is missing, cut short or damaged."""
        return self._read(_block_name(position.file), position.offset, MAX_BLOCK_SERIALIZED_SIZE)

    def read_part(self, position: FilePosition, offset: int, size: int) -> bytes:
        """Return `size` bytes of a block's data, from `offset` on; fewer at the end of the file."""
        start = position.offset + offset
        return self._mask(self._disk.read(_block_name(position.file), start, size), start)

    def write_undo(self, file: int, data: bytes, previous_hash: bytes) -> FilePosition:
        """Append undo data beside block file `file`; `previous_hash` is of the block before. Raises StoreError."""
        checksum = sha256d(previous_hash + data)
        return FilePosition(file, self._append(_undo_name(file), data, checksum))

    def read_undo(self, position: FilePosition, previous_hash: bytes) -> bytes:
        """Return undo data. Raises StoreError if it is missing, damaged, or of another block."""
        name = _undo_name(position.file)
        data = self._read(name, position.offset, _MAX_UNDO_SIZE)
        start = position.offset + len(data)
        checksum = self._mask(self._disk.read(name, start, _CHECKSUM_SIZE), start)
        if checksum != sha256d(previous_hash + data):
            raise _damaged(name, position.offset)
        return data

    @property
    def usage(self) -> int:
        """Bytes of all block and undo files."""
        return sum(tuple(self._ends.values()))  # a thread may be beginning a file

    def size(self, file: int) -> int:
        """Return the bytes of a block file and its undo file."""
        return self._end(_block_name(file)) + self._end(_undo_name(file))

    def finished(self) -> list[int]:
        """Return the numbers of the block files that no block will be added to."""
        numbers = (int(match[1]) for match in map(_BLOCK_FILE.fullmatch, tuple(self._ends)) if match)
        return sorted(number for number in numbers if number != self._file)

    def remove(self, files: Iterable[int]) -> None:
        """Delete block files and their undo files, those that are there. Raises StoreError."""
        for file in files:
            for name in (_undo_name(file), _block_name(file)):
                if self._ends.pop(name, None) is not None:
                    self._unsynced.discard(name)
                    self._disk.remove(name)
            self._file = max(self._file, file + 1)  # a number is not used twice

    def records(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Go through the blocks of any file of the folder: where their data lies, and the data. Raises StoreError."""
        for position, data in self._records_behind(name, 0, 0):
            yield position.offset, data

    def read_at(self, name: str, offset: int) -> bytes:
        """Return the block that `records` found at `offset`. Raises StoreError."""
        return self._read(name, offset, MAX_BLOCK_SERIALIZED_SIZE)

    def sync(self) -> None:
        """Make all that was written last through a crash of the machine. Raises StoreError."""
        while self._unsynced:
            name = self._unsynced.pop()
            try:
                self._disk.sync(name)
            except StoreError:
                self._unsynced.add(name)
                raise

    def recover(self, ends: dict[int, tuple[int, int]]) -> Iterator[tuple[FilePosition, bytes]]:
        """Cut the files behind what the index knows, but first hand out the whole blocks found there.

        `ends` tells for each file where its last indexed block ends, and where its last indexed undo data begins (0:
        none). After a crash the files hold more than the index: whole blocks, which are kept, and perhaps torn ones,
        which are passed over, or cut off at the end. Raises StoreError where the files hold less.
        """
        names = self._disk.names()
        for file, (block_end, last_undo) in ends.items():
            for name, needed in ((_block_name(file), block_end), (_undo_name(file), last_undo)):
                if needed and name not in names:
                    raise _missing(name)
        for name in names:
            match = _BLOCK_FILE.fullmatch(name)
            if match is None:
                continue
            file = int(match[1])
            block_end, last_undo = ends.get(file, (0, 0))
            if self._disk.size(name) < block_end:
                raise _damaged(name, self._disk.size(name))
            for position, data in self._records_behind(name, file, block_end):
                self._unsynced.add(name)  # the process died, and perhaps before it had synced what is found now
                yield position, data
                block_end = max(block_end, position.offset + len(data))
            self._cut(name, block_end)
            undo_name = _undo_name(file)
            undo_size = len(self._read(undo_name, last_undo, _MAX_UNDO_SIZE)) + _CHECKSUM_SIZE if last_undo else 0
            self._cut(undo_name, last_undo + undo_size)

    def _records_behind(self, name: str, file: int, offset: int) -> Iterator[tuple[FilePosition, bytes]]:
        """Go through all that has the form of a record, whatever lies between."""
        file_size = self._disk.size(name)
        while offset + HEAD_SIZE < file_size:
            start = offset + HEAD_SIZE
            magic, size = _HEAD.unpack(self._mask(self._disk.read(name, offset, HEAD_SIZE), offset))
            if magic == self._magic and 80 < size <= min(MAX_BLOCK_SERIALIZED_SIZE, file_size - start):
                yield FilePosition(file, start), self._mask(self._disk.read(name, start, size), start)
                end = start + size
                if end == file_size or self._mask(self._disk.read(name, end, 4), end) == self._magic:
                    offset = end
                    continue
            offset = self._next_magic(name, offset + 1)  # also where the size itself may be wrong

    def _next_magic(self, name: str, offset: int) -> int:
        """Return where the next record may begin, or the end of the file."""
        while part := self._mask(self._disk.read(name, offset, _SEARCH_SIZE), offset):
            found = part.find(self._magic)
            if found >= 0:
                return offset + found
            offset += max(1, len(part) - 3)
        return offset

    def _cut(self, name: str, end: int) -> None:
        size = self._disk.size(name)
        if size < end:
            raise _damaged(name, size)
        if size > end:
            self._disk.truncate(name, end)
        if name in self._ends:  # there may be no undo file yet
            self._ends[name] = end

    def _end(self, name: str) -> int:
        return self._ends.get(name, 0)

    def _append(self, name: str, data: bytes, checksum: bytes = b"") -> int:
        end = self._end(name)
        record = _HEAD.pack(self._magic, len(data)) + data + checksum
        self._disk.write(name, end, self._mask(record, end))
        self._unsynced.add(name)  # after the write: a flush on another thread may just be syncing what was before
        self._ends[name] = end + len(record)
        return end + HEAD_SIZE

    def _read(self, name: str, offset: int, most: int) -> bytes:
        start = offset - HEAD_SIZE
        if start < 0:
            raise _damaged(name, offset)
        head = self._mask(self._disk.read(name, start, HEAD_SIZE), start)
        if len(head) < HEAD_SIZE:
            raise _damaged(name, offset)
        magic, size = _HEAD.unpack(head)
        if magic != self._magic or size > most:
            raise _damaged(name, offset)
        data = self._mask(self._disk.read(name, offset, size), offset)
        if len(data) < size:
            raise _damaged(name, offset)
        return data

    def _mask(self, data: bytes, offset: int) -> bytes:
        return mask(data, self._key, offset)


def mask(data: bytes, key: bytes, offset: int) -> bytes:
    """Combine `data`, which stands at `offset` of a file, with a key of eight bytes; an empty key changes nothing."""
    if not key or not data:
        return data
    shift = offset % 8
    stream = (key[shift:] + key[:shift]) * (len(data) // 8 + 1)
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream[: len(data)], "little")
    return mixed.to_bytes(len(data), "little")


def _block_name(file: int) -> str:
    return f"blk{file:05}.dat"


def _undo_name(file: int) -> str:
    return f"rev{file:05}.dat"


def _damaged(name: str, offset: int) -> StoreError:
    return StoreError(f"{name} in the blocks folder is damaged at byte {offset}: {REINDEX}")


def _missing(name: str) -> StoreError:
    return StoreError(f"{name} is missing from the blocks folder: {REINDEX}")
