"""A node that lacks the rules of others says so: in answers, in its log, by the user's command; after a restart too."""

import time
from pathlib import Path

import pytest
from builders import SPACING, VERSION, block_on
from node_processes import NodeProcess, altynd_process, until

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST

pytestmark = pytest.mark.slow
WARNING = "Unknown new rules activated (versionbit 27)"


def submit(node: NodeProcess, parent: Header, height: int, version: int) -> Header:
    start = int(time.time()) - 450 * SPACING
    block = block_on(parent, height, version=version, time=start if height == 1 else None)
    assert node.call("submitblock", block.raw.hex()) is None
    return block.header


def test_others_rules_are_told_of_before_they_are_active_and_after(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with altynd_process(tmp_path / "node", f"-alertnotify=echo %s >> {said}") as node:
        parent = REGTEST.genesis.header
        for height in range(1, 432):
            parent = submit(node, parent, height, VERSION | 1 << 27 if 144 <= height < 288 else VERSION)
        assert " height=287 version=0x28000000" in node.log
        lines = [line for line in node.log.splitlines() if f"warning='{WARNING}'" in line]
        assert [line.split(" height=")[1].split()[0] for line in lines] == [str(each) for each in range(287, 431)]
        until(said.exists)
        for again in (False, True):
            assert node.call("getmininginfo")["warnings"] == [WARNING]
            assert said.read_text() == f"{WARNING}\n" * (1 + again)
            if not again:
                node.stop()
                node.start()
                submit(node, parent, 432, VERSION)
                until(lambda: said.read_text().count("\n") == 2)
