import asyncio

from altyn.node.testnet.clock import SimulatedClock
from altyn.p2p.clock import SystemClock


async def test_a_mock_time_stands_still_and_wakes_sleepers_when_it_is_moved() -> None:
    clock = SystemClock()
    clock.set_mock_time(1000)
    sleeper = asyncio.create_task(clock.sleep_until(1010))
    await asyncio.sleep(3600)
    assert clock.now() == 1000
    assert not sleeper.done()
    clock.set_mock_time(1009)
    await asyncio.sleep(0.01)
    assert not sleeper.done()
    clock.set_mock_time(1010)
    await asyncio.wait_for(sleeper, 0.01)


async def test_the_clock_runs_on_when_the_mock_time_is_taken_away() -> None:
    clock = SystemClock()
    start = clock.now()
    clock.set_mock_time(int(start) - 5000)
    sleeper = asyncio.create_task(clock.sleep_until(start))
    await asyncio.sleep(0.01)
    assert not sleeper.done()
    clock.set_mock_time(None)
    await asyncio.wait_for(sleeper, 0.01)
    assert clock.mock_time is None


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = SystemClock()
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + 1000))
    await asyncio.sleep(0.01)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    assert not clock._sleepers
    clock.set_mock_time(5)


async def test_simulated_hours_pass_at_once() -> None:
    clock = SimulatedClock(start=100.0)
    before = clock.now()
    await clock.sleep_until(before + 36_000)
    assert before + 36_000 <= clock.now() < before + 36_001
