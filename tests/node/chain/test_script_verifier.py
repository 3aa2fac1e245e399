"""Checks of a block: which failure is told, what is not run again, and that processes change no verdict."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from script_spends import AMOUNT, SECP, spending

from altyn.consensus.checks.scripts import ScriptCheck, script_checks
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.flags import MANDATORY, P2SH
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.text import from_asm
from altyn.consensus.transaction import TxOut
from altyn.node.chain.caches import ScriptCache
from altyn.node.chain.verify import ScriptVerifier
from altyn.node.chain.workers import Workers
from altyn.node.offload import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(3)
    yield threads
    threads.close()


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers(2, "auto")
    yield workers
    workers.close()


def checks(count: int, failing: dict[int, str] | None = None) -> list[ScriptCheck]:
    """Return checks that pass, but for some scripts by number."""
    found = []
    for number in range(count):
        spent = [TxOut(AMOUNT, from_asm((failing or {}).get(number, "1")))]
        found += script_checks(SighashCache(spending(lock_time=number), spent), MANDATORY)
    return found


async def reason(verifier: ScriptVerifier, checks: list[ScriptCheck]) -> str:
    with pytest.raises(ValidationError) as caught:
        await verifier.verify(checks)
    return caught.value.reason


@pytest.mark.parametrize("with_workers", [False, True])
async def test_the_first_failure_in_block_order_is_told(threads: Threads, workers: Workers, with_workers: bool) -> None:
    verifier = ScriptVerifier(threads, SECP, workers=workers if with_workers else None)
    await verifier.verify(checks(600))
    for first in (0, 70, 127, 128, 400):
        failing = {first: "0 VERIFY", first + 1: "RETURN", 590: "1 2 EQUALVERIFY"}
        told = await reason(verifier, checks(600, failing))
        assert told == "mandatory-script-verify-flag-failed (Script failed an OP_VERIFY operation)"


async def test_processes_are_for_many_checks(threads: Threads, workers: Workers) -> None:
    verifier = ScriptVerifier(threads, SECP, workers=workers)
    await verifier.verify(checks(63))
    assert not workers.processes
    await verifier.verify(checks(64))
    assert workers.processes


async def test_checks_run_here_when_their_process_dies(
    threads: Threads, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = ScriptVerifier(threads, SECP, workers=workers)
    await verifier.verify(checks(200))
    for process in workers.processes:
        process.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.2, process.kill)
    with caplog.at_level(logging.WARNING):
        assert "OP_RETURN" in await reason(verifier, checks(200, {150: "RETURN"}))
    assert "its checks run here" in caplog.text
    for _ in range(3):
        await verifier.verify(checks(200))


async def test_what_is_known_to_pass_is_not_run_again(threads: Threads) -> None:
    cache = ScriptCache(bytes(32), 1 << 20)
    verifier = ScriptVerifier(threads, SECP, cache=cache)
    some = checks(3, {1: "RETURN"})  # a lie, to see that nobody looks
    cache.add(some[1].tx.wtxid, P2SH)
    assert "OP_RETURN" in await reason(verifier, some)
    cache.add(some[1].tx.wtxid, MANDATORY)
    await verifier.verify(some)
    assert "OP_VERIFY" in await reason(verifier, [*some, *checks(5, {4: "0 VERIFY"})[4:]])
