"""What waits to be sent to one peer, bounded in bytes."""

import asyncio
from collections import deque
from typing import NamedTuple

_OVERHEAD = 24
"""Bytes counted for each message besides its payload: a flood of empty ones is a flood too."""


class Outgoing(NamedTuple):
    """A message, encoded."""

    command: str
    payload: bytes


class Outbox:
    """A queue that counts bytes. A message counts until the next one is asked for: while it is being sent, too."""

    def __init__(self, *, soft: int, hard: int) -> None:
        """`soft`: bytes above which `drained` waits; `hard`: bytes that are never exceeded."""
        self._soft, self._hard = soft, hard
        self._queue: deque[Outgoing] = deque()
        self._sending = 0
        self.queued_bytes = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def put(self, outgoing: Outgoing) -> bool:
        """Queue a message; False, and nothing done, if the bytes would exceed the hard limit."""
        size = len(outgoing.payload) + _OVERHEAD
        if self.queued_bytes + size > self._hard:
            return False
        self._queue.append(outgoing)
        self.queued_bytes += size
        self._filled.set()
        if self.queued_bytes > self._soft:
            self._drained.clear()
        return True

    async def get(self) -> Outgoing:
        """Wait for the oldest message; calling says that the one before has been sent."""
        self.queued_bytes -= self._sending
        self._sending = 0
        if self.queued_bytes <= self._soft:
            self._drained.set()
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        outgoing = self._queue.popleft()
        self._sending = len(outgoing.payload) + _OVERHEAD
        return outgoing

    def take_rest(self) -> list[Outgoing]:
        """Return what is left, for a last word."""
        rest = list(self._queue)
        self._queue.clear()
        return rest

    async def drained(self) -> None:
        """Wait until at most the soft limit is queued."""
        await self._drained.wait()
