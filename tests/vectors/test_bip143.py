"""The worked examples of BIP143: digests of version 0 witnesses, and the signed transactions."""

from decimal import Decimal
from typing import Any

import pytest

from altyn.consensus.checks.scripts import script_checks
from altyn.consensus.encoding import Cursor
from altyn.consensus.limits import COIN
from altyn.consensus.script.flags import MANDATORY
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import OutPoint, Transaction, TxOut
from tests.vectors.conftest import load

SECP = load_secp()
EXAMPLES = load("script/bip143.json")


def example_and_signature() -> list[Any]:
    return [
        pytest.param(example, signature, id=f"{number}-{example['section']}-{signature['sighash'][:8]}")
        for number, example in enumerate(EXAMPLES)
        for signature in example["signatures"]
    ]


@pytest.mark.parametrize(("example", "signature"), example_and_signature())
def test_digest(example: dict[str, Any], signature: dict[str, Any]) -> None:
    tx = Transaction.parse(bytes.fromhex(example["signed_tx"]))
    preimage = Cursor(bytes.fromhex(signature["preimage"]))
    preimage.read(4 + 32 + 32)
    outpoint = OutPoint(preimage.read(36))
    script_code, amount = preimage.var_bytes(), preimage.i64()
    preimage.read(4 + 32 + 4)
    hash_type = preimage.u32()
    index = [txin.prevout for txin in tx.inputs].index(outpoint)
    digest = SighashCache(tx, ()).witness_v0(index, script_code, amount, hash_type)
    assert digest.hex() == signature["sighash"]
    if "signature" in signature and "pubkey" in signature:
        public_key, der = bytes.fromhex(signature["pubkey"]), bytes.fromhex(signature["signature"])
        assert SECP.verify_ecdsa(public_key, der, digest)


def example_and_form() -> list[Any]:
    """The last example does not say what it spends, and only one has a second form."""
    return [
        pytest.param(example, form, id=f"{number}-{example['section']}-{form}")
        for number, example in enumerate(EXAMPLES)
        for form in ("signed_tx", "signed_tx_swapped")
        if example["inputs"] and form in example
    ]


@pytest.mark.parametrize(("example", "form"), example_and_form())
def test_signed_transaction_verifies(example: dict[str, Any], form: str) -> None:
    tx = Transaction.parse(bytes.fromhex(example[form]))
    first = Transaction.parse(bytes.fromhex(example["signed_tx"]))
    spent = {
        txin.prevout: TxOut(int(Decimal(given["value_btc"]) * COIN), bytes.fromhex(given["script_pubkey"]))
        for txin, given in zip(first.inputs, example["inputs"], strict=True)
    }
    cache = SighashCache(tx, [spent[txin.prevout] for txin in tx.inputs])
    for check in script_checks(cache, MANDATORY):
        check.run(SECP)
