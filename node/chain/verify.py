"""Script checks on threads: the verdict, and of several failures always the first in block order."""

import asyncio
import threading
from collections.abc import Sequence

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.offload import Offload

_LARGEST_CHUNK = 128
"""Checks that a thread takes at once: few enough that no thread is left with a long rest."""


class ScriptVerifier:
    """Runs script checks on the threads of `offload`."""

    def __init__(self, offload: Offload, secp: Secp256k1) -> None:
        self._offload = offload
        self._secp = secp

    async def verify(self, checks: Sequence[ScriptCheck]) -> None:
        """Return when all checks have passed. Raises ValidationError for the first that fails, in their order.

        The reason is Core's for blocks: "mandatory-script-verify-flag-failed (text of the script error)".
        """
        if not checks:
            return
        size = min(_LARGEST_CHUNK, -(-len(checks) // self._offload.workers))
        search = _Search(checks, self._secp)
        if size == len(checks):
            await self._offload(search.run, 0, size)
        else:
            async with asyncio.TaskGroup() as tasks:
                for start in range(0, len(checks), size):
                    tasks.create_task(self._run(search, start, size))
        if search.error is not None:
            raise ValidationError(f"mandatory-script-verify-flag-failed ({search.error.code.text})")

    async def _run(self, search: "_Search", start: int, size: int) -> None:
        await self._offload(search.run, start, start + size)


class _Search:
    """The first failure among checks that several threads go through."""

    def __init__(self, checks: Sequence[ScriptCheck], secp: Secp256k1) -> None:
        self._checks = checks
        self._secp = secp
        self._lock = threading.Lock()
        self._failed_at = len(checks)
        self.error: ScriptError | None = None

    def run(self, start: int, end: int) -> None:
        for index in range(start, min(end, len(self._checks))):
            if index > self._failed_at:  # nothing behind a failure matters
                return
            try:
                self._checks[index].run(self._secp)
            except ScriptError as error:
                with self._lock:
                    if index < self._failed_at:
                        self._failed_at, self.error = index, error
                return
