"""What is missing in partially signed transactions, beside bitcoind: public vectors, and wallets' own."""

from typing import Any

import pytest
from node_processes import NodeProcess

from altyn.node.rpc.client import RpcFailure
from tests.vectors.conftest import load

pytestmark = pytest.mark.slow
VECTORS = [
    *load("wallet/rpc_psbt.json")["valid"],
    *(each["base64"] for each in load("wallet/psbt_bips.json")["cases"] if each["category"] == "valid"),
    *(each["result"] for each in load("wallet/rpc_psbt.json")["signer"]),
    *(each["result"] for each in load("wallet/rpc_psbt.json")["finalizer"]),
]
TYPES = "legacy", "p2sh-segwit", "bech32", "bech32m"


def analysis(node: NodeProcess, psbt: str) -> Any:
    try:
        return node.call("analyzepsbt", psbt)
    except RpcFailure as error:
        return error.code


def test_vectors_are_analysed_alike(altyn: NodeProcess, bitcoind: NodeProcess) -> None:
    for psbt in VECTORS:
        assert analysis(altyn, psbt) == analysis(bitcoind, psbt), psbt


def test_payments_of_every_kind_of_wallet_are_analysed_alike(altyn: NodeProcess, bitcoind: NodeProcess) -> None:
    bitcoind.call("createwallet", "w")
    for kind in TYPES:
        bitcoind.call("generatetoaddress", 2, bitcoind.call("getnewaddress", "", kind))
    bitcoind.call("generatetoaddress", 100, bitcoind.call("getnewaddress"))
    coins = [{"txid": each["txid"], "vout": each["vout"]} for each in bitcoind.call("listunspent")]
    to = [{bitcoind.call("getnewaddress"): 1}]
    for chosen in (*([each] for each in coins), coins):
        made = bitcoind.call("walletcreatefundedpsbt", chosen, to, 0, {"fee_rate": 3, "add_inputs": False})["psbt"]
        signed = bitcoind.call("walletprocesspsbt", made, True, "DEFAULT", True, False)["psbt"]
        bare = bitcoind.call("createpsbt", chosen, to)
        updated = bitcoind.call("utxoupdatepsbt", bare)
        for psbt in (made, signed, bare, updated, bitcoind.call("finalizepsbt", signed, False)["psbt"]):
            assert analysis(altyn, psbt) == analysis(bitcoind, psbt), psbt
