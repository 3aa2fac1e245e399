"""What RPC says of the indexes and of the set of coins."""

from pathlib import Path

from builders import coin, spend
from rpc_node import ADDRESS, RAW_TRUE, funded, refusal, rpc_node

from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import decode_address
from altyn.consensus.transaction import TxOut

ALL = ("-blockfilterindex", "-txindex", "-coinstatsindex", "-addressindex", "-txospenderindex")
SET_FIELDS = ["height", "bestblock", "txouts", "bogosize", "total_amount", "transactions", "disk_size"]


async def test_index_info_names_them_as_core_does(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, *ALL) as rpc:
        await rpc.call("generatetoaddress", 2, ADDRESS)
        done = {"synced": True, "best_block_height": 2}
        names = ["txindex", "coinstatsindex", "basic block filter index", "addressindex", "txospenderindex"]
        assert await rpc.call("getindexinfo") == dict.fromkeys(names, done)
        assert await rpc.call("getindexinfo", "txindex") == {"txindex": done}
        assert await rpc.call("getindexinfo", "nonsense") == {}
        assert await rpc.call("gettxoutsetinfo", "none", 2)


async def test_an_index_that_has_not_come_says_so(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-coinstatsindex") as rpc:
        hashes = await rpc.call("generatetoaddress", 3, ADDRESS)
        index = rpc.node.chain.indexes.coin_statistics
        assert index is not None
        index.best = rpc.node.chain.active(1)
        expected = (-32603, "Unable to get data because coinstatsindex is still syncing. Current height: 1")
        assert await refusal(rpc, "gettxoutsetinfo", "muhash") == expected
        assert await refusal(rpc, "gettxoutsetinfo", "muhash", hashes[2]) == expected
        assert (await rpc.call("gettxoutsetinfo", "muhash", 1))["height"] == 1
        assert (await rpc.call("getindexinfo"))["coinstatsindex"] == {"synced": False, "best_block_height": 1}
        index.best = rpc.node.chain.tip


async def test_the_set_is_counted_with_and_without_the_index(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-coinstatsindex") as rpc:
        first = await funded(rpc)
        burn = spend(coin(first), to=[TxOut(10**8, b"\x6a"), TxOut(10**9, decode_address(ADDRESS, REGTEST))])
        await rpc.call("sendrawtransaction", burn.raw.hex(), 0, 1)
        await rpc.call("generatetoaddress", 1, ADDRESS)
        info = await rpc.call("gettxoutsetinfo", "none", None, False)
        assert list(info) == SET_FIELDS
        assert (info["height"], info["txouts"], info["transactions"]) == (102, 102, 102)
        plain = await rpc.call("gettxoutsetinfo")
        again = await rpc.call("gettxoutsetinfo", "hash_serialized_3", None, False)
        assert plain["hash_serialized_3"] == again["hash_serialized_3"]
        assert list(plain) == [*SET_FIELDS[:4], "hash_serialized_3", *SET_FIELDS[4:]]
        counted = await rpc.call("gettxoutsetinfo", "muhash", None, False)
        indexed = await rpc.call("gettxoutsetinfo", "muhash")
        common = ["height", "bestblock", "txouts", "bogosize", "muhash", "total_amount"]
        assert [str(counted[name]) for name in common] == [str(indexed[name]) for name in common]
        assert str(indexed["block_info"]["unspendables"]["scripts"]) == "1.00000000"
        assert str(indexed["block_info"]["prevout_spent"]) == "50.00000000"
        genesis = await rpc.call("gettxoutsetinfo", "none", 0)
        assert str(genesis["block_info"]["unspendables"]["genesis_block"]) == "50.00000000"
        assert "muhash" not in genesis


async def test_the_set_is_refused_in_cores_words(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        assert await refusal(rpc, "gettxoutsetinfo", "sha") == (-8, "'sha' is not a valid hash_type")
        needs = (-8, "Querying specific block heights requires coinstatsindex")
        assert await refusal(rpc, "gettxoutsetinfo", "muhash", 0) == needs
        assert await rpc.call("getindexinfo") == {}
        assert await refusal(rpc, "getaddressutxos", ADDRESS) == (-1, "Index is not enabled: start with -addressindex")
        assert (await rpc.call("gettxoutsetinfo", "muhash"))["txouts"] == 0
    async with rpc_node(tmp_path, "-coinstatsindex") as rpc:
        for params, code, message in (
            (("hash_serialized_3", 0), -8, "hash_serialized_3 hash type cannot be queried for a specific block"),
            (("muhash", 0, False), -8, "Cannot set use_index to false when querying for a specific block"),
            (("muhash", -1), -8, "Target block height -1 is negative"),
            (("muhash", 1), -8, "Target block height 1 after current tip 0"),
            (("muhash", "00" * 32), -5, "Block not found"),
            (("muhash", "00"), -8, "hash_or_height must be of length 64 (not 2, for '00')"),
        ):
            assert await refusal(rpc, "gettxoutsetinfo", *params) == (code, message)


async def test_an_address_tells_its_history_and_what_is_left(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-addressindex") as rpc:
        first = await funded(rpc)
        reward = coin(first)
        payment = spend(
            reward, to=[TxOut(10**9, reward.output.script_pubkey), TxOut(3 * 10**9, decode_address(ADDRESS, REGTEST))]
        )
        await rpc.call("sendrawtransaction", payment.raw.hex(), 0)
        assert (await rpc.call("getaddresshistory", RAW_TRUE))["total"] == 1
        (last,) = await rpc.call("generatetoaddress", 1, ADDRESS)
        answer = await rpc.call("getaddresshistory", RAW_TRUE)
        assert (answer["height"], answer["bestblock"], answer["total"]) == (102, last, 2)
        newest, oldest = answer["transactions"]
        assert newest["txid"] == payment.txid[::-1].hex()
        assert (newest["height"], newest["blockhash"], newest["confirmations"]) == (102, last, 1)
        assert (str(newest["received"]), str(newest["spent"]), newest["vout"]) == ("10.00000000", "50.00000000", [0])
        assert newest["vin"] == [{"txid": reward.outpoint.txid[::-1].hex(), "vout": 0}]
        assert (oldest["height"], oldest["vin"], str(oldest["received"])) == (1, [], "50.00000000")
        for count, skip, expected in ((1, 0, [newest]), (5, 1, [oldest]), (5, 2, []), (0, 0, []), (1, 1, [oldest])):
            page = (await rpc.call("getaddresshistory", RAW_TRUE, count, skip))["transactions"]
            assert [each["txid"] for each in page] == [each["txid"] for each in expected]
        left = await rpc.call("getaddressutxos", reward.output.script_pubkey.hex())
        assert str(left["total_amount"]) == "10.00000000"
        (unspent,) = left["unspents"]
        assert (unspent["txid"], unspent["vout"], unspent["coinbase"]) == (newest["txid"], 0, False)
        await rpc.call("invalidateblock", last)
        (unspent,) = (await rpc.call("getaddressutxos", RAW_TRUE))["unspents"]
        assert (unspent["height"], unspent["confirmations"], unspent["coinbase"]) == (1, 101, True)
        assert (await rpc.call("getaddresshistory", RAW_TRUE))["total"] == 1
        assert await refusal(rpc, "getaddresshistory", RAW_TRUE, -1) == (-8, "Negative count")
        assert await refusal(rpc, "getaddresshistory", RAW_TRUE, 1, -1) == (-8, "Negative skip")
        assert await refusal(rpc, "getaddresshistory", "nonsense") == (-5, "Invalid address or script: nonsense")


async def test_a_spender_is_found_in_the_mempool_and_with_the_index_in_the_chain(tmp_path: Path) -> None:
    for options in ((), ("-txospenderindex",)):
        async with rpc_node(tmp_path, *options) as rpc:
            reward = coin(await funded(rpc))
            payment = spend(reward)
            asked = {"txid": reward.outpoint.txid[::-1].hex(), "vout": 0}
            assert await rpc.call("gettxspendingprevout", [asked]) == [asked]
            await rpc.call("sendrawtransaction", payment.raw.hex())
            spending = asked | {"spendingtxid": payment.txid[::-1].hex()}
            assert await rpc.call("gettxspendingprevout", [asked]) == [spending]
            (last,) = await rpc.call("generatetoaddress", 1, ADDRESS)
            expected = [spending | {"blockhash": last}] if options else [asked]
            assert await rpc.call("gettxspendingprevout", [asked]) == expected
            assert await rpc.call("gettxspendingprevout", [asked], {"mempool_only": True}) == [asked]
            if not options:
                text = "Mempool lacks a relevant spend, and txospenderindex is unavailable."
                assert await refusal(rpc, "gettxspendingprevout", [asked], {"mempool_only": False}) == (-1, text)
            assert (await refusal(rpc, "gettxspendingprevout", [asked], {"mempool_only": 1}))[0] == -3
            assert await refusal(rpc, "gettxspendingprevout", [asked], {"n": 1}) == (-3, "Unexpected key n")
            for outputs, code, message in (
                ([], -8, "Invalid parameter, outputs are missing"),
                ([{"vout": 0}], -3, "Missing txid"),
                (
                    [{"txid": 1, "vout": 0}],
                    -3,
                    "JSON value of type number for field txid is not of expected type string",
                ),
                ([asked | {"n": 1}], -3, "Unexpected key n"),
                ([asked | {"vout": -1}], -8, "Invalid parameter, vout cannot be negative"),
                ([asked | {"txid": "00"}], -8, "txid must be of length 64 (not 2, for '00')"),
            ):
                assert await refusal(rpc, "gettxspendingprevout", outputs) == (code, message)
