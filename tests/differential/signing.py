"""Spending outputs with scripts: what an input needs to sign, and outputs under test beside an ordinary one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from builders import ANYONE, OP_TRUE, Spendable
from script_spends import KEY, SECP, SECRET

from altyn.consensus.encoding import var_bytes
from altyn.consensus.hashes import sha256
from altyn.consensus.script.sighash import NO_CODE_SEPARATOR, SighashCache
from altyn.consensus.script.taproot import Leaf, Tree, control_block, leaf_paths, output_key, output_secret, tree_hash
from altyn.consensus.script.templates import p2tr
from altyn.consensus.transaction import Transaction, TxIn, TxOut

OTHER_SECRET = bytes(31) + b"\x06"
OTHER_KEY = SECP.public_key(OTHER_SECRET)


class Solution(NamedTuple):
    """What unlocks an output."""

    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Signer:
    """A transaction without its scripts, and the input to be signed."""

    tx: Transaction
    index: int
    spent: Sequence[TxOut]

    def ecdsa(
        self, script_code: bytes, hash_type: int = 1, *, segwit: bool = False, secret: bytes = SECRET, amount: int = 0
    ) -> bytes:
        """Return a signature with its hash type; `amount` is added to the true one."""
        cache = SighashCache(self.tx, self.spent)
        if segwit:
            digest = cache.witness_v0(self.index, script_code, self.spent[self.index].value + amount, hash_type)
        else:
            digest = cache.legacy(self.index, script_code, hash_type)
        return SECP.sign_ecdsa(secret, digest) + bytes((hash_type & 0xFF,))

    def schnorr(
        self,
        hash_type: int = 0,
        *,
        leaf: Leaf | None = None,
        root: bytes = b"",
        annex: bytes | None = None,
        separator: int = NO_CODE_SEPARATOR,
    ) -> bytes:
        """Return a signature for a leaf, or for the key path of SECRET's key under a tree with this root."""
        annex_hash = None if annex is None else sha256(var_bytes(annex))
        leaf_hash = None if leaf is None else leaf.hash
        digest = SighashCache(self.tx, self.spent).taproot(self.index, hash_type, annex_hash, leaf_hash, separator)
        assert digest is not None
        secret = output_secret(SECP, SECRET, root) if leaf is None else SECRET
        return SECP.sign_schnorr(secret, digest) + (bytes((hash_type,)) if hash_type else b"")


Solve = Callable[[Signer], Solution]


def unlock(
    coin: Spendable,
    solve: Solve,
    *,
    beside: Spendable | None = None,
    outputs: int = 0,
    sequence: int = 0xFFFFFFFE,
    lock_time: int = 0,
    version: int = 2,
    fee: int = 30_000,
) -> Transaction:
    """Spend `coin` by what `solve` says; `beside`, open to anyone, becomes the input before it.

    There are as many outputs as inputs unless told.
    """
    before = [] if beside is None else [beside]
    coins = [*before, coin]
    outputs = outputs or len(coins)
    value = (sum(each.output.value for each in coins) - fee) // outputs
    inputs = [TxIn(each.outpoint, b"", sequence) for each in coins]
    made = [TxOut(value, ANYONE) for _ in range(outputs)]
    bare = Transaction(version, inputs, made, lock_time)
    solution = solve(Signer(bare, len(before), [each.output for each in coins]))
    signed = [txin._replace(witness=(OP_TRUE,)) for txin in inputs[:-1]]
    signed.append(TxIn(coin.outpoint, solution.script_sig, sequence, solution.witness))
    return Transaction(version, signed, made, lock_time)


class TapTree:
    """A taproot output of SECRET's key with these leaves."""

    def __init__(self, *leaves: Leaf) -> None:
        tree: Tree = leaves[0]
        for leaf in leaves[1:]:
            tree = (tree, leaf)
        self.root = tree_hash(tree)
        self._paths = dict(leaf_paths(tree))
        key, self._parity = output_key(SECP, KEY[1:], self.root)
        self.script_pubkey = p2tr(key)

    def control(self, leaf: Leaf) -> bytes:
        return control_block(KEY[1:], self._parity, leaf, self._paths[leaf])

    def reveal(self, leaf: Leaf, *arguments: bytes) -> Solution:
        """Return the solution that runs a leaf on arguments."""
        return Solution(b"", (*arguments, leaf.script, self.control(leaf)))
