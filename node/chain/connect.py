"""Connecting and disconnecting one block, as values: what changes, computed anywhere, applied by the chain."""

from collections.abc import Sequence
from dataclasses import dataclass

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import block_script_checks, needs_bip30_check
from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.networks import Network
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.coins import CoinsView
from altyn.node.chain.tree import Entry
from altyn.node.storage.errors import StoreError
from altyn.node.storage.layout import encode_coin
from altyn.node.storage.undo import encode_undo


@dataclass(frozen=True, slots=True)
class CoinChange:
    """What happens to the coins: those removed go first."""

    created: dict[OutPoint, bytes]
    """In the form of `layout.encode_coin`."""
    removed: Sequence[OutPoint]
    overwrites: int
    """So many of `created`, the first ones, may replace coins of the same outpoint (coinbases did before BIP34)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What connecting a block does, if the script checks pass."""

    coins: CoinChange
    spent: list[list[Coin]]
    """By transaction, an empty list for the coinbase."""
    undo: bytes
    checks: list[ScriptCheck]
    """In the order of the block's inputs."""
    fees: int
    sigop_cost: int


def connect_block(
    block: Block, entry: Entry, coins: CoinsView, network: Network, *, with_scripts: bool = True
) -> Connection:
    """Check a block on the coins at its parent, all but the scripts. Raises ValidationError.

    The block has passed the checks that need no coins. `entry` need not be in the tree.
    """
    parent = entry.parent
    if parent is None:
        raise ValueError("genesis is never connected: nobody can spend its coinbase")
    made = {tx.txid for tx in block.transactions}
    wanted = [prevout for tx in block.transactions[1:] for prevout, _, _, _ in tx.inputs if prevout[:32] not in made]
    if needs_bip30_check(entry.hash, parent, network):
        wanted += [outpoint for tx in block.transactions for outpoint in tx.outpoints()]
    result = block_script_checks(block, coins.many(wanted), parent, network, with_scripts=with_scripts)
    coinbase_id = block.transactions[0].txid
    created = {outpoint: encode_coin(coin) for outpoint, coin in result.created.items()}
    overwrites = 0
    for outpoint in created:  # in the order of the block: the coinbase's come first
        if outpoint[:32] != coinbase_id:
            break
        overwrites += 1
    return Connection(
        coins=CoinChange(created, tuple(result.removed), overwrites),
        spent=[[], *result.spent],
        undo=encode_undo(result.spent),
        checks=result.checks,
        fees=result.fees,
        sigop_cost=result.sigop_cost,
    )


def disconnect_block(block: Block, spent: Sequence[Sequence[Coin]]) -> CoinChange:
    """Return the change that takes a connected block back; `spent` as in Connection. Raises StoreError."""
    if [len(tx.inputs) for tx in block.transactions[1:]] != [len(coins) for coins in spent[1:]]:
        raise StoreError(f"the undo data of block {block.hash[::-1].hex()} belongs to another block")
    restored: dict[OutPoint, bytes] = {}
    removed: list[OutPoint] = []
    for number in range(len(block.transactions) - 1, -1, -1):
        tx = block.transactions[number]
        for index, output in enumerate(tx.outputs):
            outpoint = tx.outpoint(index)
            if restored.pop(outpoint, None) is None and not is_unspendable(output.script_pubkey):
                removed.append(outpoint)
        if number:
            for txin, coin in zip(tx.inputs, spent[number], strict=True):
                restored[txin.prevout] = encode_coin(coin)
    return CoinChange(restored, removed, 0)
