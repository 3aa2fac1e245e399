"""Snapshots of the unspent outputs: Altyn's files are bitcoind's, byte for byte."""

from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until_same_tip

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]


def hold_files_against_each_other(folder: Path, altyn: NodeProcess, bitcoind: NodeProcess, height: int) -> None:
    """Let both write the coins at a height, and compare what they say and what they wrote."""
    ours, theirs = folder / f"altyn-{height}", folder / f"bitcoind-{height}"
    said = [
        node.call("dumptxoutset", str(path), "rollback", {"rollback": height})
        for node, path in ((altyn, ours), (bitcoind, theirs))
    ]
    for each in said:
        each.pop("path")
    assert said[0] == said[1]
    assert ours.read_bytes() == theirs.read_bytes()


def test_files_are_bitcoinds_byte_for_byte(tmp_path: Path) -> None:
    with bitcoind_process(tmp_path / "bitcoind") as bitcoind, altyn_process(tmp_path / "altyn") as altyn:
        bitcoind.call("createwallet", "w")
        own = bitcoind.call("getnewaddress", wallet="w")
        bitcoind.call("generatetoaddress", 110, own)
        for kind in ("legacy", "p2sh-segwit", "bech32", "bech32m"):
            address = bitcoind.call("getnewaddress", "", kind, wallet="w")
            bitcoind.call("send", [{address: 1.25}, {"data": "00"}], wallet="w")
            bitcoind.call("generatetoaddress", 1, own)
        many = {bitcoind.call("getnewaddress", wallet="w"): 0.01 for _ in range(140)}
        bitcoind.call("sendmany", "", many, wallet="w")
        bitcoind.call("generatetoaddress", 1, own)
        altyn.call("addnode", bitcoind.address, "onetry")
        until_same_tip(altyn, bitcoind)
        for height in (115, 112, 100):
            hold_files_against_each_other(tmp_path, altyn, bitcoind, height)
