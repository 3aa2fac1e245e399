"""Processes that run script checks beside this one.

Threads do not do: libsecp256k1 frees the interpreter lock, but each return from it waits for the lock again, and where
waking a thread takes about as long as checking a signature, two threads are hardly faster than one. A process has a
lock of its own, and leaves this one's to the node's other work.
"""

import queue
import subprocess
import sys
from collections.abc import Sequence

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.node.chain.worker import Portion, Verdict, receive, send


class WorkerError(Exception):
    """A process that ended while it was at work."""


class Workers:
    """A bounded number of processes, each started when it is first needed. May be used from many threads."""

    def __init__(self, count: int, backend: str) -> None:
        """`backend` names the curve that they use, as in `altyn.consensus.secp256k1.load`."""
        self.count = count
        self._backend = backend
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    @property
    def processes(self) -> list[subprocess.Popen[bytes] | None]:
        """The places of processes that are idle; None where none was needed yet."""
        return list(self._idle.queue)

    def check(self, checks: Sequence[ScriptCheck]) -> Verdict:
        """Run checks in one process, and return which is the first to fail and how; wait until a process is idle.

        Raises WorkerError.
        """
        process = self._idle.get()
        kept = None
        try:
            process = process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            send(process.stdin, portions(checks))
            verdict: Verdict = receive(process.stdout)
            kept = process
        except (OSError, EOFError) as error:
            if process is not None:
                process.kill()
                _end(process)
            raise WorkerError(f"a process for script checks ended: {error!r}") from error
        finally:
            self._idle.put(kept)
        return verdict

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "altyn.node.chain.worker", self._backend]
        # A session of its own: Ctrl-C is for the node, which ends its workers when it is done with them.
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """End the processes. Nobody may be using them."""
        for _ in range(self.count):
            process = self._idle.get()
            if process is not None:
                _end(process)


def portions(checks: Sequence[ScriptCheck]) -> list[Portion]:
    """Return checks as plain values, those of one transaction together."""
    found: list[Portion] = []
    last: object = None
    for check in checks:
        asked = check.cache, check.flags
        if asked == last:
            found[-1][4].append(check.index)
        else:
            last = asked
            spent = check.cache.spent_outputs
            amounts, scripts = [output.value for output in spent], [output.script_pubkey for output in spent]
            found.append((check.tx.raw, amounts, scripts, check.flags, [check.index]))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was still to be written has no reader any more
                pass
    process.wait()
