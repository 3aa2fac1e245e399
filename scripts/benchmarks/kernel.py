"""libbitcoinkernel as a peer: verifying inputs with as little Python around the call as there can be."""

from collections.abc import Sequence
from typing import Any

import pbk
import pbk.capi.bindings as capi
from pbk.script import PrecomputedTransactionData, ScriptVerificationFlags
from spends import Spend

NAME = "libbitcoinkernel"
FLAGS = int(ScriptVerificationFlags.ALL)

Prepared = tuple[Any, Sequence[Any], Sequence[Any], Sequence[int]]
"""A transaction, and scripts, outputs and amounts of what it spends."""


def prepare(spend: Spend) -> Prepared:
    """Make the kernel's own objects, which are not part of what is measured."""
    scripts = [pbk.ScriptPubkey(output.script_pubkey) for output in spend.spent]
    amounts = [output.value for output in spend.spent]
    outputs = [pbk.TransactionOutput(script, value) for script, value in zip(scripts, amounts, strict=True)]
    return pbk.Transaction(spend.tx.raw), scripts, outputs, amounts


def verify(prepared: Sequence[Prepared]) -> None:
    """Verify all inputs. What one transaction's inputs share is computed here, as it is on our side."""
    check = capi.btck_script_pubkey_verify  # ScriptPubkey.verify wraps it in objects that cost 2 µs
    status = capi.btck_ScriptVerifyStatus(0)
    for tx, scripts, outputs, amounts in prepared:
        shared = PrecomputedTransactionData(tx, outputs)
        for index, script in enumerate(scripts):
            if not check(script, amounts[index], tx, shared, index, FLAGS, status):
                raise AssertionError("the kernel refuses an input that was made to be valid")
