"""Core's tx_valid.json and tx_invalid.json: transactions under the most, or the fewest, flags possible."""

from typing import Any

import pytest

from altyn.consensus.checks.scripts import script_checks
from altyn.consensus.checks.transactions import check_transaction
from altyn.consensus.errors import ValidationError
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import ALL, parse_flags
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.text import from_asm
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import OutPoint, Transaction, TxOut
from tests.vectors.conftest import load_rows
from tests.vectors.flag_sets import filled, trimmed, with_one_more, without_one

SECP = load_secp()


def name(row: list[Any]) -> str:
    """Name a case by its transaction and flags; pytest numbers those that come twice."""
    tx = Transaction.parse(bytes.fromhex(row[1]))
    return f"{tx.wtxid[::-1].hex()[:16]}-{row[2]}"


class Case:
    """A transaction with the outputs it spends."""

    def __init__(self, row: list[Any]) -> None:
        prevouts, tx_hex, self.flag_names = row
        self.tx = Transaction.parse(bytes.fromhex(tx_hex))
        self.coins = {}
        for txid, vout, asm, *amount in prevouts:
            outpoint = OutPoint.make(bytes.fromhex(txid)[::-1], vout & 0xFFFFFFFF)
            self.coins[outpoint] = TxOut(amount[0] if amount else 0, from_asm(asm))

    def accepts(self, flags: int) -> bool:
        """Tell whether all inputs verify under `flags`."""
        cache = SighashCache(self.tx, [self.coins[txin.prevout] for txin in self.tx.inputs])
        try:
            for check in script_checks(cache, flags):
                check.run(SECP)
        except ScriptError:
            return False
        return True


@pytest.mark.parametrize("row", load_rows("script/tx_valid.json"), ids=name)
def test_valid_transaction_is_accepted_under_all_flags_but_the_excluded(row: list[Any]) -> None:
    case = Case(row)
    check_transaction(case.tx)
    excluded = parse_flags(case.flag_names)
    flags = ALL & ~excluded
    assert flags == filled(flags), "the case has flags that cannot go together"
    assert case.accepts(flags)
    for fewer in without_one(flags):
        assert case.accepts(fewer), "fewer rules refuse what more rules accept"
    for less_excluded in without_one(excluded):
        assert not case.accepts(ALL & ~less_excluded), "a flag is excluded without need"


@pytest.mark.parametrize("row", load_rows("script/tx_invalid.json"), ids=name)
def test_invalid_transaction_is_refused_under_the_flags_named(row: list[Any]) -> None:
    case = Case(row)
    if case.flag_names == "BADTX":
        with pytest.raises(ValidationError):
            check_transaction(case.tx)
        return
    check_transaction(case.tx)
    flags = parse_flags(case.flag_names)
    assert flags == trimmed(flags), "the case has flags that cannot go together"
    assert not case.accepts(flags)
    for more in with_one_more(flags):
        assert not case.accepts(more), "more rules accept what fewer rules refuse"
    for fewer in without_one(flags):
        assert case.accepts(fewer), "a flag is named without need"
