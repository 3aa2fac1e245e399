"""The writer's queue, offloaded work, and events."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from altyn.consensus.errors import ValidationError
from altyn.node.events import Events
from altyn.node.offload import Inline, Threads
from altyn.node.writer import Writer, WriterStopped


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_jobs_run_one_after_the_other_in_order() -> None:
    writer, seen = Writer(), []

    async def job(number: int) -> int:
        seen.append(("begins", number))
        await asyncio.sleep(0)
        seen.append(("ends", number))
        return number * 10

    async with running(writer):
        assert await asyncio.gather(*(writer.do(lambda n=n: job(n)) for n in range(3))) == [0, 10, 20]
    assert seen == [(what, number) for number in range(3) for what in ("begins", "ends")]


async def test_a_refusal_goes_to_the_caller_and_the_writer_goes_on() -> None:
    writer = Writer()

    async def refuse() -> None:
        raise ValidationError("bad-blk-length")

    async def answer() -> int:
        return 7

    async with running(writer):
        with pytest.raises(ValidationError, match="bad-blk-length"):
            await writer.do(refuse)
        assert await writer.do(answer) == 7


async def test_what_awaits_nothing_runs_at_once_unless_somebody_is_before_it() -> None:
    writer, seen, gate = Writer(), [], asyncio.Event()

    async def job() -> None:
        seen.append("begins")
        await gate.wait()
        seen.append("ends")

    async with running(writer):
        before = writer.pending
        await writer.do_now(lambda: seen.append("at once"))
        assert (seen, writer.pending) == (["at once"], before)
        first = asyncio.create_task(writer.do(job))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(writer.do_now(lambda: seen.append("second")))
        for _ in range(3):
            await asyncio.sleep(0)
        assert seen == ["at once", "begins"]
        waiting_behind = asyncio.create_task(writer.do_now(lambda: seen.append("third")))
        gate.set()
        await asyncio.gather(first, waiting, waiting_behind)
        assert seen == ["at once", "begins", "ends", "second", "third"]
        with pytest.raises(ValidationError, match="bad-blk-length"):
            await writer.do_now(refuse_now)
        assert await writer.do_now(lambda: 7) == 7
    with pytest.raises(WriterStopped):
        await writer.do_now(lambda: 7)


def refuse_now() -> None:
    raise ValidationError("bad-blk-length")


async def test_any_other_failure_ends_the_writer_and_all_who_wait() -> None:
    writer = Writer()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("disk full")

    async with running(writer) as task:
        one, two = asyncio.create_task(writer.do(fail)), asyncio.create_task(writer.do(fail))
        results = await asyncio.gather(one, two, return_exceptions=True)
        assert [type(result) for result in results] == [OSError, WriterStopped]
        with pytest.raises(OSError, match="disk full"):
            await task
        with pytest.raises(WriterStopped):
            await writer.do(fail)


async def test_a_cancelled_caller_does_not_cancel_its_job() -> None:
    writer, go, done = Writer(), asyncio.Event(), asyncio.Event()

    async def job() -> None:
        await go.wait()
        done.set()

    async with running(writer):
        caller = asyncio.create_task(writer.do(job))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        go.set()
        async with asyncio.timeout(5):
            await done.wait()


async def test_a_job_cannot_wait_for_another() -> None:
    writer = Writer()

    async def inner() -> None:
        raise AssertionError("never runs")

    async def outer() -> None:
        with pytest.raises(RuntimeError, match="must not wait"):
            await writer.do(inner)

    async with running(writer):
        await writer.do(outer)


async def test_a_job_under_way_when_the_writer_ends_tells_its_caller() -> None:
    writer = Writer()
    async with running(writer) as task:
        caller = asyncio.create_task(writer.do(asyncio.Event().wait))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(WriterStopped):
            await caller


async def test_threads_return_what_the_function_returns_or_raises() -> None:
    threads = Threads(1)
    assert await threads(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads(divmod, 7, 0)
    assert await threads(threading.get_ident) != threading.get_ident()
    threads.close()


async def test_cancellation_waits_for_the_thread() -> None:
    threads, started, release, ended = Threads(1), threading.Event(), threading.Event(), []

    def work() -> None:
        started.set()
        release.wait(10)
        ended.append(True)

    task = asyncio.create_task(threads(work))
    await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
    threads.close()


async def test_inline_runs_in_place() -> None:
    assert await Inline()(threading.get_ident) == threading.get_ident()


def test_events_reach_subscribers_in_order_until_they_leave() -> None:
    events, seen = Events(), list[Any]()
    events.subscribe(lambda event: seen.append(("one", event)))
    leave = events.subscribe(lambda event: seen.append(("two", event)))
    events.publish(1)
    leave()
    leave()
    events.publish(2)
    assert seen == [("one", 1), ("two", 1), ("one", 2)]


def test_who_names_kinds_of_events_hears_of_no_others() -> None:
    events, seen = Events(), list[Any]()
    leave = events.subscribe(seen.append, int, bytes)
    for event in (1, "two", b"three"):
        events.publish(event)
    assert seen == [1, b"three"]
    events.subscribe(lambda event: seen.append(("all", event)))
    leave()
    events.publish(4)
    assert seen == [1, b"three", ("all", 4)]
