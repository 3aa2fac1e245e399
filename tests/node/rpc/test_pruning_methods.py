"""What clients are told of blocks that are not here any more: the numbers and texts of Core."""

from pathlib import Path

from rpc_node import ADDRESS, Rpc, refusal, rpc_node


async def test_a_node_that_keeps_all_blocks_says_so(rpc: Rpc) -> None:
    assert await refusal(rpc, "pruneblockchain", 1) == (
        -1,
        "Cannot prune blocks because node is not in prune mode.",
    )
    info = await rpc.call("getblockchaininfo")
    assert info["pruned"] is False
    assert info["size_on_disk"] > 285
    assert not info.keys() & {"pruneheight", "automatic_pruning", "prune_target_size"}


async def test_the_target_is_told(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-prune=550") as rpc:
        info = await rpc.call("getblockchaininfo")
        assert (info["pruned"], info["pruneheight"]) == (True, 0)
        assert (info["automatic_pruning"], info["prune_target_size"]) == (True, 550 << 20)


async def test_blocks_are_pruned_by_height_and_by_time(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-prune=1", "-fastprune") as rpc:
        assert await refusal(rpc, "pruneblockchain", 0) == (-1, "Blockchain is too short for pruning.")
        assert await refusal(rpc, "pruneblockchain", -1) == (-8, "Negative block height.")
        begin = (await rpc.call("getblockheader", await rpc.call("getblockhash", 0)))["time"]
        await rpc.call("setmocktime", begin + 1_000_000)
        await rpc.call("generatetoaddress", 300, ADDRESS)
        await rpc.call("setmocktime", begin + 2_000_000)
        hashes = await rpc.call("generatetoaddress", 300, ADDRESS)
        assert await refusal(rpc, "pruneblockchain", 601) == (
            -8,
            "Blockchain is shorter than the attempted prune height.",
        )
        late = (-8, "Could not find block with at least the specified timestamp.")
        assert await refusal(rpc, "pruneblockchain", begin + 2_000_000 + 7200 + 600) == late
        assert await rpc.call("pruneblockchain", begin + 1_000_000) == -1  # that is block 1
        pruned = await rpc.call("pruneblockchain", begin + 2_000_000)  # and that block 301
        assert 200 < pruned <= 301  # files of 64 KiB have some 250 such blocks
        info = await rpc.call("getblockchaininfo")
        assert info["pruneheight"] == pruned + 1
        assert info["automatic_pruning"] is False
        assert "prune_target_size" not in info
        gone = (-1, "Block not available (pruned data)")
        for verbosity in (0, 1, 2):
            last = await rpc.call("getblockhash", pruned)
            assert await refusal(rpc, "getblock", last, verbosity) == gone
        assert (await rpc.call("getblock", await rpc.call("getblockhash", pruned + 1), 3))["height"] == pruned + 1
        assert await rpc.call("pruneblockchain", 600) <= 600 - 288
        assert await refusal(rpc, "invalidateblock", last) == (
            -20,
            "the blocks behind it cannot be undone: some are pruned",
        )
        assert await rpc.call("getbestblockhash") == hashes[-1]
        services = (await rpc.call("getnetworkinfo"))["localservicesnames"]
        assert "NETWORK_LIMITED" in services
        assert "NETWORK" not in services


async def test_a_block_of_which_only_the_header_is_known_is_not_pruned(rpc: Rpc, tmp_path: Path) -> None:
    [block_hash] = await rpc.call("generatetoaddress", 1, ADDRESS)
    header = rpc.node.chain.tip.header
    async with rpc_node(tmp_path) as other:
        await other.node.chain.add_headers([header])
        text = "Block not found on disk"
        assert await refusal(other, "getblock", block_hash) == (-1, text)


async def test_who_cannot_be_asked_for_a_block_is_told(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        [block_hash] = await rpc.call("generatetoaddress", 1, ADDRESS)
        assert await refusal(rpc, "getblockfrompeer", "00" * 32, 0) == (-1, "Block header missing")
        assert await refusal(rpc, "getblockfrompeer", block_hash, 0) == (-1, "Block already downloaded")
        header = rpc.node.chain.tip.header
    for option, text in (
        ("-prune=0", "Peer does not exist"),
        (
            "-prune=1",
            "In prune mode, only blocks that the node has already synced previously can be fetched from a peer",
        ),
    ):
        async with rpc_node(tmp_path, option) as rpc:
            await rpc.node.chain.add_headers([header])
            assert await refusal(rpc, "getblockfrompeer", block_hash, 0) == (-1, text)
