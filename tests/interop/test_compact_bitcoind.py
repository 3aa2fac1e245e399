"""Compact blocks between Altyn and a real bitcoind, each as who sends and as who puts together."""

from pathlib import Path
from typing import Any

import pytest
from node_processes import NodeProcess, bitcoind_process, until, until_same_tip

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]

NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


def peer_of(node: NodeProcess) -> dict[str, Any]:
    (peer,) = node.call("getpeerinfo")
    return dict(peer)


@pytest.mark.parametrize("dialler", ["altyn", pytest.param("bitcoind", marks=pytest.mark.slow)])
def test_blocks_travel_in_compact_form_both_ways(tmp_path: Path, altyn: NodeProcess, dialler: str) -> None:
    at_once = "-whitelist=noban,in,out@127.0.0.1"  # payments are announced without the random delay
    with bitcoind_process(tmp_path / "bitcoind", at_once) as bitcoind:
        exchange(bitcoind, altyn, dialler)


def exchange(bitcoind: NodeProcess, altyn: NodeProcess, dialler: str) -> None:
    bitcoind.call("createwallet", "payer")
    bitcoind.call("generatetoaddress", 110, bitcoind.call("getnewaddress", wallet="payer"))
    one, other = (altyn, bitcoind) if dialler == "altyn" else (bitcoind, altyn)
    one.call("addnode", other.address, "onetry")
    until_same_tip(altyn, bitcoind)
    for round_number in range(3):
        for miner in (bitcoind, altyn):
            amounts = {bitcoind.call("getnewaddress", wallet="payer"): "0.1" for _ in range(5)}
            paid = bitcoind.call("sendmany", "", amounts, wallet="payer")
            if round_number < 2:  # the last time the one who did not make it may have to ask for it
                until(lambda paid=paid: paid in altyn.call("getrawmempool"))
            miner.call("generatetoaddress", 1, NOBODY)
            until_same_tip(altyn, bitcoind)
    for peer in (peer_of(altyn), peer_of(bitcoind)):
        assert (peer["bip152_hb_to"], peer["bip152_hb_from"]) == (True, True)
        assert peer["bytesrecv_per_msg"]["cmpctblock"] > 0
