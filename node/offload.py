"""Work off the event loop: functions of values, run on threads, their results awaited."""

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SMALL_BLOCK = 40_000
"""Bytes of a block with which the event loop is done in a millisecond: a busy machine takes longer to wake a thread."""


class Offload(Protocol):
    """Runs a blocking function somewhere and hands back what it returns or raises."""

    workers: int

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class Threads:
    """A bounded pool of threads.

    A caller that is cancelled still waits until the work it started has ended: whatever that work holds open, a
    database or a file, must not be closed below it.
    """

    def __init__(self, workers: int = 0, name: str = "altyn") -> None:
        """Use `workers` threads; 0 stands for one per processor."""
        self.workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix=name)

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        work = asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(function, *args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            work.exception()  # told to nobody: the caller is gone, and the cancellation goes first
            raise cancelled
        return work.result()

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._pool.shutdown(wait=True)


class Inline:
    """Runs the function at once, where it was called: for simulated networks, whose time must not pass meanwhile."""

    workers = 1

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


def for_blocks(offload: Offload, *sizes: int) -> Offload:
    """Return where to work on blocks of so many bytes: here on a small one that comes alone, else on `offload`."""
    return _INLINE if len(sizes) == 1 and sizes[0] <= SMALL_BLOCK else offload


_INLINE = Inline()
