"""The stores of one chain, opened together, and written together in the order that survives a crash."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from altyn.consensus.networks import Network
from altyn.node.chain.coins import CoinLayer
from altyn.node.storage.blocks import MAX_FILE_SIZE, BlockFiles
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.disk import FolderDisk, MemoryDisk
from altyn.node.storage.errors import REINDEX, REINDEX_CHAINSTATE
from altyn.node.storage.folder import DataFolder
from altyn.node.storage.headers import HeaderRecord, HeaderStore
from altyn.node.storage.kv import KeyValue, LevelDb, Memory
from altyn.node.storage.snapshot_place import MemoryPlace, SnapshotFolder, SnapshotPlace

Checkpoint = Callable[[str], None]
"""Called with a name wherever a crash would be interesting; on any thread."""

DATABASE_CACHE = 8 << 20
"""Bytes that LevelDB keeps of the coins."""


class Stores:
    """Block files and databases of one chain."""

    def __init__(
        self,
        files: BlockFiles,
        headers: HeaderStore,
        coins: CoinStore,
        open_index: Callable[[str], KeyValue],
        place: SnapshotPlace | None = None,
    ) -> None:
        """`place` is where a snapshot may lie."""
        self.files = files
        self.headers = headers
        self.coins = coins
        """At the tip of the active chain."""
        self.background: CoinStore | None = None
        """From genesis on, while `coins` stand on a snapshot that is not proved."""
        self._open_index = open_index
        self._place = place or MemoryPlace()
        self._loading: CoinStore | None = None
        self.has_snapshot = False
        """Whether the coins at the tip began with a snapshot, one that is not proved or was proved since the start."""
        self._indexes: list[KeyValue] = []

    @classmethod
    def open(cls, folder: DataFolder, *, cache_size: int = DATABASE_CACHE, max_file_size: int = MAX_FILE_SIZE) -> Self:
        """Open what lies in a folder, or create it; `cache_size` is LevelDB's own, in bytes. Raises StoreError."""
        place = SnapshotFolder(folder.chainstate, REINDEX_CHAINSTATE)
        _adopt_if_proved(place)
        headers = LevelDb(folder.block_index, cache_size=2 << 20, remedy=REINDEX)
        try:
            coins = LevelDb(
                folder.chainstate, cache_size=cache_size, write_buffer_size=cache_size, remedy=REINDEX_CHAINSTATE
            )
        except BaseException:
            headers.close()
            raise
        files = BlockFiles(FolderDisk(folder.blocks), folder.network.magic, max_file_size=max_file_size)

        def open_index(name: str) -> KeyValue:
            path: Path = folder.index(name)
            return LevelDb(path)

        stores = cls(files, HeaderStore(headers), CoinStore(coins), open_index, place)
        try:
            stores._open_snapshot()
        except BaseException:
            stores.close()
            raise
        return stores

    def _open_snapshot(self) -> None:
        if not self._place.exists:
            return
        snapshot = CoinStore(self._place.open())
        if snapshot.base is not None:
            self.coins, self.background, self.has_snapshot = snapshot, self.coins, True
            return
        snapshot.close()  # it was not loaded to its end, or is false
        self._place.remove()

    @classmethod
    def in_memory(cls, network: Network, *, max_file_size: int = MAX_FILE_SIZE) -> Self:
        """Make stores that leave nothing behind."""
        files = BlockFiles(MemoryDisk(), network.magic, max_file_size=max_file_size)
        return cls(files, HeaderStore(Memory()), CoinStore(Memory()), lambda _: Memory())

    def open_index(self, name: str) -> KeyValue:
        """Open the database of an index; it is closed with the others. Raises StoreError."""
        database = self._open_index(name)
        self._indexes.append(database)
        return database

    def write(
        self, headers: Sequence[HeaderRecord], best_block: bytes, coins: CoinLayer, checkpoint: Checkpoint
    ) -> None:
        """Write a frozen state, each step whole and durable before the next; blocking. Raises StoreError.

        A crash in between leaves blocks that the index does not name, or headers ahead of the coins: in each case
        starting again leads forward to the same place. Indexes are to be written after this.
        """
        checkpoint("flush-files")
        self.files.sync()
        checkpoint("flush-headers")
        if headers:
            self.headers.write(headers)
        checkpoint("flush-coins")
        if coins or self.coins.best_block != best_block:
            self.coins.write(best_block, coins.changes())

    @property
    def is_loading(self) -> bool:
        """Whether a snapshot was begun and is neither stood on nor dropped."""
        return self._loading is not None

    def begin_snapshot(self) -> CoinStore:
        """Return an empty store for the coins of a snapshot. Raises StoreError."""
        if self._place.exists:
            self._place.remove()
        self._loading = CoinStore(self._place.open())
        return self._loading

    def drop_snapshot(self) -> None:
        """Close and remove what `begin_snapshot` returned, unless it is stood on."""
        if self._loading is not None:
            self._loading.close()
            self._loading = None
            self._place.remove()

    def stand_on_snapshot(self) -> None:
        """Let the coins that were loaded be those at the tip; those from genesis go on in the background."""
        assert self._loading is not None
        self.coins, self.background, self._loading = self._loading, self.coins, None
        self.has_snapshot = True

    def retire(self) -> None:
        """Close the coins from genesis: the snapshot is proved. Nothing may be reading or writing them.

        They are removed at the next start.
        """
        if self.background is not None:
            self.background.close()
            self.background = None

    def close(self) -> None:
        """Close the databases. Nothing may be reading or writing."""
        for database in self._indexes:
            database.close()
        self.coins.close()
        self.retire()
        if self._loading is not None:
            self._loading.close()
        self.headers.close()


def _adopt_if_proved(place: SnapshotFolder) -> None:
    place.recover()
    if place.exists:
        snapshot = CoinStore(place.open())
        is_proved = snapshot.is_proved
        snapshot.close()
        if is_proved:
            place.adopt()
