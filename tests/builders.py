"""Chains, blocks and transactions for tests: pure functions; regtest's proof of work takes two tries on average.

blocks = chain("g a1..a105; a103 b104..b106")   # a dict: blocks["b105"] builds on b104, that one on a103
payment = spend(coin(blocks["a1"]), to=script)  # pays the first output of a1's coinbase to `script`
blocks.extend("a105 a106", transactions=[payment])
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from altyn.consensus.block import Block, Header
from altyn.consensus.emission import block_subsidy
from altyn.consensus.hashes import sha256, sha256d
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import bits_to_target
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut

OP_TRUE = b"\x51"
ANYONE = b"\x00\x20" + sha256(OP_TRUE)
"""A standard script that anyone can spend: P2WSH of OP_TRUE."""
VERSION = 0x20000000
"""Of blocks."""
SPACING = 60
"""Seconds from block to block."""


class Spendable(NamedTuple):
    """An output and where it is."""

    outpoint: OutPoint
    output: TxOut


def coin(of: Transaction | Block, index: int = 0) -> Spendable:
    """Name output `index` of a transaction, or of a block's coinbase."""
    tx = of.transactions[0] if isinstance(of, Block) else of
    return Spendable(tx.outpoint(index), tx.outputs[index])


def spend(
    coins: Spendable | Sequence[Spendable],
    to: bytes | Sequence[TxOut] = ANYONE,
    *,
    fee: int = 1000,
    sequence: int = 0xFFFFFFFE,
    lock_time: int = 0,
    version: int = 2,
) -> Transaction:
    """Spend coins guarded by OP_TRUE, bare or as P2WSH (ANYONE), less `fee` satoshis.

    `to` is one script, which gets all, or the outputs, in which case `fee` does not count.
    """
    spent = [coins] if isinstance(coins, Spendable) else list(coins)
    if isinstance(to, bytes):
        to = [TxOut(sum(one.output.value for one in spent) - fee, to)]
    inputs = [
        TxIn(one.outpoint, b"", sequence, (OP_TRUE,) if one.output.script_pubkey == ANYONE else ()) for one in spent
    ]
    return Transaction(version, inputs, to, lock_time)


def push(data: bytes) -> bytes:
    """Push up to 75 bytes, as scripts do."""
    return bytes([len(data)]) + data


def push_number(number: int) -> bytes:
    """Push a number the shortest way (Core: CScript << int64)."""
    if number == 0:
        return b"\x00"
    if 1 <= number <= 16:
        return bytes([0x50 + number])
    return push(number.to_bytes(number.bit_length() // 8 + 1, "little"))


def coinbase(
    height: int,
    *,
    value: int | None = None,
    script_pubkey: bytes = ANYONE,
    extra: bytes = b"altyn",
    outputs: Sequence[TxOut] | None = None,
    commitment_root: bytes | None = None,
    network: Network = REGTEST,
) -> Transaction:
    """Make the first transaction of a block; `commitment_root` is the root of the witness tree, if it has one."""
    if outputs is None:
        outputs = [TxOut(block_subsidy(height, network) if value is None else value, script_pubkey)]
    witness: tuple[bytes, ...] = ()
    if commitment_root is not None:
        witness = (bytes(32),)
        commitment = sha256d(commitment_root + bytes(32))
        outputs = [*outputs, TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + commitment)]
    script_sig = push_number(height) + push(extra)
    return Transaction(2, [TxIn(NULL_OUTPOINT, script_sig, 0xFFFFFFFF, witness)], outputs)


def mine(version: int, prev_hash: bytes, root: bytes, time: int, bits: int) -> Header:
    """Find a nonce; for targets as easy as regtest's."""
    target = bits_to_target(bits)
    for nonce in range(1 << 32):
        header = Header(version, prev_hash, root, time, bits, nonce)
        if int.from_bytes(header.hash, "little") <= target:
            return header
    raise ValueError("no nonce fits")


def solve(block: Block, *, fix_root: bool = True) -> Block:
    """Mine a block again after its parts were changed."""
    old = block.header
    root = merkle_root([tx.txid for tx in block.transactions]) if fix_root else old.merkle_root
    return Block(mine(old.version, old.prev_hash, root, old.time, old.bits), block.transactions)


def block_on(
    parent: Header,
    height: int,
    transactions: Iterable[Transaction] = (),
    *,
    fees: int = 0,
    coinbase_tx: Transaction | None = None,
    script_pubkey: bytes = ANYONE,
    extra: bytes = b"altyn",
    version: int = VERSION,
    time: int | None = None,
    bits: int | None = None,
    network: Network = REGTEST,
) -> Block:
    """Mine a block at `height` on `parent`; its coinbase takes subsidy and `fees`, and commits to witnesses if any."""
    others = list(transactions)
    if coinbase_tx is None:
        root = None
        if any(tx.has_witness for tx in others):
            root = merkle_root([bytes(32), *(tx.wtxid for tx in others)])
        value = block_subsidy(height, network) + fees
        coinbase_tx = coinbase(
            height, value=value, script_pubkey=script_pubkey, extra=extra, commitment_root=root, network=network
        )
    whole = [coinbase_tx, *others]
    header = mine(
        version,
        parent.hash,
        merkle_root([tx.txid for tx in whole]),
        parent.time + SPACING if time is None else time,
        parent.bits if bits is None else bits,
    )
    return Block(header, whole)


class Drawing(dict[str, Block]):
    """Blocks by name; `extend` draws more of them. "g" is the genesis block."""

    def __init__(self, network: Network = REGTEST, *, start: int | None = None, script_pubkey: bytes = ANYONE) -> None:
        super().__init__(g=network.genesis)
        self.network = network
        self._heights = {"g": 0}
        self._start = start
        self._script_pubkey = script_pubkey

    def extend(
        self, text: str, transactions: Iterable[Transaction] = (), *, fees: int = 0, time: int | None = None
    ) -> list[Block]:
        """Draw what `text` says and return the new blocks in order; `transactions` go into the last of them."""
        drawn = []
        steps = [step for line in text.split(";") if line.strip() for step in _steps(line)]
        for number, (parent, name) in enumerate(steps):
            is_last = number == len(steps) - 1
            height = self._heights[parent] + 1
            if time is None and parent == "g" and self._start is not None:
                time = self._start
            block = block_on(
                self[parent].header,
                height,
                transactions if is_last else (),
                fees=fees if is_last else 0,
                script_pubkey=self._script_pubkey,
                extra=name.encode(),
                time=time,
                network=self.network,
            )
            time = None
            self[name] = block
            self._heights[name] = height
            drawn.append(block)
        return drawn

    def height(self, name: str) -> int:
        """Return the height of the block called `name`."""
        return self._heights[name]

    def line(self, names: str) -> list[Block]:
        """Return the blocks that "a1..a5" or "a1 b2" name."""
        return [self[name] for name in _names(names)]


def chain(text: str, network: Network = REGTEST, *, start: int | None = None, script_pubkey: bytes = ANYONE) -> Drawing:
    """Draw blocks: each line, ended by ";", starts at a block drawn before: "g a1..a5; a3 b4..b9".

    Blocks stand SPACING seconds apart, from genesis, or from `start` (seconds since 1970) for those at height 1.
    """
    drawing = Drawing(network, start=start, script_pubkey=script_pubkey)
    drawing.extend(text)
    return drawing


def _names(text: str) -> Iterator[str]:
    for word in text.split():
        match = re.fullmatch(r"([a-z]+)(\d+)\.\.([a-z]+)(\d+)", word)
        if match is None:
            yield word
            continue
        letter, first, other, last = match.groups()
        if letter != other or int(first) > int(last):
            raise ValueError(f"not a range: {word}")
        yield from (f"{letter}{number}" for number in range(int(first), int(last) + 1))


def _steps(line: str) -> Iterator[tuple[str, str]]:
    names = list(_names(line))
    yield from pairwise(names)
