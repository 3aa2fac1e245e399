"""Transactions and scripts as Core's RPC shows them."""

import json
from decimal import Decimal
from typing import Any

import pytest

from altyn.consensus import secp256k1
from altyn.consensus.networks import MAINNET, REGTEST, TESTNET3, Network
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.json_text import dump
from altyn.node.rpc.rawtransactions import decode_script
from altyn.node.rpc.transactions import decode_transaction
from tests.vectors.conftest import load, vectors_path

KNOWN_BY_THE_CHAIN = {"blockhash", "blocktime", "confirmations", "time"}


def decimals(name: str) -> Any:
    return json.loads(vectors_path(name).read_bytes(), parse_float=Decimal)


def shown(form: object) -> Any:
    return json.loads(dump(form), parse_float=Decimal)


def network_of(decoded: Any) -> Network:
    addresses = [output["scriptPubKey"].get("address", "") for output in decoded["vout"]]
    for prefix, network in (("bcrt1", REGTEST), ("tb1", TESTNET3), ("m", TESTNET3), ("n", TESTNET3), ("2", TESTNET3)):
        if any(address.startswith(prefix) for address in addresses):
            return network
    return MAINNET


@pytest.mark.parametrize(
    "case", decimals("script/tx_decode.json") + decimals("script/tx_decode_rpc.json"), ids=lambda case: case["name"]
)
def test_transactions_are_shown_as_core_shows_them(case: Any) -> None:
    tx = decode_transaction(case["hex"], try_no_witness=True)
    assert tx is not None
    decoded = {name: value for name, value in case["decoded"].items() if name not in KNOWN_BY_THE_CHAIN}
    forms = Forms(network_of(decoded), secp256k1.load())
    assert shown(forms.transaction(tx, with_hex="hex" in decoded)) == decoded


@pytest.mark.parametrize(("script", "decoded"), load("script/rpc_decodescript.json"))
def test_scripts_are_shown_as_core_shows_them(script: str, decoded: Any) -> None:
    assert shown(decode_script(bytes.fromhex(script), Forms(REGTEST, secp256k1.load()))) == decoded
