"""A chain without a disk, for tests of what moves with one: every block is checked, reorganisations are said aloud."""

from collections.abc import Iterable, Iterator
from typing import Any

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import BlockChecks, block_script_checks, check_block, check_block_in_context
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.tree import Entry, HeaderTree

GENESIS_TIME = 1_700_000_000


class ToyCoins(dict[OutPoint, Coin]):
    """Unspent outputs in a dictionary."""

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        return {each: self[each] for each in outpoints if each in self}


class ToyClock:
    """A clock that stands still unless told."""

    def __init__(self, now: float = GENESIS_TIME) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class ToyChain:
    """As much of a Chain as the mempool and the miner see."""

    def __init__(self, network: Network = REGTEST) -> None:
        self.network = network
        self.tree = HeaderTree(network.genesis.header)
        self.tip = self.tree.genesis
        self.coins = ToyCoins()
        self.secp = load()
        self._listeners: list[Any] = []
        self._blocks: dict[bytes, Block] = {}
        self._undo: dict[bytes, BlockChecks] = {}

    def add_listener(self, listener: Any) -> None:
        self._listeners.append(listener)

    def check(self, block: Block, *, check_pow: bool = True) -> BlockChecks:
        """Check a block on the tip, scripts included."""
        assert block.header.prev_hash == self.tip.hash
        check_block(block, self.network, check_pow=check_pow)
        check_block_in_context(block, self.tip, self.network)
        result = block_script_checks(block, self.coins, self.tip, self.network)
        for check in result.checks:
            check.run(self.secp)
        return result

    def connect(self, block: Block) -> Entry:
        """Add a block to the tip, without settling."""
        checks = self.check(block)
        for outpoint in checks.removed:
            del self.coins[outpoint]
        self.coins.update(checks.created)
        self.tip = self.tree.add(block.header)
        self._blocks[block.hash] = block
        self._undo[block.hash] = checks
        for listener in self._listeners:
            listener.block_connected(self.tip, block, [[], *checks.spent])
        return self.tip

    def disconnect(self) -> Block:
        """Take the tip away, without settling."""
        entry, block, checks = self.tip, self._blocks[self.tip.hash], self._undo[self.tip.hash]
        for outpoint in checks.created:
            del self.coins[outpoint]
        for tx, spent in zip(block.transactions[1:], checks.spent, strict=True):
            for txin, coin in zip(tx.inputs, spent, strict=True):
                self.coins[txin.prevout] = coin
        made_here = {tx.outpoint(index) for tx in block.transactions for index in range(len(tx.outputs))}
        for outpoint in made_here:
            self.coins.pop(outpoint, None)
        assert entry.parent is not None
        self.tip = entry.parent
        for listener in self._listeners:
            listener.block_disconnected(entry, block)
        return block

    async def settle(self) -> None:
        """Tell the listeners that the most-work chain is reached."""
        for listener in self._listeners:
            await listener.settled()

    def blocks(self) -> Iterator[Block]:
        """Yield the active chain from the tip down, without genesis."""
        entry = self.tip
        while entry.parent is not None:
            yield self._blocks[entry.hash]
            entry = entry.parent

    async def add_block(self, block: Block) -> None:
        self.connect(block)
        await self.settle()

    async def test_block(self, block: Block, *, check_pow: bool = True, check_merkle: bool = True) -> None:
        self.check(block, check_pow=check_pow)
