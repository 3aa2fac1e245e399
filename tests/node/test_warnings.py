"""What the user is told when something is wrong with the chain or the clock, and the command that is run then."""

import logging
import time
from pathlib import Path

import pytest
from builders import SPACING, VERSION, block_on
from rpc_node import ADDRESS, RAW_TRUE, Rpc, rpc_node

from altyn.consensus.errors import ValidationError
from altyn.node.events import BlockFailed, TipChanged, WarningRaised
from altyn.node.logs import TipLog
from altyn.node.notify import Commands, notify_of_warnings
from altyn.node.warnings import LARGE_WORK_INVALID_CHAIN
from altyn.p2p.time_offsets import WARNING

METHODS = "getblockchaininfo", "getnetworkinfo", "getmininginfo"


async def test_a_wrong_clock_is_in_every_list_of_warnings(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        for _ in range(5):
            rpc.node.sync.clocks.add(601)
        assert [(await rpc.call(method))["warnings"] for method in METHODS] == [[WARNING]] * 3


async def test_an_invalid_chain_far_ahead_is_told_of_once_and_until_ours_has_caught_up(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        await rpc.call("generatetoaddress", 20, ADDRESS)
        chain = rpc.node.chain
        raised: list[WarningRaised] = []
        rpc.node.events.subscribe(lambda event: raised.append(event) if isinstance(event, WarningRaised) else None)
        for height, expected in ((15, []), (14, [LARGE_WORK_INVALID_CHAIN])):
            entry = chain.active(height)
            assert entry is not None
            await rpc.call("invalidateblock", entry.hash[::-1].hex())
            rpc.node.events.publish(BlockFailed(entry, ValidationError("bad-txns-vin-empty")))
            assert [(await rpc.call(method))["warnings"] for method in METHODS] == [expected] * 3
        assert raised == [WarningRaised(LARGE_WORK_INVALID_CHAIN)]
        await rpc.call("generatetoaddress", 3, RAW_TRUE)  # other blocks than those before
        assert (await rpc.call("getnetworkinfo"))["warnings"] == []


async def submit(rpc: Rpc, count: int, version: int, start: int) -> None:
    """Hand in `count` blocks of that version, the first at `start` if it is the first of the chain."""
    for _ in range(count):
        tip = rpc.node.chain.tip
        block = block_on(tip.header, tip.height + 1, version=version, time=None if tip.height else start)
        assert await rpc.call("submitblock", block.raw.hex()) is None


async def test_rules_that_the_others_have_and_we_lack_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warning = "Unknown new rules activated (versionbit 27)"
    async with rpc_node(tmp_path, "-deprecatedrpc=warnings") as rpc:
        raised: list[WarningRaised] = []
        rpc.node.events.subscribe(lambda event: raised.append(event) if isinstance(event, WarningRaised) else None)
        rpc.node.events.subscribe(TipLog(rpc.node.warnings.of_tip))
        start = int(time.time()) - 3 * 144 * SPACING
        await submit(rpc, 143, VERSION, start)
        await submit(rpc, 143, VERSION | 1 << 27, start)
        assert "warning=" not in caplog.text
        await submit(rpc, 1, VERSION | 1 << 27, start)
        assert caplog.messages[-1].endswith(f" warning='{warning}'")
        assert [(await rpc.call(method))["warnings"] for method in METHODS] == [""] * 3
        await submit(rpc, 143, VERSION, start)
        assert raised == []
        await submit(rpc, 1, VERSION, start)
        assert raised == [WarningRaised(warning)]
        assert "warning=" not in caplog.messages[-1]
        for _ in range(5):
            rpc.node.sync.clocks.add(601)
        rpc.node.events.publish(TipChanged(rpc.node.chain.tip, rpc.node.chain.tip))
        assert rpc.node.warnings.current() == [warning, WARNING]
        assert [(await rpc.call(method))["warnings"] for method in METHODS] == [WARNING] * 3  # the last only


async def test_a_node_that_is_not_synchronised_says_nothing_of_new_rules(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        start = int(time.time()) - 10 * 24 * 3600
        for version in (VERSION, VERSION | 1 << 27, VERSION):
            await submit(rpc, 144, version, start)
        assert rpc.node.chain.is_initial_block_download
        assert rpc.node.warnings.current() == []


async def test_the_command_gets_the_warning_as_one_word_that_no_shell_reads(tmp_path: Path) -> None:
    commands = Commands()
    note = notify_of_warnings(f"echo %s > {tmp_path}/said", commands)
    note(WarningRaised(f"odd'; touch {tmp_path}/hole; echo '$(id)"))
    await commands.finish()
    assert (tmp_path / "said").read_text() == f"odd; touch {tmp_path}/hole; echo (id)\n"
    assert not (tmp_path / "hole").exists()
