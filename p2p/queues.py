"""What waits on either side of one peer, bounded in bytes."""

import asyncio
from collections import deque
from typing import NamedTuple

from altyn.p2p.framing.frame import Frame

_OVERHEAD = 150
"""Bytes that a queued message costs besides its own: a flood of empty ones is a flood too."""


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


class Inbox:
    """Frames read and not handled yet. A None says that nothing comes any more."""

    def __init__(self, soft: int) -> None:
        """`soft`: bytes above which `room` waits."""
        self._soft = soft
        self._queue: deque[Frame | None] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.queued_bytes = 0

    def put(self, frame: Frame | None) -> None:
        """Add a frame. Call `room` between reads to keep to the limit."""
        self._queue.append(frame)
        self._filled.set()
        if frame is not None:
            self.queued_bytes += frame.size + _OVERHEAD
            if self.queued_bytes > self._soft:
                self._room.clear()

    async def get(self) -> Frame | None:
        """Wait for the oldest frame."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        frame = self._queue.popleft()
        if frame is not None:
            self.queued_bytes -= frame.size + _OVERHEAD
            if self.queued_bytes <= self._soft:
                self._room.set()
        return frame

    async def room(self) -> None:
        """Wait until at most the soft limit is queued."""
        await self._room.wait()


class Budget:
    """Bytes that may be in work at once, shared by all peers; who asked first is served first."""

    def __init__(self, most: int) -> None:
        """`most`: bytes; one message alone may exceed it."""
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.taken = 0

    async def take(self, size: int) -> None:
        """Wait until `size` bytes more may be in work; `give` them back afterwards. Of 0 bytes there is always room."""
        if not size:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # those behind it may have waited for it alone
            else:
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """Say that the work on `size` bytes is done."""
        self.taken -= size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if self.taken and self.taken + size > self._most:
                    return
                self.taken += size
                turn.set_result(None)
            self._waiting.popleft()
