"""What tests of the chain compare with: coins by a plain replay, and a record of what listeners were told."""

import asyncio
from collections.abc import Iterable
from typing import Any

from altyn.consensus.block import Block
from altyn.consensus.hashes import sha256
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain
from altyn.node.chain.indexes import ChainIndex
from altyn.node.events import IndexCaughtUp
from altyn.node.storage.layout import encode_coin


class Recorder:
    """Writes down what a chain tells its listeners and subscribers."""

    def __init__(self, chain: Chain) -> None:
        self.steps: list[str] = []
        self.events: list[Any] = []
        chain.add_listener(self)
        chain.events.subscribe(self.events.append)

    def block_connected(self, entry: Any, block: Any, spent: Any) -> None:
        assert entry.hash == block.hash
        assert len(spent) == len(block.transactions)
        self.steps.append(f"+{entry.height}")

    def block_disconnected(self, entry: Any, block: Any) -> None:
        assert entry.hash == block.hash
        self.steps.append(f"-{entry.height}")

    async def settled(self) -> None:
        self.steps.append("settled")


async def caught_up(chain: Chain, index: ChainIndex) -> None:
    """Wait until an index has come to the tip; at most 20 seconds."""
    done = asyncio.Event()
    end = chain.events.subscribe(lambda event: done.set() if event == IndexCaughtUp(index.name) else None)
    async with asyncio.timeout(20):
        if index.best is not chain.tip:
            await done.wait()
    end()
    assert index.best is chain.tip


def replay(blocks: Iterable[Block]) -> dict[OutPoint, Coin]:
    """Work out the coins that blocks from height 1 on leave, in the plainest way."""
    coins: dict[OutPoint, Coin] = {}
    for height, block in enumerate(blocks, 1):
        for tx in block.transactions:
            if not tx.is_coinbase:
                for txin in tx.inputs:
                    del coins[txin.prevout]
            for index, output in enumerate(tx.outputs):
                if not is_unspendable(output.script_pubkey):
                    coins[tx.outpoint(index)] = Coin(output, height, tx.is_coinbase)
    return coins


def coins_of(chain: Chain) -> dict[OutPoint, Coin]:
    """Return all coins of a chain."""
    return dict(chain.coins)


def coins_hash(coins: Iterable[tuple[OutPoint, Coin]]) -> str:
    """Return one hash over all coins, in order of their outpoints."""
    return sha256(b"".join(outpoint + encode_coin(coin) for outpoint, coin in sorted(coins))).hex()
