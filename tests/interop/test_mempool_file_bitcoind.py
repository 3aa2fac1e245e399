"""mempool.dat goes from Altyn to bitcoind and back, and both count its transactions' memory alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import ANYONE, Drawing, chain, coin, spend
from node_processes import NodeProcess, altynd_process, bitcoind_process, until

from altyn.consensus.transaction import TxOut

POLICY = ("-minrelaytxfee=0.00001", "-incrementalrelayfee=0.00001")


def blocks_of(node: NodeProcess, drawing: Drawing) -> NodeProcess:
    for height in range(1, 131):
        assert node.call("submitblock", drawing[f"a{height}"].raw.hex()) is None
    return node


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return chain("g a1..a130")


@pytest.fixture
def bitcoind(tmp_path: Path, drawing: Drawing) -> Iterator[NodeProcess]:
    with bitcoind_process(tmp_path / "bitcoind", *POLICY, "-mocktime=1296700000") as node:
        yield blocks_of(node, drawing)


@pytest.mark.parametrize("option", ["-persistmempoolv1=0", "-persistmempoolv1=1"])
def test_a_mempool_goes_over_and_comes_back(
    tmp_path: Path, drawing: Drawing, bitcoind: NodeProcess, option: str
) -> None:
    now = "-mocktime=1296700000"
    with altynd_process(tmp_path / "altyn", *POLICY, now, option) as altyn:
        blocks_of(altyn, drawing)
        parent = spend(coin(drawing["a1"]), [TxOut(10**9, ANYONE)] * 3)
        child = spend(coin(parent))
        for tx in (parent, child, spend(coin(drawing["a2"]))):
            altyn.call("sendrawtransaction", tx.raw.hex(), 0)
        altyn.call("prioritisetransaction", child.txid[::-1].hex(), 0, 4321)
        altyn.call("prioritisetransaction", "77" * 32, 0, -5)
        before = altyn.call("getrawmempool", True), altyn.call("getprioritisedtransactions")
        usage = altyn.call("getmempoolinfo")["usage"]
        assert altyn.stop() == 0
        file = altyn.datadir / "regtest" / "mempool.dat"
        options = {"use_current_time": False, "apply_fee_delta_priority": True, "apply_unbroadcast_set": True}
        bitcoind.call("importmempool", str(file), options)
        theirs = bitcoind.call("getrawmempool", True), bitcoind.call("getprioritisedtransactions")
        for ours, those in zip(before, theirs, strict=True):  # where Knots has fields beside Core's
            assert {txid: {name: those[txid][name] for name in entry} for txid, entry in ours.items()} == ours
        assert bitcoind.call("getmempoolinfo")["usage"] == pytest.approx(usage, rel=0.2)
        bitcoind.call("savemempool")
        file.write_bytes((bitcoind.datadir / "regtest" / "mempool.dat").read_bytes())
        altyn.start()
        until(lambda: altyn.call("getmempoolinfo")["loaded"])
        assert (altyn.call("getrawmempool", True), altyn.call("getprioritisedtransactions")) == before


def test_a_damaged_file_does_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    with altynd_process(tmp_path / "altyn") as altyn:
        assert altyn.stop() == 0
        (altyn.datadir / "regtest" / "mempool.dat").write_bytes(b"\2" + bytes(40))
        altyn.start()
        until(lambda: altyn.call("getmempoolinfo")["loaded"])
        assert "Failed to deserialize mempool data on file" in altyn.log


def test_a_mempool_that_is_not_to_be_kept_is_not(tmp_path: Path) -> None:
    with altynd_process(tmp_path / "altyn", "-persistmempool=0") as altyn:
        assert altyn.call("getmempoolinfo")["loaded"] is True
        assert altyn.stop() == 0
        assert not (altyn.datadir / "regtest" / "mempool.dat").exists()
        altyn.start()
