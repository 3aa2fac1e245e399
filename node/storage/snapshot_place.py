"""Where the coins of a snapshot lie until they are proved, and how they then become the only ones."""

import shutil
from pathlib import Path
from typing import Protocol

from altyn.node.storage.errors import StoreError
from altyn.node.storage.folder import STAYS, sync_folder
from altyn.node.storage.kv import KeyValue, LevelDb, Memory

_FOLDER = "snapshot"
_PROVED = "proved"
_MOVING = "moving"


class SnapshotPlace(Protocol):
    """A second database of coins beside the one from genesis."""

    @property
    def exists(self) -> bool: ...

    def open(self) -> KeyValue:
        """Open the database, or begin it. Raises StoreError."""
        ...

    def remove(self) -> None:
        """Remove it, closed. Raises StoreError."""
        ...

    def adopt(self) -> None:
        """Put it into the place of the coins from genesis, which go; both are closed. Raises StoreError."""
        ...


class SnapshotFolder:
    """`chainstate/snapshot`. A crash at any instant of `adopt` is mended by `recover`."""

    def __init__(self, chainstate: Path, remedy: str) -> None:
        self._chainstate = chainstate
        self._path = chainstate / _FOLDER
        self._remedy = remedy

    @property
    def exists(self) -> bool:
        return self._path.exists()

    def open(self) -> KeyValue:
        return LevelDb(self._path, remedy=self._remedy)

    def remove(self) -> None:
        try:
            shutil.rmtree(self._path)
            sync_folder(self._chainstate)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from error

    def adopt(self) -> None:
        (self._chainstate / _PROVED).touch()
        sync_folder(self._chainstate)
        self.recover()

    def recover(self) -> None:
        """Bring to its end what a crash left half done, before any database is opened. Raises StoreError."""
        proved, moving = self._chainstate / _PROVED, self._chainstate / _MOVING
        try:
            if proved.exists():
                for found in self._chainstate.iterdir():
                    if found.name not in {*STAYS, _FOLDER, _PROVED}:
                        found.unlink()
                sync_folder(self._chainstate)
                proved.rename(moving)  # from here on nothing in the folder is of the old coins
                sync_folder(self._chainstate)
            if moving.exists():
                for found in self._path.iterdir() if self._path.exists() else ():
                    found.rename(self._chainstate / found.name)
                sync_folder(self._chainstate)
                if self._path.exists():
                    self._path.rmdir()
                moving.unlink()
                sync_folder(self._chainstate)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from error


class MemoryPlace:
    """The same in memory, where nothing is ever opened again: there is nothing to adopt."""

    exists = False

    def open(self) -> KeyValue:
        return Memory()

    def remove(self) -> None:
        """What nobody refers to is gone."""

    def adopt(self) -> None:
        raise AssertionError("nothing in memory outlives its process")
