"""What is known of every branch: its headers, whether it is valid, and which could be the active chain."""

import logging
from collections.abc import Callable, Iterable
from math import log2

from altyn.consensus.block import Block, Header
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network
from altyn.node.chain.accept import accept_header
from altyn.node.chain.candidates import Candidates
from altyn.node.chain.load import set_stored
from altyn.node.chain.tree import HAVE_BLOCK, HAVE_UNDO, Entry, HeaderTree
from altyn.node.events import BestHeaderChanged, BlockFailed, Events
from altyn.node.storage.blocks import FilePosition

log = logging.getLogger(__name__)


class Branches:
    """The header tree and the candidates for the tip, changed together. Belongs to the writer's task."""

    def __init__(
        self,
        tree: HeaderTree,
        candidates: Candidates,
        network: Network,
        events: Events,
        changed: Callable[..., None],
    ) -> None:
        """`changed` is told the entries whose record in the header index is out of date."""
        self.tree = tree
        self.candidates = candidates
        self._network = network
        self._events = events
        self._changed = changed

    def add_header(self, header: Header, now: float, *, min_work_checked: bool) -> Entry:
        """Check a header and put it into the tree, or find it there. Raises ValidationError."""
        known = len(self.tree)
        entry = accept_header(self.tree, header, self._network, now, min_work_checked=min_work_checked)
        if len(self.tree) != known:
            self._changed(entry)
        return entry

    def announce_best_header(self, since: Entry) -> None:
        """Tell everybody of the best header if it is no longer `since`."""
        if self.tree.best_header is not since:
            self._events.publish(BestHeaderChanged(self.tree.best_header))

    def stored(self, entry: Entry, block: Block, position: FilePosition, tip: Entry) -> None:
        """Note that the block of `entry` is in the files: it, and those that waited for it, may become the tip."""
        set_stored(entry, block, position)
        self._changed(entry)
        self.candidates.stored(entry, tip)

    def pruned(self, entries: Iterable[Entry], tip: Entry) -> None:
        """Forget where blocks lie that are about to be removed from the files; whoever calls this writes it."""
        gone = sorted(entries, key=lambda entry: entry.height)
        for entry in gone:
            entry.status &= ~(HAVE_BLOCK | HAVE_UNDO)
            entry.block_position = entry.undo_position = None
            entry.block_size = 0
        for entry in gone:
            if tip.height < entry.height or tip.ancestor(entry.height) is not entry:
                self.candidates.lost(entry, self.tree.descendants(entry))

    def fail(self, entry: Entry, error: ValidationError) -> None:
        """Remember that a block and all that builds on it are invalid."""
        log.warning(
            "InvalidChainFound: invalid block=%s height=%d log2_work=%f: %s",
            entry.hash[::-1].hex(),
            entry.height,
            log2(entry.chain_work),
            error,
        )
        self._changed(*self.tree.mark_failed(entry))
        self.candidates.drop_failed()
        self._events.publish(BlockFailed(entry, error))

    def condemn(self, entry: Entry, tip: Entry) -> None:
        """Treat a block as invalid by decree; `tip` is where the chain stands without it."""
        self._changed(*self.tree.mark_failed(entry))
        self.candidates.gather(tip, self.tree.tips())

    def pardon(self, entry: Entry, tip: Entry) -> None:
        """Forget that a block, those before it and those behind it were invalid."""
        self._changed(*self.tree.forget_failure(entry))
        self.candidates.gather(tip, self.tree.tips())
