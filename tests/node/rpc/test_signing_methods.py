"""Transactions built, signed and joined by RPC, then let into the mempool by the rules of relay."""

import pytest
from rpc_node import ADDRESS, Rpc, refusal

from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import encode_wif
from altyn.node.rpc.json_text import parse

SECRETS = [encode_wif(bytes(31) + bytes((number,)), REGTEST, compressed=True) for number in (1, 2, 3)]
KEYS = [
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
    "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
]


async def mined_to(rpc: Rpc, descriptor: str) -> str:
    """Mine until a reward to `descriptor` is ripe; return an unsigned transaction that spends it."""
    (block,) = await rpc.call("generatetodescriptor", 1, descriptor)
    await rpc.call("generatetoaddress", 100, ADDRESS)
    txid = (await rpc.call("getblock", block))["tx"][0]
    return str(await rpc.call("createrawtransaction", [{"txid": txid, "vout": 0}], {ADDRESS: "49.999"}))


@pytest.mark.parametrize(
    "descriptor",
    [f"pk({KEYS[0]})", f"pkh({KEYS[0]})", f"wpkh({KEYS[0]})", f"rawtr({KEYS[0]})", f"multi(1,{KEYS[1]},{KEYS[0]})"],
)
async def test_a_key_signs_for_what_it_owns(rpc: Rpc, descriptor: str) -> None:
    raw = await mined_to(rpc, descriptor)
    unsigned = await rpc.call("signrawtransactionwithkey", raw, [SECRETS[2]])
    assert unsigned["complete"] is False
    signed = await rpc.call("signrawtransactionwithkey", raw, [SECRETS[0]])
    assert "errors" not in signed
    assert await rpc.call("sendrawtransaction", signed["hex"]) in await rpc.call("getrawmempool")


@pytest.mark.parametrize("kind", ["legacy", "p2sh-segwit", "bech32"])
async def test_two_of_three_sign_one_after_the_other_or_apart(rpc: Rpc, kind: str) -> None:
    made = await rpc.call("createmultisig", 2, KEYS, kind)
    raw = await mined_to(rpc, f"addr({made['address']})")
    spent = (await rpc.call("decoderawtransaction", raw))["vin"][0]
    script = await rpc.call("gettxout", spent["txid"], 0)
    previous = [
        {
            "txid": spent["txid"],
            "vout": 0,
            "scriptPubKey": script["scriptPubKey"]["hex"],
            "redeemScript" if kind == "legacy" else "witnessScript": made["redeemScript"],
            "amount": 50,
        }
    ]
    halves = [await rpc.call("signrawtransactionwithkey", raw, [SECRETS[n]], previous) for n in (0, 2)]
    assert [half["complete"] for half in halves] == [False, False]
    combined = await rpc.call("combinerawtransaction", [half["hex"] for half in halves])
    after = await rpc.call("signrawtransactionwithkey", halves[0]["hex"], [SECRETS[2]], previous)
    assert (after["complete"], after["hex"]) == (True, combined)
    assert await rpc.call("testmempoolaccept", [combined])
    assert await rpc.call("sendrawtransaction", combined) in await rpc.call("getrawmempool")


async def test_a_name_that_comes_twice_in_an_object_is_not_lost(rpc: Rpc) -> None:
    outputs = parse(f'{{"{ADDRESS}": 1, "{ADDRESS}": 2}}')
    message = f"Invalid parameter, duplicated address: {ADDRESS}"
    assert await refusal(rpc, "createrawtransaction", [], outputs) == (-8, message)
    assert outputs == {ADDRESS: 1}
