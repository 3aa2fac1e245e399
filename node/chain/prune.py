"""Removing old blocks: which block files may go, and in which order, so that a crash leaves nothing half."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from altyn.node.chain.load import record_of
from altyn.node.chain.shared import Shared
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.storage.headers import HeaderRecord

log = logging.getLogger(__name__)

MANUAL = (1 << 64) - 1
"""A target that is never reached (Core: PRUNE_TARGET_MANUAL)."""
_ROOM = 17 << 20
"""Bytes below the target to stay at, for what is written until the next look (Core)."""
_AVERAGE_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """When block files are removed, with Core's numbers."""

    target: int = MANUAL
    """Bytes that all block and undo files may take."""
    keep: int = 288
    """Blocks below the tip that stay: peers may ask for them (BIP159), and a reorganisation needs them."""
    step: int = 16 << 20
    """Bytes that the files grow between two looks: what Core sets aside on the disk at once."""
    after: int = 0
    """Height up to which nothing goes without being told to."""
    margin: int = 10
    """Blocks that stay below the last one of an index, should it have to go back."""


class Pruner:
    """Removes whole block files that nothing needs any more. Belongs to the writer's task."""

    def __init__(
        self,
        shared: Shared,
        options: PruneOptions,
        *,
        flush: Callable[[], Awaitable[None]],
        validated: Callable[[], Entry],
    ) -> None:
        """`flush` makes the state of the moment durable; blocks above `validated` are still to be connected."""
        self.options = options
        self._stores = shared.stores
        self._branches = shared.branches
        self._indexes = shared.indexes
        self._offload = shared.offload
        self._checkpoint = shared.checkpoint
        self._flush = flush
        self._validated = validated
        self._looked_at = -options.step
        self.height = 0
        """Of the highest block in the active chain that is not here as a whole; 0 if there is none."""

    @property
    def is_automatic(self) -> bool:
        """Whether files go without anybody asking for it."""
        return self.options.target != MANUAL

    def opened(self, tip: Entry) -> None:
        """Find what was pruned before."""
        entry = tip
        while entry.parent is not None and entry.has_block and entry.undo_position:
            entry = entry.parent
        self.height = entry.height

    def is_due(self, tip: Entry) -> bool:
        """Whether the files have reached the target, and grown since this was true last (Core: m_check_for_pruning)."""
        usage = self._stores.files.usage
        if (
            usage + _ROOM < self.options.target
            or usage < self._looked_at + self.options.step
            or tip.height <= self.options.after
        ):
            return False
        self._looked_at = usage
        return True

    async def make_room(self, tip: Entry, *, syncing: bool) -> None:
        """Remove the oldest files until all are below the target, or no more may go (Core: FindFilesToPrune)."""
        files = self._stores.files
        most = self.options.target - _ROOM
        if syncing:  # each time costs a flush: make room for all that is still to come
            most -= _AVERAGE_BLOCK * (self._branches.tree.best_header.height - tip.height)
        chosen, usage = {}, files.usage
        for file, entries in (await self._offload(self._removable, tip.height, tip)).items():
            if usage < most:
                break
            chosen[file] = entries
            usage -= files.size(file)
        await self._remove(chosen, tip)
        self._looked_at = files.usage

    async def remove_up_to(self, height: int, tip: Entry) -> None:
        """Remove the files whose blocks are all at `height` or below (Core: FindFilesToPruneManual)."""
        await self._remove(await self._offload(self._removable, height, tip), tip)

    def _removable(self, height: int, tip: Entry) -> dict[int, list[Entry]]:
        """Return the files that may go, oldest first, with the blocks in each; blocking."""
        last = min(height, self._last(tip))
        blocks: dict[int, list[Entry]] = {file: [] for file in self._stores.files.finished()}
        for entry in self._branches.tree:
            if entry.block_position is not None and entry.block_position.file in blocks:
                blocks[entry.block_position.file].append(entry)
        return {file: entries for file, entries in blocks.items() if all(entry.height <= last for entry in entries)}

    def _last(self, tip: Entry) -> int:
        """Return the height of the last block that may go."""
        last = min(tip.height, self._validated().height) - self.options.keep
        for index in self._indexes:
            assert index.best is not None
            needed = HeaderTree.fork_point(index.best, tip).height - self.options.margin
            if needed - 1 < last:
                log.debug("%s limited pruning to height %d", index.title, needed - 1)
                last = max(1, needed - 1)
        return last

    async def _remove(self, files: dict[int, list[Entry]], tip: Entry) -> None:
        """Flush, then let the index forget the files, then delete them.

        Coins and indexes are never behind a block that is gone, and a crash leaves at most files that the index does
        not know any more: they are deleted at the next start.
        """
        if not files:
            return
        await self._flush()
        entries = [entry for blocks in files.values() for entry in blocks]
        self._branches.pruned(entries, tip)
        active = (entry.height for entry in entries if tip.ancestor(min(entry.height, tip.height)) is entry)
        self.height = max(self.height, *active, 0)
        await self._offload(self._delete, [record_of(entry) for entry in entries], list(files))
        log.info("pruned %d block files, up to height %d", len(files), self.height)

    def _delete(self, records: Sequence[HeaderRecord], files: Sequence[int]) -> None:
        self._checkpoint("prune-begin")
        self._stores.headers.write(records, files)
        self._checkpoint("prune-files")
        self._stores.files.remove(files)
        self._checkpoint("prune-end")
