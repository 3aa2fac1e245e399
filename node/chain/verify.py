"""Script checks on all processors: the verdict, and of several failures always the first in block order."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.caches import ScriptCache
from altyn.node.chain.workers import WorkerError, Workers
from altyn.node.offload import Offload, Threads

log = logging.getLogger(__name__)

_CHUNK = 16
"""Checks that a thread takes at once: a millisecond, so that no thread is left with a long rest."""
_WORKER_CHUNK = 128
"""The same for a process, which costs a few tenths of a millisecond to ask."""
_LEAST_FOR_WORKERS = 64
"""Checks of a block below which asking processes is not worth it."""


class Search:
    """The first failure among checks that several threads go through, each with a process of `workers` if given."""

    def __init__(self, checks: Sequence[ScriptCheck], secp: Secp256k1, workers: Workers | None = None) -> None:
        self._checks = checks
        self._secp = secp
        self._workers = workers if len(checks) >= _LEAST_FOR_WORKERS else None
        self._chunk = _CHUNK if self._workers is None else min(_WORKER_CHUNK, -(-len(checks) // self._workers.count))
        self._lock = threading.Lock()
        self._taken = 0
        self._end = len(checks)  # from here on nothing matters: a failure, or nobody wants to know
        self.error: ScriptError | None = None

    @property
    def chunks(self) -> int:
        """How many threads can be busy with it."""
        return -(-len(self._checks) // self._chunk)

    def abandon(self) -> None:
        """Let the threads that are at it leave soon; the verdict says nothing any more."""
        with self._lock:
            self._end = 0

    def run(self) -> None:
        """Check what no other thread has taken, until there is nothing left."""
        while True:
            with self._lock:
                start = self._taken
                if start >= self._end:
                    return
                self._taken = end = start + self._chunk
            self._check(start, min(end, len(self._checks)))

    def _check(self, start: int, end: int) -> None:
        if self._workers is not None:
            try:
                failure = self._workers.check(self._checks[start:end])
            except WorkerError as error:  # it was killed for want of memory, say; the verdict does not depend on it
                log.warning("%s; its checks run here", error)
            else:
                if failure is not None:
                    self._note(start + failure[0], ScriptError(ScriptErrorCode[failure[1]]))
                return
        for index in range(start, end):
            if index >= self._end:
                return
            try:
                self._checks[index].run(self._secp)
            except ScriptError as error:
                self._note(index, error)
                return

    def _note(self, index: int, error: ScriptError) -> None:
        with self._lock:
            if index < self._end:
                self._end, self.error = index, error


def _unknown(checks: Sequence[ScriptCheck], cache: ScriptCache) -> list[ScriptCheck]:
    """Return the checks of transactions that the cache does not know."""
    unknown = []
    asked: object = None
    is_known = False
    for check in checks:
        if check.cache is not asked:  # the next transaction
            asked = check.cache
            is_known = cache.has_passed(check.tx.wtxid, check.flags)
        if not is_known:
            unknown.append(check)
    return unknown


class ScriptVerifier:
    """Runs script checks on the threads of `offload`, which have the processes of `workers` do it if there are any.

    What `cache` knows to pass is not run again.
    """

    def __init__(
        self, offload: Offload, secp: Secp256k1, *, workers: Workers | None = None, cache: ScriptCache | None = None
    ) -> None:
        self.cache = cache
        self._offload = offload
        self._secp = secp
        self._workers = workers

    def search(self, checks: Sequence[ScriptCheck]) -> Search:
        """Prepare to look for the first check that fails; `run` it."""
        if self.cache is not None:
            checks = _unknown(checks, self.cache)
        return Search(checks, self._secp, self._workers)

    async def run(self, search: Search) -> None:
        """Return when all checks have passed. Raises ValidationError for the first that fails, in their order.

        The reason is Core's for blocks: "mandatory-script-verify-flag-failed (text of the script error)".
        """
        threads = min(self._offload.workers, search.chunks)
        if threads == 1:
            await self._offload(search.run)
        elif threads:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(threads):
                    tasks.create_task(self._run_part(search))
        if search.error is not None:
            raise ValidationError(f"mandatory-script-verify-flag-failed ({search.error.code.text})")

    async def verify(self, checks: Sequence[ScriptCheck]) -> None:
        """Return when all `checks` have passed. Raises as `run`."""
        await self.run(self.search(checks))

    async def _run_part(self, search: Search) -> None:
        await self._offload(search.run)


@contextmanager
def in_processes(count: int, secp: Secp256k1, cache: ScriptCache | None = None) -> Iterator[ScriptVerifier]:
    """Offer a verifier with `count` processes, and with as many threads that wait for them: they hold up nothing else.

    Processes start when they are first needed, and end with the body.
    """
    with closing(Workers(count, secp.name)) as workers, closing(Threads(count, "altyn-scripts")) as threads:
        yield ScriptVerifier(threads, secp, workers=workers, cache=cache)
