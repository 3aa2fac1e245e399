"""The line that tells how far the first synchronisation is."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import pytest
from node_chain_tools import caught_up

from altyn.node.chain.progress import SyncProgress, duration
from altyn.node.events import BlockConnected, Progressed, TipChanged


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (12, "12 s"),
        (450, "7 min 30 s"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
        (3605, "1 h 0 min"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def state(height: int, transactions: int) -> SimpleNamespace:
    return SimpleNamespace(height=height, chain_tx_count=transactions)


def test_a_line_comes_every_few_seconds_with_rates_and_time_left(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tree = SimpleNamespace(best_header=state(1000, 0))
    chain: Any = SimpleNamespace(
        tip=state(100, 1000), tree=tree, is_initial_block_download=True, verification_progress=1.0
    )
    progress = SyncProgress(chain, clock)
    event: Any = BlockConnected(chain.tip, None, ())  # type: ignore[arg-type]
    clock.time += 4
    chain.tip = state(200, 9000)
    progress(event)
    assert not caplog.messages
    clock.time += 6
    chain.tip = state(300, 21000)
    progress(TipChanged(chain.tip, chain.tip))
    progress(event)
    assert caplog.messages == [
        "synchronising: block 300 of 1,000, 21,000 transactions, 20 blocks/s, 2,000 transactions/s, "
        "30.0% done, about 35 s left"
    ]
    clock.time += 6
    chain.is_initial_block_download = False
    progress(event)
    assert len(caplog.messages) == 1


async def test_an_index_that_is_built_tells_how_far_it_is(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    async with open_chain(tmp_path) as chain:
        await add_all(chain, builders.chain("g a1..a20").line("a1..a20"))
    async with open_chain(tmp_path, filter_index=True, background=False) as chain:
        told: list[Any] = []
        chain.events.subscribe(told.append)
        running = asyncio.create_task(chain.run())
        await caught_up(chain, chain.filters)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    steps = [event for event in told if isinstance(event, Progressed)]
    assert steps == [Progressed("building index filters", height, 20) for height in range(1, 21)]
