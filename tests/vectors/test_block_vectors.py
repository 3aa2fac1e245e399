"""Real blocks and block files: every rule, with the network's own parameters and flags."""

import bz2
import re
from dataclasses import replace
from typing import Any

import pytest
from ancestors import Ancestor, entry
from ledger import Ledger, records

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.blocks import block_script_checks, check_block, check_block_in_context
from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.deployments import script_flags
from altyn.consensus.emission import block_subsidy
from altyn.consensus.encoding import Cursor
from altyn.consensus.errors import ValidationError
from altyn.consensus.limits import MAX_FUTURE_BLOCK_TIME
from altyn.consensus.merkle import witness_commitment
from altyn.consensus.networks import MAINNET, NETWORKS, Network
from altyn.consensus.script.flags import DERSIG, NULLDUMMY, P2SH, WITNESS
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import Coin, OutPoint, Transaction, TxOut
from tests.vectors.conftest import load, vectors_matching, vectors_path

INDEX: list[dict[str, Any]] = load("blocks/index.json")
BLOCKS = [pytest.param(case, id=case["file"]) for case in INDEX]
WITH_UNDO = [pytest.param(case, id=case["file"]) for case in INDEX if case["undo"]]


class Claimed(Ancestor):
    """The parent of a block taken out of its chain: old enough, and on the chain with BIP34."""

    def __init__(self, block: Block, height: int, network: Network) -> None:
        super().__init__(entry(time=block.header.time - 1).header, height=height - 1, block_hash=block.header.prev_hash)
        self._bip34_hash = network.bip34_hash or b""

    def ancestor(self, height: int) -> Ancestor:
        return entry(time=0, height=height, block_hash=self._bip34_hash)


def read_block(case: dict[str, Any]) -> tuple[Block, Network]:
    block = Block.parse(vectors_path(f"blocks/{case['file']}").read_bytes())
    return block, NETWORKS[case["network"]]


def read_undo(name: str, block: Block) -> dict[OutPoint, Coin]:
    """Read the spent outputs, without those the block makes; their heights are not told: as old as can be."""
    cursor = Cursor(vectors_path(f"blocks/{name}").read_bytes())
    coins = {}
    for tx in block.transactions[1:]:
        for txin in tx.inputs:
            value = cursor.i64()
            coins[txin.prevout] = Coin(TxOut(value, cursor.var_bytes()), 0, False)
    cursor.finish()
    made = {tx.outpoint(index) for tx in block.transactions for index in range(len(tx.outputs))}
    return {outpoint: coin for outpoint, coin in coins.items() if outpoint not in made}


@pytest.mark.parametrize("case", BLOCKS)
def test_a_real_block_is_what_the_index_says(case: dict[str, Any]) -> None:
    block, _ = read_block(case)
    assert block.hash[::-1].hex() == case["hash"]
    assert block.header.prev_hash[::-1].hex() == case["prev"]
    assert (block.header.version, block.header.time) == (case["version"], case["time"])
    assert f"{block.header.bits:08x}" == case["bits"]
    assert len(block.transactions) == case["tx_count"]
    assert sum(len(tx.inputs) for tx in block.transactions[1:]) == case["inputs"]
    assert sum(tx.has_witness for tx in block.transactions) == case["segwit_txs"]
    assert (len(block.raw), block.weight) == (case["size"], case["weight"])
    assert (witness_commitment(block) is not None) == bool(case["witness_commitment"])
    assert sum(output.value for output in block.transactions[0].outputs) == case["coinbase_value"]
    assert Block(block.header, block.transactions).raw == block.raw


@pytest.mark.parametrize("case", BLOCKS)
def test_a_real_block_passes_the_rules_that_need_no_coins(case: dict[str, Any]) -> None:
    block, network = read_block(case)
    check_block(block, network)
    check_block_in_context(block, Claimed(block, case["height"], network), network)


@pytest.mark.parametrize("case", WITH_UNDO)
def test_a_real_block_with_its_coins_is_valid(case: dict[str, Any]) -> None:
    block, network = read_block(case)
    coins = read_undo(case["undo"], block)
    found = block_script_checks(block, coins, Claimed(block, case["height"], network), network)
    assert found.fees == case["fees"]
    assert block_subsidy(case["height"], network) == case["subsidy"]
    assert len(found.checks) == case["inputs"]
    assert [coin for spent in found.spent for coin in spent] == [
        coins[txin.prevout] if txin.prevout in coins else found_inside(block, txin.prevout, case["height"])
        for tx in block.transactions[1:]
        for txin in tx.inputs
    ]
    secp = load_secp()
    for check in found.checks:
        check.run(secp)


def found_inside(block: Block, outpoint: OutPoint, height: int) -> Coin:
    """Return a coin that the block makes and spends itself."""
    (output,) = [tx.outputs[outpoint.vout] for tx in block.transactions if tx.txid == outpoint.txid]
    return Coin(output, height, False)


@pytest.mark.parametrize("case", WITH_UNDO)
def test_a_real_block_whose_coinbase_takes_more_is_refused(case: dict[str, Any]) -> None:
    block, network = read_block(case)
    coins = read_undo(case["undo"], block)
    poorer = replace(network, initial_subsidy=0)
    with pytest.raises(ValidationError, match="bad-cb-amount"):
        block_script_checks(block, coins, Claimed(block, case["height"], network), poorer, with_scripts=False)


def network_of(name: str) -> Network:
    """Return the network that the name of a file or folder of a chain begins with."""
    return NETWORKS[name.rsplit("/", maxsplit=1)[1].split("-", maxsplit=1)[0]]


@pytest.mark.parametrize("name", vectors_matching("blocks/*-1-*.dat.bz2") + vectors_matching("blocks/*-1-*.hex"))
def test_a_chain_from_the_genesis_block_on_is_valid(name: str) -> None:
    ledger = Ledger(network_of(name))
    data = vectors_path(name).read_bytes()
    if name.endswith(".hex"):
        raw = list(map(bytes.fromhex, data.decode().split()))
    else:
        raw = list(records(bz2.decompress(data), ledger.network.magic))
    ledger.connect(*map(Block.parse, raw))
    assert ledger.tip.height == len(raw) == int(re.split(r"[-.]", name)[2])


@pytest.mark.parametrize("folder", vectors_matching("blocks/core_files/*-*"))
def test_a_chain_in_cores_own_files_is_valid_and_spends_what_core_noted(folder: str) -> None:
    data = vectors_path(f"{folder}/blk00000.dat").read_bytes()
    key = vectors_path(f"{folder}/xor.dat").read_bytes()
    plain = (
        int.from_bytes(data, "little") ^ int.from_bytes((key * (len(data) // 8 + 1))[: len(data)], "little")
    ).to_bytes(len(data), "little")
    ledger = Ledger(network_of(folder))
    blocks = list(map(Block.parse, records(plain, ledger.network.magic)))
    by_parent = {block.header.prev_hash: block for block in blocks}
    expected = {case["height"]: case for case in load(f"{folder}/spent_outputs.json")}
    while block := by_parent.get(ledger.tip.hash):
        found = ledger.connect(block)
        spent = [
            [
                {
                    "value": coin.output.value,
                    "script_pubkey": coin.output.script_pubkey.hex(),
                    "height": coin.height,
                    "coinbase": coin.is_coinbase,
                }
                for coin in coins
            ]
            for coins in found.spent
        ]
        assert spent == (expected[ledger.tip.height]["spent"] if ledger.tip.height in expected else [])
        if ledger.tip.height in expected:
            assert block.hash[::-1].hex() == expected[ledger.tip.height]["hash"]
    assert ledger.tip.height == len(blocks) - 1


def test_the_reorganisation_chains_are_valid_with_young_coinbases() -> None:
    """Made blocks that spend coinbases at once: with the real maturity they are refused."""
    parts = [vectors_path(f"blocks/reorg/blk_{name}.dat.bz2").read_bytes() for name in ("0_to_4", "3A", "4A", "5A")]
    blocks = [Block.parse(raw) for part in parts for raw in records(bz2.decompress(part), MAINNET.magic)]
    assert blocks[0] == MAINNET.genesis
    ledger, branch = (Ledger(replace(MAINNET, coinbase_maturity=1)) for _ in range(2))
    ledger.connect(*blocks[1:5])
    branch.connect(*blocks[1:3], *blocks[5:])
    assert branch.tip.chain_work > ledger.tip.chain_work
    strict = Ledger(MAINNET)
    with pytest.raises(ValidationError, match="bad-txns-premature-spend-of-coinbase"):
        strict.connect(*blocks[1:5])


VALID = [row for row in load("blocks/checkblock_valid.json") if len(row) > 1]
INVALID = [row for row in load("blocks/checkblock_invalid.json") if len(row) > 1]


def check_alone(row: list[Any]) -> None:
    _, header_only, check_pow, now, data = row
    raw = bytes.fromhex(data)
    header = Header.parse(raw[:80])
    if header.time > now + MAX_FUTURE_BLOCK_TIME:
        raise ValidationError("time-too-new")
    if not header_only:
        check_block(Block.parse(raw), MAINNET, check_pow=check_pow)


@pytest.mark.parametrize("row", VALID, ids=lambda row: row[0])
def test_a_valid_block_passes_alone(row: list[Any]) -> None:
    check_alone(row)


REASONS = {
    "Genesis block with time set to two hours + 1 second behind": "time-too-new",
    "Genesis with one byte changed": "high-hash",
    "Empty vtx": "bad-txnmrklroot",
    "One tx, but not a coinbase": "bad-cb-missing",
    "More than one coinbase (different coinbases)": "bad-cb-multiple",
    "Duplicate transaction": "bad-txnmrklroot",
    "Merkle root mismatch": "bad-txnmrklroot",
}


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row[0])
def test_an_invalid_block_is_refused_alone(row: list[Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        check_alone(row)
    assert refused.value.reason == REASONS.get(row[0], refused.value.reason)


FIXTURES = [pytest.param(case, id=case["name"]) for case in load("script/tx_fixtures.json")]
BEFORE_LOCK_TIMES = P2SH | DERSIG | WITNESS | NULLDUMMY
"""The flags that the oldest of them keep: one has an OP_NOP2 where today OP_CHECKLOCKTIMEVERIFY stands."""


@pytest.mark.parametrize("case", FIXTURES)
def test_a_real_transaction_is_valid_with_its_coins(case: dict[str, Any]) -> None:
    tx = Transaction.parse(bytes.fromhex(case["hex"]))
    assert (tx.txid[::-1].hex(), tx.wtxid[::-1].hex()) == (case["txid"], case["wtxid"])
    assert (len(tx.inputs), len(tx.outputs), tx.has_witness) == (case["inputs"], case["outputs"], case["segwit"])
    if case["spent"] is None:
        return
    outputs = [TxOut(spent["value"], bytes.fromhex(spent["script_pubkey"])) for spent in case["spent"]]
    cache = SighashCache(tx, outputs)
    for index in range(len(tx.inputs)):
        ScriptCheck(tx, index, cache, BEFORE_LOCK_TIMES).run(load_secp())


def test_the_flags_of_real_blocks_are_those_of_their_height() -> None:
    for case in INDEX:
        block, network = read_block(case)
        flags = script_flags(network, case["height"], block.hash)
        assert bool(flags & DERSIG) is (case["height"] >= network.bip66_height)
