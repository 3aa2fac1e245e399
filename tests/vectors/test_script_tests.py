"""Core's script_tests.json: both scripts as text, flags, and the exact error."""

from decimal import Decimal
from typing import Any

import pytest

from altyn.consensus.limits import COIN
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.flags import parse_flags
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.taproot import Leaf, control_block, output_key
from altyn.consensus.script.text import from_asm
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut
from tests.vectors.conftest import load_rows

SECP = load_secp()
GENERATOR_X = SECP.public_key((1).to_bytes(32, "big"))[1:]


NEWER_NAMES = {ScriptErrorCode.EMPTY_CONDITIONAL: "INVALID_STACK_OPERATION"}
"""What the vectors call what has another reason in Core 28, whose words ours are."""


def name(row: list[Any]) -> str:
    texts = [repr(part)[:60] if isinstance(part, list) else str(part)[:60] for part in row]
    return " | ".join(texts)


def witness_and_output(parts: list[Any]) -> tuple[list[bytes], int, bytes]:
    """Return the witness, the amount and the taproot output key, for the cases that have a tapscript."""
    *elements, amount = parts
    witness: list[bytes] = []
    key = b""
    for element in elements:
        if element.startswith("#SCRIPT#"):
            leaf = Leaf(from_asm(element.removeprefix("#SCRIPT#")))
            witness.append(leaf.script)
        elif element == "#CONTROLBLOCK#":
            key, parity = output_key(SECP, GENERATOR_X, leaf.hash)
            witness.append(control_block(GENERATOR_X, parity, leaf, b""))
        else:
            witness.append(bytes.fromhex(element))
    return witness, int(Decimal(str(amount)) * COIN), key


@pytest.mark.parametrize("row", load_rows("script/script_tests.json"), ids=name)
def test_script_gives_the_expected_result(row: list[Any]) -> None:
    witness, amount, key = witness_and_output(row[0]) if isinstance(row[0], list) else ([], 0, b"")
    sig_text, pubkey_text, flag_names, expected = [part for part in row if isinstance(part, str)][:4]
    script_sig = from_asm(sig_text)
    script_pubkey = from_asm(pubkey_text.replace("#TAPROOTOUTPUT#", "0x" + key.hex()))
    credit = Transaction(1, [TxIn(NULL_OUTPOINT, b"\0\0")], [TxOut(amount, script_pubkey)])
    tx = Transaction(1, [TxIn(credit.outpoint(0), script_sig, witness=tuple(witness))], [TxOut(amount, b"")])
    checker = TransactionChecker(tx, 0, amount, SighashCache(tx, credit.outputs), SECP)
    result = "OK"
    try:
        verify_script(script_sig, script_pubkey, witness, parse_flags(flag_names), checker)
    except ScriptError as error:
        result = NEWER_NAMES.get(error.code, error.code.name)
    assert result == expected
