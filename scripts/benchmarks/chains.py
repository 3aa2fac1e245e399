"""A regtest chain of mixed spends in a block file of Core's form, genesis first: the work of `bench ibd`.

The same chain on every machine: keys and choices come from hashes, signatures have no randomness in them.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spends import Sign, Template

from altyn.consensus.block import Block, Header
from altyn.consensus.emission import block_subsidy
from altyn.consensus.hashes import sha256d
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import REGTEST
from altyn.consensus.pow import bits_to_target
from altyn.consensus.script.opcodes import push, push_number
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut

FORM = 1
"""Goes up when the chain that is made changes, so that no stale one is taken from the cache."""
TEMPLATES = ["p2pkh", "p2wpkh", "p2wpkh", "p2sh-p2wpkh", "p2wsh-2of3", "p2tr-key", "p2tr-key", "p2tr-script"]
"""Kinds of outputs, by turns: about 1.3 signature checks for an input."""
SPACING = 60
"""Seconds from block to block."""
WARM_UP = 110
"""Blocks before the payments begin: the coinbases have to ripen."""
FAN_OUT = 1000
"""Outputs that the payments begin with, for each of some coinbases."""
FEE = 200
"""Satoshis that an input leaves."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a chain is; transactions have two inputs and two outputs."""

    blocks: int = 1_000
    inputs: int = 100_000

    @property
    def file_name(self) -> str:
        return f"ibd-{FORM}-{self.blocks}-{self.inputs}.dat"


@dataclass(frozen=True, slots=True)
class _Coin:
    outpoint: OutPoint
    output: TxOut
    sign: Sign


def cached_chain(shape: Shape, secp: Secp256k1, say: Callable[[str], None]) -> Path:
    """Return the file of the chain, made now unless an earlier run has made it. `say` is told how far it is."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "altyn" / "chains"
    path = folder / shape.file_name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as file:
            for height, block in enumerate(make_chain(shape, secp)):
                file.write(REGTEST.magic + len(block.raw).to_bytes(4, "little") + block.raw)
                say(f"making the chain, block {height} of {shape.blocks}")
        unfinished.replace(path)
    return path


def make_chain(shape: Shape, secp: Secp256k1) -> Iterator[Block]:
    """Yield the blocks from genesis on: coinbases alone, then some that split them, then payments."""
    rng = random.Random(f"altyn {shape}")
    makers = [Template(secp, name) for name in TEMPLATES]
    coins: list[_Coin] = []
    turn = 0

    def outputs(total: int, count: int) -> list[tuple[TxOut, Sign]]:
        nonlocal turn
        made = []
        for _ in range(count):
            script, sign = makers[turn % len(makers)].make()
            made.append((TxOut(total // count, script), sign))
            turn += 1
        return made

    def pay(spent: Sequence[_Coin], count: int) -> Transaction:
        total = sum(coin.output.value for coin in spent) - FEE * len(spent)
        made = outputs(total, count)
        tx = _signed(spent, [output for output, _ in made])
        coins.extend(_Coin(tx.outpoint(i), output, sign) for i, (output, sign) in enumerate(made))
        return tx

    block = REGTEST.genesis
    yield block
    ripening: list[_Coin] = []
    inputs_left = shape.inputs
    for height in range(1, shape.blocks + 1):
        transactions = []
        if WARM_UP - 10 < height <= WARM_UP:
            transactions.append(pay([ripening.pop(0)], FAN_OUT))
            inputs_left -= 1
        elif height > WARM_UP:
            share = -(-inputs_left // (shape.blocks - height + 1))
            for _ in range(share // 2):
                transactions.append(pay([_draw(coins, rng), _draw(coins, rng)], 2))
                inputs_left -= 2
        ((output, sign),) = outputs(block_subsidy(height, REGTEST), 1)
        block = _block(block.header, height, output, transactions)
        ripening.append(_Coin(block.transactions[0].outpoint(0), output, sign))
        yield block


def _draw(coins: list[_Coin], rng: random.Random) -> _Coin:
    at = rng.randrange(len(coins))
    coins[at], coins[-1] = coins[-1], coins[at]
    return coins.pop()


def _signed(spent: Sequence[_Coin], outputs: Sequence[TxOut]) -> Transaction:
    blank = [TxIn(coin.outpoint, b"", 0xFFFFFFFD) for coin in spent]
    cache = SighashCache(Transaction(2, blank, outputs), [coin.output for coin in spent])
    inputs = []
    for index, (txin, coin) in enumerate(zip(blank, spent, strict=True)):
        script_sig, witness = coin.sign(cache, index)
        inputs.append(txin._replace(script_sig=script_sig, witness=tuple(witness)))
    return Transaction(2, inputs, outputs)


def _block(parent: Header, height: int, reward: TxOut, transactions: Sequence[Transaction]) -> Block:
    root = merkle_root([bytes(32), *(tx.wtxid for tx in transactions)])
    commitment = TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + sha256d(root + bytes(32)))
    coinbase = TxIn(NULL_OUTPOINT, push_number(height) + push(b"altyn"), 0xFFFFFFFF, (bytes(32),))
    whole = [Transaction(2, [coinbase], [reward, commitment]), *transactions]
    merkle, time = merkle_root([tx.txid for tx in whole]), parent.time + SPACING
    target = bits_to_target(parent.bits)
    nonce = 0
    while True:
        header = Header(0x20000000, parent.hash, merkle, time, parent.bits, nonce)
        if int.from_bytes(header.hash, "little") <= target:
            return Block(header, whole)
        nonce += 1
