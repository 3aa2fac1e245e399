"""Stores that write down all they are told, so that a crash can be put between any two writes, or inside one.

A `Machine` is what one computer holds: files as programs see them, files as its disk has them, and databases, whose
batches are durable when they return. `run` a journal's first steps on it, then `kill` the process in the middle of the
next, or let it `lose_power`, and open a chain on its `stores`.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Self

from altyn.consensus.networks import Network
from altyn.node.chain.stores import Stores
from altyn.node.storage.blocks import BlockFiles
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.disk import MemoryDisk
from altyn.node.storage.headers import HeaderStore
from altyn.node.storage.kv import Batch, Memory


class Written(NamedTuple):
    """Bytes given to a file."""

    name: str
    offset: int
    data: bytes


class Truncated(NamedTuple):
    """A file cut to a size."""

    name: str
    size: int


class Removed(NamedTuple):
    """A file deleted."""

    name: str


class Synced(NamedTuple):
    """A file made durable."""

    name: str


class Batched(NamedTuple):
    """Changes made to a database at once."""

    name: str
    changes: tuple[tuple[bytes, bytes | None], ...]


class Reached(NamedTuple):
    """A tip that the chain told of: not a write, but what a crash must not undo."""

    block_hash: bytes


Step = Written | Truncated | Removed | Synced | Batched | Reached


class RecordedDisk(MemoryDisk):
    """A folder in memory that knows what a loss of power would leave of it."""

    def __init__(self, journal: list[Step]) -> None:
        super().__init__()
        self._journal = journal
        self.durable: dict[str, bytes] = {}

    def write(self, name: str, offset: int, data: bytes) -> None:
        super().write(name, offset, data)
        self._journal.append(Written(name, offset, data))

    def truncate(self, name: str, size: int) -> None:
        super().truncate(name, size)
        self._journal.append(Truncated(name, size))

    def remove(self, name: str) -> None:
        super().remove(name)
        self._journal.append(Removed(name))

    def sync(self, name: str) -> None:
        self.durable[name] = bytes(self._files[name])
        self._journal.append(Synced(name))

    def lose(self, chance: random.Random, sector: int) -> None:
        """Forget what was not synced: all of it (`sector` 0), or each `sector` bytes of a file by chance.

        A file that was deleted is there again, or by chance.
        """
        for name in sorted(self.durable.keys() - self._files.keys()):
            if not sector or chance.random() < 0.5:
                self._files[name] = bytearray(self.durable[name])
            else:
                del self.durable[name]
        for name in self.names():
            held, kept = bytes(self._files[name]), self.durable.get(name, b"")
            if sector and held != kept:
                size = chance.choice([len(held), len(kept)])
                held, kept = held.ljust(size, b"\0")[:size], kept.ljust(size, b"\0")[:size]
                parts = [chance.choice([held, kept])[at : at + sector] for at in range(0, size, sector)]
                kept = b"".join(parts)
            if name in self.durable or kept:
                self._files[name] = bytearray(kept)
                self.durable[name] = kept
            else:
                del self._files[name]

    def copied(self) -> Self:
        """Return the same folder, to go another way with it."""
        other = type(self)([])
        other._files = {name: bytearray(data) for name, data in self._files.items()}
        other.durable = dict(self.durable)
        return other


class RecordedKeyValue(Memory):
    """A database in memory."""

    def __init__(self, name: str, journal: list[Step]) -> None:
        super().__init__()
        self._name = name
        self._journal = journal

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        changes: list[tuple[bytes, bytes | None]] = []
        with super().batch() as batch:
            yield batch
            changes += batch.changes  # type: ignore[attr-defined]
        self._journal.append(Batched(self._name, tuple(changes)))

    def copied(self) -> Self:
        other = type(self)(self._name, [])
        other._items = dict(self._items)
        return other


@dataclass
class Machine:
    """Files and databases, and the journal of what was done to them."""

    disk: RecordedDisk
    databases: dict[str, RecordedKeyValue]
    journal: list[Step]

    @classmethod
    def new(cls) -> Self:
        journal: list[Step] = []
        return cls(RecordedDisk(journal), {}, journal)

    def copied(self) -> Self:
        """Return the same machine with an empty journal, to go another way with it."""
        return type(self)(self.disk.copied(), {name: one.copied() for name, one in self.databases.items()}, [])

    def database(self, name: str) -> RecordedKeyValue:
        return self.databases.setdefault(name, RecordedKeyValue(name, self.journal))

    def stores(self, network: Network, *, max_file_size: int) -> Stores:
        """Return them as a chain uses them; what it does comes into a new journal."""
        self.journal = self.disk._journal = []
        for database in self.databases.values():
            database._journal = self.journal
        files = BlockFiles(self.disk, network.magic, max_file_size=max_file_size)
        headers, coins = HeaderStore(self.database("headers")), CoinStore(self.database("coins"))
        return Stores(files, headers, coins, self.database)

    def do(self, step: Step) -> None:
        """Repeat what a journal tells."""
        match step:
            case Written(name, offset, data):
                self.disk.write(name, offset, data)
            case Truncated(name, size):
                self.disk.truncate(name, size)
            case Removed(name):
                self.disk.remove(name)
            case Synced(name):
                self.disk.sync(name)
            case Batched(name, changes):
                with self.database(name).batch() as batch:
                    for key, value in changes:
                        if value is None:
                            batch.delete(key)
                        else:
                            batch.put(key, value)
            case Reached():
                pass
