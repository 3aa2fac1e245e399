"""Where the next block is built: a chain so far, its time and its ripe coins. Grounds form a tree, as blocks do."""

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Self

from builders import ANYONE, VERSION, Spendable, block_on, coin, coinbase

from altyn.consensus.ancestry import median_time_past
from altyn.consensus.block import Block, Header
from altyn.consensus.emission import block_subsidy
from altyn.consensus.limits import COINBASE_MATURITY, MAX_TIMEWARP
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import work
from altyn.consensus.transaction import Transaction, TxOut

BASE_HEIGHT = 120
"""Of the chain that all others begin with: the coins of twenty blocks are ripe."""
_SHARES = 16
"""Coins in a coinbase: more than any block here spends, so that they never run out."""
_KEPT = 1000
"""Coins that a ground remembers: a line of grounds that kept them all would fill the memory."""
_LEAST = 100_000
"""Satoshis of a coin that is worth spending."""


class Ground:
    """A block and what one can build on it. It is a ChainEntry."""

    def __init__(self, block: Block, parent: "Ground | None", coins: Sequence[Spendable], network: Network) -> None:
        self.block = block
        self.parent = parent
        self.network = network
        self.height: int = 0 if parent is None else parent.height + 1
        self.chain_work: int = work(block.header.bits) + (parent.chain_work if parent else 0)
        self.coins = list(coins[-_KEPT:])
        """Coinbase outputs, open to anyone, that the next block may spend; `take` takes the oldest."""
        young = self.height + 1 - COINBASE_MATURITY
        if young > 0:
            block = self.ancestor(young).block
            self.coins += [
                coin(block, index)
                for index, output in enumerate(block.transactions[0].outputs)
                if output.script_pubkey == ANYONE and output.value >= _LEAST
            ]
        self._all_coins = tuple(self.coins)

    @classmethod
    def genesis(cls, network: Network = REGTEST) -> Self:
        return cls(network.genesis, None, (), network)

    @property
    def header(self) -> Header:
        return self.block.header

    @property
    def hash(self) -> bytes:
        return self.block.hash

    @property
    def median_time(self) -> int:
        return median_time_past(self)

    @property
    def next_height(self) -> int:
        """Of the block to be built."""
        return self.height + 1

    def ancestor(self, height: int) -> "Ground":
        ground = self
        while ground.height > height:
            assert ground.parent is not None
            ground = ground.parent
        return ground

    def line(self) -> list[Block]:
        """Return the blocks from height 1 to here."""
        return [ground.block for ground in reversed(list(self._back()))]

    def _back(self) -> "Iterator[Ground]":
        ground = self
        while ground.parent is not None:
            yield ground
            ground = ground.parent

    @property
    def earliest_time(self) -> int:
        """The first that the next block may have (BIP94 where it is enforced)."""
        is_bound = self.network.enforce_bip94 and self.next_height % self.network.retarget_interval == 0
        return max(self.median_time + 1, self.header.time - MAX_TIMEWARP if is_bound else 0)

    def next_time(self) -> int:
        """Return a time for the next block: a minute on, however far ahead single blocks were."""
        regular = REGTEST.genesis.header.time + 60 * self.next_height
        return max(self.median_time + 6 * 60, self.earliest_time, regular)

    def take(self) -> Spendable:
        """Return a ripe coin that was not taken before."""
        return self.coins.pop(0)

    def after(self, block: Block) -> "Ground":
        """Return the ground that `block` makes, with the coins that were not taken here."""
        assert block.header.prev_hash == self.hash
        return Ground(block, self, self.coins, self.network)

    def again(self) -> "Ground":
        """Return the same ground with all its coins, to build another branch."""
        ground = Ground(self.block, self.parent, (), self.network)
        ground.coins = list(self._all_coins)
        ground._all_coins = self._all_coins
        return ground

    def coinbase(
        self, transactions: Sequence[Transaction] = (), *, fees: int = 0, extra: bytes = b"altyn"
    ) -> Transaction:
        """Return a coinbase that shares subsidy and `fees` out, and commits to the witnesses of what follows it."""
        whole = block_subsidy(self.next_height, self.network) + fees
        share = whole // _SHARES
        values = [whole - share * (_SHARES - 1), *[share] * (_SHARES - 1)]
        root = None
        if any(tx.has_witness for tx in transactions):
            root = merkle_root([bytes(32), *(tx.wtxid for tx in transactions)])
        outputs = [TxOut(value, ANYONE) for value in values]
        return coinbase(self.next_height, extra=extra, outputs=outputs, commitment_root=root, network=self.network)

    def build(
        self,
        *transactions: Transaction,
        fees: int = 0,
        coinbase_tx: Transaction | None = None,
        time: int | None = None,
        version: int = VERSION,
    ) -> Block:
        """Build a block; its coinbase claims the subsidy and `fees` unless it is given."""
        return block_on(
            self.header,
            self.next_height,
            transactions,
            coinbase_tx=self.coinbase(transactions, fees=fees) if coinbase_tx is None else coinbase_tx,
            time=self.next_time() if time is None else time,
            version=version,
            bits=self.network.genesis.header.bits,
            network=self.network,
        )


def grow(ground: Ground, count: int) -> Ground:
    """Return the ground `count` empty blocks on."""
    for _ in range(count):
        ground = ground.after(ground.build())
    return ground


@cache
def _base(network: Network) -> Ground:
    return grow(Ground.genesis(network), BASE_HEIGHT)


def base(network: Network = REGTEST) -> Ground:
    """Return the ground at BASE_HEIGHT; the same blocks every time."""
    return _base(network).again()


def shuffled(random: Random, items: Sequence[Transaction]) -> list[Transaction]:
    """Return the items in another order."""
    return random.sample(list(items), len(items))
