"""Script checks on all processors: the verdict, and of several failures always the first in block order."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.templates import is_p2pkh, is_p2sh, witness_program
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.caches import ScriptCache
from altyn.node.chain.worker import frame
from altyn.node.chain.workers import WorkerError, Workers
from altyn.node.offload import Offload

log = logging.getLogger(__name__)

_CHUNK = 16
"""Checks that a thread takes at once: a millisecond, so that no thread is left with a long rest."""
_WORKER_CHUNK = 128
"""The same for a process, which costs a tenth of a millisecond to ask."""
_LEAST_FOR_WORKERS = 64
"""Checks of a block below which asking processes is not worth it."""


class Search:
    """The first failure among checks that threads go through, or processes in chunks of `frames`."""

    def __init__(self, checks: Sequence[ScriptCheck], secp: Secp256k1, processes: int = 0) -> None:
        """`processes` are there for it, so that frames are made for them; or it is threads that are to `run` it."""
        self._checks = checks
        self._secp = secp
        self._lock = threading.Lock()
        self._taken = 0
        self._end = len(checks)  # from here on nothing matters: a failure, or nobody wants to know
        self.error: ScriptError | None = None
        self.chunk = _CHUNK
        self.frames: list[bytes] = []
        if processes and len(checks) >= _LEAST_FOR_WORKERS:
            self.chunk = min(_WORKER_CHUNK, -(-len(checks) // processes))
            self.frames = [frame(checks[start : start + self.chunk]) for start in range(0, len(checks), self.chunk)]

    @property
    def chunks(self) -> int:
        """How many threads or processes can be busy with it."""
        return -(-len(self._checks) // self.chunk)

    @property
    def is_counted(self) -> bool:
        """Whether the block's size and its cost of signature operations tell what the checks take."""
        return all(map(_is_counted, self._checks))

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
                self._taken = start + self.chunk
            self.run_chunk(start)

    def run_chunk(self, start: int) -> None:
        """Check one chunk, whoever has taken it."""
        for index in range(start, min(start + self.chunk, len(self._checks))):
            if index >= self._end:
                return
            try:
                self._checks[index].run(self._secp)
            except ScriptError as error:
                self.note(index, error)
                return

    def note(self, index: int, error: ScriptError) -> None:
        """Note that a check fails."""
        with self._lock:
            if index < self._end:
                self._end, self.error = index, error

    def conclude(self) -> None:
        """Do nothing if all checks have passed. Raises ValidationError for the first that failed, in their order.

        The reason is Core's for blocks: "mandatory-script-verify-flag-failed (text of the script error)".
        """
        if self.error is not None:
            raise ValidationError(f"mandatory-script-verify-flag-failed ({self.error.code.text})")


def _is_counted(check: ScriptCheck) -> bool:
    """Whether the block that spends an output pays for it: bare scripts and those of taproot count nothing there."""
    script_pubkey = check.cache.spent_outputs[check.index].script_pubkey
    program = witness_program(script_pubkey)
    if program is None:
        return is_p2pkh(script_pubkey) or is_p2sh(script_pubkey)
    return program[0] == 0 or len(check.tx.inputs[check.index].witness) == 1  # by the key


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
    """Runs script checks on the threads of `offload`, or has the processes of `workers` do it if there are any.

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
        """Prepare to look for the first check that fails, on any thread; `run` it."""
        if self.cache:
            checks = _unknown(checks, self.cache)
        return Search(checks, self._secp, self._workers.count if self._workers is not None else 0)

    async def run(self, search: Search) -> None:
        """Return when all checks have passed. Raises as `Search.conclude`."""
        if self._workers is not None and search.frames:
            parts = [self._ask(self._workers, search, number) for number in range(search.chunks)]
        else:
            parts = [self._run_part(search) for _ in range(min(self._offload.workers, search.chunks))]
        if len(parts) == 1:
            await parts[0]
        else:
            async with asyncio.TaskGroup() as tasks:
                for part in parts:
                    tasks.create_task(part)
        search.conclude()

    async def verify(self, checks: Sequence[ScriptCheck]) -> None:
        """Return when all `checks` have passed. Raises as `run`."""
        await self.run(await self._offload(self.search, checks))

    async def _run_part(self, search: Search) -> None:
        await self._offload(search.run)

    async def _ask(self, workers: Workers, search: Search, number: int) -> None:
        start = number * search.chunk
        try:
            failure = await workers.check(search.frames[number])
        except WorkerError as error:  # it was killed for want of memory, say; the verdict does not depend on it
            log.warning("%s; its checks run here", error)
            await self._offload(search.run_chunk, start)
        else:
            if failure is not None:
                search.note(start + failure[0], ScriptError(failure[1]))


@asynccontextmanager
async def in_processes(
    count: int, offload: Offload, secp: Secp256k1, cache: ScriptCache | None = None
) -> AsyncIterator[ScriptVerifier]:
    """Offer a verifier with `count` processes, which start when they are first needed, and end with the body."""
    workers = Workers(count, secp.name)
    try:
        yield ScriptVerifier(offload, secp, workers=workers, cache=cache)
    finally:
        workers.close()
