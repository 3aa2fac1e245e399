"""What happened, as values, told to whoever subscribed: at once, in order, on the event loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Coin
from altyn.node.chain.tree import Entry


@dataclass(frozen=True, slots=True)
class BlockPassed:
    """The block of `entry` is right in work, form and witnesses, and about to be stored; its scripts may be wrong."""

    entry: Entry
    block: Block


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """`entry` is the new end of the active chain; `spent` lists the coins each transaction spent, coinbase first."""

    entry: Entry
    block: Block
    spent: Sequence[Sequence[Coin]]


@dataclass(frozen=True, slots=True)
class BlockDisconnected:
    """`entry` was the end of the active chain, its parent is now."""

    entry: Entry
    block: Block


@dataclass(frozen=True, slots=True)
class BlockFailed:
    """The block of `entry` broke a rule when it was stored or connected: it and all that build on it are invalid."""

    entry: Entry
    error: ValidationError


@dataclass(frozen=True, slots=True)
class TipChanged:
    """The most-work chain is reached, listeners have settled; once for a whole reorganisation."""

    old: Entry
    new: Entry


@dataclass(frozen=True, slots=True)
class BestHeaderChanged:
    """`entry` has the most work of all headers not known to be invalid; once for a batch of headers."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class IndexCaughtUp:
    """The index called `name` has come to the tip, and follows it from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """Work that takes long went on: its name for people, and how much is done of how much; all when it has ended."""

    work: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class SnapshotChanged:
    """The chain stands on a snapshot made at `base` now; or that one is proved."""

    base: Entry
    is_proved: bool


@dataclass(frozen=True, slots=True)
class WarningRaised:
    """Something is wrong that the user should look into, which was not so before."""

    text: str


@dataclass(frozen=True, slots=True)
class SchedulerForwarded:
    """What is done every so often is to be done as if so many seconds had passed (mockscheduler)."""

    seconds: int


class Events:
    """A list of subscribers. An exception raised by one reaches the publisher: subscribers must not fail."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[Callable[[Any], None], tuple[type, ...]]] = []
        self._by_kind: dict[type, tuple[Callable[[Any], None], ...]] = {}

    def subscribe(self, callback: Callable[[Any], None], *kinds: type) -> Callable[[], None]:
        """Call `callback` with every event, or those of some kinds, from now on; return the function that ends it."""
        subscriber = callback, kinds
        self._subscribers.append(subscriber)
        self._by_kind.clear()

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
                self._by_kind.clear()

        return unsubscribe

    def publish(self, event: object) -> None:
        """Tell every subscriber of `event`, in the order they subscribed."""
        kind = type(event)
        told = self._by_kind.get(kind)
        if told is None:
            told = tuple(callback for callback, kinds in self._subscribers if not kinds or kind in kinds)
            self._by_kind[kind] = told
        for callback in told:
            callback(event)
