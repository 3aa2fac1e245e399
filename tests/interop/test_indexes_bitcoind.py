"""The set of unspent outputs as Altyn and bitcoind see it: same statistics, same hashes, at every height."""

from pathlib import Path
from typing import Any

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until, until_same_tip

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]


def index_is_synced(node: NodeProcess, name: str) -> bool:
    return bool(node.call("getindexinfo", name)[name]["synced"])


def scanned(node: NodeProcess, hash_type: str) -> dict[str, Any]:
    info = node.call("gettxoutsetinfo", hash_type, None, False)
    assert info.pop("disk_size") >= 0  # bitcoind counts written tables only
    return dict(info)


def hold_against_each_other(altyn: NodeProcess, bitcoind: NodeProcess) -> None:
    """Compare all that both say about their coins, at the tip and at every height."""
    until_same_tip(altyn, bitcoind)
    for node in (altyn, bitcoind):
        until(lambda node=node: index_is_synced(node, "coinstatsindex"))  # type: ignore[misc]
    for hash_type in ("hash_serialized_3", "muhash", "none"):
        assert scanned(altyn, hash_type) == scanned(bitcoind, hash_type)
    by_index = altyn.call("gettxoutsetinfo", "muhash")
    assert "disk_size" not in by_index
    assert by_index["muhash"] == scanned(altyn, "muhash")["muhash"]
    for height in range(altyn.call("getblockcount") + 1):
        ours = altyn.call("gettxoutsetinfo", "muhash", height)
        assert ours == bitcoind.call("gettxoutsetinfo", "muhash", height)
        assert ours == altyn.call("gettxoutsetinfo", "muhash", ours["bestblock"])
    ours, theirs = altyn.call("getindexinfo"), bitcoind.call("getindexinfo")
    assert ours["coinstatsindex"] == theirs["coinstatsindex"]


def hold_against_the_coins(altyn: NodeProcess, bitcoind: NodeProcess, address: str) -> None:
    """Compare an address of the index with what bitcoind finds by going through all its coins."""
    found = bitcoind.call("scantxoutset", "start", [f"addr({address})"])
    ours = altyn.call("getaddressutxos", address)
    assert (ours["height"], ours["bestblock"]) == (found["height"], found["bestblock"])
    assert ours["total_amount"] == found["total_amount"]
    fields = ("txid", "vout", "amount", "height", "coinbase", "scriptPubKey")
    assert sorted([each[name] for name in fields] for each in ours["unspents"]) == sorted(
        [each[name] for name in fields] for each in found["unspents"]
    )


def test_statistics_and_addresses_are_bitcoinds_through_a_reorganisation(tmp_path: Path) -> None:
    with (
        bitcoind_process(tmp_path / "bitcoind", "-coinstatsindex=1", "-txindex=1") as bitcoind,
        altyn_process(
            tmp_path / "altyn", "--coinstatsindex", "--addressindex", "--txospenderindex", "--txindex"
        ) as altyn,
    ):
        bitcoind.call("createwallet", "w")
        own = bitcoind.call("getnewaddress", wallet="w")
        other = bitcoind.call("getnewaddress", wallet="w")
        altyn.call("addnode", bitcoind.address, "onetry")
        bitcoind.call("generatetoaddress", 104, own)
        payments = []
        for number in range(6):
            payments.append(bitcoind.call("sendtoaddress", other, 1 + number, wallet="w"))
            outputs = [{other: 0.1}, {"data": "00" * (number + 1)}]
            bitcoind.call("send", outputs, wallet="w")
            bitcoind.call("generatetoaddress", 1, own)
        hold_against_each_other(altyn, bitcoind)
        for address in (own, other):
            hold_against_the_coins(altyn, bitcoind, address)
        history = altyn.call("getaddresshistory", other)
        assert {each["txid"] for each in history["transactions"]} >= set(payments)
        spent = bitcoind.call("getrawtransaction", payments[-1], 1)["vin"][0]
        outpoint = {"txid": spent["txid"], "vout": spent["vout"]}
        (answer,) = altyn.call("gettxspendingprevout", [outpoint])
        assert answer == outpoint | {
            "spendingtxid": payments[-1],
            "blockhash": bitcoind.call("getbestblockhash"),
        }

        bitcoind.call("invalidateblock", bitcoind.call("getblockhash", 107))
        bitcoind.call("generatetoaddress", 6, other)
        hold_against_each_other(altyn, bitcoind)
        for address in (own, other):
            hold_against_the_coins(altyn, bitcoind, address)
