"""Core's script_assets_test: inputs of taproot outputs, and others beside them, each with a good and a broken spend."""

from typing import Any

import pytest

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.encoding import Cursor
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import parse_flags
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import Transaction, TxOut
from tests.vectors.conftest import load

SECP = load_secp()
CONSENSUS_SETS = [
    parse_flags(names)
    for names in (
        "",
        "P2SH",
        "P2SH,DERSIG",
        "P2SH,DERSIG,CHECKLOCKTIMEVERIFY",
        "P2SH,DERSIG,CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY",
        "P2SH,DERSIG,CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY,WITNESS,NULLDUMMY",
        "P2SH,DERSIG,CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY,WITNESS,NULLDUMMY,TAPROOT",
    )
]
"""What blocks were checked under, era by era."""


def read_output(data: bytes) -> TxOut:
    cursor = Cursor(data)
    output = TxOut(cursor.i64(), cursor.var_bytes())
    cursor.finish()
    return output


def accepts(case: dict[str, Any], spend: dict[str, Any], all_flags: list[int]) -> list[bool]:
    """Tell for each set of flags whether the input verifies with the given scriptSig and witness."""
    tx = Transaction.parse(bytes.fromhex(case["tx"]))
    index = case["index"]
    inputs = list(tx.inputs)
    witness = tuple(bytes.fromhex(element) for element in spend["witness"])
    inputs[index] = inputs[index]._replace(script_sig=bytes.fromhex(spend["scriptSig"]), witness=witness)
    tx = Transaction(tx.version, inputs, tx.outputs, tx.lock_time)
    cache = SighashCache(tx, [read_output(bytes.fromhex(output)) for output in case["prevouts"]])
    return [runs(ScriptCheck(tx, index, cache, flags)) for flags in all_flags]


def runs(check: ScriptCheck) -> bool:
    try:
        check.run(SECP)
    except ScriptError:
        return False
    return True


@pytest.mark.parametrize("case", load("script/taproot_assets.jsonl.gz"), ids=lambda case: case["id"])
def test_good_spend_is_accepted_and_broken_one_is_not(case: dict[str, Any]) -> None:
    flags = parse_flags(case["flags"])
    for_success = [era for era in CONSENSUS_SETS if case.get("final") or era & flags == era]
    assert all(accepts(case, case["success"], [flags, *for_success]))
    if "failure" in case:
        for_failure = [era for era in CONSENSUS_SETS if era & flags == flags]
        assert not any(accepts(case, case["failure"], [flags, *for_failure]))
