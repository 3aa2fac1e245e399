"""Three thousand blocks from a real bitcoind and to one, with the time each way takes."""

import time
from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until_same_tip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("interop")]

BLOCKS = 3_000
LIMIT = 240.0
"""Seconds for one way."""
NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


def test_three_thousand_blocks_go_from_bitcoind_to_altyn_and_from_there_to_another_bitcoind(
    tmp_path: Path, altyn: NodeProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    with bitcoind_process(tmp_path / "first") as first, bitcoind_process(tmp_path / "second") as second:
        for _ in range(BLOCKS // 500):
            first.call("generatetoaddress", 500, NOBODY)
        seconds = []
        for giver, taker in ((first, altyn), (altyn, second)):
            began = time.monotonic()
            taker.call("addnode", giver.address, "onetry")
            until_same_tip(giver, taker, seconds=LIMIT)
            seconds.append(time.monotonic() - began)
        assert second.call("getblockcount") == BLOCKS
        assert second.call("gettxoutsetinfo", "muhash")["muhash"] == altyn.call("gettxoutsetinfo", "muhash")["muhash"]
    with capsys.disabled():
        print(f"\n{BLOCKS} blocks: {seconds[0]:.1f} s from bitcoind, {seconds[1]:.1f} s to bitcoind")


def test_a_light_node_follows_three_thousand_blocks_of_bitcoind(tmp_path: Path) -> None:
    options = "-blockfilterindex=1", "-peerblockfilters=1"
    with bitcoind_process(tmp_path / "bitcoind", *options) as bitcoind:
        for _ in range(BLOCKS // 500):
            bitcoind.call("generatetoaddress", 500, NOBODY)
        with altyn_process(tmp_path / "light", "--addnode", bitcoind.address, kind="light") as light:
            until_same_tip(light, bitcoind, seconds=LIMIT)
            for height in (1, BLOCKS // 2, BLOCKS):
                block_hash = bitcoind.call("getblockhash", height)
                assert light.call("getblockfilter", block_hash) == bitcoind.call("getblockfilter", block_hash)
