"""Script checks in processes: the same verdicts, and a process that dies is replaced."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from script_spends import AMOUNT, spending

from altyn.consensus.checks.scripts import ScriptCheck, script_checks
from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.flags import MANDATORY
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.text import from_asm
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.chain.worker import frame
from altyn.node.chain.workers import WorkerError, Workers


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
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


async def test_checks_that_pass_pass_in_another_process(workers: Workers) -> None:
    assert await workers.check(frame(checks("1", "2 3 ADD 5 EQUAL"))) is None


async def test_the_first_failure_is_told_with_its_error(workers: Workers) -> None:
    assert await workers.check(frame(checks("1", "0 VERIFY", "RETURN"))) == (1, ScriptErrorCode.VERIFY)


def test_a_transaction_crosses_as_it_is() -> None:
    for made in (spending(), spending(witness=[b"one", b""])):
        tx = Transaction.parse(made.raw)
        again = Transaction.from_parts(tx.parts())
        assert again == tx
        assert (again.inputs, again.outputs, again.lock_time) == (tx.inputs, tx.outputs, tx.lock_time)
        assert (again.txid, again.wtxid, again.has_witness) == (tx.txid, tx.wtxid, tx.has_witness)


def test_inputs_of_one_transaction_go_together() -> None:
    (one,) = checks("1")
    assert len(frame([one, one])) < len(frame([one])) + 20


async def test_processes_serve_many_times(workers: Workers) -> None:
    assert [await workers.check(frame(checks("1"))) for _ in range(5)] == [None] * 5
    assert len(workers.processes) == 1


async def test_many_may_ask_at_once(workers: Workers) -> None:
    asked = [workers.check(frame(checks("0", *("1" * number)))) for number in range(9)]
    assert await asyncio.gather(*asked) == [(0, ScriptErrorCode.EVAL_FALSE)] * 9
    assert len(workers.processes) == 2


async def test_who_gives_up_disturbs_nobody(workers: Workers) -> None:
    impatient = asyncio.create_task(workers.check(frame(checks("0"))))
    patient = [asyncio.create_task(workers.check(frame(checks("RETURN")))) for _ in range(3)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(*patient) == [(0, ScriptErrorCode.OP_RETURN)] * 3


async def test_a_process_that_dies_is_told_of_and_replaced(workers: Workers) -> None:
    await workers.check(frame(checks("1")))
    (process,) = workers.processes
    process.kill()
    process.wait()
    with pytest.raises(WorkerError):
        await workers.check(frame(checks("1")))
    assert await workers.check(frame(checks("1"))) is None
