"""How long things live: work in the background of a body, and what a node takes from outside."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from altyn.consensus.secp256k1 import Ellswift, Secp256k1
from altyn.node.offload import Offload, Threads
from altyn.p2p.clock import SystemClock, Timer
from altyn.p2p.transport import Dialer, Listener, dial_tcp, listen_tcp

log = logging.getLogger(__name__)


class NodeError(Exception):
    """A node that cannot start, or go on; one line that says why, in bitcoind's words where it has some.

    `hint` says in ours what to do, where those do not.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node takes from outside: time, threads, chance and the network. A simulation gives its own."""

    clock: Timer
    offload: Offload
    random: random.Random
    dialer: Dialer = dial_tcp
    listener: Listener = listen_tcp
    in_memory: bool = False
    """Keep all stores in memory, and touch no disk."""


@asynccontextmanager
async def real_surroundings(threads: int, mock_time: int) -> AsyncIterator[Surroundings]:
    """Offer the machine's clock (stopped at `mock_time` unless 0), threads and sockets; at the end wait for threads."""
    clock = SystemClock()
    if mock_time:
        clock.set_mock_time(mock_time)
    offload = Threads(threads)
    try:
        yield Surroundings(clock, offload, random.SystemRandom())
    finally:
        offload.close()


def encryption(wanted: bool, secp: Secp256k1) -> Ellswift | None:
    """Return what the v2 transport needs; None if it is not wanted, or cannot be had, which the log then says."""
    if not wanted:
        return None
    if isinstance(secp, Ellswift):
        return secp
    log.warning("speaking v1 with peers, without encryption: v2transport needs libsecp256k1 (coincurve)")
    return None


def worker_threads(par: int) -> int:
    """Return how many threads `-par` asks for, and one more, so that a flush keeps no script check waiting."""
    return script_checkers(par) + 1


def script_checkers(par: int) -> int:
    """Return how many scripts are checked at once: `par`, all processors for 0, n less than all for -n."""
    return max(par if par > 0 else (os.cpu_count() or 1) + par, 1)


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` while the body runs, and cancel it afterwards, the last one first, each ended before the next.

    What one of them raises cancels the body and the others, and is then raised itself, not a group that holds it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            try:
                yield
            finally:
                for task in reversed(tasks):
                    task.cancel()
                    await asyncio.wait([task])
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
