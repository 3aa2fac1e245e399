"""Script checks in processes: the same verdicts, and a process that dies is replaced."""

import threading
from collections.abc import Iterator

import pytest
from script_spends import AMOUNT, spending

from altyn.consensus.checks.scripts import ScriptCheck, script_checks
from altyn.consensus.script.flags import MANDATORY
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.text import from_asm
from altyn.consensus.transaction import TxOut
from altyn.node.chain.workers import WorkerError, Workers, portions


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(2, "auto")
    yield workers
    workers.close()


def checks(*scripts: str) -> list[ScriptCheck]:
    """Return one check for each script, each of a transaction of its own."""
    found = []
    for number, script in enumerate(scripts):
        spent = [TxOut(AMOUNT, from_asm(script))]
        found += script_checks(SighashCache(spending(lock_time=number), spent), MANDATORY)
    return found


def test_checks_that_pass_pass_in_another_process(workers: Workers) -> None:
    assert workers.check(checks("1", "2 3 ADD 5 EQUAL")) is None


def test_the_first_failure_is_told_with_its_error(workers: Workers) -> None:
    assert workers.check(checks("1", "0 VERIFY", "RETURN")) == (1, "VERIFY")


def test_inputs_of_one_transaction_go_together() -> None:
    (one,) = checks("1")
    (portion,) = portions([one, one])
    assert portion == (one.tx.raw, [AMOUNT], [b"\x51"], MANDATORY, [0, 0])


def test_a_process_serves_many_times(workers: Workers) -> None:
    assert [workers.check(checks("1")) for _ in range(5)] == [None] * 5
    assert len([each for each in workers.processes if each is not None]) == 1


def test_threads_share_the_processes(workers: Workers) -> None:
    verdicts: list[object] = []
    threads = [threading.Thread(target=lambda: verdicts.append(workers.check(checks("0")))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [(0, "EVAL_FALSE")] * 6


def test_a_process_that_dies_is_told_of_and_replaced(workers: Workers) -> None:
    workers.check(checks("1"))
    (process,) = [each for each in workers.processes if each is not None]
    process.kill()
    process.wait()
    with pytest.raises(WorkerError):
        workers.check(checks("1"))
    assert workers.check(checks("1")) is None
