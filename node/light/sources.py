"""The peers that serve compact filters, and how long one that does not answer is put up with."""

import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from altyn.consensus.block import Block
from altyn.node.chain.tree import Entry
from altyn.node.light.errors import LightError
from altyn.p2p.messages import CFHeaders

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = 3
"""Requests that a peer may leave unanswered before it is dropped."""


class FilterSource(Protocol):
    """A peer that serves filters. Each request raises LightError when it is not answered in time, or not properly."""

    @property
    def id(self) -> int: ...

    def common(self, entry: Entry) -> Entry:
        """Return the last ancestor of `entry`, or itself, that the peer is known to have: at least genesis."""
        ...

    async def filter_headers(self, start: int, stop: Entry) -> CFHeaders: ...

    async def checkpoints(self, stop: Entry) -> Sequence[bytes]: ...

    async def filters(self, start: int, stop: Entry) -> Sequence[bytes]:
        """Return the filters of the blocks from height `start` to `stop`."""
        ...

    async def block(self, entry: Entry) -> Block:
        """Return the block, checked against its header."""
        ...

    def drop(self, reason: str) -> None:
        """End the connection to a peer that is of no use."""
        ...

    def punish(self, reason: str) -> None:
        """End the connection to a peer that lied, for good."""
        ...


class FilterSources:
    """Those that are connected, in the order they came; `left` is told the id of each that is no longer here."""

    def __init__(self, left: Callable[[int], None]) -> None:
        self._left = left
        self._by_id: dict[int, FilterSource] = {}
        self._unanswered: dict[int, int] = {}

    def __contains__(self, peer_id: object) -> bool:
        return peer_id in self._by_id

    def __getitem__(self, peer_id: int) -> FilterSource:
        return self._by_id[peer_id]

    def __iter__(self) -> Iterator[FilterSource]:
        """Go through those that are here now: some may leave meanwhile."""
        return iter(tuple(self._by_id.values()))

    def add(self, source: FilterSource) -> None:
        self._by_id[source.id] = source

    def remove(self, peer_id: int) -> None:
        self._by_id.pop(peer_id, None)
        self._unanswered.pop(peer_id, None)
        self._left(peer_id)

    async def answer(self, source: FilterSource, request: Coroutine[Any, Any, T]) -> T | None:
        """Await an answer; None when there is none. A peer that leaves too many requests unanswered is dropped."""
        try:
            answer = await request
        except LightError as error:
            if source.id not in self:
                return None
            count = self._unanswered.get(source.id, 0) + 1
            self._unanswered[source.id] = count
            log.debug("peer=%d: %s", source.id, error)
            if count >= PATIENCE:
                self.drop(source, f"does not serve filters: {error}")
            return None
        self._unanswered.pop(source.id, None)
        return answer

    def drop(self, source: FilterSource, reason: str) -> None:
        """Do without a peer that is of no use."""
        if source.id in self:
            self.remove(source.id)
            source.drop(reason)

    def punish(self, source: FilterSource, reason: str) -> None:
        """Do without a peer that lied, for good."""
        if source.id in self:
            self.remove(source.id)
            source.punish(reason)
