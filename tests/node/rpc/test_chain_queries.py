import asyncio
from pathlib import Path

import pytest
from builders import coin, spend
from rpc_node import ADDRESS, Rpc, funded, refusal, rpc_node

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.chain.tree import Entry
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_text import parse
from altyn.node.rpc.statistics import block_statistics
from altyn.node.storage.layout import encode_coin


async def test_a_block_is_counted(rpc: Rpc) -> None:
    reward = await funded(rpc)
    first = spend(coin(reward.transactions[0]), fee=1000)
    second = spend(coin(first), fee=3000)
    found = (await rpc.call("generateblock", ADDRESS, [first.raw.hex(), second.raw.hex()]))["hash"]
    stats = await rpc.call("getblockstats", found)
    assert (stats["txs"], stats["ins"], stats["outs"], stats["swtxs"]) == (3, 2, 4, 2)
    assert (stats["totalfee"], stats["avgfee"], stats["medianfee"], stats["maxfee"]) == (4000, 2000, 2000, 3000)
    assert (stats["utxo_increase"], stats["utxo_increase_actual"]) == (2, 1)
    low, high = 1000 * 4 // first.weight, 3000 * 4 // second.weight
    assert stats["feerate_percentiles"] == [low, low, low, high, high]
    assert await rpc.call("getblockstats", 102, ["maxfee"]) == {"maxfee": 3000}
    chain = await rpc.call("getchaintxstats", 1)
    assert (chain["txcount"], chain["window_tx_count"]) == (105, 3)


def test_a_coinbase_that_replaces_another_one_adds_no_coin(rpc: Rpc) -> None:
    genesis = rpc.node.network.genesis
    block = Block(genesis.header, genesis.transactions)
    entry = Entry(genesis.header, Entry(genesis.header, None))
    assert block_statistics(block, [()], entry, 0)["utxo_increase_actual"] == 1
    assert block_statistics(block, [()], entry, 0, overwrites=True)["utxo_increase_actual"] == 0


async def test_a_proof_names_its_transactions_and_nothing_else(rpc: Rpc) -> None:
    reward = await funded(rpc)
    txid = reward.transactions[0].txid[::-1].hex()
    proof = await rpc.call("gettxoutproof", [txid])
    assert await rpc.call("verifytxoutproof", proof) == [txid]
    other = proof[: 2 * 4] + "77" * 32 + proof[2 * 36 :]
    assert await refusal(rpc, "verifytxoutproof", other) == (-5, "Block not found in chain")
    assert await rpc.call("verifytxoutproof", proof[:-4] + "0100") == []


async def test_without_an_index_a_proof_starts_from_an_unspent_output(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        reward = coin(await funded(rpc))
        tx = spend(reward)
        await rpc.call("generateblock", ADDRESS, [tx.raw.hex()])
        txid, spent = tx.txid[::-1].hex(), reward.outpoint.txid[::-1].hex()
        assert await rpc.call("verifytxoutproof", await rpc.call("gettxoutproof", [txid])) == [txid]
        rpc.node.chain.coins.get(reward.outpoint)
        code, message = await refusal(rpc, "gettxoutproof", ["00" * 32])
        assert (code, message) == (-5, "Transaction not yet in block")
        assert await rpc.call("gettxoutproof", [spent], await rpc.call("getblockhash", 1))


async def test_waiting_ends_with_the_block_or_with_patience(rpc: Rpc) -> None:
    waits = [
        asyncio.create_task(rpc.call(*call))
        for call in (("waitfornewblock",), ("waitforblockheight", 2), ("waitfornewblock", 1))
    ]
    assert (await waits.pop())["height"] == 0
    hashes = await rpc.call("generatetoaddress", 2, ADDRESS)
    new, high = await asyncio.gather(*waits)
    assert new["height"] >= 1
    assert high == {"hash": hashes[1], "height": 2}
    assert await rpc.call("waitforblock", hashes[1]) == high


async def test_a_second_look_sees_a_coin_that_is_wrong(rpc: Rpc) -> None:
    reward = await funded(rpc)
    tx = spend(coin(reward.transactions[0]))
    await rpc.call("generateblock", ADDRESS, [tx.raw.hex()])
    for level in range(5):
        assert await rpc.call("verifychain", level, 0) is True
    coins = rpc.node.chain.coins
    coins.apply({}, [tx.outpoint(0)])
    assert await rpc.call("verifychain", 2, 0) is True
    assert await rpc.call("verifychain", 3) is False
    coins.apply({tx.outpoint(0): encode_coin(Coin(tx.outputs[0], 102, False))}, [])
    assert await rpc.call("verifychain", 4) is True
    spent = OutPoint(tx.inputs[0].prevout)
    coins.apply({spent: encode_coin(Coin(TxOut(1, b""), 1, True))}, [])
    assert await rpc.call("verifychain", 3) is False


async def test_arguments_come_back_as_they_were(rpc: Rpc) -> None:
    assert await rpc.call("echo") == []
    assert await rpc.call("echojson", 1, None, {"a": [True]}) == [1, None, {"a": [True]}]
    assert await rpc.methods.call("echo", {"arg1": 5, "args": ["x"]}) == ["x", 5]
    active = (await rpc.call("getrpcinfo"))["active_commands"]
    assert [each["method"] for each in active] == ["getrpcinfo"]


async def test_log_categories_can_be_turned_on_and_off(rpc: Rpc) -> None:
    assert not any((await rpc.call("logging")).values())
    assert all((await rpc.call("logging", ["all"])).values())
    after = await rpc.call("logging", ["net"], ["net", "mempool"])
    assert (after["net"], after["mempool"], after["rpc"]) == (False, False, True)
    assert await refusal(rpc, "logging", ["moon"]) == (-8, "unknown logging category moon")


async def test_memory_is_counted_as_the_c_library_counts_it(rpc: Rpc) -> None:
    locked = (await rpc.call("getmemoryinfo"))["locked"]
    assert locked["used"] > 0
    assert locked["used"] + locked["free"] == locked["total"]
    assert (await rpc.call("getmemoryinfo", "mallocinfo")).startswith("<malloc version")
    assert await refusal(rpc, "getmemoryinfo", "moon") == (-8, "unknown mode moon")


async def test_a_named_argument_that_comes_twice_is_refused(rpc: Rpc) -> None:
    with pytest.raises(RpcError, match="Parameter height specified multiple times"):
        await rpc.methods.call("getblockhash", parse('{"height": 0, "height": 1}'))
