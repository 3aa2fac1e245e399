"""Script checks on threads: the verdict, and of several failures always the first in block order."""

import asyncio
import threading
from collections.abc import Sequence

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.offload import Offload

_CHUNK = 16
"""Checks that a thread takes at once: a millisecond, so that no thread is left with a long rest."""


class Search:
    """The first failure among checks that several threads go through."""

    def __init__(self, checks: Sequence[ScriptCheck], secp: Secp256k1) -> None:
        self._checks = checks
        self._secp = secp
        self._lock = threading.Lock()
        self._taken = 0
        self._end = len(checks)  # from here on nothing matters: a failure, or nobody wants to know
        self.error: ScriptError | None = None

    @property
    def chunks(self) -> int:
        """How many threads can be busy with it."""
        return -(-len(self._checks) // _CHUNK)

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
                self._taken = start + _CHUNK
            self._check(start, min(start + _CHUNK, len(self._checks)))

    def _check(self, start: int, end: int) -> None:
        for index in range(start, end):
            if index >= self._end:
                return
            try:
                self._checks[index].run(self._secp)
            except ScriptError as error:
                with self._lock:
                    if index < self._end:
                        self._end, self.error = index, error
                return


class ScriptVerifier:
    """Runs script checks on the threads of `offload`."""

    def __init__(self, offload: Offload, secp: Secp256k1) -> None:
        self._offload = offload
        self._secp = secp

    def search(self, checks: Sequence[ScriptCheck]) -> Search:
        """Prepare to look for the first check that fails; `run` it."""
        return Search(checks, self._secp)

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
