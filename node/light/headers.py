"""The chain of a light node: checked headers, the most work, kept on disk."""

import asyncio
from collections.abc import Sequence

from altyn.consensus.block import Header
from altyn.consensus.checks.headers import check_header, check_header_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import Network
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import BestHeaderChanged, Events, TipChanged
from altyn.node.offload import Offload
from altyn.node.storage.errors import StoreError
from altyn.node.storage.headers import HeaderRecord, HeaderStore
from altyn.p2p.clock import Clock

_HEADERS_AT_ONCE = 64
"""Headers checked before the event loop gets a turn: about two milliseconds."""


class HeaderChain:
    """Headers, each checked for proof of work, difficulty, time and link; the tip is the one with the most work."""

    def __init__(
        self, network: Network, store: HeaderStore, clock: Clock, events: Events, offload: Offload, *, max_tip_age: int
    ) -> None:
        """Read what the store holds; `max_tip_age` in seconds, see `is_initial_block_download`. Raises StoreError."""
        self.network = network
        self.events = events
        self.tree = HeaderTree(network.genesis.header)
        self._store = store
        self._clock = clock
        self._offload = offload
        self._max_tip_age = max_tip_age
        self._adding = asyncio.Lock()
        self._was_current = False
        for record in store:
            if record.height == 0:
                continue
            try:
                self.tree.add(record.header, status=record.status)
            except KeyError:
                raise StoreError(
                    f"header {record.height} has no parent: delete the light node's folder and start again"
                ) from None
        self.tip = self.tree.best_header

    def active(self, height: int) -> Entry | None:
        """Return the entry of the most-work chain at `height`; None above the tip or below 0."""
        return self.tip.ancestor(height) if 0 <= height <= self.tip.height else None

    def is_active(self, entry: Entry) -> bool:
        """Whether the most-work chain contains `entry`."""
        return entry.height <= self.tip.height and self.tip.ancestor(entry.height) is entry

    def next_active(self, entry: Entry) -> Entry | None:
        """Return the entry after `entry` in the most-work chain."""
        return self.active(entry.height + 1) if self.is_active(entry) else None

    def find_fork(self, locator: Sequence[bytes]) -> Entry:
        """Return the last entry of the most-work chain that `locator` knows; genesis if none."""
        for block_hash in locator:
            entry = self.tree.get(block_hash)
            if entry is not None and self.is_active(entry):
                return entry
        return self.tree.genesis

    @property
    def is_initial_block_download(self) -> bool:
        """Whether the tip is old or has little work; once False it stays so (Core)."""
        if not self._was_current:
            tip = self.tip
            enough = tip.chain_work >= self.network.minimum_chain_work
            self._was_current = enough and tip.time >= self._clock.now() - self._max_tip_age
        return not self._was_current

    @property
    def verification_progress(self) -> float:
        """How much of the chain is here, from 0 to 1, judged by time alone: nobody counts transactions here."""
        since = self.tree.genesis.time
        now = self._clock.now()
        return 1.0 if now <= since else max(0.0, min(1.0, (self.tip.time - since) / (now - since)))

    async def add_headers(self, headers: Sequence[Header]) -> Entry:
        """Check headers, parents first, store them and follow the most work; return the last one's entry.

        Raises ValidationError; what came before the bad header is kept.
        """
        async with self._adding:
            fresh: list[Entry] = []
            try:
                for number, header in enumerate(headers, start=1):
                    last = self._add(header, fresh)
                    if number % _HEADERS_AT_ONCE == 0:
                        await asyncio.sleep(0)
            finally:
                if fresh:
                    records = [HeaderRecord(each.header, each.height, each.status, 0, None, 0, None) for each in fresh]
                    await self._offload(self._store.write, records)
                    self._follow()
            return last

    def _add(self, header: Header, fresh: list[Entry]) -> Entry:
        known = self.tree.get(header.hash)
        if known is not None:
            return known
        check_header(header, self.network)
        parent = self.tree.get(header.prev_hash)
        if parent is None:
            raise ValidationError("prev-blk-not-found", fault=Fault.MISSING_PREVIOUS)
        check_header_in_context(header, parent, self.network, int(self._clock.now()))
        entry = self.tree.add(header)
        fresh.append(entry)
        return entry

    def _follow(self) -> None:
        old, new = self.tip, self.tree.best_header
        if new is not old:
            self.tip = new
            self.events.publish(BestHeaderChanged(new))
            self.events.publish(TipChanged(old, new))
