"""Blocks that wait for their turn."""

import asyncio

from builders import chain

from altyn.node.chain.arrivals import Arrivals


async def test_a_block_whose_bringer_left_before_its_turn_is_forgotten() -> None:
    blocks = chain("g a1..a3").line("a1..a3")
    arrivals = Arrivals()
    answers = [arrivals.put(block, requested=True, min_work_checked=True) for block in blocks]
    answers[1].cancel()
    await asyncio.sleep(0)
    assert [arrivals.next().block for _ in range(2)] == [blocks[0], blocks[2]]
    assert not arrivals
    answers[0].cancel()  # its turn has come: nothing is left to forget
    await asyncio.sleep(0)
