from builders import coin, spend
from rpc_node import ADDRESS, Rpc, funded, refusal

from altyn.consensus.block import Block

KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


async def test_blocks_pay_what_a_descriptor_stands_for(rpc: Rpc) -> None:
    (found,) = await rpc.call("generatetodescriptor", 1, f"combo({KEY})")
    block = await rpc.call("getblock", found, 2)
    assert block["tx"][0]["vout"][0]["scriptPubKey"]["address"] == ADDRESS


async def test_a_block_holds_the_transactions_it_is_given_in_their_order(rpc: Rpc) -> None:
    reward = await funded(rpc)
    parent = spend(coin(reward.transactions[0]))
    child = spend(coin(parent))
    await rpc.call("sendrawtransaction", parent.raw.hex(), 0)
    parent_id = parent.txid[::-1].hex()
    code, message = await refusal(rpc, "generateblock", "raw(51)", [child.raw.hex(), parent_id])
    assert (code, message.partition(":")[0]) == (-25, "TestBlockValidity failed")
    kept = await rpc.call("generateblock", "raw(51)", [parent_id, child.raw.hex()], False)
    assert await rpc.call("getblockcount") == 101
    assert await rpc.call("submitblock", kept["hex"]) is None
    block = await rpc.call("getblock", kept["hash"])
    assert block["tx"][1:] == [parent_id, child.txid[::-1].hex()]
    assert (await rpc.call("generateblock", ADDRESS, []))["hash"] == await rpc.call("getbestblockhash")


async def test_a_header_can_come_before_its_block(rpc: Rpc) -> None:
    template = await rpc.node.templates.template(b"\x51")
    block, _ = await rpc.node.miner.solve(template, 1 << 20)
    assert block is not None
    assert await rpc.call("submitheader", block.header.raw.hex()) is None
    assert (await rpc.call("getblockchaininfo"))["headers"] == 1
    assert [tip["status"] for tip in await rpc.call("getchaintips")] == ["headers-only", "active"]
    assert await rpc.call("submitblock", block.raw.hex()) is None
    early = Block.parse(block.raw).header.raw
    early = early[:4] + block.hash + early[36:68] + (1).to_bytes(4, "little") + early[72:]
    code, message = await refusal(rpc, "submitheader", early.hex())
    assert (code, message) in {(-25, "time-too-old"), (-25, "high-hash")}


async def test_the_work_of_the_network_is_estimated_from_blocks_in_the_active_chain(rpc: Rpc) -> None:
    clock = rpc.node.clock
    start = int(clock.now())
    for step in range(3):
        rpc.node.clock.set_mock_time(start + 10 * step)  # type: ignore[attr-defined]  # a SystemClock
        await rpc.call("generatetodescriptor", 1, "raw(51)")
    tip = rpc.node.chain.tip
    assert float(str(await rpc.call("getnetworkhashps", 1))) == 2 / 10
    assert float(str(await rpc.call("getnetworkhashps", 2, 3))) == 4 / 20
    assert tip.height == 3
    assert await rpc.call("getnetworkhashps", 120, 0) == 0
    info = await rpc.call("getmininginfo")
    assert (info["currentblockweight"], info["currentblocktx"]) == (4000, 0)


async def test_a_template_offers_what_miners_can_signal_until_it_is_active(rpc: Rpc) -> None:
    offered = []
    for status in ("defined", "started", "locked_in", "active"):
        known = (await rpc.call("getdeploymentinfo"))["deployments"]["testdummy"]["bip9"]
        assert known["status"] == status
        template = await rpc.call("getblocktemplate", {"rules": ["segwit"]})
        offered.append((template["vbavailable"], "testdummy" in template["rules"]))
        await rpc.call("generatetodescriptor", 144, "raw(51)")
    signalled = {"testdummy": 28}
    assert offered == [({}, False), (signalled, False), (signalled, False), ({}, True)]
