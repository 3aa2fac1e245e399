"""What all peers together may have in work."""

import asyncio

import pytest

from altyn.p2p.queues import Budget


async def taker(budget: Budget, size: int, log: list[int]) -> None:
    await budget.take(size)
    log.append(size)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_budget_serves_in_turn_and_never_exceeds_its_bytes() -> None:
    budget, log = Budget(100), list[int]()
    async with asyncio.TaskGroup() as tasks:
        for size in (60, 50, 10, 30):
            tasks.create_task(taker(budget, size, log))
        await settled()
        assert (log, budget.taken) == ([60], 60)  # 10 would fit, but 50 was first
        budget.give(60)
        await settled()
        assert (log, budget.taken) == ([60, 50, 10, 30], 90)


async def test_one_message_may_be_larger_than_the_budget_when_nothing_else_is_in_work() -> None:
    budget, log = Budget(100), list[int]()
    async with asyncio.TaskGroup() as tasks:
        for size in (40, 500):
            tasks.create_task(taker(budget, size, log))
        await settled()
        assert log == [40]
        budget.give(40)
    assert (log, budget.taken) == ([40, 500], 500)


@pytest.mark.parametrize("served", [False, True])
async def test_who_leaves_while_waiting_keeps_nothing_and_nobody_up(served: bool) -> None:
    budget, log = Budget(100), list[int]()
    await budget.take(60)
    leaving = asyncio.create_task(taker(budget, 90, log))
    await settled()
    behind = asyncio.create_task(taker(budget, 30, log))
    await settled()
    assert log == []
    if served:
        budget.give(60)  # its turn has come, but it has not run yet
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await behind
    assert (log, budget.taken) == ([30], 30 if served else 90)
