"""Core's sighash.json: digests before segwit."""

from typing import Any

import pytest

from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.transaction import Transaction
from tests.vectors.conftest import load_rows


@pytest.mark.parametrize("row", load_rows("script/sighash.json"), ids=lambda row: row[4])
def test_legacy_digest(row: list[Any]) -> None:
    tx_hex, script_hex, index, hash_type, expected = row
    tx = Transaction.parse(bytes.fromhex(tx_hex))
    digest = SighashCache(tx, ()).legacy(index, bytes.fromhex(script_hex), hash_type)
    assert digest[::-1].hex() == expected
