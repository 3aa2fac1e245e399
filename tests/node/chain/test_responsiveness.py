"""Long work leaves the event loop free."""

import asyncio
import time
from typing import Any

import builders


async def test_two_thousand_headers_do_not_hold_up_the_loop(open_chain: Any) -> None:
    headers = [block.header for block in builders.chain("g a1..a2000").line("a1..a2000")]
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    async with open_chain() as chain:
        watcher = asyncio.create_task(watch())
        began = time.perf_counter()
        await chain.add_headers(headers)
        whole = time.perf_counter() - began
        watcher.cancel()
        assert chain.tree.best_header.height == 2000
    assert longest < max(whole / 4, 0.02), f"{longest:.3f} of {whole:.3f} seconds in one piece"
