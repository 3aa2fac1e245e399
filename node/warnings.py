"""What the user has to be told: gathered for RPC (`warnings`), and published once each (Core: node::Warnings)."""

from altyn.consensus.pow import work
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.events import BlockFailed, Events, TipChanged, WarningRaised
from altyn.p2p.time_offsets import TimeOffsets

LARGE_WORK_INVALID_CHAIN = (
    "Warning: We do not appear to fully agree with our peers! "
    "You may need to upgrade, or other nodes may need to upgrade."
)
_BLOCKS_AHEAD = 6
"""Blocks of the tip's work by which an invalid chain must be ahead to be worth a warning."""


class Warnings:
    """The warnings that hold now. Follows the events of the node."""

    def __init__(self, chain: Chain, clocks: TimeOffsets, events: Events) -> None:
        self._chain, self._clocks, self._events = chain, clocks, events
        self._best_invalid: Entry | None = None
        self._raised: set[str] = set()

    def current(self) -> list[str]:
        """Return the texts to show."""
        return ([LARGE_WORK_INVALID_CHAIN] if self._is_behind_an_invalid_chain() else []) + self._clocks.warnings

    def event(self, event: object) -> None:
        """Take note of invalid chains, and publish what was not so before."""
        if isinstance(event, BlockFailed):
            family = [event.entry, *self._chain.tree.descendants(event.entry)]
            self._best_invalid = max([*family, self._best_invalid or event.entry], key=lambda entry: entry.chain_work)
        elif not isinstance(event, TipChanged):
            return
        now = set(self.current())
        for text in sorted(now - self._raised):
            self._events.publish(WarningRaised(text))
        self._raised = now

    def _is_behind_an_invalid_chain(self) -> bool:
        """Core: CheckForkWarningConditions."""
        invalid, tip = self._best_invalid, self._chain.tip
        if invalid is None or not invalid.is_failed or self._chain.is_initial_block_download:
            return False
        return invalid.chain_work > tip.chain_work + _BLOCKS_AHEAD * work(tip.header.bits)
