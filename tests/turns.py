"""How long others wait: the time that one callback keeps the event loop from all others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest


class Longest:
    """The longest step of an event loop, in seconds of its thread: what a busy machine does besides does not count."""

    seconds = 0.0


@contextmanager
def longest_step() -> Iterator[Longest]:
    """Watch every step of event loops while the body runs."""
    longest = Longest()
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        longest.seconds = max(longest.seconds, time.thread_time() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield longest


async def expect_steps_below(seconds: float, attack: Callable[[], Awaitable[object]], times: int = 3) -> None:
    """Fail if each time an attack makes one step of the loop as long."""
    steps = []
    for _ in range(times):
        with longest_step() as longest:
            await asyncio.sleep(0)  # a step counts from its beginning to its end
            await attack()
            await asyncio.sleep(0)
        steps.append(longest.seconds)
        if longest.seconds < seconds:
            return
    pytest.fail(f"others waited {[f'{step:.3f}' for step in steps]} s, not {seconds:.3f}")
