"""Simulated time: an event loop that jumps to its next timer instead of waiting for it, and a clock that follows it."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class JumpingSelector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, time goes on to the moment that the loop wanted to wait for."""

    now = 0.0
    """Seconds since the loop was made."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready. Raises RuntimeError when nothing ever will be."""
        ready = super().select(0)
        if timeout is None and not ready:
            raise RuntimeError("simulation is stuck: nothing is ready and no timer is set")
        self.now += 0.0 if ready else timeout or 0.0
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time. It cannot wait for real sockets; work for threads is done at once."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Run `func` here and now."""
        done: asyncio.Future[Result] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # whoever awaits the work decides
            done.set_exception(error)
        return done


class SimulatedClock:
    """A `Timer` on the running loop's time; with a `SimulatedLoop`, hours pass in milliseconds."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        """`start`: seconds since 1970 when the loop's time is 0."""
        self._start = start

    def now(self) -> float:
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, when: float) -> None:
        while (left := when - self.now()) > 0:  # noqa: ASYNC110 - rounding may wake us a little early
            await asyncio.sleep(left)
