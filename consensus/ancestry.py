"""The chain as the rules see it: an entry knows its header and its ancestors, nothing else."""

from typing import Protocol

from altyn.consensus.block import Header
from altyn.consensus.limits import MEDIAN_TIME_SPAN


class ChainEntry(Protocol):
    """A header with its place in a chain."""

    @property
    def header(self) -> Header: ...

    @property
    def hash(self) -> bytes:
        """The block hash, 32 bytes."""
        ...

    @property
    def height(self) -> int: ...

    @property
    def parent(self) -> "ChainEntry | None":
        """The entry before this one; None for genesis."""
        ...

    @property
    def chain_work(self) -> int:
        """Expected hashes from genesis to here, both included."""
        ...

    def ancestor(self, height: int) -> "ChainEntry":
        """Return the entry at `height` on the way to genesis; `height` is from 0 to this entry's own."""
        ...


def median_time_past(entry: ChainEntry) -> int:
    """Return the median time of `entry` and its ten ancestors, in seconds (BIP113)."""
    times = []
    current: ChainEntry | None = entry
    for _ in range(MEDIAN_TIME_SPAN):
        if current is None:
            break
        times.append(current.header.time)
        current = current.parent
    times.sort()
    return times[len(times) // 2]
