"""Snapshots of the unspent outputs: Altyn's files are bitcoind's, byte for byte, and each loads the other's."""

from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until, until_same_tip

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


def restart_killed(node: NodeProcess) -> None:
    """Kill a node, and start it again at the time of the chain."""
    assert node.process is not None
    node.process.kill()
    node.process.wait()
    node.start()
    node.call("setmocktime", BEGIN + 200)


BEGIN = 1598887952
KEY = "pk(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"


def test_each_begins_with_a_file_of_the_other_and_proves_it(tmp_path: Path) -> None:
    """On the chain whose block 110 regtest lists: one block a second, all to the first key."""
    with (
        bitcoind_process(tmp_path / "bitcoind", f"-mocktime={BEGIN}") as bitcoind,
        altyn_process(tmp_path / "altyn") as altyn,
    ):
        descriptor = bitcoind.call("getdescriptorinfo", KEY)["descriptor"]
        for second in range(110):
            bitcoind.call("setmocktime", BEGIN + second)
            bitcoind.call("generatetodescriptor", 1, descriptor)
        altyn.call("setmocktime", BEGIN + 200)
        altyn.call("addnode", bitcoind.address, "onetry")
        until_same_tip(altyn, bitcoind)
        files = {}
        for name, node in (("altyn", altyn), ("bitcoind", bitcoind)):
            files[name] = str(tmp_path / f"{name}.dat")
            node.call("dumptxoutset", files[name], "latest")
        bitcoind.call("setmocktime", BEGIN + 150)
        bitcoind.call("generatetodescriptor", 3, descriptor)
        headers = [bitcoind.call("getblockheader", bitcoind.call("getblockhash", at), False) for at in range(1, 114)]
        with (
            bitcoind_process(tmp_path / "other-bitcoind", f"-mocktime={BEGIN + 200}") as other_bitcoind,
            altyn_process(tmp_path / "other-altyn") as other_altyn,
        ):
            other_altyn.call("setmocktime", BEGIN + 200)
            for node, file in ((other_altyn, files["bitcoind"]), (other_bitcoind, files["altyn"])):
                for header in headers:
                    node.call("submitheader", header)
                loaded = node.call("loadtxoutset", file)
                assert loaded.pop("path") == file
                assert loaded == {
                    "coins_loaded": 110,
                    "tip_hash": bitcoind.call("getblockhash", 110),
                    "base_height": 110,
                }
                assert node.call("getblockcount") == 110
                assert len(node.call("getchainstates")["chainstates"]) == 2
                if node is other_altyn:  # a kill at once, and one when the proof has ended: it goes on from there
                    restart_killed(node)
                    assert len(node.call("getchainstates")["chainstates"]) == 2
                node.call("addnode", bitcoind.address, "onetry")
                until(lambda node=node: len(node.call("getchainstates")["chainstates"]) == 1)  # type: ignore[misc]
                until_same_tip(node, bitcoind)
                assert (
                    node.call("gettxoutsetinfo")["hash_serialized_3"]
                    == (bitcoind.call("gettxoutsetinfo")["hash_serialized_3"])
                )
            restart_killed(other_altyn)
            [state] = other_altyn.call("getchainstates")["chainstates"]
            assert state["validated"] is True
