"""Multisig with sorted keys (BIP67)."""

from typing import Any

import pytest

from altyn.consensus.networks import REGTEST
from altyn.consensus.script import templates
from altyn.consensus.script.addresses import encode_address
from tests.vectors.conftest import load


@pytest.mark.parametrize("case", load("wallet/bip67.json"))
def test_sorted_multisig(case: dict[str, Any]) -> None:
    keys = sorted(bytes.fromhex(key) for key in case["keys"])
    assert [key.hex() for key in keys] == case["sorted_keys"]
    script = templates.multisig(2, keys)
    assert script.hex() == case["script"]
    assert templates.classify(script) == templates.Template("multisig", tuple(keys), required=2)
    assert encode_address(templates.p2sh_of(script), REGTEST) == case["address"]
