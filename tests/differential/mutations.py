"""What a mutation is: a block that breaks one rule, beside its twin that breaks none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from builders import Spendable, coinbase, solve, spend
from differential.ground import Ground

from altyn.consensus.block import Block
from altyn.consensus.errors import Fault
from altyn.consensus.transaction import Transaction, TxIn, TxOut


@dataclass(frozen=True)
class Case:
    """Blocks to be judged, in this order: those before, then the broken one, then its twin, both on the same parent."""

    twin: Block
    broken: Block | bytes
    """Bytes where no block can be made of them."""
    before: tuple[Block, ...] = ()

    @property
    def raw(self) -> bytes:
        return self.broken if isinstance(self.broken, bytes) else self.broken.raw


Build = Callable[[Ground, Random], Case]


@dataclass(frozen=True)
class Mutation:
    """A way to break a block, and the reason and fault with which it must be refused."""

    name: str
    reason: str
    fault: Fault | None
    build: Build
    is_costly: bool = False
    """Takes tens of milliseconds: its blocks are as large as can be."""

    def __str__(self) -> str:
        return self.name


MUTATIONS: dict[str, Mutation] = {}
"""All of them by name; filled by the modules beside this one."""


def mutation(
    reason: str, fault: Fault | None = Fault.CONSENSUS, *, is_costly: bool = False, name: str = ""
) -> Callable[[Build], Build]:
    """Register a function of a ground and chance, which are to be used in the same way each time, as a mutation."""

    def register(build: Build) -> Build:
        own = name or build.__name__.replace("_", "-")
        assert own not in MUTATIONS, own
        MUTATIONS[own] = Mutation(own, reason, fault, build, is_costly)
        return build

    return register


# Parts that blocks are made of


def payments(ground: Ground, random: Random, least: int = 0, most: int = 2) -> list[Transaction]:
    """Return a few ordinary payments."""
    return [
        spend(ground.take(), fee=random.randrange(1000), version=random.choice((1, 2, 3)))
        for _ in range(random.randint(least, most))
    ]


def fund(coin: Spendable, *scripts: bytes, fee: int = 1000) -> Transaction:
    """Spread a coin over one output for each script."""
    share = (coin.output.value - fee) // len(scripts)
    return spend(coin, [TxOut(share, script) for script in scripts])


def with_parts(
    tx: Transaction,
    *,
    inputs: Sequence[TxIn] | None = None,
    outputs: Sequence[TxOut] | None = None,
    lock_time: int | None = None,
) -> Transaction:
    """Return a transaction with other parts."""
    return Transaction(
        tx.version,
        tx.inputs if inputs is None else inputs,
        tx.outputs if outputs is None else outputs,
        tx.lock_time if lock_time is None else lock_time,
    )


def with_coinbase(ground: Ground, tx: Transaction, *others: Transaction) -> Block:
    """Build a block whose first transaction is given whole."""
    return ground.build(*others, coinbase_tx=tx)


def plain_coinbase(ground: Ground, **parts: object) -> Transaction:
    """Return a coinbase for the next block; `parts` are those of builders.coinbase."""
    return coinbase(ground.next_height, network=ground.network, **parts)  # type: ignore[arg-type]


def replaced(block: Block, transactions: Sequence[Transaction], *, fix_root: bool = True) -> Block:
    """Put other transactions into a block; mine it again, unless the header shall stay as it is."""
    if not fix_root:
        return Block(block.header, transactions)
    return solve(Block(block.header, transactions))
