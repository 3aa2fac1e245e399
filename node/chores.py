"""What a node does every so often, whatever else happens (Core: CScheduler)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from altyn.node.events import SchedulerForwarded

Chore = tuple[float, Callable[[], None]]
"""How many seconds lie between two times, and what is done; it must not take long, nor fail."""


class Chores:
    """Does each of them at its times, by a clock that is never mocked but may be forwarded (mockscheduler)."""

    def __init__(self, *chores: Chore) -> None:
        self._chores = chores
        self._ahead = 0.0
        self._woken = asyncio.Event()

    def event(self, event: object) -> None:
        """Follow the node's events."""
        if isinstance(event, SchedulerForwarded):
            self._ahead += event.seconds
            self._woken.set()

    async def run(self) -> None:
        """Do them until cancelled."""
        loop = asyncio.get_running_loop()
        due = [loop.time() + every for every, _ in self._chores]
        while True:
            self._woken.clear()
            now = loop.time() + self._ahead
            for number, (every, do) in enumerate(self._chores):
                if due[number] <= now:
                    due[number] = now + every
                    do()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(due) - now):
                    await self._woken.wait()
