"""The chain from genesis, while the active one stands on a snapshot: it goes up to the base of that, and proves it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from altyn.consensus.errors import Fault, ValidationError
from altyn.node.chain.coin_statistics import CoinSetScan
from altyn.node.chain.coins import CoinLayer, CoinsCache
from altyn.node.chain.connect import disconnect_block
from altyn.node.chain.load import find_trusted
from altyn.node.chain.pipeline import Prepared
from altyn.node.chain.shared import Shared
from altyn.node.chain.tree import Entry
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.errors import StoreError

log = logging.getLogger(__name__)

_TURN = 0.1
"""Seconds after which the writer's other jobs get their turn, if any wait."""
_AT_ONCE = 16
"""Blocks that a thread prepares before it is looked what else there is to do."""
_PIECE = 5_000
"""Coins hashed before another call of a thread may have its turn."""


class Background:
    """A second tip with its own coins, below a base that it must reach. Shares header tree, block files and indexes.

    Changed only by its own coroutines, each step in the writer's task.
    """

    def __init__(
        self,
        tip: Entry,
        base: Entry,
        coins: CoinsCache,
        shared: Shared,
        *,
        cache_size: int,
        make_room: Callable[[], Awaitable[None]],
    ) -> None:
        """`cache_size` is the most that coins not written may take, in bytes; `make_room` prunes block files."""
        listed = find_trusted(shared.network, base.hash)
        assert listed is not None
        self.tip = tip
        self.base = base
        self.coins = coins
        self._listed = listed
        self._pipeline = shared.pipeline(coins)
        self._blocks = shared.blocks
        self._branches = shared.branches
        self._shared = shared
        self._stores = shared.stores
        self._flusher = shared.flusher
        self._writer = shared.writer
        self._offload = shared.offload
        self._cache_size = cache_size
        self._make_room = make_room
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self.has_failed = False
        """A flush could not be written, or was cancelled: what is in memory will be connected again."""

    def wake(self) -> None:
        """Look again: blocks were stored."""
        self._wanted.set()

    async def run(self) -> None:
        """Connect blocks as they come, up to the base, and return when the snapshot is proved.

        Raises StoreError when it turns out to be false: it is forgotten then, and the next start begins without it.
        """
        while self.tip is not self.base:
            self._wanted.clear()
            if not await self._writer.do(self._step):
                await self._wanted.wait()
            if self.coins.size >= self._cache_size:
                await self.flush()
        await self.flush()
        digest = await self._digest()
        assert self.base.parent is not None
        count = self.base.parent.chain_tx_count + self.base.tx_count
        if (digest, count) != (self._listed.coins_hash, self._listed.chain_tx_count):
            await self._forget_snapshot()
            raise StoreError(
                f"the snapshot at height {self.base.height} is false: the blocks up to there leave coins of the hash "
                f"{digest[::-1].hex()} after {count} transactions, not {self._listed.coins_hash[::-1].hex()} after "
                f"{self._listed.chain_tx_count}. It is forgotten: start again to go on without it"
            )
        await self._offload(self._stores.coins.proved)
        log.info("the snapshot at height %d is proved: all blocks before it are valid", self.base.height)

    async def flush(self) -> None:
        """Write what is in memory, the header index first, and return when it is durable. Raises StoreError."""
        async with self._turn:
            if self.has_failed:
                raise StoreError("an earlier flush could not be written: restart the node")
            store, tip = self._stores.background, self.tip
            assert store is not None
            layer = self.coins.freeze()
            written: list[bool] = []
            try:
                await self._flusher.flush()
                await self._offload(_write, store, tip, layer, written)
            finally:
                if written:
                    self.coins.thaw()
                else:
                    self.has_failed = True

    async def _step(self) -> bool:
        """Connect what is there, for a short while; return whether anything was to be done."""
        if self.base.ancestor(min(self.tip.height, self.base.height)) is not self.tip:
            await self._disconnect_tip()
            return True
        began, before = time.monotonic(), self.tip
        pipeline = self._pipeline
        entry = self.tip
        try:
            while True:
                head = pipeline.head or self.tip
                is_over = time.monotonic() - began > _TURN or self._writer.pending
                if not is_over and pipeline.has_room and (line := self._stored_behind(head)):
                    try:
                        await pipeline.prepare(line, {})
                    except ValidationError:
                        entry = self.base.ancestor((pipeline.head or self.tip).height + 1)
                        raise
                elif pipeline:
                    entry = pipeline.lowest
                    await self._commit(await pipeline.take())
                else:
                    return self.tip is not before
        except ValidationError as error:
            raise await self._refused(entry, error) from error
        finally:
            await pipeline.abandon()

    def _stored_behind(self, entry: Entry) -> list[Entry]:
        """Return the next blocks on the way to the base, as far as they are stored without a gap."""
        line = []
        for height in range(entry.height + 1, min(entry.height + _AT_ONCE, self.base.height) + 1):
            following = self.base.ancestor(height)
            if not following.has_block:
                break
            line.append(following)
        return line

    async def _commit(self, prepared: Prepared) -> None:
        entry, connection = prepared.entry, prepared.connection
        values = await self._shared.prepare_indexes(prepared)
        # From here to the end nothing awaits, as when a block becomes the tip.
        self.coins.apply(connection.coins.created, connection.coins.removed, connection.coins.overwrites)
        self._pipeline.committed(prepared)
        self.tip = entry
        self._shared.connected(prepared, values)
        await self._flusher.limit()
        await self._make_room()

    async def _disconnect_tip(self) -> None:
        """Leave a branch that does not lead to the base."""
        tip = self.tip
        assert tip.parent is not None
        block, spent = await self._offload(lambda: (self._blocks.read(tip), self._blocks.read_spent(tip)))
        change = disconnect_block(block, spent)
        self.coins.apply(change.created, change.removed, change.overwrites)
        self.tip = tip.parent

    async def _refused(self, entry: Entry, error: ValidationError) -> StoreError:
        """Return why the node must stop: it stands on a block that is invalid, or damaged."""
        block = f"block {entry.hash[::-1].hex()} at height {entry.height}"
        if error.fault is Fault.MUTATED:
            return StoreError(f"{block} is damaged in the block files")
        self._branches.fail(entry, error)
        await self._forget_snapshot()
        return StoreError(
            f"the snapshot at height {self.base.height} is false: {block}, which it builds on, is invalid ({error}). "
            "It is forgotten: start again to go on without it"
        )

    async def _forget_snapshot(self) -> None:
        await self._offload(self._stores.coins.disproved)

    async def _digest(self) -> bytes:
        _, coins = await self._offload(self.coins.stored)
        with contextlib.closing(coins):
            scan = CoinSetScan(coins, "hash_serialized_3")
            while await self._offload(scan.step, _PIECE):
                pass
        return await self._offload(scan.digest)


def _write(store: CoinStore, tip: Entry, layer: CoinLayer, written: list[bool]) -> None:
    if layer or store.best_block != tip.hash:
        store.write(tip.hash, layer.changes())
    written.append(True)
