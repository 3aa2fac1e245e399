"""Processes that run script checks beside this one.

Threads do not do: libsecp256k1 frees the interpreter lock, but each return from it waits for the lock again, and where
waking a thread takes about as long as checking a signature, two threads are hardly faster than one. A process has a
lock of its own, and leaves this one's to the node's other work.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque

from altyn.node.chain.worker import VERDICT, Verdict, decode_verdict

_DEPTH = 2
"""Frames that a process may have: it begins the next while its last verdict is on the way."""


class WorkerError(Exception):
    """A process that ended while it was at work."""


class Workers:
    """A bounded number of processes, each started when it is first needed. Belongs to one event loop."""

    def __init__(self, count: int, backend: str) -> None:
        """`backend` names the curve that they use, as in `altyn.consensus.secp256k1.load`."""
        self.count = count
        self._places = [_Place(backend) for _ in range(count)]
        self._room = asyncio.Semaphore(count * _DEPTH)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Those that were needed and have not ended."""
        return [place.process.popen for place in self._places if place.process is not None]

    async def check(self, frame: bytes) -> Verdict:
        """Have one process run the checks of a frame (see `worker.frame`); wait until one has room.

        Raises WorkerError.
        """
        async with self._room:
            return await min(self._places, key=lambda place: place.load).check(frame)

    def close(self) -> None:
        """End the processes, whatever they are at: they hold nothing that could be lost."""
        for place in self._places:
            place.close()


class _Place:
    """Where a process is, or will be when it is needed."""

    def __init__(self, backend: str) -> None:
        self.load = 0
        self.process: _Process | None = None
        self._backend = backend
        self._starting = asyncio.Lock()

    async def check(self, frame: bytes) -> Verdict:
        self.load += 1
        try:
            async with self._starting:
                if self.process is None or self.process.has_ended:
                    self.close()
                    self.process = await _start(self._backend)
            return await self.process.ask(frame)
        finally:
            self.load -= 1

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


class _Process(asyncio.Protocol):
    """A process, and those who wait for its verdicts, in the order in which it was asked."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.has_ended = False
        self._waiting: deque[asyncio.Future[Verdict]] = deque()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def ask(self, frame: bytes) -> asyncio.Future[Verdict]:
        """Send a frame; the future has the verdict, or raises WorkerError."""
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        if self.has_ended or self._transport is None:
            answer.set_exception(_ended("before it was asked"))
        else:
            self._waiting.append(answer)
            self._transport.write(frame)
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= VERDICT.size:
            answer = self._waiting.popleft()
            if not answer.done():  # else nobody wants to know any more
                answer.set_result(decode_verdict(bytes(received[: VERDICT.size])))
            del received[: VERDICT.size]

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(_ended(str(exc or "")))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.popen.kill()
        self.popen.wait()


def _ended(how: str) -> WorkerError:
    return WorkerError(f"a process for script checks ended {how}".rstrip())


async def _start(backend: str) -> _Process:
    ours, theirs = socket.socketpair()
    with theirs:
        popen = _popen(backend, theirs.fileno())
    process = _Process(popen)
    try:
        await asyncio.get_running_loop().create_connection(lambda: process, sock=ours)
    except BaseException:  # whoever asked gives up, most likely
        process.close()
        raise
    return process


def _popen(backend: str, handle: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "altyn.node.chain.worker", backend]
    # A session of its own: Ctrl-C is for the node, which ends its workers when it is done with them.
    return subprocess.Popen(command, stdin=handle, stdout=handle, start_new_session=True)
