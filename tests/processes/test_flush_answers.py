"""A real node answers while it writes a large chain state."""

import re
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import ANYONE, block_on, coinbase
from node_processes import NodeProcess, altynd_process

from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import TxOut
from altyn.node.rpc.client import RpcClient

pytestmark = pytest.mark.slow
BLOCKS, OUTPUTS = 16, 90_000
BAR = 0.05
"""Seconds within which 99 of 100 are answered."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node that writes only when asked, and says when."""
    with altynd_process(tmp_path / "node", "-dbcache=2000", "-debug=validation", "-logtimemicros") as made:
        yield made


def fill(node: NodeProcess) -> None:
    """Hand in blocks with as many outputs as there is room for, all of them unspent."""
    parent = REGTEST.genesis.header
    start = int(time.time()) - 3600
    for height in range(1, BLOCKS + 1):
        outputs = [TxOut(0, b"\x51"), *[TxOut(0, b"\x52")] * OUTPUTS]
        block = block_on(
            parent,
            height,
            coinbase_tx=coinbase(height, script_pubkey=ANYONE, outputs=outputs),
            time=start if height == 1 else None,
        )
        assert node.call("submitblock", block.raw.hex()) is None
        parent = block.header


def moments(node: NodeProcess, words: str) -> list[float]:
    """Return when the log says so, in seconds since 1970."""
    found = re.findall(rf"^(\S+)Z .*{words}", node.log, re.MULTILINE)
    return [datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in found]


def test_answers_do_not_wait_for_a_large_flush(node: NodeProcess) -> None:
    fill(node)
    delays: list[tuple[float, float]] = []
    done = threading.Event()

    def ask() -> None:
        with RpcClient(node.url, cookie_file=node.cookie_file) as client:
            while not done.wait(0.001):
                before = time.time()
                assert client.call("getblockcount") == BLOCKS
                delays.append((before, time.time() - before))

    asker = threading.Thread(target=ask)
    asker.start()
    assert node.call("gettxoutsetinfo", "none")["txouts"] == BLOCKS * (OUTPUTS + 1)  # writes first, then counts
    done.set()
    asker.join()
    (begin,), (end,) = moments(node, "flush begins"), moments(node, "flush ends")
    meanwhile = sorted(delay for when, delay in delays if begin <= when <= end)
    assert end - begin > 0.5, "too little was written for the test to mean anything"
    assert len(meanwhile) > 100
    p99 = meanwhile[len(meanwhile) * 99 // 100]
    print(
        f"flush {end - begin:.2f} s, {len(meanwhile)} answers, median {statistics.median(meanwhile) * 1e3:.1f} ms, "
        f"p99 {p99 * 1e3:.1f} ms, longest {meanwhile[-1] * 1e3:.1f} ms"
    )
    assert p99 < BAR
