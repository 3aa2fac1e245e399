"""The pipe that makes nodes end with the process that started them."""

import asyncio
import subprocess
import sys

import pytest

from altyn.node.testnet.lifeline import ENVIRONMENT, Lifeline, starter_gone

CHILD = """
import asyncio
from altyn.node.testnet.lifeline import starter_gone

async def main():
    print("up", flush=True)
    await starter_gone()
    print("starter gone", flush=True)

asyncio.run(main())
"""


async def test_a_node_without_a_starter_never_hears_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(starter_gone(), 0.05)


async def test_a_node_hears_when_its_starter_closes_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    lifeline = Lifeline()
    monkeypatch.setenv(ENVIRONMENT, lifeline.environment[ENVIRONMENT])
    waiting = asyncio.ensure_future(starter_gone())
    await asyncio.sleep(0)
    lifeline.abandon()
    await asyncio.wait_for(waiting, 5)


async def test_a_released_node_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lifeline = Lifeline()
    monkeypatch.setenv(ENVIRONMENT, lifeline.environment[ENVIRONMENT])
    lifeline.release()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(starter_gone(), 0.05)


def test_a_killed_starter_takes_its_node_with_it() -> None:
    starter = f"""
import os, subprocess, sys
from altyn.node.testnet.lifeline import Lifeline
lifeline = Lifeline()
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], env={{**os.environ, **lifeline.environment}},
                         pass_fds=[lifeline.read_fd], start_new_session=True)
lifeline.started()
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
        assert process.stdout.read() == "starter gone\n"  # end of file: the child has ended too
