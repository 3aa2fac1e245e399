"""The wallet vectors of BIP341: trees and their outputs, and spends by key with every intermediate value."""

from hashlib import sha256
from typing import Any

import pytest

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.script.flags import STANDARD
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.taproot import (
    Leaf,
    Tree,
    check_commitment,
    control_block,
    leaf_paths,
    output_key,
    output_secret,
    tree_hash,
    tweak_hash,
)
from altyn.consensus.script.templates import p2tr
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import Transaction, TxOut
from tests.vectors.conftest import load

SECP = load_secp()
VECTORS = load("crypto/bip341_wallet_vectors.json")


def read_tree(tree: Any) -> Tree:
    if isinstance(tree, dict):
        return Leaf(bytes.fromhex(tree["script"]), tree["leafVersion"])
    left, right = tree
    return read_tree(left), read_tree(right)


@pytest.mark.parametrize("vector", VECTORS["scriptPubKey"], ids=lambda vector: vector["given"]["internalPubkey"][:8])
def test_tree_gives_the_output_and_its_control_blocks(vector: dict[str, Any]) -> None:
    given, expected = vector["given"], vector["intermediary"]
    internal_key = bytes.fromhex(given["internalPubkey"])
    root = b""
    leaves: list[tuple[Leaf, bytes]] = []
    if given["scriptTree"] is not None:
        tree = read_tree(given["scriptTree"])
        leaves = list(leaf_paths(tree))
        root = tree_hash(tree)
        assert [leaf.hash.hex() for leaf, _ in leaves] == expected["leafHashes"]
        assert root.hex() == expected["merkleRoot"]
    assert tweak_hash(internal_key, root).hex() == expected["tweak"]
    key, parity = output_key(SECP, internal_key, root)
    assert key.hex() == expected["tweakedPubkey"]
    assert p2tr(key).hex() == vector["expected"]["scriptPubKey"]
    blocks = [control_block(internal_key, parity, leaf, path) for leaf, path in leaves]
    assert [block.hex() for block in blocks] == vector["expected"].get("scriptPathControlBlocks", [])
    for block, (leaf, _) in zip(blocks, leaves, strict=True):
        assert check_commitment(SECP, block, key, leaf.hash)


def key_spends() -> list[Any]:
    return [
        pytest.param(group, spend, id=f"{number}-{spend['given']['txinIndex']}")
        for number, group in enumerate(VECTORS["keyPathSpending"])
        for spend in group["inputSpending"]
    ]


@pytest.mark.parametrize(("group", "spend"), key_spends())
def test_key_spend_is_signed_as_expected_and_verifies(group: dict[str, Any], spend: dict[str, Any]) -> None:
    tx = Transaction.parse(bytes.fromhex(group["given"]["rawUnsignedTx"]))
    spent = [
        TxOut(output["amountSats"], bytes.fromhex(output["scriptPubKey"])) for output in group["given"]["utxosSpent"]
    ]
    given, expected = spend["given"], spend["intermediary"]
    index, hash_type = given["txinIndex"], given["hashType"]
    digest = SighashCache(tx, spent).taproot(index, hash_type)
    assert digest is not None
    assert digest.hex() == expected["sigHash"]
    secret = output_secret(SECP, bytes.fromhex(given["internalPrivkey"]), bytes.fromhex(given["merkleRoot"] or ""))
    assert secret.hex() == expected["tweakedPrivkey"]
    signature = SECP.sign_schnorr(secret, digest) + (bytes((hash_type,)) if hash_type else b"")
    assert [signature.hex()] == spend["expected"]["witness"]
    inputs = list(tx.inputs)
    inputs[index] = inputs[index]._replace(witness=(signature,))
    signed = Transaction(tx.version, inputs, tx.outputs, tx.lock_time)
    ScriptCheck(signed, index, SighashCache(signed, spent), STANDARD).run(SECP)


@pytest.mark.parametrize("group", VECTORS["keyPathSpending"], ids=lambda group: group["given"]["rawUnsignedTx"][:16])
def test_shared_hashes(group: dict[str, Any]) -> None:
    tx = Transaction.parse(bytes.fromhex(group["given"]["rawUnsignedTx"]))
    spent = [
        TxOut(output["amountSats"], bytes.fromhex(output["scriptPubKey"])) for output in group["given"]["utxosSpent"]
    ]
    expected = group["intermediary"]
    cache = SighashCache(tx, spent)
    names = ("hashPrevouts", "hashAmounts", "hashScriptPubkeys", "hashSequences")
    tag = sha256(b"TapSighash").digest()
    message = b"\0\1" + tx.raw[:4] + tx.raw[-4:] + bytes.fromhex("".join(expected[name] for name in names))
    message += bytes.fromhex(expected["hashOutputs"]) + b"\0" + bytes(4)
    assert cache.taproot(0, 1) == sha256(tag + tag + message).digest()
