"""The same calls for a bitcoind and for Altyn: submitblock, proposals and testmempoolaccept give the same answers."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from builders import coin, spend
from differential.arena import Arena, arena_of
from differential.catalogue import ALL
from differential.conftest import ROUNDS
from differential.ground import Ground, base, grow
from differential.mutations import MUTATIONS, Mutation, fund, plain_coinbase, with_coinbase
from differential.policy_locks import LOCKS, PolicyLock
from differential.rpc_contestants import Answers, pair
from differential.signing import unlock
from script_spends import SECP

from altyn.consensus.block import Block
from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.script import flags as script_flag
from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.transaction import Transaction, TxOut

pytestmark = [pytest.mark.xdist_group("reasons"), pytest.mark.timeout(300)]

_NO_COINBASE = "error -22: Block does not start with a coinbase"
_UNDECODABLE = "error -22: Block decode failed"

ANSWERS_OF_SUBMITBLOCK = {
    "does not decode": _UNDECODABLE,
    "bad-cb-missing": _NO_COINBASE,
    "no-transactions-at-all": _NO_COINBASE,
    "block-of-nothing": _NO_COINBASE,
    "reserved-value-of-nothing": None,  # the node fills in what a miner left out
}
"""Answers of Core 28.1 that are not the rule's reason, by mutation or reason."""

ANSWERS_TO_PROPOSALS = {
    "does not decode": _UNDECODABLE,
    "work-not-done": None,  # the proposal of a block that is to be mined
    "target-that-no-block-may-have": "bad-diffbits",
    "unknown-parent": "inconclusive-not-best-prevblk",
}

LATER_ANSWERS = {
    # Core 28.1 looks at the first transaction before anything else; version 29 leaves that to the rules.
    _NO_COINBASE: {"bad-cb-missing", "bad-txnmrklroot", "bad-blk-length"},
    # Version 29 asks for dust after the inputs.
    "dust": {"bad-txns-in-belowout", "missing-inputs"},
    # Knots, which this bitcoind is, does not read a header whose version has the sign bit; Core and its kernel do.
    "bad-version(0xffffffff)": {_UNDECODABLE},
    "bad-version(0x80000000)": {_UNDECODABLE},
}
"""Answers of Core 28.1, which are ours, and what the bitcoind at hand says instead: the known differences."""

FINER_ANSWERS = {
    "bad-txns-nonstandard-inputs": "bad-txns-input-",
    "bad-witness-nonstandard": "bad-witness-",
}
"""Reasons of Core that Knots splits into many, and how those begin."""

_SCRIPT_FAILS = re.compile(r"(?:(?:non-)?mandatory|mempool)-script-verify-flag(?:-failed)? ")
"""Core 28.1 says whether a block could hold it nevertheless; later versions do not."""

KNOTS_SCRIPT_RULES = {
    "(OP_IF/NOTIF argument must be minimal in tapscript)": {
        "code-separator-in-tapscript",
        "condition-not-minimal-in-tapscript",
        "multisig-in-tapscript",
    },
    "(Push value size limit exceeded)": {
        "annex-not-signed",
        "push-too-long",
        "tapscript-with-too-many-signatures",
        "witness-element-too-long",
        "witness-script-too-long",
    },
}
"""Knots takes no conditions of tapscripts into its mempool, and no pushes above 256 bytes: the mutations concerned."""

KNOTS_REASON = "bad-txns-vout-script-toolarge"
"""Knots takes no output scripts above 34 bytes into its mempool."""


def is_known_difference(ours: str | None, theirs: str | None, mutation: str) -> bool:
    """Tell whether it is known that the bitcoind at hand says it otherwise than Core 28.1."""
    if ours and theirs:
        if theirs in LATER_ANSWERS.get(ours, ()) or theirs.startswith(FINER_ANSWERS.get(ours, " ")):
            return True
        if _SCRIPT_FAILS.sub("", ours) == _SCRIPT_FAILS.sub("", theirs):
            return True
    return theirs == KNOTS_REASON or mutation in KNOTS_SCRIPT_RULES.get(_SCRIPT_FAILS.sub("", theirs or ""), ())


class Pair:
    """A bitcoind and Altyn on the same chain, and the ground to build on."""

    def __init__(self, bitcoind: Answers, altyn: Answers, network: Network, height: int = 0) -> None:
        self.bitcoind = bitcoind
        self.altyn = altyn
        self.ground: Ground = base(network)
        if height:
            self.ground = grow(self.ground, height - self.ground.height)
        for block in self.ground.line():
            assert self.submit(block) is None

    @property
    def agrees(self) -> bool:
        """Whether both stand where the next block is built; after a failed test they may not."""
        return self.bitcoind.tip == self.altyn.tip == self.ground.hash

    def submit(self, block: object) -> str | None:
        return self._same("submit", block)

    def propose(self, block: object) -> str | None:
        return self._same("propose", block)

    def refusal(self, tx: object, mutation: str = "") -> str | None:
        return self._same("refusal", tx, mutation)

    def _same(self, question: str, about: object, mutation: str = "") -> str | None:
        ours: str | None = getattr(self.altyn, question)(about)
        theirs = getattr(self.bitcoind, question)(about)
        assert ours == theirs or is_known_difference(ours, theirs, mutation), (ours, theirs)
        return ours


@contextmanager
def regtest_pair(folder: Path, *options: str, **limits: bool) -> Iterator[Pair]:
    """Open two nodes with regtest as Core 28.1 has it."""
    with pair(folder / "bitcoind", REGTEST, "-test=bip94", *options, **limits) as (bitcoind, altyn):
        yield Pair(bitcoind, altyn, REGTEST)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena[Pair]]:
    with arena_of(lambda: regtest_pair(tmp_path_factory.mktemp("reasons"))) as arena:
        yield arena


@pytest.fixture
def nodes(arena: Arena[Pair]) -> Pair:
    return arena.judges()


@pytest.mark.parametrize("mutation", ALL, ids=str)
def test_a_mutation_is_refused_for_the_same_reason(mutation: Mutation, arena: Arena[Pair]) -> None:
    for number in range(1 if mutation.is_costly else -(-ROUNDS // 8)):
        nodes = arena.judges()
        seed = f"{mutation}-{number}"
        print(f"seed {seed!r} at height {nodes.ground.height}")
        case = mutation.build(nodes.ground, Random(seed))
        for block in case.before:
            assert nodes.submit(block) is None
            nodes.ground = nodes.ground.after(block)
        if isinstance(case.broken, Block):
            for tx in case.broken.transactions[1:4]:
                nodes.refusal(tx, mutation.name)
        answers = ANSWERS_TO_PROPOSALS
        expected = answers.get(mutation.name, answers.get(mutation.reason, mutation.reason))
        assert nodes.propose(case.raw) == expected
        answers = ANSWERS_OF_SUBMITBLOCK
        expected = answers.get(mutation.name, answers.get(mutation.reason, mutation.reason))
        assert nodes.submit(case.raw) == expected
        again = nodes.submit(case.raw)
        assert again in {expected, "duplicate-invalid", "duplicate"}
        assert nodes.submit(case.twin) == (None if expected else "duplicate")
        nodes.ground = nodes.ground.after(case.twin)


def test_bytes_behind_a_block_are_not_looked_at(nodes: Pair) -> None:
    block = nodes.ground.build()
    assert nodes.propose(block.raw + b"\0") is None
    assert nodes.submit(block.raw + b"more") is None
    nodes.ground = nodes.ground.after(block)


def test_a_retarget_block_is_not_long_before_its_parent(tmp_path: Path) -> None:
    """BIP94, which regtest enforces in Core 28.1."""
    with pair(tmp_path / "bitcoind", REGTEST, "-test=bip94") as (bitcoind, altyn):
        nodes = Pair(bitcoind, altyn, REGTEST, 142)
        last = nodes.ground.build(time=nodes.ground.next_time() + 5000)
        assert nodes.submit(last) is None
        nodes.ground = nodes.ground.after(last)
        assert nodes.ground.next_height == 144
        assert nodes.submit(nodes.ground.build(time=last.header.time - 601)) == "time-timewarp-attack"
        assert nodes.submit(nodes.ground.build(time=last.header.time - 600)) is None


# Before and after a rule begins

_BEGINS = 125
"""The height at which the rules under test begin."""


def _later(*options: str) -> tuple[Network, list[str]]:
    """Return regtest with deployments, by Core's names, that begin at _BEGINS, and bitcoind's options for it."""
    fields = {
        "bip34": "bip34_height",
        "dersig": "bip66_height",
        "cltv": "bip65_height",
        "csv": "csv_height",
        "segwit": "segwit_height",
    }
    network = replace(REGTEST, **{fields[name]: _BEGINS for name in options})
    return network, [f"-testactivationheight={name}@{_BEGINS}" for name in options]


@pytest.mark.parametrize(
    ("deployments", "names"),
    [
        (["bip34"], ["coinbase-of-another-height"]),
        (["bip34", "dersig", "cltv"], ["version-1", "version-2", "version-3", "version-0"]),
        (["dersig"], ["signature-not-der"]),
        (["cltv"], ["lock-time-by-height-unmet", "lock-time-by-time-unmet"]),
        (["csv"], ["sequence-lock-by-height", "sequence-unmet", "not-final-by-median-time"]),
    ],
    ids="-".join,
)
def test_a_rule_binds_from_its_height_on(deployments: list[str], names: list[str], tmp_path: Path) -> None:
    network, options = _later(*deployments)
    with pair(tmp_path / "bitcoind", network, "-test=bip94", *options) as (bitcoind, altyn):
        nodes = Pair(bitcoind, altyn, network)
        for name in names:
            assert None in _answers(nodes, MUTATIONS[name]), f"{name} is refused before its time"
        nodes.ground = _up_to(nodes, _BEGINS - 1)
        for name in names:
            assert set(_answers(nodes, MUTATIONS[name])) == {MUTATIONS[name].reason}


def _up_to(nodes: Pair, height: int) -> Ground:
    ground = nodes.ground
    while ground.height < height:
        block = ground.build()
        assert nodes.submit(block) is None
        ground = ground.after(block)
    return ground


def _answers(nodes: Pair, mutation: Mutation) -> list[str | None]:
    """Return what both say of proposals of a mutation that needs no blocks before it."""
    answers = []
    for number in range(20):
        case = mutation.build(nodes.ground.again(), Random(f"{mutation}-{number}"))
        if not case.before:
            assert nodes.propose(case.twin) is None
            answers.append(nodes.propose(case.broken))
    if not answers:  # it needs some: then on a branch of blocks that stay
        case = mutation.build(nodes.ground, Random(str(mutation)))
        for block in case.before:
            assert nodes.submit(block) is None
            nodes.ground = nodes.ground.after(block)
        answers.append(nodes.propose(case.broken))
    return answers


def test_witnesses_are_unexpected_before_segwit(tmp_path: Path) -> None:
    network, options = _later("segwit")
    with pair(tmp_path / "bitcoind", network, "-test=bip94", *options) as (bitcoind, altyn):
        nodes = Pair(bitcoind, altyn, network)

        def proposals() -> dict[str, str | None]:
            return {
                name: nodes.propose(MUTATIONS[name].build(nodes.ground.again(), Random(name)).twin)
                for name in ("wrong-witness-signature", "missing-input", "wrong-witness-commitment", "work-not-done")
            }

        before = proposals()
        assert before["missing-input"] == "unexpected-witness"
        nodes.ground = _up_to(nodes, _BEGINS - 1)
        assert set(proposals().values()) == {None}


def test_a_txid_is_not_repeated_while_its_outputs_are_unspent(tmp_path: Path) -> None:
    """BIP30, where BIP34 does not see to it."""
    network, options = _later("bip34")
    with pair(tmp_path / "bitcoind", network, "-test=bip94", *options) as (bitcoind, altyn):
        nodes = Pair(bitcoind, altyn, network)
        again = plain_coinbase(nodes.ground, extra=b"again")
        first = with_coinbase(nodes.ground, again)
        assert nodes.submit(first) is None
        nodes.ground = nodes.ground.after(first)
        assert nodes.submit(with_coinbase(nodes.ground, again)) == "bad-txns-BIP30"
        assert nodes.submit(with_coinbase(nodes.ground, plain_coinbase(nodes.ground, extra=b"other"))) is None


# Transactions alone


def _unlocking(mutation: Mutation, nodes: Pair, seed: str) -> tuple[Transaction, Transaction]:
    """Mine what a mutation of scripts spends, and return the transactions that spend it rightly and wrongly."""
    case = mutation.build(nodes.ground, Random(seed))
    blocks = [*case.before, case.twin]
    right, wrong = case.twin.transactions[-1], case.broken.transactions[-1]  # type: ignore[union-attr]
    txids = {txin.prevout.txid for tx in (right, wrong) for txin in tx.inputs}
    parents = {tx.txid: tx for block in [*blocks, case.broken] for tx in block.transactions if tx.txid in txids}  # type: ignore[union-attr]
    block = nodes.ground.build(*parents.values())
    assert nodes.submit(block) is None
    nodes.ground = nodes.ground.after(block)
    return right, wrong


_UNLOCKING = [each for each in ALL if each.reason.startswith("mandatory-script")]


@pytest.fixture(scope="module", params=["standard", "anything"])
def mempools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena[Pair]]:
    """Two nodes whose mempools take standard transactions only, or others too."""
    standard = request.param == "standard"
    options = [] if standard else ["-acceptnonstdtxn=1"]

    def opened() -> AbstractContextManager[Pair]:
        return regtest_pair(tmp_path_factory.mktemp("mempools"), *options, require_standard=standard)

    with arena_of(opened) as arena:
        yield arena


def test_a_transaction_is_no_larger_than_a_block(nodes: Pair) -> None:
    """The one reason of transactions that no block shows: its size comes first."""
    tx = spend(nodes.ground.coins[0], [TxOut(0, b"\x6a" + bytes(1_000_000))])
    assert nodes.refusal(tx) == "bad-txns-oversize"


@pytest.mark.parametrize("mutation", _UNLOCKING, ids=str)
def test_a_mempool_refuses_scripts_for_the_same_reason(mutation: Mutation, mempools: Arena[Pair]) -> None:
    for number in range(-(-ROUNDS // 8)):
        nodes = mempools.judges()
        seed = f"{mutation}-{number}"
        print(f"seed {seed!r} at height {nodes.ground.height}")
        right, wrong = _unlocking(mutation, nodes, seed)
        nodes.refusal(right, mutation.name)
        assert nodes.refusal(wrong, mutation.name) is not None


def test_every_flag_of_policy_has_a_spend() -> None:
    assert {each.flag for each in LOCKS} == set(script_flag.flag_names(script_flag.STANDARD & ~script_flag.MANDATORY))


def test_every_script_error_has_a_spend() -> None:
    reasons = {mutation.reason for mutation in ALL} | {f"({each.text})" for each in LOCKS}
    missing = [code for code in ScriptErrorCode if not any(f"({code.text})" in reason for reason in reasons)]
    assert missing == [ScriptErrorCode.OK]


@pytest.mark.parametrize("mempools", ["anything"], indirect=True)
@pytest.mark.parametrize("policy", LOCKS, ids=str)
def test_what_a_flag_of_policy_refuses_is_right_in_a_block(policy: PolicyLock, mempools: Arena[Pair]) -> None:
    nodes, lock = mempools.judges(), policy.lock
    funding = fund(nodes.ground.take(), lock.script_pubkey, lock.other_script_pubkey or lock.script_pubkey)
    block = nodes.ground.build(funding)
    assert nodes.submit(block) is None
    nodes.ground = nodes.ground.after(block)
    beside = nodes.ground.take() if lock.needs_beside else None
    right = unlock(coin(funding), lock.right, beside=beside, **lock.right_options)
    wrong = unlock(coin(funding, 1), lock.wrong, beside=beside, **lock.wrong_options)
    spent = [funding.outputs[1]] if beside is None else [beside.output, funding.outputs[1]]
    other_flags = script_flag.STANDARD & ~script_flag.FLAGS[policy.flag]
    ScriptCheck(wrong, len(spent) - 1, SighashCache(wrong, spent), other_flags).run(SECP)
    reason = f"non-mandatory-script-verify-flag ({policy.text})"
    assert nodes.refusal(right) is None
    assert nodes.refusal(wrong) == reason
    block = nodes.ground.build(wrong)
    assert nodes.submit(block) is None
    nodes.ground = nodes.ground.after(block)
