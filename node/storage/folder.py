"""Whose data directory this is, and that nobody else is using it; found out before any database is opened."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from altyn.consensus.networks import Network
from altyn.node.storage.errors import FolderRefused, StoreError
from altyn.node.storage.layout import SCHEMA

PRODUCT = "altyn"
_MARKER = "altyn.json"
_LOCK = ".lock"
_REINDEXING = "reindexing"
STAYS = frozenset({_MARKER, _REINDEXING})
"""Files in `chainstate` that do not belong to the database of coins."""


class DataFolder:
    """The folder of one chain below a data directory, locked for as long as this lives.

    `blocks`, `chainstate` and `indexes` in it are a complete node; `chainstate/altyn.json` says whose.
    """

    def __init__(self, path: Path, network: Network, lock: int) -> None:
        """Use `open` instead."""
        self.path = path
        self.network = network
        self._lock = lock

    @classmethod
    def open(cls, data_directory: Path, network: Network) -> Self:
        """Lock `data_directory`/`network.folder`, or create it.

        Raises FolderRefused when another process uses it, or it belongs to another network, a newer version or other
        software; StoreError when it cannot be written.
        """
        path = data_directory / network.folder
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be used as data directory: {error.strerror}") from error
        try:
            _check_owner(path, network)
            for folder in (path / "blocks" / "index", path / "chainstate", path / "indexes"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            os.close(lock)
            raise StoreError(f"{path} cannot be used as data directory: {error.strerror}") from error
        except BaseException:
            os.close(lock)
            raise
        return cls(path, network, lock)

    @property
    def blocks(self) -> Path:
        return self.path / "blocks"

    @property
    def block_index(self) -> Path:
        return self.path / "blocks" / "index"

    @property
    def chainstate(self) -> Path:
        return self.path / "chainstate"

    def index(self, name: str) -> Path:
        return self.path / "indexes" / name

    @property
    def is_reindexing(self) -> bool:
        """Whether a reindex was begun and has not come so far that it need not begin again."""
        return (self.chainstate / _REINDEXING).exists()

    def forget(self, *, block_index: bool, pruned: bool = False) -> None:
        """Remove the coins; with `block_index` also the index into the block files, undo files and other indexes.

        With `pruned` block files behind a gap go too: their blocks lead nowhere without those that are gone.

        No database may be open. A crash in between leaves the mark of a reindex. Raises StoreError.
        """
        try:
            if block_index:
                (self.chainstate / _REINDEXING).touch()
                sync_folder(self.chainstate)
                for folder in (self.block_index, *(self.path / "indexes").iterdir()):
                    if folder.exists():
                        shutil.rmtree(folder)
                useless = [*self.blocks.glob("rev*.dat"), *(self._behind_a_gap() if pruned else ())]
                for path in useless:
                    path.unlink()
                sync_folder(self.blocks)
            for found in self.chainstate.iterdir():
                if found.is_dir():  # the coins of a snapshot
                    shutil.rmtree(found)
                elif found.name not in STAYS:
                    found.unlink()
            sync_folder(self.chainstate)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from error

    def _behind_a_gap(self) -> list[Path]:
        """Return the block files that are not numbered from 0 on without a gap."""
        files = sorted(self.blocks.glob("blk?????.dat"))
        return [path for number, path in enumerate(files) if path.name != f"blk{number:05}.dat"]

    def reindexed(self) -> None:
        """Note that the index into the block files is there again."""
        (self.chainstate / _REINDEXING).unlink(missing_ok=True)
        sync_folder(self.chainstate)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _take_lock(path: Path) -> int:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells two nodes in one process apart
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # is the lock that Bitcoin Core takes
    except OSError as error:
        os.close(lock)
        raise FolderRefused(f"Cannot obtain a lock on directory {path}. Altyn is probably already running.") from error
    return lock


def _check_owner(path: Path, network: Network) -> None:
    marker = path / "chainstate" / _MARKER
    if not marker.exists():
        if any(_chain_data(path)):
            raise FolderRefused(
                f"{path} holds chain data of other software, perhaps Bitcoin Core's: "
                "choose another data directory, Altyn will not touch this one"
            )
        _write_marker(marker, network)
        return
    try:
        found = json.loads(marker.read_text())
        product, genesis, schema = found["product"], found["genesis"], int(found["schema"])
        name = str(found["network"])
    except (ValueError, KeyError, TypeError) as error:
        raise FolderRefused(
            f"{marker} cannot be read: restore it from a copy, or choose another data directory"
        ) from error
    if product != PRODUCT:
        raise FolderRefused(f"{path} belongs to {product}: choose another data directory")
    if genesis != network.genesis.hash[::-1].hex():
        raise FolderRefused(
            f"{path} belongs to the network {name}, not {network.name}: choose that network, or another data directory"
        )
    if schema > SCHEMA:
        raise FolderRefused(
            f"{path} was written by a newer Altyn (schema {schema}, this one knows {SCHEMA}): "
            "update Altyn, or choose another data directory"
        )


def _chain_data(path: Path) -> Iterator[Path]:
    temporary = _MARKER + ".new"  # a crash while the folder was created
    for name in ("blocks", "chainstate", "indexes"):
        for found in (path / name).rglob("*"):
            if found.is_file() and found.name != temporary:
                yield found


def _write_marker(marker: Path, network: Network) -> None:
    marker.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {
            "product": PRODUCT,
            "network": network.name,
            "genesis": network.genesis.hash[::-1].hex(),
            "schema": SCHEMA,
        }
    )
    temporary = marker.with_name(marker.name + ".new")
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(marker)
    sync_folder(marker.parent)


def sync_folder(path: Path) -> None:
    """Make what was created, renamed or removed in a folder last through a crash of the machine. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
