"""A short chain with payments, reorganisations and an invalid block, to crash in the middle of."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import builders
from builders import coin, spend
from crash_stores import Machine, Reached
from node_chain_tools import caught_up, coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.prune import PruneOptions
from altyn.node.chain.stores import Stores
from altyn.node.events import BlockConnected, Events
from altyn.node.offload import Inline
from altyn.node.storage.folder import DataFolder
from altyn.node.writer import Writer

NETWORK = dataclasses.replace(REGTEST, coinbase_maturity=2)
SMALL_FILES = 1500
"""Bytes of a block file: about six blocks."""


class LateClock:
    def now(self) -> float:
        return REGTEST.genesis.header.time + 1e7

    def monotonic(self) -> float:
        return 0.0


class Scenario:
    """Blocks in portions, as they are handed in between two flushes, and the coins at each of them."""

    def __init__(self) -> None:
        drawing = builders.Drawing(NETWORK)
        drawing.extend("g a1..a5")
        drawing.extend("a5 a6", [spend(coin(drawing["a1"]))])
        drawing.extend("a6 a7..a8")
        drawing.extend("a5 b6", [spend(coin(drawing["a1"]), fee=7), spend(coin(drawing["a2"]))])
        drawing.extend("b6 b7..b8")
        drawing.extend("b8 b9", [spend(coin(drawing["b6"].transactions[2]))])
        drawing.extend("b9 b10")
        drawing.extend("b9 x10", fees=1)  # takes more than it may
        drawing.extend("x10 x11")
        drawing.extend("a8 c9..c10")
        drawing.extend("c10 c11", [spend(coin(drawing["a3"]))])
        drawing.extend("c11 c12..c13")
        drawing.extend("b10 d11..d13")
        drawing.extend("d13 d14", [spend([coin(drawing["b9"].transactions[1]), coin(drawing["b8"])])])
        order = "a1 a2 a3 | a4 a5 a6 a7 a8 | b6 b7 b9 b8 | b10 x11 x10 c9 c10 c11 | c13 c12 d11 | d12 d13 d14"
        self.portions = [portion.split() for portion in order.split("|")]
        self.blocks = drawing
        self.valid = [drawing[name] for portion in self.portions for name in portion if name[0] != "x"]
        self.last = drawing["d14"]
        self._parents = {block.hash: block for block in drawing.values()}

    def coins(self, tip: bytes) -> dict[OutPoint, Coin]:
        """Return what a replay from genesis leaves at a block."""
        line: list[Block] = []
        while tip != NETWORK.genesis.hash:
            line.append(self._parents[tip])
            tip = line[-1].header.prev_hash
        return replay(reversed(line))

    def height(self, block_hash: bytes) -> int:
        """Return the height of a block, which tells its work too: all are equally hard here."""
        height = 0
        while block_hash != NETWORK.genesis.hash:
            block_hash = self._parents[block_hash].header.prev_hash
            height += 1
        return height


@asynccontextmanager
async def opened(
    on: Machine | Path, checkpoint: Callable[[str], None] | None = None, *, prunes: bool = False
) -> AsyncIterator[Chain]:
    """Open a chain on a machine, in whose journal it writes its tips, or in a real folder.

    One that `prunes` keeps as many blocks as the scenario's reorganisations need.
    """
    writer, events = Writer(), Events()
    prune = PruneOptions(keep=8, margin=1) if prunes else None
    options = ChainOptions(filter_index=True, transaction_index=not prunes, prune=prune)
    async with AsyncExitStack() as stack:
        if isinstance(on, Path):
            stores = Stores.open(stack.enter_context(DataFolder.open(on, NETWORK)))
        else:
            stores = Machine.stores(on, NETWORK, max_file_size=SMALL_FILES)
            journal = on.journal

            def told(event: object) -> None:
                if isinstance(event, BlockConnected):
                    journal.append(Reached(event.entry.hash))

            events.subscribe(told)
        chain = await stack.enter_async_context(
            Chain.open(
                NETWORK,
                stores,
                LateClock(),
                writer,
                offload=Inline(),
                secp=load(),
                events=events,
                options=options,
                checkpoint=checkpoint,
            )
        )
        running = asyncio.create_task(writer.run())
        try:
            yield chain
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def play(scenario: Scenario, chain: Chain) -> None:
    """Hand in all blocks, and flush, or prune, after each portion."""
    for names in scenario.portions:
        blocks = [scenario.blocks[name] for name in names]
        for block in sorted(blocks, key=lambda block: scenario.height(block.hash)):
            await chain.add_headers([block.header])
        for block in blocks:
            try:
                await chain.add_block(block)
            except ValidationError:
                assert block is scenario.blocks["x10"]
        if chain.pruner is None:
            await chain.flush()
        else:
            await chain.prune(chain.tip.height)
    assert chain.tip.hash == scenario.last.hash


async def go_on(scenario: Scenario, chain: Chain) -> None:
    """Sync to the end, whatever is there already."""
    for block in sorted(scenario.valid, key=lambda block: scenario.height(block.hash)):
        await chain.add_headers([block.header])
    for block in scenario.valid:
        entry = chain.tree.get(block.hash)
        assert entry is not None
        if not (entry.is_pruned and chain.is_active(entry)):  # peers are not asked for those
            await chain.add_block(block)
    assert chain.tip.hash == scenario.last.hash
    assert coins_of(chain) == scenario.coins(chain.tip.hash)
    background = asyncio.create_task(chain.run())
    for index in chain.indexes:
        await caught_up(chain, index)
    background.cancel()
    await asyncio.gather(background, return_exceptions=True)
