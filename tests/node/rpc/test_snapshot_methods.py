"""Snapshots over RPC: Core's numbers, texts and bytes."""

from pathlib import Path
from typing import Any

import pytest
from rpc_node import ADDRESS, Rpc, refusal, rpc_node

BEGIN = 1598887952
KEY = "pk(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"


async def listed_chain(rpc: Rpc) -> None:
    """Mine the chain whose block 110 is in regtest's list of snapshots: one block a second, all to the first key."""
    descriptor = (await rpc.call("getdescriptorinfo", KEY))["descriptor"]
    for second in range(110):
        await rpc.call("setmocktime", BEGIN + second)
        await rpc.call("generatetodescriptor", 1, descriptor)


async def test_the_listed_chain_has_the_listed_hash(rpc: Rpc, tmp_path: Path) -> None:
    await listed_chain(rpc)
    path = rpc.node.settings.folder / "utxo.dat"
    path.parent.mkdir(exist_ok=True)
    listed = {
        "coins_written": 110,
        "base_hash": "696e92821f65549c7ee134edceeeeaaa4105647a3c4fd9f298c0aec0ab50425c",
        "base_height": 110,
        "path": str(path),
        "txoutset_hash": "6657b736d4fe4db0cbc796789e812d5dba7f5c143764b1b6905612f1830609d1",
        "nchaintx": 111,
    }
    assert await rpc.call("dumptxoutset", "utxo.dat", "latest") == listed
    tip = (await rpc.call("generatetoaddress", 3, ADDRESS))[-1]
    for number, height in enumerate((110, listed["base_hash"])):
        other = tmp_path / f"again{number}"
        assert await rpc.call("dumptxoutset", str(other), "rollback", {"rollback": height}) == listed | {
            "path": str(other)
        }
        assert other.read_bytes() == path.read_bytes()
        assert await rpc.call("getbestblockhash") == tip
    assert (await rpc.call("getnetworkinfo"))["networkactive"] is True
    named = await rpc.methods.call("dumptxoutset", {"path": str(tmp_path / "named"), "rollback": 5})
    assert named["base_height"] == 5


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ([], 'Invalid snapshot type "" specified. Please specify "rollback" or "latest"'),
        (["foo"], 'Invalid snapshot type "foo" specified. Please specify "rollback" or "latest"'),
        (["rollback"], "Target block height 299 after current tip 3"),
        (["latest", {"rollback": 1}], 'Invalid snapshot type "latest" specified with rollback option'),
        (["", {"rollback": 4}], "Target block height 4 after current tip 3"),
    ],
)
async def test_calls_that_make_no_sense_are_refused(rpc: Rpc, params: list[Any], error: str) -> None:
    await rpc.call("generatetoaddress", 3, ADDRESS)
    assert await refusal(rpc, "dumptxoutset", "x.dat", *params) == (-8, error)


async def test_a_file_is_not_written_over(rpc: Rpc, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    code, message = await refusal(rpc, "dumptxoutset", str(there), "latest")
    assert (code, message) == (
        -8,
        f"{there} already exists. If you are sure this is what you want, move it out of the way first",
    )
    assert there.read_text() == "mine"
    nowhere = tmp_path / "no" / "folder"
    assert await refusal(rpc, "dumptxoutset", str(nowhere), "latest") == (
        -8,
        f"Couldn't open file {nowhere} for writing.",
    )


async def test_blocks_that_are_pruned_cannot_be_gone_back_to(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-prune=1", "-fastprune") as rpc:
        await rpc.call("generatetoaddress", 1200, ADDRESS)
        last = await rpc.call("pruneblockchain", 800)
        assert last > 100
        assert await refusal(rpc, "dumptxoutset", str(tmp_path / "x"), "rollback", {"rollback": 100}) == (
            -1,
            f"Block height 100 not available (pruned data). Use a height after {last}.",
        )


async def test_a_chain_from_genesis_is_the_only_one(rpc: Rpc) -> None:
    [block_hash] = await rpc.call("generatetoaddress", 1, ADDRESS)
    found = await rpc.call("getchainstates")
    [state] = found.pop("chainstates")
    assert found == {"headers": 1}
    assert str(state.pop("difficulty")) == str(await rpc.call("getdifficulty"))
    assert state == {
        "blocks": 1,
        "bestblockhash": block_hash,
        "verificationprogress": 1,
        "coins_db_cache_bytes": 8 << 20,
        "coins_tip_cache_bytes": 150 << 20,
        "validated": True,
    }
