"""PSBTs over RPC: from a descriptor without keys to a transaction in the mempool."""

import pytest
from rpc_node import ADDRESS, Rpc, refusal

XPRV = "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8UbK"
XPUB = "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvosUCJZL5B"
OTHER = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
FORMS = (
    "pkh(KEY/1/*)",
    "wpkh(KEY/1/*)",
    "sh(wpkh(KEY/1/*))",
    f"sh(multi(1,KEY/1/*,{OTHER}))",
    f"wsh(sortedmulti(1,KEY/1/*,{OTHER}))",
    "tr(KEY/1/*)",
    f"tr({OTHER},pk(KEY/1/*))",
    f"tr({OTHER},{{pk(KEY/1/*),multi_a(2,KEY/2/*,KEY/3/*)}})",
)


@pytest.mark.parametrize("descriptor", FORMS)
async def test_an_output_of_a_descriptor_is_spent_by_its_keys(rpc: Rpc, descriptor: str) -> None:
    (block,) = await rpc.call("generatetodescriptor", 1, descriptor.replace("KEY", XPUB).replace("*", "2"))
    await rpc.call("generatetoaddress", 100, ADDRESS)
    txid = (await rpc.call("getblock", block))["tx"][0]
    created = await rpc.call("createpsbt", [{"txid": txid, "vout": 0}], {ADDRESS: "49.999"})
    watching = {"desc": descriptor.replace("KEY", XPUB), "range": 3}
    updated = await rpc.call("utxoupdatepsbt", created, [watching])
    assert (await rpc.call("finalizepsbt", updated))["complete"] is False
    analysis = await rpc.call("analyzepsbt", updated)
    assert (analysis["inputs"][0]["has_utxo"], analysis["inputs"][0]["is_final"]) == (True, False)
    owning = watching | {"desc": descriptor.replace("KEY", XPRV)}
    signed = await rpc.call("descriptorprocesspsbt", updated, [owning], "DEFAULT", True, False)
    assert signed["complete"] is False
    final = await rpc.call("finalizepsbt", signed["psbt"])
    at_once = await rpc.call("descriptorprocesspsbt", created, [owning])
    assert final["hex"] == at_once["hex"]
    assert (await rpc.call("analyzepsbt", at_once["psbt"]))["next"] == "extractor"
    size = (await rpc.call("decoderawtransaction", final["hex"]))["vsize"]
    if not descriptor.startswith(f"tr({OTHER}"):  # the estimate is for the key
        assert abs(analysis["estimated_vsize"] - size) <= 2
    assert await rpc.call("sendrawtransaction", final["hex"]) in await rpc.call("getrawmempool")


async def test_joined_transactions_have_the_inputs_and_outputs_of_all(rpc: Rpc) -> None:
    parts = [
        await rpc.call("createpsbt", [{"txid": "00" * 31 + f"0{n}", "vout": n}], [{"data": f"0{n}"}], n)
        for n in (1, 2, 3)
    ]
    joined = (await rpc.call("decodepsbt", await rpc.call("joinpsbts", parts)))["tx"]
    assert sorted(each["vout"] for each in joined["vin"]) == [1, 2, 3]
    assert sorted(each["scriptPubKey"]["hex"] for each in joined["vout"]) == ["6a0101", "6a0102", "6a0103"]
    assert joined["locktime"] == 1
    code, message = await refusal(rpc, "combinepsbt", parts)
    assert (code, message) == (-8, "PSBTs not compatible (different transactions)")
