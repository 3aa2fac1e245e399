"""An ordered map of bytes: LevelDB on disk, or a dictionary."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import plyvel

from altyn.node.storage.errors import DISK_FULL, StoreError


class Batch(Protocol):
    """Changes that become visible, and durable, together."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...


class KeyValue(Protocol):
    """An ordered map of bytes; safe to use from several threads. Everything raises StoreError on corruption."""

    def get(self, key: bytes) -> bytes | None: ...

    def many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return what `get` does for each of `keys`."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through the keys that begin with `prefix`, in order, as they are at the first step."""
        ...

    def batch(self) -> AbstractContextManager[Batch]:
        """Write whole, to the disk itself, when the block ends; write nothing if it raises."""
        ...

    def close(self) -> None: ...


class LevelDb:
    """LevelDB with every check on: without them flipped bits come back as wrong values in silence."""

    def __init__(
        self, path: Path, *, cache_size: int = 8 << 20, write_buffer_size: int = 4 << 20, remedy: str = ""
    ) -> None:
        """Open or create the database at `path`; sizes in bytes. `remedy` tells the user what mends it.

        Raises StoreError.
        """
        self._path = path
        self._remedy = remedy or f"remove it (rm -r {path}) and start again to build it anew"
        path.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._db: Any = plyvel.DB(
                str(path),
                create_if_missing=True,
                paranoid_checks=True,
                lru_cache_size=cache_size,
                write_buffer_size=write_buffer_size,
                bloom_filter_bits=10,
                max_open_files=256,
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except plyvel.CorruptionError as error:
            raise StoreError(f"{self._path} is damaged ({error}): {self._remedy}") from error
        except (plyvel.Error, OSError) as error:
            if "No such file" in str(error):
                raise StoreError(f"{self._path} lacks a file ({error}): {self._remedy}") from error
            if os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error):
                raise StoreError(f"{self._path}: {DISK_FULL}") from error
            raise StoreError(f"{self._path} cannot be used: {error}") from error

    def get(self, key: bytes) -> bytes | None:
        try:  # not the context manager: this is the hot path
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except plyvel.Error:
            with self._errors():
                raise
        return value

    def many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        read = self._db.get
        with self._errors():
            return [read(key, verify_checksums=True) for key in keys]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._errors(), self._db.iterator(prefix=prefix, verify_checksums=True, fill_cache=False) as found:
            yield from found

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with self._errors(), self._db.write_batch(transaction=True, sync=True) as batch:
            yield batch

    def close(self) -> None:
        self._db.close()


class Memory:
    """The same in memory: for simulated nodes and tests."""

    def __init__(self) -> None:
        self._items: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._items.get(key)

    def many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self._items.get(key) for key in keys]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(item for item in list(self._items.items()) if item[0].startswith(prefix))

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        batch = _MemoryBatch()
        yield batch
        for key, value in batch.changes:
            if value is None:
                self._items.pop(key, None)
            else:
                self._items[key] = value

    def close(self) -> None:
        """Nothing to do: it stays readable, as a disk would."""


class _MemoryBatch:
    def __init__(self) -> None:
        self.changes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((bytes(key), value))

    def delete(self, key: bytes) -> None:
        self.changes.append((bytes(key), None))
