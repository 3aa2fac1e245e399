"""Altyn and a real bitcoind as peers: each follows the other's blocks, payments and reorganisations."""

from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until, until_same_tip

from altyn.node.rpc.client import RpcFailure

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]

ADDRESS_TYPES = ("legacy", "p2sh-segwit", "bech32", "bech32m")
NOBODY, NOBODY_ELSE = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202", "bcrt1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpvxat9t"
"""Pay to key hashes that belong to no key: of zeros, of ones."""


def pay_and_mine(bitcoind: NodeProcess, blocks: int, payments: int = 4) -> None:
    """Mine `blocks` blocks on bitcoind, each with payments to and from addresses of every type."""
    for number in range(blocks):
        outputs = {
            bitcoind.call("getnewaddress", "", ADDRESS_TYPES[(number + i) % 4], wallet="payer"): "0.01"
            for i in range(payments)
        }
        bitcoind.call("sendmany", "", outputs, wallet="payer")
        bitcoind.call("generatetoaddress", 1, NOBODY)


def fund(bitcoind: NodeProcess) -> None:
    bitcoind.call("createwallet", "payer")
    for kind in ADDRESS_TYPES:
        bitcoind.call("generatetoaddress", 3, bitcoind.call("getnewaddress", "", kind, wallet="payer"))
    bitcoind.call("generatetoaddress", 100, NOBODY)


def connect(one: NodeProcess, other: NodeProcess) -> None:
    one.call("addnode", other.address, "onetry")
    until(lambda: len(one.call("getpeerinfo")) > 0 and len(other.call("getpeerinfo")) > 0)


def transports(node: NodeProcess) -> list[tuple[str, str]]:
    """How a node speaks with its peers: the transport, and the id of an encrypted session."""
    return [(peer["transport_protocol_type"], peer["session_id"]) for peer in node.call("getpeerinfo")]


@pytest.mark.slow
def test_altyn_syncs_500_blocks_of_mixed_payments(bitcoind: NodeProcess, altyn: NodeProcess) -> None:
    fund(bitcoind)
    pay_and_mine(bitcoind, 500 - bitcoind.call("getblockcount"))
    assert bitcoind.call("getblockcount") == 500
    connect(altyn, bitcoind)
    until_same_tip(altyn, bitcoind, seconds=120)
    for height in (1, 112, 250, 499, 500):
        block_hash = bitcoind.call("getblockhash", height)
        assert altyn.call("getblock", block_hash, 0) == bitcoind.call("getblock", block_hash, 0)
        assert altyn.call("getblockfilter", block_hash) == bitcoind.call("getblockfilter", block_hash)


def test_bitcoind_follows_blocks_mined_by_altyn(bitcoind: NodeProcess, altyn: NodeProcess) -> None:
    connect(altyn, bitcoind)
    altyn.call("generatetoaddress", 20, NOBODY)
    until_same_tip(altyn, bitcoind)
    assert bitcoind.call("getblockcount") == 20
    assert transports(altyn) == transports(bitcoind)
    assert transports(altyn)[0][0] == "v2"
    altyn.call("generatetoaddress", 1, NOBODY)  # a single new block is announced at once
    until_same_tip(altyn, bitcoind)


def test_altyn_follows_when_bitcoind_dials_it(bitcoind: NodeProcess, altyn: NodeProcess) -> None:
    connect(bitcoind, altyn)
    bitcoind.call("generatetoaddress", 20, NOBODY)
    until_same_tip(altyn, bitcoind)
    assert altyn.call("getpeerinfo")[0]["inbound"] is True
    assert "/Satoshi:" in altyn.call("getpeerinfo")[0]["subver"]
    assert transports(altyn) == transports(bitcoind)
    assert transports(altyn)[0][0] == "v2"


def test_payments_travel_both_ways_and_confirm_on_both(bitcoind: NodeProcess, altyn: NodeProcess) -> None:
    fund(bitcoind)
    connect(altyn, bitcoind)
    until_same_tip(altyn, bitcoind)
    target = bitcoind.call("getnewaddress", wallet="payer")

    made_by_bitcoind = bitcoind.call("sendtoaddress", target, "1", wallet="payer")
    until(lambda: made_by_bitcoind in altyn.call("getrawmempool"))
    funded = bitcoind.call("walletcreatefundedpsbt", [], [{target: "2"}], 0, {"lockUnspents": True}, wallet="payer")
    signed = bitcoind.call("walletprocesspsbt", funded["psbt"], wallet="payer")
    sent_to_altyn = altyn.call("sendrawtransaction", bitcoind.call("finalizepsbt", signed["psbt"])["hex"])
    until(lambda: sent_to_altyn in bitcoind.call("getrawmempool"))

    (block,) = altyn.call("generatetoaddress", 1, NOBODY)
    until_same_tip(altyn, bitcoind)
    for node in (altyn, bitcoind):
        assert {made_by_bitcoind, sent_to_altyn} < set(node.call("getblock", block)["tx"])
        assert node.call("getrawmempool") == []


@pytest.mark.parametrize("loser", ["altyn", "bitcoind"])
def test_a_reorganisation_of_ten_blocks_is_followed(bitcoind: NodeProcess, altyn: NodeProcess, loser: str) -> None:
    fund(bitcoind)
    connect(altyn, bitcoind)
    until_same_tip(altyn, bitcoind)
    payment = bitcoind.call("sendtoaddress", bitcoind.call("getnewaddress", wallet="payer"), "1", wallet="payer")
    until(lambda: payment in altyn.call("getrawmempool"))
    shorter, longer = (altyn, bitcoind) if loser == "altyn" else (bitcoind, altyn)
    altyn.call("disconnectnode", bitcoind.address)
    until(lambda: altyn.call("getpeerinfo") == bitcoind.call("getpeerinfo") == [])

    confirming = shorter.call("generatetoaddress", 10, NOBODY)[0]
    assert payment in shorter.call("getblock", confirming)["tx"]
    tip = longer.call("generatetoaddress", 11, NOBODY_ELSE)[-1]
    connect(altyn, bitcoind)
    until_same_tip(altyn, bitcoind)
    assert shorter.call("getbestblockhash") == tip
    states = {state["hash"]: state for state in shorter.call("getchaintips")}
    assert states[tip]["status"] == "active"
    assert [state["branchlen"] for state in states.values() if state["status"] == "valid-fork"] == [10]


def test_a_double_spend_is_refused_by_both_with_the_same_words(tmp_path: Path, altyn: NodeProcess) -> None:
    with bitcoind_process(tmp_path / "bitcoind", "-walletrbf=0") as bitcoind:
        fund(bitcoind)
        connect(altyn, bitcoind)
        until_same_tip(altyn, bitcoind)
        coin = bitcoind.call("listunspent", wallet="payer")[0]
        spends = []
        for amount in ("1", "2"):
            outputs = [{bitcoind.call("getnewaddress", wallet="payer"): amount}]
            inputs = [{"txid": coin["txid"], "vout": coin["vout"], "sequence": 0xFFFFFFFE}]
            raw = bitcoind.call("createrawtransaction", inputs, outputs, 0, False)
            funded = bitcoind.call(
                "fundrawtransaction", raw, {"add_inputs": False, "replaceable": False}, wallet="payer"
            )
            spends.append(bitcoind.call("signrawtransactionwithwallet", funded["hex"], wallet="payer")["hex"])
        first = altyn.call("sendrawtransaction", spends[0])
        until(lambda: first in bitcoind.call("getrawmempool"))
        with pytest.raises(RpcFailure) as by_altyn:
            altyn.call("sendrawtransaction", spends[1])
        with pytest.raises(RpcFailure) as by_bitcoind:
            bitcoind.call("sendrawtransaction", spends[1])
        assert (by_altyn.value.code, by_altyn.value.message) == (by_bitcoind.value.code, by_bitcoind.value.message)
        assert by_altyn.value.message.startswith("insufficient fee, rejecting replacement ")


@pytest.mark.parametrize("plain", ["light", "bitcoind"])
def test_blocks_and_filters_travel_where_only_one_side_can_encrypt(tmp_path: Path, plain: str) -> None:
    theirs, ours = (
        f"-v2transport={int(plain != 'bitcoind')}",
        "--nov2transport" if plain == "light" else "--v2transport",
    )
    with bitcoind_process(tmp_path / "bitcoind", "-blockfilterindex=1", "-peerblockfilters=1", theirs) as bitcoind:
        bitcoind.call("generatetoaddress", 10, NOBODY)
        with altyn_process(tmp_path / "light", "--addnode", bitcoind.address, ours, kind="light") as light:
            until_same_tip(light, bitcoind)
            block_hash = bitcoind.call("getblockhash", 10)
            assert light.call("getblockfilter", block_hash) == bitcoind.call("getblockfilter", block_hash)
            assert transports(light) == transports(bitcoind) == [("v1", "")]


def test_a_light_node_verifies_with_bitcoind(bitcoind: NodeProcess, tmp_path: Path) -> None:
    bitcoind.call("generatetoaddress", 30, NOBODY)
    with altyn_process(tmp_path / "light", "--addnode", bitcoind.address, kind="light") as light:
        until_same_tip(light, bitcoind)
        assert transports(light) == transports(bitcoind)
        assert transports(light)[0][0] == "v2"
        for height in (0, 1, 30):
            block_hash = bitcoind.call("getblockhash", height)
            assert light.call("getblockfilter", block_hash) == bitcoind.call("getblockfilter", block_hash)
            assert light.call("getblock", block_hash, 0) == bitcoind.call("getblock", block_hash, 0)
        bitcoind.call("invalidateblock", bitcoind.call("getblockhash", 21))
        bitcoind.call("generatetoaddress", 12, NOBODY_ELSE)
        until_same_tip(light, bitcoind)
        assert light.call("getblockcount") == 32
