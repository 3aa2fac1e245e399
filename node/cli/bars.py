"""Bars on a terminal for what takes long: synchronising, reading block files, building an index."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from altyn.node.events import BestHeaderChanged, BlockConnected, Events, Progressed

_SYNCHRONISING = "synchronising"
_BEHIND = 100
"""Blocks behind the best header from which on it is worth a bar."""
_INTERVAL = 0.2
"""Seconds between two drawings."""


class Bars:
    """Draws a bar for each thing that is going on; to be subscribed to a node's events."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            auto_refresh=False,  # drawn when something has happened: no thread of its own
            redirect_stdout=sys.stdout.isatty(),  # lines of the log go above the bars
        )
        self._tasks: dict[str, TaskID] = {}
        self._best = 0
        self._drawn = 0.0

    def __call__(self, event: object) -> None:
        """Receive an event."""
        match event:
            case BestHeaderChanged(entry=entry):
                self._best = entry.height
            case BlockConnected(entry=entry):
                if _SYNCHRONISING in self._tasks or self._best - entry.height >= _BEHIND:
                    self._show(_SYNCHRONISING, entry.height, self._best)
            case Progressed(work=work, done=done, total=total):
                self._show(work, done, total)

    def _show(self, work: str, done: int, total: int) -> None:
        if done >= total:
            task = self._tasks.pop(work, None)
            if task is not None:
                self._progress.remove_task(task)
            if not self._tasks:
                self.close()
            return
        if work not in self._tasks:
            self._tasks[work] = self._progress.add_task(work, total=total)
            self._progress.start()
        self._progress.update(self._tasks[work], completed=done, total=total)
        if time.monotonic() - self._drawn > _INTERVAL:
            self._progress.refresh()
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


@contextmanager
def bars_on_terminal(events: Events) -> Iterator[None]:
    """Draw bars while the body runs, if standard error is a terminal that can."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    bars = Bars(console)
    unsubscribe = events.subscribe(bars)
    try:
        yield
    finally:
        unsubscribe()
        bars.close()
