"""Block files go both ways between Altyn and bitcoind, and both prune the same of them."""

from pathlib import Path
from typing import Any

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until

from altyn.consensus.networks import REGTEST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]

NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


def block_files(node: NodeProcess) -> list[Path]:
    return sorted((node.datadir / "regtest" / "blocks").glob("blk*.dat"))


def bootstrap(node: NodeProcess, path: Path) -> None:
    """Write the whole chain into one file, as Core's linearize does."""
    with path.open("wb") as file:
        for height in range(node.call("getblockcount") + 1):
            raw = bytes.fromhex(node.call("getblock", node.call("getblockhash", height), 0))
            file.write(REGTEST.magic + len(raw).to_bytes(4, "little") + raw)


def loads(start: Any, folder: Path, option: str, files: list[Path], tip: str) -> None:
    """Start a node that knows nobody on block files; see that it comes to `tip`."""
    with start(folder, *(f"{option}={file}" for file in files)) as node:
        until(lambda: node.call("getbestblockhash") == tip)
        assert node.call("gettxoutsetinfo")["height"] == node.call("getblockcount")


def test_each_loads_the_block_files_of_the_other(tmp_path: Path) -> None:
    with altyn_process(tmp_path / "altyn", "--fastprune") as altyn:
        altyn.call("generatetoaddress", 300, NOBODY)
        [tip] = altyn.call("generatetoaddress", 1, NOBODY)
        bootstrap(altyn, tmp_path / "bootstrap.dat")
        altyn.stop()
        assert len(block_files(altyn)) == 2
        loads(bitcoind_process, tmp_path / "by bitcoind", "-loadblock", block_files(altyn), tip)
    loads(bitcoind_process, tmp_path / "bootstrapped", "-loadblock", [tmp_path / "bootstrap.dat"], tip)
    with bitcoind_process(tmp_path / "bitcoind", "-fastprune", "-blocksxor=1") as bitcoind:
        bitcoind.call("generatetoaddress", 300, NOBODY)
        [tip] = bitcoind.call("generatetoaddress", 1, NOBODY)
        bootstrap(bitcoind, tmp_path / "bootstrap.dat")
        bitcoind.stop()
        assert REGTEST.magic not in block_files(bitcoind)[0].read_bytes()[:4]
        loads(altyn_process, tmp_path / "by altyn", "--loadblock", block_files(bitcoind), tip)
    loads(altyn_process, tmp_path / "altyn bootstrapped", "--loadblock", [tmp_path / "bootstrap.dat"], tip)


def test_both_prune_the_same_and_say_the_same(tmp_path: Path) -> None:
    pruned = ("pruned", "pruneheight", "automatic_pruning", "prune_target_size")
    with (
        bitcoind_process(tmp_path / "bitcoind", "-prune=1", "-fastprune", "-blockfilterindex=1") as bitcoind,
        altyn_process(tmp_path / "altyn", "--prune=1", "--fastprune") as altyn,
    ):
        for block_hash in bitcoind.call("generatetoaddress", 900, NOBODY):  # neither syncs from a pruned node
            assert altyn.call("submitblock", bitcoind.call("getblock", block_hash, 0)) is None
        nodes = (altyn, bitcoind)
        until(lambda: all(node.call("getindexinfo")["basic block filter index"]["synced"] for node in nodes))
        heights = []
        for height in (100, 400, 900, 900):
            ours, theirs = (node.call("pruneblockchain", height) for node in nodes)
            assert ours == theirs
            heights.append(ours)
            info, other = (node.call("getblockchaininfo") for node in nodes)
            assert [info.get(name) for name in pruned] == [other.get(name) for name in pruned]
        assert heights[0] == -1 < heights[1] < heights[2] == heights[3]
        assert altyn.call("getblockchaininfo")["size_on_disk"] == pytest.approx(
            bitcoind.call("getblockchaininfo")["size_on_disk"], rel=0.1
        )
