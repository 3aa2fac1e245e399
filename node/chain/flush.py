"""Writing what is in memory, without stopping anybody."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from altyn.node.chain.coins import CoinLayer, CoinsCache
from altyn.node.chain.indexes import Indexes
from altyn.node.chain.load import record_of
from altyn.node.chain.stores import Checkpoint, Stores
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.errors import StoreError
from altyn.node.storage.headers import HeaderRecord

log = logging.getLogger(__name__)

_MANY_CHANGED = 5_000
"""Entries that are worth a flush: setting more aside at once would hold up the event loop."""


class Flusher:
    """Sets the state of the moment aside and lets a thread write it; one flush at a time."""

    def __init__(
        self,
        stores: Stores,
        coins: CoinsCache,
        indexes: Indexes,
        offload: Offload,
        checkpoint: Checkpoint,
        *,
        cache_size: int,
        tip: Callable[[], Entry],
    ) -> None:
        """`cache_size` is the most that unwritten coins and index rows may take in memory, in bytes.

        Half of it is for those that come, half for those being written.
        """
        self._stores = stores
        self._coins = coins
        self._indexes = indexes
        self._offload = offload
        self._checkpoint = checkpoint
        self._limit = cache_size // 2
        self._tip = tip
        self._changed: set[Entry] = set()
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._is_running = False
        self.has_failed = False
        """A flush could not be written: what is in memory is lost, what is on the disk is whole but older."""

    def changed(self, *entries: Entry) -> None:
        """Note entries whose record in the header index is out of date."""
        self._changed.update(entries)
        if len(self._changed) > _MANY_CHANGED:
            self._wanted.set()

    async def limit(self) -> None:
        """Ask for a flush when active coins and rows have their half of the cache; wait when the other is taken too.

        While `run` is not there to flush, as when a chain starts, flush in place.
        """
        if self._coins.size + self._indexes.size < self._limit:
            return
        if not self._is_running:
            await self.flush()
            return
        self._wanted.set()
        while self._coins.is_frozen and not self.has_failed:
            async with self._turn:
                pass

    async def run(self, interval: float) -> None:
        """Flush when asked to, and every `interval` seconds. Raises StoreError."""
        self._is_running = True
        try:
            while True:
                try:
                    async with asyncio.timeout(interval):
                        await self._wanted.wait()
                except TimeoutError:
                    log.debug("flushing, since %.0f seconds have passed", interval)
                self._wanted.clear()
                await self.flush()
        finally:
            self._is_running = False

    async def flush(self) -> None:
        """Write the state of this moment, and return when it is durable. Raises StoreError."""
        async with self._turn:
            if self.has_failed:
                raise StoreError("an earlier flush could not be written: restart the node")
            tip = self._tip()
            if not (self._changed or self._coins.size or self._indexes.are_dirty or self._is_elsewhere(tip)):
                return
            self._checkpoint("flush-begin")
            log.debug("flush begins at height %d", tip.height)
            headers = [record_of(entry) for entry in self._changed]
            self._changed = set()
            layer = self._coins.freeze()
            self._indexes.freeze()
            written: list[bool] = []
            try:
                await self._offload(self._write, headers, tip.hash, layer, written)
            finally:  # a cancelled flush has been written too, when `offload` returns
                if written:
                    self._coins.thaw()
                    self._indexes.thaw()
                    self._checkpoint("flush-end")
                    log.debug("flush ends")
                else:
                    self.has_failed = True

    def _is_elsewhere(self, tip: Entry) -> bool:
        return self._stores.coins.best_block != tip.hash

    def _write(self, headers: Sequence[HeaderRecord], best_block: bytes, coins: CoinLayer, written: list[bool]) -> None:
        self._stores.write(headers, best_block, coins, self._checkpoint)
        self._checkpoint("flush-indexes")
        self._indexes.write()
        written.append(True)
