"""Long work leaves the event loop free."""

import asyncio
import time
from pathlib import Path
from typing import Any

import builders

from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.storage.layout import encode_coin


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


async def test_reads_are_answered_at_once_while_a_large_flush_is_written(open_chain: Any, tmp_path: Path) -> None:
    count = 200_000
    longest = 0.0
    waits = 0

    async with open_chain(tmp_path) as chain:
        coin = encode_coin(Coin(TxOut(5_000, builders.ANYONE), 1, False))
        outpoints = [OutPoint.make(number.to_bytes(32, "little"), 0) for number in range(count)]
        chain.coins.apply(dict.fromkeys(outpoints, coin), [])
        flush = asyncio.create_task(chain.flush())
        began = time.perf_counter()
        while not flush.done():
            before = time.perf_counter()
            assert chain.coins.get(outpoints[waits % count]) is not None
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
            waits += 1
        whole = time.perf_counter() - began
        await flush
        assert chain.coins.size == 0
        assert chain.coins.get(outpoints[-1]) is not None
    assert longest < max(whole / 4, 0.05), f"{longest:.3f} of {whole:.3f} seconds in one piece"
