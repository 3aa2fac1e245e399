"""What the active chain stands on: its blocks from genesis on, or a snapshot, until the background has proved that."""

import asyncio
from collections.abc import Awaitable, Callable

from altyn.consensus.networks import TrustedSnapshot
from altyn.node.chain.active import ActiveChain
from altyn.node.chain.background import Background
from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.shared import Shared
from altyn.node.chain.tree import Entry
from altyn.node.events import SnapshotChanged
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.snapshot import SnapshotError


class Foundation:
    """Changed only in the writer's task, but for the store of a snapshot that is being loaded."""

    def __init__(
        self, shared: Shared, active: ActiveChain, cache_size: int, make_room: Callable[[], Awaitable[None]]
    ) -> None:
        """`cache_size` and `make_room` are for the background: see there."""
        self._shared = shared
        self._active = active
        self._cache_size = cache_size
        self._make_room = make_room
        self.background: Background | None = None
        self._has_background = asyncio.Event()

    def begin_background(self, tip: Entry, base: Entry, coins: CoinsCache) -> None:
        """Have the blocks from `tip`, where `coins` stand, up to the snapshot's `base` connected as they come."""
        self.background = Background(
            tip, base, coins, self._shared, cache_size=self._cache_size, make_room=self._make_room
        )
        self._has_background.set()

    @property
    def validated(self) -> Entry:
        """The last block up to which all blocks were connected: the tip, unless it stands on a snapshot not proved."""
        return self.background.tip if self.background is not None else self._active.tip

    def can_leave_for(self, height: int) -> bool:
        """Whether no block above `height` is below the base of a snapshot that is not proved."""
        return self.background is None or self.background.base.height <= height

    async def flush(self) -> None:
        """Write all that is in memory, below the snapshot too, unless that failed before. Raises StoreError."""
        if self.background is None:
            await self._shared.flusher.flush()
        elif not self.background.has_failed:
            await self.background.flush()

    @property
    def may_begin(self) -> bool:
        """Whether no snapshot is being loaded, and the chain does not stand on one since the start."""
        return not (self._shared.stores.has_snapshot or self._shared.stores.is_loading)

    async def begin(self) -> CoinStore:
        """Return an empty store for the coins of a snapshot. Raises StoreError."""
        return await self._shared.offload(self._shared.stores.begin_snapshot)

    async def drop(self) -> None:
        """Forget a snapshot that was begun, unless the chain stands on it."""
        await self._shared.offload(self._shared.stores.drop_snapshot)

    async def stand_on(
        self, snapshot: CoinStore, listed: TrustedSnapshot, check: Callable[[], object]
    ) -> SnapshotError | None:
        """Go on from a snapshot that was loaded, or return why `check` refuses it: see `Chain.stand_on`."""
        shared = self._shared
        await shared.flusher.flush()  # the header index has the base from here on
        try:
            check()
        except SnapshotError as error:
            return error
        shared.checkpoint("snapshot-loaded")
        await shared.offload(snapshot.loaded, listed.block_hash)
        shared.checkpoint("snapshot-begin")
        await shared.flusher.flush()  # no other is under way until this awaits again
        base = shared.branches.tree.get(listed.block_hash)
        assert base is not None
        shared.stores.stand_on_snapshot()
        base.chain_tx_count = listed.chain_tx_count
        start, coins = self._active.tip, self._active.stand_on(base, snapshot)
        shared.branches.candidates.begin_at(base)
        self.begin_background(start, base, coins)
        shared.events.publish(SnapshotChanged(base, is_proved=False))
        return None

    async def prove(self) -> None:
        """Wait until the chain stands on a snapshot, and until that is proved. Raises StoreError if it is false."""
        await self._has_background.wait()
        assert self.background is not None
        await self.background.run()
        await self._shared.writer.do(self._retire_background)

    async def _retire_background(self) -> None:
        assert self.background is not None
        base, self.background = self.background.base, None
        self._shared.stores.retire()
        self._shared.events.publish(SnapshotChanged(base, is_proved=True))
