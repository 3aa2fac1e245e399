"""A process to be killed: drives a chain in a folder, from a file of blocks or by mining, and writes down what it does.

    chain_node.py FOLDER BLOCKS LOG sync|mine|prune SEED [CHECKPOINT COUNT DELAY]

"prune" syncs too, and keeps only the last blocks.

LOG gets a line for every block before it is handed in ("given"), for every one that was connected ("tip") and for
every checkpoint. With CHECKPOINT it kills itself DELAY seconds after that checkpoint was passed COUNT times.
"""

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from builders import ANYONE, block_on, coin, spend

from altyn.consensus.block import Block
from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.prune import PruneOptions
from altyn.node.chain.stores import Stores
from altyn.node.events import BlockConnected, Events
from altyn.node.offload import Threads
from altyn.node.storage.folder import DataFolder
from altyn.node.writer import Writer

FILE_SIZE = 8000
"""Bytes of a block file: some thirty blocks."""


class FixedClock:
    """Long after all blocks of the test."""

    def now(self) -> float:
        return REGTEST.genesis.header.time + 1e7

    def monotonic(self) -> float:
        return 0.0


def read_blocks(path: Path) -> Iterator[Block]:
    """Read blocks, each behind its size in four bytes."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        yield Block.parse(data[position + 4 : position + 4 + size])
        position += 4 + size


class Log:
    """Lines that survive the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def die_at(log: Log, name: str, count: int, delay: float) -> Callable[[str], None]:
    """Return a checkpoint callback that logs, and ends the process at the right one."""
    left = [count]

    def checkpoint(passed: str) -> None:
        log("checkpoint", passed)
        if passed == name:
            left[0] -= 1
            if not left[0]:
                threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()

    return checkpoint


async def sync(chain: Chain, blocks: list[Block], chance: random.Random, log: Log) -> None:
    """Hand in the blocks of the file, headers first, a window at a time in any order."""
    blocks = [block for block in blocks if block.hash not in chain.tree or not chain.tree.get(block.hash).has_block]
    for start in range(0, len(blocks), 8):
        window = blocks[start : start + 8]
        for block in window:
            await chain.add_headers([block.header])
        chance.shuffle(window)
        for block in window:
            log("given", block.hash.hex())
        await asyncio.gather(*(chain.add_block(block) for block in window))
        if chain.pruner is not None:
            await chain.prune(chain.tip.height)
        elif chance.random() < 0.6:
            await chain.flush()


def options(mode: str) -> ChainOptions:
    """Return all indexes that a node may have in a mode, and a small cache."""
    prune = PruneOptions(keep=20, margin=2) if mode == "prune" else None
    return ChainOptions(
        cache_size=60_000,
        filter_index=True,
        transaction_index=prune is None,
        address_index=True,
        spender_index=True,
        coin_statistics_index=True,
        prune=prune,
    )


async def mine(chain: Chain, chance: random.Random, log: Log) -> None:
    """Mine on the tip, and now and then a longer branch from a few blocks below it."""
    for number in range(400):
        parent = chain.tip
        length = 1
        if chance.random() < 0.2 and parent.height > 5:
            depth = chance.randint(1, 5)
            parent, length = parent.ancestor(parent.height - depth), depth + 1
        for step in range(length):
            transactions = []
            if step == length - 1 and parent is chain.tip and parent.height > 110:
                old = chain.active(parent.height - chance.randint(100, 105))
                money = coin(chain.read_block(old))
                if money.outpoint in chain.coins and money.output.script_pubkey == ANYONE and money.output.value > 1000:
                    transactions = [spend(money)]
            extra = f"{os.getpid()} {number} {step}".encode()
            block = block_on(parent.header, parent.height + 1, transactions, extra=extra)
            log("given", block.hash.hex())
            parent = (await chain.add_block(block)).entry
        if chance.random() < 0.1:
            await chain.flush()


async def main(folder: str, blocks: str, log_path: str, mode: str, seed: str, *aim: str) -> None:
    """Run until everything is done, or the end."""
    log = Log(Path(log_path))
    chance = random.Random(int(seed))
    checkpoint = die_at(log, aim[0], int(aim[1]), float(aim[2])) if aim else die_at(log, "", 0, 0.0)
    threads, writer, events = Threads(2), Writer(), Events()

    def told(event: Any) -> None:
        if isinstance(event, BlockConnected):
            log("tip", event.entry.hash.hex())

    events.subscribe(told)
    with DataFolder.open(Path(folder), REGTEST) as owner:
        async with Chain.open(
            REGTEST,
            Stores.open(owner, max_file_size=FILE_SIZE),
            FixedClock(),
            writer,
            offload=threads,
            secp=load(),
            events=events,
            options=options(mode),
            checkpoint=checkpoint,
        ) as chain:
            log("started", chain.tip.hash.hex())
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(writer.run()), tasks.create_task(chain.run())]
                if mode in ("sync", "prune"):
                    await sync(chain, list(read_blocks(Path(blocks))), chance, log)
                else:
                    await mine(chain, chance, log)
                for task in running:
                    task.cancel()
    threads.close()
    log("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
