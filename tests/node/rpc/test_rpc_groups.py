import asyncio
from pathlib import Path
from typing import Any

from builders import coin, spend
from rpc_node import ADDRESS, Rpc, funded, refusal, rpc_node

from altyn.consensus.block import Block
from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import decode_address
from altyn.consensus.script.templates import null_data
from altyn.consensus.transaction import TxOut
from altyn.node.mining.miner import Miner
from altyn.node.mining.remote import RemoteTemplates
from altyn.node.mining.search import load_backend
from altyn.node.offload import Inline
from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.zmq import ZmqMethods

ISSUE = """
getblockchaininfo getbestblockhash getblockcount getblockhash getblockheader getblock getblockfilter getchaintips
gettxout getrawtransaction getmempoolinfo getrawmempool testmempoolaccept sendrawtransaction decoderawtransaction
decodescript
validateaddress getblocktemplate submitblock generatetoaddress getpeerinfo getnetworkinfo addnode disconnectnode
invalidateblock reconsiderblock preciousblock getdeploymentinfo syncwithvalidationinterfacequeue setmocktime uptime
help stop
createmultisig createrawtransaction generateblock generatetodescriptor getmininginfo getnetworkhashps scantxoutset
scanblocks signrawtransactionwithkey combinerawtransaction submitheader deriveaddresses getdescriptorinfo
echo echojson getblockstats getchaintxstats getdifficulty getrpcinfo gettxoutproof verifytxoutproof logging
createpsbt converttopsbt decodepsbt analyzepsbt combinepsbt joinpsbts finalizepsbt utxoupdatepsbt descriptorprocesspsbt
mockscheduler getmemoryinfo signmessagewithprivkey verifymessage verifychain waitforblock waitforblockheight
waitfornewblock
"""


async def test_every_method_of_the_contract_is_there_and_has_help(rpc: Rpc) -> None:
    for name in ISSUE.split():
        text = await rpc.call("help", name)
        assert text.startswith(name)
        assert "Result:" in text


async def test_help_says_to_writers_of_clients_which_arguments_are_strings(rpc: Rpc) -> None:
    rows = await rpc.call("help", "dump_all_command_conversions")
    assert [row[1:] for row in rows if row[0] == "getblock"] == [
        [0, "blockhash", True],
        [1, "verbosity", False],
        [1, "verbose", False],
    ]
    assert ["importmempool", 1, "use_current_time", False] in rows
    assert ["sendrawtransaction", 1, "maxfeerate", False] in rows


async def test_help_lists_the_methods_under_cores_titles(rpc: Rpc) -> None:
    rpc.methods.add(ZmqMethods([]))
    listed = await rpc.call("help")
    titles = [line[3:-3] for line in listed.splitlines() if line.startswith("==")]
    assert titles == ["Blockchain", "Control", "Mining", "Network", "Rawtransactions", "Util", "Zmq"]
    assert "getblockhash height" in listed.splitlines()
    assert "setmocktime" not in listed
    assert await rpc.call("help", "foo") == "help: unknown command: foo"


async def test_what_a_call_did_is_seen_by_the_next_one(rpc: Rpc) -> None:
    hashes = await rpc.call("generatetoaddress", 3, ADDRESS)
    assert await rpc.call("getbestblockhash") == hashes[-1]
    assert await rpc.call("getblockcount") == 3
    await rpc.call("invalidateblock", hashes[1])
    assert await rpc.call("getblockcount") == 1
    raw = await rpc.call("getblock", hashes[1], 0)
    assert await rpc.call("submitblock", raw) == "duplicate-invalid"
    await rpc.call("reconsiderblock", hashes[1])
    assert await rpc.call("getbestblockhash") == hashes[-1]


async def test_a_payment_goes_from_mempool_to_block(rpc: Rpc) -> None:
    reward = await funded(rpc)
    tx = spend(coin(reward.transactions[0]), fee=1000)
    txid = tx.txid[::-1].hex()
    (verdict,) = await rpc.call("testmempoolaccept", [tx.raw.hex()])
    assert verdict["allowed"] is True
    assert str(verdict["fees"]["base"]) == "0.00001000"
    assert await rpc.call("getrawmempool") == []
    assert await rpc.call("sendrawtransaction", tx.raw.hex()) == txid
    assert await rpc.call("sendrawtransaction", tx.raw.hex()) == txid
    assert (await rpc.call("testmempoolaccept", [tx.raw.hex()]))[0]["reject-reason"] == "txn-already-in-mempool"
    (entry,) = (await rpc.call("getrawmempool", True)).values()
    assert isinstance(entry["fees"]["modified"], JsonNumber)
    assert (await rpc.call("gettxout", txid, 0))["confirmations"] == 0
    spent = tx.inputs[0].prevout
    assert await rpc.call("gettxout", spent.txid[::-1].hex(), spent.vout) is None
    assert await rpc.call("gettxout", spent.txid[::-1].hex(), spent.vout, False) is not None

    template = await rpc.call("getblocktemplate", {"rules": ["segwit"]})
    assert [each["txid"] for each in template["transactions"]] == [txid]
    (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
    found = await rpc.call("getrawtransaction", txid, 2)
    assert (found["blockhash"], found["confirmations"], str(found["fee"])) == (block, 1, "0.00001000")
    assert await refusal(rpc, "sendrawtransaction", tx.raw.hex()) == (-27, "Transaction outputs already in utxo set")


async def test_the_mempool_is_listed_parents_first_then_by_feerate(rpc: Rpc) -> None:
    reward = coin(await funded(rpc))
    parent = spend(reward, [TxOut(reward.output.value // 3, reward.output.script_pubkey)] * 2)
    cheap, dear = spend(coin(parent), fee=1000), spend(coin(parent, 1), fee=2000)
    for tx in (parent, cheap, dear):
        await rpc.call("sendrawtransaction", tx.raw.hex(), 0)
    listed = [tx.txid[::-1].hex() for tx in (parent, dear, cheap)]
    assert await rpc.call("getrawmempool") == listed
    assert list(await rpc.call("getrawmempool", True)) == listed


async def test_a_double_spend_is_refused_with_cores_code_and_reason(rpc: Rpc) -> None:
    reward = await funded(rpc)
    first, second = (spend(coin(reward.transactions[0]), fee=fee) for fee in (1000, 1095))
    await rpc.call("sendrawtransaction", first.raw.hex())
    assert await refusal(rpc, "sendrawtransaction", second.raw.hex()) == (
        -26,
        f"insufficient fee, rejecting replacement {second.txid[::-1].hex()}, not enough additional fees to relay; "
        "0.00000095 < 0.00000096",
    )


async def test_fees_above_the_limit_are_refused(rpc: Rpc) -> None:
    reward = await funded(rpc)
    tx = spend(coin(reward.transactions[0]), fee=10_000_000)
    for limit in ((), (False,)):
        assert await refusal(rpc, "sendrawtransaction", tx.raw.hex(), *limit) == (
            -25,
            "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
        )
    (verdict,) = await rpc.call("testmempoolaccept", [tx.raw.hex()])
    assert verdict["reject-reason"] == "max-fee-exceeded"
    await rpc.call("sendrawtransaction", tx.raw.hex(), 0)
    other = spend(coin(tx), fee=10_000_000)
    await rpc.call("sendrawtransaction", other.raw.hex(), True)  # as nodes of old were asked


async def test_burning_money_needs_a_word(rpc: Rpc) -> None:
    reward = coin(await funded(rpc))
    rest = TxOut(reward.output.value - 2000, reward.output.script_pubkey)
    tx = spend(reward, [TxOut(1000, null_data(b"gone")), rest])
    assert await refusal(rpc, "sendrawtransaction", tx.raw.hex()) == (
        -25,
        "Unspendable output exceeds maximum configured by user (maxburnamount)",
    )
    await rpc.call("sendrawtransaction", tx.raw.hex(), 0, "0.00001")


async def test_a_block_from_a_template_is_accepted_without_its_witness(rpc: Rpc) -> None:
    template = await rpc.node.templates.template(bytes.fromhex("51"))
    block, _ = await rpc.node.miner.solve(template, 1 << 20)
    assert block is not None
    coinbase = block.transactions[0]
    bare = Block.parse(block.header.raw + b"\x01" + coinbase.stripped)
    assert await rpc.call("submitblock", bare.raw.hex()) is None
    assert await rpc.call("getbestblockhash") == block.hash[::-1].hex()
    assert await rpc.call("submitblock", block.raw.hex()) == "duplicate"


async def test_a_miner_elsewhere_works_from_the_template_alone(rpc: Rpc) -> None:
    async def call(method: str, params: list[Any]) -> Any:
        return await rpc.call(method, *params)

    reward = await funded(rpc)
    tx = spend(coin(reward.transactions[0]))
    await rpc.call("sendrawtransaction", tx.raw.hex())
    miner = Miner(RemoteTemplates(REGTEST, call), load_backend(), Inline(), rpc.node.clock)
    (found,) = await miner.generate(1, decode_address(ADDRESS, REGTEST))
    block = await rpc.call("getblock", await rpc.call("getbestblockhash"))
    assert (block["hash"], block["tx"][1:]) == (found[::-1].hex(), [tx.txid[::-1].hex()])


async def test_a_long_poll_waits_for_the_next_block(rpc: Rpc) -> None:
    request = {"rules": ["segwit"]}
    template = await rpc.call("getblocktemplate", request)
    poll = asyncio.create_task(rpc.call("getblocktemplate", request | {"longpollid": template["longpollid"]}))
    await rpc.call("syncwithvalidationinterfacequeue")
    assert not poll.done()
    (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
    assert (await poll)["previousblockhash"] == block


async def test_the_mock_time_stops_the_clock(rpc: Rpc) -> None:
    await rpc.call("setmocktime", 2_000_000_000)
    (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
    assert (await rpc.call("getblockheader", block))["time"] == 2_000_000_000
    await rpc.call("setmocktime", 0)
    assert rpc.node.clock.now() < 2_000_000_000


async def test_without_indexes_the_refusals_say_which_is_missing(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        genesis = await rpc.call("getblockhash", 0)
        assert await refusal(rpc, "getblockfilter", genesis) == (-1, "Index is not enabled for filtertype basic")
        code, message = await refusal(rpc, "getrawtransaction", "11" * 32)
        assert code == -5
        assert message.startswith("No such mempool transaction. Use -txindex or provide a block hash to enable")


async def test_dialling_nobody_once_is_no_error_and_adding_twice_is_one(rpc: Rpc) -> None:
    assert await rpc.call("addnode", "127.0.0.1:1", "onetry") is None
    assert await rpc.call("addnode", "127.0.0.1:1", "add") is None
    assert await refusal(rpc, "addnode", "127.0.0.1:1", "add") == (-23, "Error: Node already added")
    assert await rpc.call("addnode", "127.0.0.1:1", "remove") is None
    assert (await refusal(rpc, "addnode", "127.0.0.1:1", "dance"))[0] == -1


async def test_encryption_is_asked_for_only_where_there_is_some(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-v2transport=0") as rpc:
        message = "Error: v2transport requested but not enabled (see -v2transport)"
        assert await refusal(rpc, "addnode", "127.0.0.1:1", "onetry", True) == (-8, message)
        assert await rpc.call("addnode", "127.0.0.1:1", "onetry", False) is None
        assert (await rpc.call("getnetworkinfo"))["localservicesnames"] == ["NETWORK", "WITNESS", "NETWORK_LIMITED"]
    async with rpc_node(tmp_path) as rpc:
        assert await rpc.call("addnode", "127.0.0.1:1", "onetry", True) is None
        assert (await rpc.call("getnetworkinfo"))["localservicesnames"][-1] == "P2P_V2"
