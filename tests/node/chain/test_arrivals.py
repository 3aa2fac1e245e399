"""Blocks that wait for their turn."""

import asyncio

from builders import chain

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.chain.arrivals import Arrivals


async def test_a_block_whose_bringer_left_before_its_turn_is_forgotten() -> None:
    blocks = chain("g a1..a3").line("a1..a3")
    arrivals = Arrivals()
    answers = [arrivals.put(block, requested=True, least_work=0) for block in blocks]
    answers[1].cancel()
    await asyncio.sleep(0)
    assert [arrival.block for arrival in arrivals.next()] == [blocks[0], blocks[2]]
    assert not arrivals
    answers[0].cancel()  # its turn has come: nothing is left to forget
    await asyncio.sleep(0)


async def test_small_blocks_have_their_turn_together_but_no_block_twice() -> None:
    blocks = chain("g a1..a2").line("a1..a2")
    arrivals = Arrivals()
    for block in (*blocks, blocks[0]):
        arrivals.put(block, requested=True, least_work=0)
    assert [arrival.block for arrival in arrivals.next()] == blocks
    assert [arrival.block for arrival in arrivals.next()] == blocks[:1]


async def test_large_blocks_have_their_turn_alone() -> None:
    (small,) = chain("g a1").line("a1")
    large = Block(small.header, [Transaction(2, [], [TxOut(0, bytes(200_000))])])
    other = Block(chain("g b1 b2")["b2"].header, large.transactions)
    arrivals = Arrivals()
    for block in (large, other):
        arrivals.put(block, requested=True, least_work=0)
    assert [len(arrivals.next()) for _ in range(2)] == [1, 1]
