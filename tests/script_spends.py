"""Builders for tests of scripts: an output with a script, and a transaction that spends it."""

from collections.abc import Sequence

from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import MANDATORY
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.taproot import Leaf, control_block, output_key
from altyn.consensus.script.text import from_asm
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut

SECP = load()
SECRET = bytes(31) + b"\x05"
KEY = SECP.public_key(SECRET)
LONG_KEY = SECP.public_key(SECRET, compressed=False)
AMOUNT = 1000
"""Satoshis."""


def spending(
    script_sig: bytes = b"",
    witness: Sequence[bytes] = (),
    *,
    version: int = 2,
    lock_time: int = 0,
    sequence: int = 0xFFFFFFFF,
) -> Transaction:
    """Return a transaction that spends one output."""
    txin = TxIn(OutPoint.make(b"\x11" * 32, 0), script_sig, sequence, tuple(witness))
    return Transaction(version, [txin], [TxOut(AMOUNT - 100, b"\x51")], lock_time)


def result(tx: Transaction, script_pubkey: bytes, flags: int = MANDATORY, spent: Sequence[TxOut] | None = None) -> str:
    """Return "OK", or the name of the error with which the first input of `tx` fails to spend `script_pubkey`.

    All inputs spend the same, unless `spent` says what.
    """
    cache = SighashCache(tx, spent or [TxOut(AMOUNT, script_pubkey)] * len(tx.inputs))
    checker = TransactionChecker(tx, 0, AMOUNT, cache, SECP)
    try:
        verify_script(tx.inputs[0].script_sig, script_pubkey, tx.inputs[0].witness, flags, checker)
    except ScriptError as error:
        return error.code.name
    return "OK"


def run(script_sig: str, script_pubkey: str, flags: int = 0, witness: Sequence[bytes] = ()) -> str:
    """Return the result of two scripts given as text."""
    return result(spending(from_asm(script_sig), witness), from_asm(script_pubkey), flags)


def tapscript(
    script: bytes, arguments: Sequence[bytes], *more: bytes, version: int = 0xC0
) -> tuple[bytes, list[bytes]]:
    """Return the output of a single leaf and the witness that spends by it; `more` goes behind, as an annex."""
    leaf = Leaf(script, version)
    key, parity = output_key(SECP, KEY[1:], leaf.hash)
    return b"\x51\x20" + key, [*arguments, script, control_block(KEY[1:], parity, leaf, b""), *more]


def run_tapscript(script: str, arguments: Sequence[bytes] = (), flags: int = MANDATORY) -> str:
    """Return the result of a tapscript given as text."""
    output, witness = tapscript(from_asm(script), arguments)
    return result(spending(witness=witness), output, flags)
