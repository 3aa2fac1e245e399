"""Snapshots over RPC: Core's numbers, texts and bytes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rpc_node import ADDRESS, Rpc, refusal, rpc_node

from altyn.consensus.networks import MAINNET, REGTEST
from altyn.node.events import IndexCaughtUp, SnapshotChanged
from altyn.node.storage.snapshot import SnapshotHead

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
    for nowhere in (tmp_path / "no" / "folder", f"{tmp_path}\0"):
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


async def test_a_node_begins_with_a_snapshot_and_proves_it(rpc: Rpc, tmp_path: Path) -> None:
    await listed_chain(rpc)
    path = str(tmp_path / "coins.dat")
    await rpc.call("dumptxoutset", path, "latest")
    await rpc.call("generatetoaddress", 2, ADDRESS)
    hashes = [await rpc.call("getblockhash", height) for height in range(113)]
    blocks = [await rpc.call("getblock", name, 0) for name in hashes]
    async with rpc_node(tmp_path, "-coinstatsindex") as other:
        await other.call("setmocktime", BEGIN + 200)
        assert "NETWORK" in (await other.call("getnetworkinfo"))["localservicesnames"]
        code, message = await refusal(other, "loadtxoutset", path)
        assert code == -32603
        assert message == (
            f"Unable to load UTXO snapshot: The base block header ({hashes[110]}) must appear in the headers chain. "
            f"Make sure all headers are syncing, and call loadtxoutset again. ({path})"
        )
        for block in blocks[1:]:
            await other.call("submitheader", block[:160])
        assert await other.call("loadtxoutset", path) == {
            "coins_loaded": 110,
            "tip_hash": hashes[110],
            "base_height": 110,
            "path": path,
        }
        for block in blocks[111:]:
            assert await other.call("submitblock", block) is None
        assert await other.call("getblockcount") == 112
        below, above = (await other.call("getchainstates"))["chainstates"]
        assert (below["blocks"], below["validated"], "snapshot_blockhash" in below) == (0, True, False)
        assert (above["blocks"], above["validated"], above["snapshot_blockhash"]) == (112, False, hashes[110])
        services = (await other.call("getnetworkinfo"))["localservicesnames"]
        assert "NETWORK_LIMITED" in services
        assert "NETWORK" not in services
        missing = (-1, "Block not found on disk")
        assert await refusal(other, "getblock", hashes[50]) == missing
        assert (await other.call("getindexinfo"))["coinstatsindex"]["synced"] is False
        proved, caught_up = asyncio.Event(), asyncio.Event()
        other.node.events.subscribe(lambda event: proved.set() if isinstance(event, SnapshotChanged) else None)
        other.node.events.subscribe(lambda event: caught_up.set() if isinstance(event, IndexCaughtUp) else None)
        for block in blocks[1:111]:
            await other.call("submitblock", block)
        async with asyncio.timeout(20):
            await proved.wait()
            await caught_up.wait()
        [state] = (await other.call("getchainstates"))["chainstates"]
        assert (state["blocks"], state["validated"], "snapshot_blockhash" in state) == (112, True, False)
        assert "NETWORK" in (await other.call("getnetworkinfo"))["localservicesnames"]
        assert (await other.call("getindexinfo"))["coinstatsindex"]["synced"] is True
        ours, theirs = [await each.call("gettxoutsetinfo", "muhash", None, False) for each in (other, rpc)]
        assert ours["muhash"] == theirs["muhash"]


async def test_files_that_are_no_snapshots_of_this_network_are_refused(rpc: Rpc, tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    for name in (path, f"{path}\0"):
        assert await refusal(rpc, "loadtxoutset", str(name)) == (-8, f"Couldn't open file {name} for reading.")
    path.write_bytes(b"nonsense")
    code, message = await refusal(rpc, "loadtxoutset", str(path))
    assert (code, message) == (-22, "Unable to parse metadata: AutoFile::read: end of file")
    for magic, why in (
        (MAINNET.magic, "The network of the snapshot (main) does not match the network of this node (regtest)."),
        (b"none", "This snapshot has been created for an unrecognized network. This could be a custom signet"),
    ):
        path.write_bytes(SnapshotHead(magic, bytes(32), 0).encode())
        code, message = await refusal(rpc, "loadtxoutset", str(path))
        assert code == -22
        assert message.startswith(f"Unable to parse metadata: {why}")
    path.write_bytes(SnapshotHead(REGTEST.magic, bytes(32), 0).encode())
    assert await refusal(rpc, "loadtxoutset", str(path)) == (
        -32603,
        "Unable to load UTXO snapshot: assumeutxo block hash in snapshot metadata not recognized (hash: "
        f"{'00' * 32}). The following snapshot heights are available: 110, 200, 299.. ({path})",
    )
