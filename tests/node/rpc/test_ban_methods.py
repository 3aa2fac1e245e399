"""setban and its kin, through a node in memory; the file of bans."""

from pathlib import Path

import pytest
from rpc_node import Rpc, rpc_node

from altyn.node.peer_memory import PeerFiles
from altyn.node.rpc.errors import RpcError
from altyn.p2p.bans import Bans


async def refusal(rpc: Rpc, *call: object) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await rpc.call("setban", *call)
    return caught.value.code, caught.value.message


async def test_bans_are_made_listed_and_lifted(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-bantime=1000") as rpc:
        await rpc.call("setmocktime", 1700000000)
        assert await rpc.call("setban", "1.2.3.0/24", "add") is None
        await rpc.call("setban", "192.168.0.6", "add", 60)
        await rpc.call("setban", "2001:4860::/32", "add", 1700000500, True)
        listed = await rpc.call("listbanned")
        assert listed[0] == {
            "address": "1.2.3.0/24",
            "ban_created": 1700000000,
            "banned_until": 1700001000,
            "ban_duration": 1000,
            "time_remaining": 1000,
        }
        assert [(ban["address"], ban["ban_duration"]) for ban in listed[1:]] == [
            ("192.168.0.6/32", 60),
            ("2001:4860::/32", 500),
        ]
        assert await refusal(rpc, "1.2.3.0/24", "add") == (-23, "Error: IP/Subnet already banned")
        assert await refusal(rpc, "1.2.3.9", "add") == (-23, "Error: IP/Subnet already banned")
        await rpc.call("setban", "192.168.0.6", "remove")
        assert await refusal(rpc, "192.168.0.6", "remove") == (
            -30,
            "Error: Unban failed. Requested address/subnet was not previously manually banned.",
        )
        assert await rpc.call("clearbanned") is None
        assert await rpc.call("listbanned") == []


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        await rpc.call("setmocktime", 1700000000)
        for subnet in ("1.2.3.4/33", "here", "1.2.3", "0.0.0.0", "::/200"):
            assert await refusal(rpc, subnet, "add") == (-30, "Error: Invalid IP/Subnet")
        past = (-8, "Error: Absolute timestamp is in the past")
        assert await refusal(rpc, "1.2.3.4", "add", 1699999999, True) == past
        code, text = await refusal(rpc, "1.2.3.4", "dance")
        assert code == -1
        assert text.startswith("setban ")


def test_a_file_that_makes_no_sense_counts_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, bans = PeerFiles(tmp_path), Bans()
    assert not files.load("banlist.json", bans.load)
    for text in ("", "{}", "[]", '{"banned_nets": [{"address": "x"}]}', '{"banned_nets": 1}', "\xff"):
        (tmp_path / "banlist.json").write_text(text)
        assert not files.load("banlist.json", bans.load)
    assert len(caplog.records) == 6
    assert bans.banned(0) == {}
    files.save("banlist.json", bans.as_json(0))
    assert files.load("banlist.json", bans.load)


def test_a_folder_that_cannot_be_written_costs_the_file_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    PeerFiles(tmp_path / "absent").save("banlist.json", {})
    assert "cannot be written" in caplog.text
