"""The same transactions, the same verdicts: our rules of acceptance and templates beside bitcoind's."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from builders import ANYONE, OP_TRUE, Drawing, Spendable, chain, coin, solve, spend
from node_processes import NodeProcess, bitcoind_process
from toy_chain import ToyChain, ToyClock

from altyn.consensus.errors import ValidationError
from altyn.consensus.hashes import hash160
from altyn.consensus.limits import COIN
from altyn.consensus.script.templates import (
    multisig,
    p2pk,
    p2pkh,
    p2sh_of,
    p2tr,
    p2wpkh,
    p2wsh_of,
    push,
)
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance, check_scripts
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.template import build_template
from altyn.node.offload import Inline
from altyn.node.writer import Writer

SECRET = bytes(31) + b"\1"
KEY = load().public_key(SECRET)
BAD_SIGNATURE = load().sign_ecdsa(SECRET, bytes(32)) + b"\1"
ANCHOR = bytes.fromhex("51024e73")
OUTPUTS = {
    "bare true": b"\x51",
    "unknown witness": b"\x52\x02ab",
    "anchor": ANCHOR,
    "p2sh": p2sh_of(b"\x51"),
    "p2sh with 16 checks": p2sh_of(b"\xac" * 16 + b"\x51"),
    "p2wsh false": p2wsh_of(b"\0"),
    "p2wsh nop4": p2wsh_of(b"\x51\xb3"),
    "p2wsh if": p2wsh_of(b"\x63\x51\x67\x51\x68"),
    "p2wsh two": p2wsh_of(b"\x51\x51"),
    "p2wsh cltv": p2wsh_of(b"\x02\xff\x00\xb1"),
    "p2wsh csv": p2wsh_of(b"\x02\xff\x00\xb2"),
    "p2pkh": p2pkh(hash160(KEY)),
    "p2wpkh": p2wpkh(hash160(KEY)),
    "p2sh-p2wpkh": p2sh_of(p2wpkh(hash160(KEY))),
    "p2tr": p2tr(KEY[1:]),
    "p2pk": p2pk(KEY),
    "multisig": multisig(1, [KEY] * 4),
}


@dataclass
class Both:
    """Our mempool on a toy chain, and bitcoind on the same blocks."""

    bitcoind: NodeProcess
    chain: ToyChain = field(default_factory=ToyChain)
    drawing: Drawing = field(default_factory=lambda: chain("g a1..a130", start=int(time.time()) - 200 * 60))

    def __post_init__(self) -> None:
        self.mempool = Mempool(PolicyLimits(), ToyClock(time.time()), Events())
        toy: Any = self.chain
        self.acceptance = Acceptance(toy, self.mempool, Writer(), Inline(), self.chain.secp)
        for height in range(1, 131):
            self.add_block(f"a{height}")
        funding = spend(self.coin(1), [TxOut(10**7, script) for script in OUTPUTS.values()])
        self.drawing.extend("a130 a131", [funding])
        self.add_block("a131")
        self.funded = {name: coin(funding, index) for index, name in enumerate(OUTPUTS)}
        self.funding = funding

    def add_block(self, name: str) -> None:
        block = self.drawing[name]
        assert self.bitcoind.call("submitblock", block.raw.hex()) is None
        self.chain.connect(block)

    def coin(self, height: int) -> Spendable:
        return coin(self.drawing[f"a{height}"])

    def put(self, tx: Transaction) -> Transaction:
        """Let both have a transaction."""
        self.mempool.add(self.acceptance.examine(tx).entry)
        self.bitcoind.call("sendrawtransaction", tx.raw.hex(), 0)
        return tx

    def ours(self, tx: Transaction) -> str:
        try:
            candidate = self.acceptance.examine(tx)
            check_scripts(tx, candidate.coins, self.chain.secp)
        except ValidationError as error:
            return "missing-inputs" if error.reason == "bad-txns-inputs-missingorspent" else str(error)
        return f"accepted, vsize {candidate.entry.vsize}, fee {candidate.entry.fee}"

    def theirs(self, tx: Transaction) -> str:
        (result,) = self.bitcoind.call("testmempoolaccept", [tx.raw.hex()], 0)
        if result["allowed"]:
            return f"accepted, vsize {result['vsize']}, fee {round(result['fees']['base'] * COIN)}"
        reason, details = result["reject-reason"], result.get("reject-details", "")
        return details if details.startswith(reason) else reason


def normal(text: str) -> str:
    """Take away what differs from release to release, and what Knots names more finely than Core."""
    text = re.sub(r"^(non-)?mandatory-script-verify-flag(-failed)?", "mempool-script-verify-flag-failed", text)
    text = re.sub(r"^(mempool-script-verify-flag-failed \(.*?\)), input.*", r"\1", text)
    text = re.sub(r"^bad-txns-input-[a-z-]+", "bad-txns-nonstandard-inputs", text)
    text = re.sub(r"^bad-witness-[a-z0-9-]+", "bad-witness-nonstandard", text)
    return re.sub(r"^truc-[a-z-]+", "TRUC-violation", text)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    options = ("-mempoolfullrbf=1", "-minrelaytxfee=0.00001", "-incrementalrelayfee=0.00001", "-blockmintxfee=0.00001")
    with bitcoind_process(tmp_path / "bitcoind", *options) as bitcoind:
        yield Both(bitcoind)


def differences(both: Both, cases: dict[str, Transaction]) -> dict[str, tuple[str, str]]:
    answers = {name: (normal(both.ours(tx)), normal(both.theirs(tx))) for name, tx in cases.items()}
    return {name: answer for name, answer in answers.items() if answer[0] != answer[1]}


def pay(*inputs: TxIn, to: list[TxOut] | None = None, version: int = 2, lock_time: int = 0) -> Transaction:
    return Transaction(version, inputs, to or [TxOut(9 * 10**6, ANYONE)], lock_time)


def single_cases(both: Both) -> dict[str, Transaction]:
    def odd(name: str, script_sig: bytes = b"", *witness: bytes, sequence: int = 0xFFFFFFFE) -> TxIn:
        return TxIn(both.funded[name].outpoint, script_sig, sequence, witness)

    def mined(height: int, *, sequence: int = 0xFFFFFFFE, witness: tuple[bytes, ...] = (OP_TRUE,)) -> TxIn:
        return TxIn(both.coin(height).outpoint, b"", sequence, witness)

    cases: dict[str, Transaction] = {}
    for name in OUTPUTS:
        cases[f"{name}: nothing"] = pay(odd(name))
        cases[f"{name}: 20 bytes in script_sig"] = pay(odd(name, push(bytes(20))))
        cases[f"{name}: a byte in the witness"] = pay(odd(name, b"", b"\1"))
    segwit, checks = p2wpkh(hash160(KEY)), b"\xac" * 16 + b"\x51"
    cases |= {
        "p2pkh, wrong signature": pay(odd("p2pkh", push(BAD_SIGNATURE) + push(KEY))),
        "p2pkh, unknown hash type": pay(odd("p2pkh", push(BAD_SIGNATURE[:-1] + b"\5") + push(KEY))),
        "p2wpkh, wrong signature": pay(odd("p2wpkh", b"", BAD_SIGNATURE, KEY)),
        "p2wpkh, empty signature": pay(odd("p2wpkh", b"", b"", KEY)),
        "p2wpkh, another key": pay(odd("p2wpkh", b"", BAD_SIGNATURE, b"\4" + bytes(64))),
        "p2sh-p2wpkh, wrong signature": pay(odd("p2sh-p2wpkh", push(segwit), BAD_SIGNATURE, KEY)),
        "p2sh-p2wpkh, no witness": pay(odd("p2sh-p2wpkh", push(segwit))),
        "p2tr, wrong signature": pay(odd("p2tr", b"", bytes(64))),
        "p2tr, 63 bytes": pay(odd("p2tr", b"", bytes(63))),
        "p2tr, annex": pay(odd("p2tr", b"", bytes(64), b"\x50")),
        "p2tr, another script": pay(odd("p2tr", b"", b"\x51", b"\xc0" + bytes(32))),
        "p2tr, short control block": pay(odd("p2tr", b"", b"\x51", b"\xc0" + bytes(31))),
        "p2sh": pay(odd("p2sh", b"\1\x51")),
        "p2sh, one element more": pay(odd("p2sh", b"\x51\1\x51")),
        "p2sh, long push": pay(odd("p2sh", b"\x4c\1\x51")),
        "p2sh, with a witness": pay(odd("p2sh", b"\1\x51", b"\1")),
        "p2sh, large script_sig": pay(odd("p2sh", push(bytes(520)) * 4)),
        "p2sh, an operation": pay(odd("p2sh", b"\x61")),
        "p2sh with 16 checks": pay(odd("p2sh with 16 checks", push(checks))),
        "p2wsh false": pay(odd("p2wsh false", b"", b"\0")),
        "p2wsh nop4": pay(odd("p2wsh nop4", b"", b"\x51\xb3")),
        "p2wsh if": pay(odd("p2wsh if", b"", b"\2", b"\x63\x51\x67\x51\x68")),
        "p2wsh two": pay(odd("p2wsh two", b"", b"\x51\x51")),
        "p2wsh cltv": pay(odd("p2wsh cltv", b"", b"\x02\xff\x00\xb1")),
        "p2wsh csv": pay(odd("p2wsh csv", b"", b"\x02\xff\x00\xb2", sequence=100)),
        "premature": pay(mined(120)),
        "one block too early": pay(mined(33)),
        "just mature": pay(mined(32)),
        "not final": pay(mined(2), lock_time=132),
        "just final": pay(mined(2), lock_time=131),
        "locked": pay(mined(20, sequence=113)),
        "just unlocked": pay(mined(20, sequence=112)),
        "unknown input": pay(TxIn(OutPoint.make(bytes(32), 1))),
        "mined already": both.funding,
        "one input twice": pay(mined(2), mined(2)),
        "negative": pay(mined(2), to=[TxOut(-1, ANYONE)]),
        "over all money": pay(mined(2), to=[TxOut(21 * 10**14 + 1, ANYONE)]),
        "makes money": pay(mined(2), to=[TxOut(51 * COIN, ANYONE)]),
        "null input": pay(mined(2), TxIn(NULL_OUTPOINT)),
        "coinbase": pay(TxIn(NULL_OUTPOINT, b"ab")),
        "dust limit": pay(mined(2), to=[TxOut(330, ANYONE)]),
        "two data outputs": pay(mined(2), to=[TxOut(0, b"\x6a\1a")] * 2),
        "83 bytes of data script": pay(mined(2), to=[TxOut(0, b"\x6a\x4c\x50" + bytes(80))]),
        "84 bytes of data script": pay(mined(2), to=[TxOut(0, b"\x6a\x4c\x51" + bytes(81))]),
        "one of four": pay(mined(2), to=[TxOut(COIN, OUTPUTS["multisig"])]),
        "64 bytes": Transaction(2, [mined(2)], [TxOut(0, b"\x6a\2ab")]),
        "65 bytes": Transaction(2, [mined(2)], [TxOut(0, b"\x6a\3abc")]),
        "too heavy": pay(mined(2), to=[TxOut(1000, ANYONE)] * 2400),
        "81 bytes in the witness": pay(mined(2, witness=(bytes(81), OP_TRUE))),
        "a large one of version 3": pay(mined(2), to=[TxOut(1000, ANYONE)] * 300, version=3),
    }
    cases |= {f"version {version}": pay(mined(2), version=version) for version in (0, 1, 3, 4, 0xFFFFFFFF)}
    vsize = spend(both.coin(2)).vsize
    cases |= {f"fee {fee}": spend(both.coin(2), fee=fee) for fee in (0, vsize - 1, vsize)}
    return cases


def test_verdicts_on_single_transactions_are_equal(both: Both) -> None:
    assert differences(both, single_cases(both)) == {}


def test_verdicts_on_families_and_the_template_are_equal(both: Both) -> None:
    parent = both.put(spend(both.coin(3), [TxOut(10**8, ANYONE)] * 27))
    for index in range(24):
        both.put(spend(coin(parent, index)))
    large = [TxOut(1000, ANYONE)] * 300
    cases = {
        "conflict": spend(both.coin(3), fee=5 * 10**6),
        "there already": parent,
        "another witness": Transaction(2, [parent.inputs[0]._replace(witness=(b"\x52",))], parent.outputs),
        "carve-out": spend(coin(parent, 24)),
        "too large for the carve-out": spend(coin(parent, 24), large),
        "version 3 has no carve-out": spend(coin(parent, 25), version=3),
    }
    tx = spend(both.coin(4))
    for _ in range(25):
        tx = spend(coin(both.put(tx)))
    cases["a long chain"] = tx
    small = both.put(spend(both.coin(5), [TxOut(10**9, ANYONE)] * 2, version=3))
    cases["version 2 on 3"] = spend(coin(small))
    cases["a large child"] = spend(coin(small), large, version=3)
    coins = [coin(both.put(spend(both.coin(height)))) for height in range(6, 32)]
    cases["version 3 on 2"] = spend(coins[0], version=3)
    cases["many parents"] = spend(coins)
    cases["24 parents"] = spend(coins[:24])
    assert differences(both, cases) == {}
    child = both.put(spend(coin(small), version=3))
    assert differences(both, {"a grandchild": spend(coin(child), version=3)}) == {}
    same_entries(both)
    same_template(both)


def test_verdicts_on_replacements_are_equal(both: Both) -> None:
    first = both.put(spend(both.coin(2), fee=2000))
    both.put(spend(coin(first), fee=5000))
    other = both.put(spend(both.coin(3), [TxOut(10**8, ANYONE)] * 27))
    for index in range(24):
        both.put(spend(coin(other, index)))
    parent = both.put(spend(both.coin(4), [TxOut(10**9, ANYONE)] * 2, version=3))
    both.put(spend(coin(parent), version=3))
    for height in range(5, 10):
        one = both.put(spend(both.coin(height), [TxOut(2 * 10**8, ANYONE)] * 20))
        for index in range(20):
            both.put(spend(coin(one, index)))
    cases = {
        "poor": spend(both.coin(2), fee=1000),
        "larger": spend([both.coin(2), both.coin(10)], fee=2000),
        "less than all": spend(both.coin(2), fee=6999),
        "as much as all": spend(both.coin(2), fee=7000),
        "and its relay": spend(both.coin(2), fee=7096),
        "adds unconfirmed": spend([both.coin(2), coin(parent, 1)], fee=10**6),
        "adds another parent": spend([both.coin(2), coin(other, 25)], fee=10**6),
        "depends on it": spend([both.coin(2), coin(first)], fee=10**6),
        "one of a full family": spend(coin(other, 3), fee=9000),
        "another and one of it": spend([coin(other, 3), coin(other, 26)], fee=9000),
        "a poor sibling": spend(coin(parent, 1), fee=900, version=3),
        "a sibling": spend(coin(parent, 1), fee=1050, version=3),
        "a rich sibling": spend(coin(parent, 1), fee=9000, version=3),
        "the same child": spend(coin(parent), fee=9000, version=3),
        "a hundred": spend([both.coin(height) for height in range(5, 10)], fee=10**9),
        "fewer": spend([both.coin(height) for height in range(5, 9)], fee=10**9),
    }
    assert differences(both, cases) == {}
    assert both.ours(cases["a hundred"]).startswith("too many potential replacements")


def same_entries(both: Both) -> None:
    theirs = both.bitcoind.call("getrawmempool", True)
    assert len(theirs) == len(both.mempool)
    for entry in both.mempool:
        shown = theirs[entry.txid[::-1].hex()]
        assert (shown["vsize"], shown["weight"]) == (entry.vsize, entry.weight)
        assert (shown["ancestorcount"], shown["ancestorsize"]) == (entry.ancestor_count, entry.ancestor_size)
        assert (shown["descendantcount"], shown["descendantsize"]) == (entry.descendant_count, entry.descendant_size)
        assert sorted(shown["depends"]) == sorted(txid[::-1].hex() for txid in entry.parents)
        assert sorted(shown["spentby"]) == sorted(txid[::-1].hex() for txid in entry.children)
        assert shown["bip125-replaceable"] is both.mempool.is_replaceable(entry.txid)
        assert round(shown["fees"]["ancestor"] * COIN) == entry.ancestor_fees
        assert round(shown["fees"]["descendant"] * COIN) == entry.descendant_fees
    assert both.bitcoind.call("getrawmempool") == [each.txid[::-1].hex() for each in both.mempool.sorted_entries()]


def same_template(both: Both) -> None:
    theirs = both.bitcoind.call("getblocktemplate", {"rules": ["segwit"]})
    ours = build_template(both.chain.tip, both.mempool, both.chain.network, ANYONE, int(time.time()))
    listed = [(each.tx.txid[::-1].hex(), each.fee, each.sigop_cost, each.weight) for each in ours.transactions]
    assert [(each["txid"], each["fee"], each["sigops"], each["weight"]) for each in theirs["transactions"]] == listed
    assert [each["depends"] for each in theirs["transactions"]] == [list(each.depends) for each in ours.transactions]
    assert theirs["coinbasevalue"] == ours.coinbase_value
    assert theirs["default_witness_commitment"] == (ours.witness_commitment or b"").hex()
    assert (theirs["height"], theirs["version"], theirs["mintime"]) == (ours.height, ours.version, ours.min_time)
    assert theirs["bits"] == f"{ours.bits:08x}"
    assert both.bitcoind.call("submitblock", solve(ours.to_block()).raw.hex()) is None
    assert both.bitcoind.call("getmempoolinfo")["size"] == 0
