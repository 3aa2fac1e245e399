"""The rules of a block: alone, on its parent, and against coins; each test breaks one thing and mends nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from ancestors import entry, line
from builders import ANYONE, OP_TRUE, SPACING, Spendable, block_on, chain, coin, coinbase, push_number, solve, spend
from ledger import Ledger

from altyn.consensus.ancestry import median_time_past
from altyn.consensus.block import Block, Header
from altyn.consensus.checks import blocks
from altyn.consensus.checks.blocks import (
    block_script_checks,
    check_block,
    check_block_in_context,
    is_mutated,
    needs_bip30_check,
)
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.hashes import sha256
from altyn.consensus.limits import COIN, MAX_MONEY
from altyn.consensus.merkle import make_witness_commitment, merkle_root
from altyn.consensus.networks import MAINNET, REGTEST, Network
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.transaction import NULL_OUTPOINT, Coin, OutPoint, Transaction, TxIn, TxOut

BURIED = chain("g a1..a110")
LINE = BURIED.line("a1..a110")
HEIGHT = 111
"""Of the blocks under test; the coinbases up to height 11 are ripe."""
BEFORE_BIP34 = replace(REGTEST, bip34_height=HEIGHT + 1)


@pytest.fixture(scope="module")
def grown() -> Ledger:
    """A chain of 110 blocks. Tests check blocks on it, and connect none."""
    ledger = Ledger()
    ledger.connect(*LINE)
    return ledger


def ripe(number: int) -> Spendable:
    return coin(LINE[number - 1])


def block(*transactions: Transaction, fees: int = 0, **parts: object) -> Block:
    return block_on(LINE[-1].header, HEIGHT, transactions, fees=fees, **parts)  # type: ignore[arg-type]


def with_coinbase(tx: Transaction, *others: Transaction) -> Block:
    return block(*others, coinbase_tx=tx)


def refusal(act: Callable[[], object]) -> ValidationError:
    with pytest.raises(ValidationError) as refused:
        act()
    return refused.value


def alone(broken: Block, network: Network = REGTEST) -> ValidationError:
    return refusal(lambda: check_block(broken, network))


def test_a_block_of_payments_is_valid(grown: Ledger) -> None:
    first = spend(ripe(1))
    second = spend(coin(first))
    found = grown.check(block(first, second, fees=2000))
    assert found.fees == 2000
    assert len(found.checks) == 2
    assert [len(coins) for coins in found.spent] == [1, 1]
    assert found.spent[0][0] == grown.coins[ripe(1).outpoint]
    assert found.spent[1][0] == Coin(first.outputs[0], HEIGHT, False)
    assert found.removed == {ripe(1).outpoint}
    assert set(found.created.values()) == {
        Coin(second.outputs[0], HEIGHT, False),
        Coin(TxOut(50 * COIN + 2000, ANYONE), HEIGHT, True),
    }


def test_scripts_can_be_left_out(grown: Ledger) -> None:
    found = block_script_checks(block(spend(ripe(1)), fees=1000), grown.coins, grown.tip, REGTEST, with_scripts=False)
    assert found.checks == []
    assert found.fees == 1000


def test_a_failing_script_fails_its_check(grown: Ledger) -> None:
    paid = spend(ripe(1))
    broken = Transaction(2, [TxIn(ripe(1).outpoint, b"", 0, (b"\x00",))], paid.outputs)
    with pytest.raises(ScriptError):
        grown.check(block(broken, fees=1000))


# Alone


def test_work_comes_first() -> None:
    lazy = block()
    old = lazy.header
    for nonce in range(50):
        header = Header(old.version, old.prev_hash, bytes(32), old.time, old.bits, nonce)
        if int.from_bytes(header.hash, "little") >> 255:
            break
    error = alone(Block(header, ()))
    assert str(error) == "high-hash, proof of work failed"
    assert error.fault is Fault.INVALID_HEADER
    check_block(
        Block(Header(old.version, old.prev_hash, old.merkle_root, old.time, 0, 0), lazy.transactions),
        REGTEST,
        check_pow=False,
    )


def test_a_wrong_merkle_root_means_a_damaged_copy() -> None:
    good = block(spend(ripe(1)), fees=1000)
    error = alone(Block(good.header, good.transactions[:1]))
    assert str(error) == "bad-txnmrklroot, hashMerkleRoot mismatch"
    assert error.fault is Fault.MUTATED
    check_block(Block(good.header, good.transactions[:1]), REGTEST, check_merkle=False)


def test_what_was_found_right_is_not_hashed_again_and_says_nothing_of_another_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = block(spend(ripe(1)), fees=1000)
    check_block(good, REGTEST)
    check_block_in_context(good, line(HEIGHT), REGTEST)
    damaged = Block(good.header, [*good.transactions, spend(ripe(2))])
    assert alone(damaged).reason == "bad-txnmrklroot"
    assert alone(damaged).reason == "bad-txnmrklroot"
    monkeypatch.setattr(blocks, "merkle_root_and_mutation", None)
    monkeypatch.setattr(blocks, "witness_merkle_root", None)
    check_block(good, REGTEST)
    check_block_in_context(good, line(HEIGHT), REGTEST)


def test_a_doubled_tail_means_a_damaged_copy() -> None:
    good = block(spend(ripe(1)), spend(ripe(2)), fees=2000)
    assert len(good.transactions) == 3
    error = alone(Block(good.header, [*good.transactions, good.transactions[2]]))
    assert str(error) == "bad-txns-duplicate, duplicate transaction"
    assert error.fault is Fault.MUTATED


def test_a_block_without_transactions_is_refused() -> None:
    error = alone(solve(Block(block().header, ())))
    assert str(error) == "bad-blk-length, size limits failed"


def padded(size: int) -> Block:
    """Make a block of `size` bytes without witnesses."""
    first = with_coinbase(coinbase(HEIGHT, outputs=[TxOut(0, b"\x6a" + bytes(70_000))]), many(500_000))
    rest = size - first.stripped_size
    return with_coinbase(coinbase(HEIGHT, outputs=[TxOut(0, b"\x6a" + bytes(70_000 + rest))]), many(500_000))


def many(size: int) -> Transaction:
    return spend(ripe(1), [TxOut(0, b"\x6a" + bytes(size))])


def unwitnessed(parts: Block) -> Block:
    """Take the witnesses off."""
    bare = [
        Transaction(tx.version, [txin._replace(witness=()) for txin in tx.inputs], tx.outputs, tx.lock_time)
        for tx in parts.transactions
    ]
    return solve(Block(parts.header, bare))


def test_a_block_over_a_million_bytes_without_witness_is_refused() -> None:
    whole = unwitnessed(padded(1_000_000))
    assert whole.stripped_size == 1_000_000
    check_block(whole, REGTEST)
    over = unwitnessed(padded(1_000_001))
    assert over.stripped_size == 1_000_001
    assert str(alone(over)) == "bad-blk-length, size limits failed"


def test_the_first_transaction_is_the_coinbase() -> None:
    without = solve(Block(block().header, [spend(ripe(1))]))
    assert str(alone(without)) == "bad-cb-missing, first tx is not coinbase"


def test_there_is_one_coinbase() -> None:
    two = with_coinbase(coinbase(HEIGHT), coinbase(HEIGHT, extra=b"second"))
    assert str(alone(two)) == "bad-cb-multiple, more than one coinbase"


def test_every_transaction_passes_its_own_rules() -> None:
    empty = spend(ripe(1), [])
    error = alone(block(empty))
    assert error.reason == "bad-txns-vout-empty"
    assert error.detail == f"Transaction check failed (tx hash {empty.txid[::-1].hex()}) "
    assert error.fault is Fault.CONSENSUS
    assert (
        alone(with_coinbase(Transaction(1, [TxIn(NULL_OUTPOINT, b"\x01")], [TxOut(0, b"")]))).reason == "bad-cb-length"
    )
    twice = spend([ripe(1), ripe(1)])
    assert alone(block(twice)).reason == "bad-txns-inputs-duplicate"


def test_legacy_signature_operations_are_bounded() -> None:
    def checks(count: int) -> Block:
        return with_coinbase(coinbase(HEIGHT, outputs=[TxOut(0, b"\xac" * count)]))

    check_block(checks(20_000), REGTEST)
    assert str(alone(checks(20_001))) == "bad-blk-sigops, out-of-bounds SigOpCount"


# On its parent


def in_context(broken: Block, network: Network = REGTEST) -> ValidationError:
    return refusal(lambda: check_block_in_context(broken, line(HEIGHT), network))


def test_transactions_must_be_final() -> None:
    parent = line(HEIGHT)
    assert parent.height == HEIGHT - 1
    check_block_in_context(block(spend(ripe(1), lock_time=HEIGHT - 1), fees=1000), parent, REGTEST)
    error = in_context(block(spend(ripe(1), lock_time=HEIGHT), fees=1000))
    assert str(error) == "bad-txns-nonfinal, non-final transaction"
    assert error.fault is Fault.CONSENSUS


def test_time_locks_end_at_the_median_time_and_before_bip113_at_the_block_time() -> None:
    parent = line(HEIGHT)
    median = median_time_past(parent)
    time = parent.header.time + SPACING
    check_block_in_context(block(spend(ripe(1), lock_time=median - 1), time=time), parent, REGTEST)
    at_median = block(spend(ripe(1), lock_time=median), time=time)
    assert in_context(at_median).reason == "bad-txns-nonfinal"
    earlier = replace(REGTEST, csv_height=HEIGHT + 1)
    check_block_in_context(at_median, parent, earlier)
    at_time = block(spend(ripe(1), lock_time=time), time=time)
    assert in_context(at_time, earlier).reason == "bad-txns-nonfinal"


def test_the_coinbase_begins_with_the_height() -> None:
    error = in_context(with_coinbase(coinbase(HEIGHT + 1)))
    assert str(error) == "bad-cb-height, block height mismatch in coinbase"
    check_block_in_context(with_coinbase(coinbase(HEIGHT + 1)), line(HEIGHT), replace(REGTEST, bip34_height=HEIGHT + 1))
    cut = Transaction(1, [TxIn(NULL_OUTPOINT, push_number(HEIGHT)[:-1])], [TxOut(0, b"")])
    assert in_context(with_coinbase(cut)).reason == "bad-cb-height"


@pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 255, 256, 32767, 32768, 8388608])
def test_heights_are_pushed_the_shortest_way(height: int) -> None:
    parent = line(12)
    parent.height = height - 1
    good = block_on(parent.header, height)
    check_block_in_context(good, parent, REGTEST)


def test_genesis_stands_on_nothing() -> None:
    check_block_in_context(REGTEST.genesis, None, REGTEST)


def with_reserved(witness: Sequence[bytes], commitment: bytes | None = None, *, others: int = 1) -> Block:
    """Make a block with a witness whose coinbase has this reserved value and commitment."""
    payments = [spend(ripe(number + 1)) for number in range(others)]
    good = block(*payments, fees=1000 * others)
    first = good.transactions[0]
    outputs = [first.outputs[0], first.outputs[1] if commitment is None else TxOut(0, commitment)]
    made = Transaction(first.version, [first.inputs[0]._replace(witness=tuple(witness))], outputs, 0)
    return solve(Block(good.header, [made, *payments]))


@pytest.mark.parametrize("reserved", [(), (bytes(31),), (bytes(33),), (bytes(32), bytes(32)), (b"",)])
def test_the_reserved_value_is_one_element_of_32_bytes(reserved: tuple[bytes, ...]) -> None:
    error = in_context(with_reserved(reserved))
    assert str(error) == "bad-witness-nonce-size, CheckWitnessMalleation : invalid witness reserved value size"
    assert error.fault is Fault.MUTATED


def test_the_commitment_must_match_the_witnesses() -> None:
    check_block_in_context(with_reserved((bytes(32),)), line(HEIGHT), REGTEST)
    error = in_context(with_reserved((bytes(32),), make_witness_commitment(bytes(32))))
    assert str(error) == "bad-witness-merkle-match, CheckWitnessMalleation : witness merkle commitment mismatch"
    assert error.fault is Fault.MUTATED
    assert in_context(with_reserved((b"\1" * 32,))).reason == "bad-witness-merkle-match"


def test_the_commitment_covers_the_reserved_value() -> None:
    payment = spend(ripe(1))
    root = merkle_root([bytes(32), payment.wtxid])
    good = with_reserved((b"\1" * 32,), make_witness_commitment(root, b"\1" * 32))
    check_block_in_context(good, line(HEIGHT), REGTEST)


def test_a_witness_without_commitment_is_unexpected() -> None:
    error = in_context(with_reserved((), b"\x6a"))
    assert str(error) == "unexpected-witness, CheckWitnessMalleation : unexpected witness data found"
    assert error.fault is Fault.MUTATED


def test_before_segwit_any_witness_is_unexpected() -> None:
    good = block(spend(ripe(1)), fees=1000)
    assert in_context(good, replace(REGTEST, segwit_height=HEIGHT + 1)).reason == "unexpected-witness"


def test_a_block_weighs_four_million_at_most() -> None:
    def heavy(extra: int) -> Block:
        paid = spend(ripe(1))
        stuffed = Transaction(2, [paid.inputs[0]._replace(witness=(bytes(3_990_000 + extra), OP_TRUE))], paid.outputs)
        return block(stuffed, fees=1000)

    room = 4_000_000 - heavy(0).weight
    check_block_in_context(heavy(room), line(HEIGHT), REGTEST)
    error = in_context(heavy(room + 1))
    assert str(error) == "bad-blk-weight, ContextualCheckBlock : weight limit failed"
    assert error.fault is Fault.CONSENSUS


def test_damaged_copies_are_told_from_invalid_blocks() -> None:
    good = block(spend(ripe(1)), fees=1000)
    assert not is_mutated(good, True)
    assert is_mutated(good, False), "before segwit there is no witness"
    assert is_mutated(Block(good.header, good.transactions[:1]), True)
    assert is_mutated(with_reserved((b"\1" * 32,)), True)
    assert not is_mutated(solve(Block(good.header, [spend(ripe(1))])), True)


def test_a_transaction_of_64_bytes_may_be_a_node_of_the_tree() -> None:
    tx = Transaction(1, [TxIn(ripe(1).outpoint)], [TxOut(0, bytes(4))])
    assert len(tx.stripped) == 64
    assert is_mutated(solve(Block(block().header, [tx])), True)
    assert not is_mutated(with_coinbase(coinbase(HEIGHT), tx), True)


# Against the coins


def connecting(ledger: Ledger, broken: Block, network: Network = REGTEST) -> ValidationError:
    return refusal(lambda: block_script_checks(broken, ledger.coins, ledger.tip, network))


def test_missing_coins_are_refused_in_a_block(grown: Ledger) -> None:
    nowhere = Spendable(OutPoint.make(b"\7" * 32, 0), TxOut(COIN, ANYONE))
    error = connecting(grown, block(spend(nowhere)))
    assert str(error) == "bad-txns-inputs-missingorspent, CheckTxInputs: inputs missing/spent"
    assert error.fault is Fault.CONSENSUS


def test_a_coin_is_spent_once_in_a_block(grown: Ledger) -> None:
    first, second = spend(ripe(1)), spend(ripe(1), fee=2000)
    assert connecting(grown, block(first, second)).reason == "bad-txns-inputs-missingorspent"
    made = spend(coin(first))
    again = spend(coin(first), fee=3000)
    assert connecting(grown, block(first, made, again)).reason == "bad-txns-inputs-missingorspent"


def test_a_coin_cannot_be_spent_before_it_is_made(grown: Ledger) -> None:
    first = spend(ripe(1))
    assert connecting(grown, block(spend(coin(first)), first)).reason == "bad-txns-inputs-missingorspent"


def test_what_nobody_can_spend_is_no_coin(grown: Ledger) -> None:
    carrier = spend(ripe(1), [TxOut(COIN, b"\x6a\x01\x01")])
    found = grown.check(block(carrier))
    assert carrier.outpoint(0) not in found.created
    thief = Transaction(2, [TxIn(carrier.outpoint(0))], [TxOut(0, b"")])
    assert connecting(grown, block(carrier, thief)).reason == "bad-txns-inputs-missingorspent"


def test_young_coinbases_are_refused_in_a_block(grown: Ledger) -> None:
    grown.check(block(spend(ripe(11)), fees=1000))
    error = connecting(grown, block(spend(ripe(12)), fees=1000))
    assert str(error) == "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99"
    assert error.fault is Fault.CONSENSUS
    own = block()
    assert connecting(grown, with_coinbase(own.transactions[0], spend(coin(own)))).reason == error.reason


def test_outputs_above_inputs_are_refused_in_a_block(grown: Ledger) -> None:
    error = connecting(grown, block(spend(ripe(1), fee=-1)))
    assert str(error) == "bad-txns-in-belowout, value in (50.00) < value out (50.00000001)"


def test_fees_together_are_bounded(grown: Ledger) -> None:
    rich = [Spendable(OutPoint.make(bytes([n]) * 32, 0), TxOut(MAX_MONEY, ANYONE)) for n in (1, 2)]
    grown_coins = grown.coins | {one.outpoint: Coin(one.output, 1, False) for one in rich}
    greedy = block(spend(rich[0], fee=MAX_MONEY), spend(rich[1], fee=1))
    error = refusal(lambda: block_script_checks(greedy, grown_coins, grown.tip, REGTEST))
    assert str(error) == "bad-txns-accumulated-fee-outofrange, accumulated fee in the block out of range"


def test_relative_locks_bind_in_a_block(grown: Ledger) -> None:
    age = HEIGHT - 1
    grown.check(block(spend(ripe(1), sequence=age), fees=1000))
    early = block(spend(ripe(1), sequence=age + 1), fees=1000)
    error = connecting(grown, early)
    assert str(error) == "bad-txns-nonfinal, contains a non-BIP68-final transaction"
    grown.check(block(spend(ripe(1), sequence=age + 1, version=1), fees=1000))
    block_script_checks(early, grown.coins, grown.tip, replace(REGTEST, csv_height=HEIGHT + 1))


def test_a_coin_made_in_the_block_is_as_old_as_the_block(grown: Ledger) -> None:
    first = spend(ripe(1))
    grown.check(block(first, spend(coin(first), sequence=0), fees=2000))
    assert connecting(grown, block(first, spend(coin(first), sequence=1), fees=2000)).reason == "bad-txns-nonfinal"


def test_the_cost_of_signature_operations_is_bounded(grown: Ledger) -> None:
    """Redeem scripts and witness scripts count only here: legacy counting does not see them."""
    script = b"\x00\x63" + b"\xac" * 5000 + b"\x68\x51"
    payments = [spend(ripe(number), b"\x00\x20" + sha256(script)) for number in range(1, 11)]
    many_checks = [
        Transaction(2, [TxIn(pay.outpoint(0), b"", 0xFFFFFFFF, (script,))], [TxOut(0, b"\x6a")]) for pay in payments
    ]
    sixteen = [tx for number in range(8) for tx in (payments[number], many_checks[number])]
    found = block_script_checks(block(*sixteen), grown.coins, grown.tip, REGTEST)
    assert len(found.checks) == 16
    extra = spend(ripe(9), [TxOut(COIN, b"\xac" * 10_000)])
    block_script_checks(block(*sixteen, extra), grown.coins, grown.tip, REGTEST)
    one_more = spend(ripe(10), [TxOut(COIN, b"\xac")])
    error = connecting(grown, block(*sixteen, extra, one_more))
    assert str(error) == "bad-blk-sigops, too many sigops"


def test_the_coinbase_takes_subsidy_and_fees_and_no_more(grown: Ledger) -> None:
    grown.check(block(spend(ripe(1)), fees=1000))
    grown.check(block(spend(ripe(1)), fees=-COIN))
    error = connecting(grown, block(spend(ripe(1)), fees=1001))
    assert str(error) == "bad-cb-amount, coinbase pays too much (actual=5000001001 vs limit=5000001000)"


def test_the_subsidy_is_the_networks(grown: Ledger) -> None:
    halved = replace(REGTEST, halving_interval=100)
    assert connecting(grown, block(), halved).reason == "bad-cb-amount"


def test_a_txid_with_unspent_outputs_may_not_return(grown: Ledger) -> None:
    copy = Block(block().header, [LINE[20].transactions[0]])
    error = connecting(grown, copy, BEFORE_BIP34)
    assert str(error) == "bad-txns-BIP30, tried to overwrite transaction"
    spent = dict(grown.coins)
    del spent[LINE[20].transactions[0].outpoint(0)]
    block_script_checks(copy, spent, grown.tip, BEFORE_BIP34)


def test_where_every_coinbase_begins_with_its_height_no_txid_can_return(grown: Ledger) -> None:
    assert REGTEST.bip34_height == 1
    assert not needs_bip30_check(bytes(32), grown.tip, REGTEST)
    assert needs_bip30_check(bytes(32), grown.tip, BEFORE_BIP34)
    late = coinbase(HEIGHT + 1)
    assert in_context(solve(Block(block().header, [late]))).reason == "bad-cb-height"


def test_two_old_blocks_of_mainnet_may_repeat_a_txid() -> None:
    for height, block_hash in MAINNET.bip30_exceptions.items():
        assert not needs_bip30_check(block_hash, entry(height=height - 1), MAINNET)
        assert needs_bip30_check(bytes(32), entry(height=height - 1), MAINNET)
        assert needs_bip30_check(block_hash, entry(height=height), MAINNET)


def test_bip34_makes_the_check_needless_on_its_chain_for_a_time() -> None:
    assert MAINNET.bip34_hash is not None
    real = entry(height=227_931, block_hash=MAINNET.bip34_hash)
    assert not needs_bip30_check(bytes(32), real, MAINNET)
    assert not needs_bip30_check(bytes(32), entry(real), MAINNET)
    other = entry(height=227_931)
    assert needs_bip30_check(bytes(32), entry(other), MAINNET)
    assert needs_bip30_check(bytes(32), entry(height=227_930), MAINNET)
    assert needs_bip30_check(bytes(32), entry(height=1_983_701, block_hash=MAINNET.bip34_hash), MAINNET)


def test_the_rules_are_asked_in_cores_order(grown: Ledger) -> None:
    """One block breaks several rules; mended from the front, each reason appears in turn."""
    nowhere = Spendable(OutPoint.make(b"\7" * 32, 0), TxOut(COIN, ANYONE))
    worst = Block(block().header, [LINE[20].transactions[0], spend(nowhere), spend(ripe(1), fee=-1)])
    assert connecting(grown, worst, BEFORE_BIP34).reason == "bad-txns-BIP30"
    greedy = coinbase(HEIGHT, value=100 * COIN)
    assert (
        connecting(grown, with_coinbase(greedy, spend(ripe(1), fee=-1), spend(nowhere))).reason
        == "bad-txns-in-belowout"
    )
    assert connecting(grown, with_coinbase(greedy, spend(nowhere))).reason == "bad-txns-inputs-missingorspent"
    assert connecting(grown, with_coinbase(greedy)).reason == "bad-cb-amount"
