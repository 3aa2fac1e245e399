"""What the user is told when something is wrong with the chain or the clock, and the command that is run then."""

from pathlib import Path

from rpc_node import ADDRESS, RAW_TRUE, rpc_node

from altyn.consensus.errors import ValidationError
from altyn.node.events import BlockFailed, WarningRaised
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


async def test_the_command_gets_the_warning_as_one_word_that_no_shell_reads(tmp_path: Path) -> None:
    commands = Commands()
    note = notify_of_warnings(f"echo %s > {tmp_path}/said", commands)
    note(WarningRaised(f"odd'; touch {tmp_path}/hole; echo '$(id)"))
    await commands.finish()
    assert (tmp_path / "said").read_text() == f"odd; touch {tmp_path}/hole; echo (id)\n"
    assert not (tmp_path / "hole").exists()
