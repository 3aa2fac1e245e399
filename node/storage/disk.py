"""The few things block files need of a file system, and one that lives in memory."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from altyn.node.storage.errors import DISK_FULL, StoreError


class Disk(Protocol):
    """A folder of files, by name."""

    def names(self) -> list[str]: ...

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 if there is none."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return up to `size` bytes; fewer at the end of the file. Raises StoreError, also for a missing file."""
        ...

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write all of `data`; it survives a crash of the process, and of the machine after `sync`."""
        ...

    def truncate(self, name: str, size: int) -> None: ...

    def remove(self, name: str) -> None: ...

    def sync(self, name: str) -> None: ...


class FolderDisk:
    """A folder of the real disk."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    @contextmanager
    def _open(self, name: str, flags: int) -> Iterator[int]:
        path = self._path / name
        try:
            handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
            try:
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            reason = DISK_FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror
            raise StoreError(f"{path}: {reason}") from error

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self._path.iterdir() if entry.is_file())

    def size(self, name: str) -> int:
        path = self._path / name
        return path.stat().st_size if path.exists() else 0

    def read(self, name: str, offset: int, size: int) -> bytes:
        with self._open(name, os.O_RDONLY) as handle:
            return os.pread(handle, size, offset)

    def write(self, name: str, offset: int, data: bytes) -> None:
        with self._open(name, os.O_WRONLY | os.O_CREAT) as handle:
            view = memoryview(data)
            while view:
                written = os.pwrite(handle, view, offset)
                view, offset = view[written:], offset + written

    def truncate(self, name: str, size: int) -> None:
        with self._open(name, os.O_WRONLY) as handle:
            os.ftruncate(handle, size)

    def remove(self, name: str) -> None:
        path = self._path / name
        try:
            path.unlink()
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def sync(self, name: str) -> None:
        with self._open(name, os.O_RDONLY) as handle:
            os.fsync(handle)
        with self._open(".", os.O_RDONLY | os.O_DIRECTORY) as handle:  # the file's name, if it is new
            os.fsync(handle)


class MemoryDisk:
    """A folder in memory: for simulated nodes and tests."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._files.get(name, b""))

    def read(self, name: str, offset: int, size: int) -> bytes:
        if name not in self._files:
            raise StoreError(f"{name}: No such file")
        return bytes(self._files[name][offset : offset + size])

    def write(self, name: str, offset: int, data: bytes) -> None:
        file = self._files.setdefault(name, bytearray())
        file.extend(bytes(max(0, offset - len(file))))
        file[offset : offset + len(data)] = data

    def truncate(self, name: str, size: int) -> None:
        del self._files[name][size:]

    def remove(self, name: str) -> None:
        del self._files[name]

    def sync(self, name: str) -> None:
        """Nothing to do."""
