"""What the user has to be told: gathered for RPC (`warnings`), and published once each (Core: node::Warnings)."""

from collections.abc import Iterable

from altyn.consensus.deployments import UnknownBits
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
        self._bits = UnknownBits(chain.network)
        self._bits.rules(chain.tip)  # all windows so far, while nobody waits
        self._raised: set[str] = set()

    def current(self) -> list[str]:
        """Return the texts to show; of new rules only while synchronised."""
        if self._chain.is_initial_block_download:
            return self._clocks.warnings
        invalid = [LARGE_WORK_INVALID_CHAIN] if self._is_behind_an_invalid_chain() else []
        return unknown_rules_texts(self._bits.rules(self._chain.tip).active) + invalid + self._clocks.warnings

    def of_tip(self, entry: Entry) -> list[str]:
        """Return what the line of the log about a new tip says besides: new rules that will be active soon."""
        if self._chain.is_initial_block_download:
            return []
        return unknown_rules_texts(self._bits.rules(entry).locked_in)

    def event(self, event: object) -> None:
        """Take note of invalid chains, and publish what was not so before."""
        if isinstance(event, BlockFailed):
            family = [event.entry, *self._chain.tree.descendants(event.entry)]
            self._best_invalid = max([*family, self._best_invalid or event.entry], key=lambda entry: entry.chain_work)
        elif isinstance(event, TipChanged):
            self._bits.rules(event.new)  # window by window, even when nothing is said of it yet
        else:
            return
        now = set(self.current())
        for text in sorted(now - self._raised):
            self._events.publish(WarningRaised(text))
        self._raised = now

    def _is_behind_an_invalid_chain(self) -> bool:
        """Core: CheckForkWarningConditions."""
        invalid, tip = self._best_invalid, self._chain.tip
        if invalid is None or not invalid.is_failed:
            return False
        return invalid.chain_work > tip.chain_work + _BLOCKS_AHEAD * work(tip.header.bits)


def unknown_rules_texts(bits: Iterable[int]) -> list[str]:
    """Return Core's words for rules that we lack."""
    return [f"Unknown new rules activated (versionbit {bit})" for bit in sorted(bits)]
