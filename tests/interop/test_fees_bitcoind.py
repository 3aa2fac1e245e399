"""The same transactions in the same blocks: the same estimates as bitcoind's."""

import time
from pathlib import Path

import pytest
from builders import ANYONE, chain, coin, spend
from node_processes import altynd_process, bitcoind_process

from altyn.consensus.transaction import Transaction, TxOut

POLICY = ("-minrelaytxfee=0.00001", "-incrementalrelayfee=0.00001")
ROUNDS = 40


@pytest.mark.slow
def test_estimates_are_equal(tmp_path: Path) -> None:
    blocks = chain("g a1..a110", start=int(time.time()) - 120 * 60)
    fan = spend(coin(blocks["a1"]), [TxOut(4_000_000, ANYONE)] * 9 * ROUNDS)
    blocks.extend("a110 a111", [fan])
    vsize = spend(coin(fan)).vsize
    with altynd_process(tmp_path / "altyn", *POLICY) as altyn, bitcoind_process(tmp_path / "core", *POLICY) as bitcoind:
        nodes = altyn, bitcoind
        for height in range(1, 112):
            for node in nodes:
                assert node.call("submitblock", blocks[f"a{height}"].raw.hex()) is None
        slow: list[list[Transaction]] = []
        for number in range(ROUNDS):
            rates = [30] * 4 + [10] * 4 + [2]
            made = [spend(coin(fan, 9 * number + place), fee=vsize * rate) for place, rate in enumerate(rates)]
            for tx in made:
                for node in nodes:
                    node.call("sendrawtransaction", tx.raw.hex(), 0)
            slow.append(made[4:8])
            taken = made[:4] + (slow.pop(0) if len(slow) > 3 else [])
            (block,) = blocks.extend(f"a{111 + number} a{112 + number}", taken)
            for node in nodes:
                assert node.call("submitblock", block.raw.hex()) is None
        for target in (1, 2, 4, 8, 12, 20, 1008):
            # Below height 1008 Core counts twice what waits in the long horizon, by which "conservative" goes.
            ours, theirs = (node.call("estimatesmartfee", target, "economical") for node in nodes)
            assert ours == theirs | {"source": "history"}
            raws = [node.call("estimaterawfee", target, 0.85) for node in nodes]
            for horizon in raws[0].keys() - {"long"}:
                assert raws[0][horizon] == raws[1][horizon]
            assert raws[0]["long"].get("feerate") == raws[1]["long"].get("feerate")
