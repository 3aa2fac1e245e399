"""Time as an argument: what reads the time is given a clock, and a simulation gives its own."""

import asyncio
import time
from typing import Protocol

_LONGEST_NAP = 3600.0
"""Seconds after which a sleeper looks at the wall clock again, should somebody have set it."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Seconds since 1970; stands still and jumps under a mock time (`setmocktime`)."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start, for measuring; never mocked, never goes back."""
        ...


class Timer(Clock, Protocol):
    """A clock on which one can also wait."""

    async def sleep_until(self, when: float) -> None:
        """Return once `now()` is `when` or later; under a mock time that is when somebody moves it there."""
        ...


class SystemClock:
    """The machine's clock, unless a mock time is set (Core: GetTime, SetMockTime)."""

    def __init__(self) -> None:
        self._mock_time: int | None = None
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        return time.time() if self._mock_time is None else float(self._mock_time)

    def monotonic(self) -> float:
        return time.monotonic()

    @property
    def mock_time(self) -> int | None:
        """The mock time in seconds since 1970, or None."""
        return self._mock_time

    def set_mock_time(self, seconds: int | None) -> None:
        """Stop the clock at `seconds` since 1970, or let it run again with None. Call it on the event loop."""
        self._mock_time = seconds
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep_until(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := when - self.now()) > 0:
            sleeper: asyncio.Future[None] = loop.create_future()
            self._sleepers.add(sleeper)
            alarm = loop.call_later(min(left, _LONGEST_NAP), _wake, sleeper) if self._mock_time is None else None
            try:
                await sleeper
            finally:
                self._sleepers.discard(sleeper)
                if alarm is not None:
                    alarm.cancel()


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)
