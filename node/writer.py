"""The one task that changes chain and mempool: jobs run in it one after the other, in the order they came."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from altyn.consensus.errors import ValidationError

T = TypeVar("T")


class WriterStopped(Exception):
    """The writer has ended; nothing can be changed any more."""


class Writer:
    """A queue of jobs and the task that runs them."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        self._busy = False

    async def run(self) -> None:
        """Run the jobs until cancelled.

        A ValidationError is an answer and goes to the job's caller. Anything else is a fault of ours or of the disk:
        it goes to the caller, and ends this task and with it the node.
        """
        self._task = asyncio.current_task()
        try:
            while True:
                while not self._jobs:
                    self._wake.clear()
                    await self._wake.wait()
                job, answer = self._jobs.popleft()
                self._busy = True
                await self._run_job(job, answer)
                self._busy = False
        finally:
            self._stopped = True
            self._task = None
            while self._jobs:
                _, answer = self._jobs.popleft()
                if not answer.done():
                    answer.set_exception(WriterStopped("the node is shutting down"))

    async def _run_job(self, job: Callable[[], Awaitable[Any]], answer: asyncio.Future[Any]) -> None:
        try:
            result = await job()
        except ValidationError as error:
            if not answer.done():
                answer.set_exception(error)
        except BaseException as error:
            if not answer.done():
                cancelled = isinstance(error, asyncio.CancelledError)
                answer.set_exception(WriterStopped("the node is shutting down") if cancelled else error)
            raise
        else:
            if not answer.done():  # its caller was cancelled, the job was not
                answer.set_result(result)

    async def do(self, job: Callable[[], Awaitable[T]]) -> T:
        """Run `job` when its turn comes and return its result; cancelling the caller does not cancel the job.

        Raises what the job raises, WriterStopped when the writer has ended, RuntimeError when called from a job: it
        would wait for itself.
        """
        return await self.post(job)

    async def do_now(self, action: Callable[[], T]) -> T:
        """Run a job that awaits nothing: at once and here if no other runs or waits, else when its turn comes.

        Raises as `do` does, but what is no ValidationError is the caller's, and does not end the writer.
        """
        self.admit()
        if self._task is not None and not self._busy and not self._jobs:
            return action()

        async def job() -> T:
            return action()

        return await self.do(job)

    def post(self, job: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Queue `job` as `do` does, and return at once; the future has what `do` would return or raise."""
        self.admit()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append((job, answer))
        self._wake.set()
        return answer

    def admit(self) -> None:
        """Raise what `do` would raise now without asking the job."""
        if self._task is not None and asyncio.current_task() is self._task:
            raise RuntimeError("a job of the writer must not wait for another job")
        if self._stopped:
            raise WriterStopped("the node is shutting down")

    @property
    def pending(self) -> int:
        """How many jobs wait for their turn."""
        return len(self._jobs)
