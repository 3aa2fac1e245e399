"""The rules of a transaction: alone, against its coins, against time."""

from dataclasses import dataclass

import pytest
from ancestors import Ancestor, entry, line

from altyn.consensus.ancestry import median_time_past
from altyn.consensus.checks.transactions import (
    check_inputs,
    check_transaction,
    is_final,
    legacy_sigop_count,
    sequence_locks,
    sequence_locks_met,
    sigop_cost,
)
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.limits import COIN, MAX_MONEY
from altyn.consensus.script.flags import NONE, P2SH, WITNESS
from altyn.consensus.transaction import NULL_OUTPOINT, Coin, OutPoint, Transaction, TxIn, TxOut

ONE, TWO = (OutPoint.make(bytes([n]) * 32, n) for n in (1, 2))
TRUE = b"\x51"


@dataclass
class Parts:
    """A transaction about to be made; a test breaks one part."""

    inputs: tuple[TxIn, ...] = (TxIn(ONE),)
    outputs: tuple[TxOut, ...] = (TxOut(COIN, TRUE),)
    lock_time: int = 0
    version: int = 2

    def make(self) -> Transaction:
        return Transaction(self.version, self.inputs, self.outputs, self.lock_time)


def coinbase(script_sig: bytes) -> Transaction:
    return Parts(inputs=(TxIn(NULL_OUTPOINT, script_sig),)).make()


def test_an_ordinary_transaction_passes() -> None:
    check_transaction(Parts().make())
    check_transaction(Parts(outputs=(TxOut(0, b""), TxOut(MAX_MONEY, TRUE))).make())
    check_transaction(Parts(inputs=(TxIn(ONE), TxIn(TWO))).make())
    check_transaction(coinbase(bytes(2)))
    check_transaction(coinbase(bytes(100)))


def of_size(size: int) -> Transaction:
    """Make a transaction of `size` bytes."""
    empty = len(Parts(outputs=(TxOut(0, bytes(100_000)),)).make().raw) - 100_000
    return Parts(outputs=(TxOut(0, bytes(size - empty)),)).make()


@pytest.mark.parametrize(
    ("tx", "reason"),
    [
        pytest.param(Parts(inputs=()).make(), "bad-txns-vin-empty", id="no inputs"),
        pytest.param(Parts(outputs=()).make(), "bad-txns-vout-empty", id="no outputs"),
        pytest.param(of_size(1_000_001), "bad-txns-oversize", id="over a million bytes"),
        pytest.param(Parts(outputs=(TxOut(-1, TRUE),)).make(), "bad-txns-vout-negative", id="negative"),
        pytest.param(Parts(outputs=(TxOut(MAX_MONEY + 1, TRUE),)).make(), "bad-txns-vout-toolarge", id="too large"),
        pytest.param(
            Parts(outputs=(TxOut(MAX_MONEY, TRUE), TxOut(1, TRUE))).make(),
            "bad-txns-txouttotal-toolarge",
            id="too large together",
        ),
        pytest.param(
            Parts(inputs=(TxIn(ONE), TxIn(ONE))).make(), "bad-txns-inputs-duplicate", id="the same coin twice"
        ),
        pytest.param(coinbase(bytes(1)), "bad-cb-length", id="coinbase of one byte"),
        pytest.param(coinbase(bytes(101)), "bad-cb-length", id="coinbase of 101 bytes"),
        pytest.param(
            Parts(inputs=(TxIn(ONE), TxIn(NULL_OUTPOINT))).make(), "bad-txns-prevout-null", id="a null among others"
        ),
    ],
)
def test_a_transaction_is_refused_alone(tx: Transaction, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_transaction(tx)
    assert str(refused.value) == reason
    assert refused.value.fault is Fault.CONSENSUS


def test_a_transaction_may_have_a_million_bytes_beside_its_witness() -> None:
    check_transaction(of_size(1_000_000))
    big = of_size(1_000_000)
    witness = TxIn(ONE, witness=(bytes(1000),))
    check_transaction(Parts(inputs=(witness,), outputs=big.outputs).make())


def coins(*values: int, height: int = 1, is_coinbase: bool = False) -> dict[OutPoint, Coin]:
    return {
        outpoint: Coin(TxOut(value, TRUE), height, is_coinbase)
        for outpoint, value in zip((ONE, TWO), values, strict=False)
    }


def test_the_fee_is_what_the_outputs_leave() -> None:
    tx = Parts(inputs=(TxIn(ONE), TxIn(TWO))).make()
    assert check_inputs(tx, coins(COIN, 500), 10) == 500
    assert check_inputs(tx, coins(COIN, 0), 10) == 0


def refusal(tx: Transaction, have: dict[OutPoint, Coin], height: int = 10, maturity: int = 100) -> ValidationError:
    with pytest.raises(ValidationError) as refused:
        check_inputs(tx, have, height, maturity)
    return refused.value


def test_a_missing_coin_is_refused() -> None:
    error = refusal(Parts(inputs=(TxIn(ONE), TxIn(TWO))).make(), coins(COIN))
    assert str(error) == "bad-txns-inputs-missingorspent, CheckTxInputs: inputs missing/spent"
    assert error.fault is Fault.MISSING_INPUTS


def test_a_young_coinbase_is_refused() -> None:
    have = coins(COIN, height=1, is_coinbase=True)
    error = refusal(Parts().make(), have, height=100)
    assert str(error) == "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99"
    assert error.fault is Fault.PREMATURE
    assert check_inputs(Parts().make(), have, 101) == 0
    assert check_inputs(Parts().make(), have, 2, maturity=1) == 0


@pytest.mark.parametrize("values", [(MAX_MONEY + 1, 0), (-1, COIN), (MAX_MONEY, 1)])
def test_coins_out_of_range_are_refused(values: tuple[int, int]) -> None:
    tx = Parts(inputs=(TxIn(ONE), TxIn(TWO))).make()
    assert str(refusal(tx, coins(*values))) == "bad-txns-inputvalues-outofrange"


def test_outputs_above_inputs_are_refused() -> None:
    error = refusal(Parts(outputs=(TxOut(150_000_001, TRUE),)).make(), coins(150_000_000))
    assert str(error) == "bad-txns-in-belowout, value in (1.50) < value out (1.50000001)"
    assert error.fault is Fault.CONSENSUS


def test_a_fee_out_of_range_is_refused() -> None:
    tx = Parts(outputs=(TxOut(-1, TRUE),)).make()
    assert str(refusal(tx, coins(MAX_MONEY))) == "bad-txns-fee-outofrange"


def test_inputs_are_checked_in_cores_order() -> None:
    tx = Parts(inputs=(TxIn(ONE), TxIn(TWO)), outputs=(TxOut(MAX_MONEY, TRUE),)).make()
    young = coins(MAX_MONEY + 1, is_coinbase=True)
    assert refusal(tx, young).reason == "bad-txns-inputs-missingorspent"
    assert refusal(tx, young | {TWO: Coin(TxOut(0, TRUE), 1, False)}).reason == "bad-txns-premature-spend-of-coinbase"


@pytest.mark.parametrize(
    ("lock_time", "height", "time", "final"),
    [
        (0, 0, 0, True),
        (9, 10, 0, True),
        (10, 10, 0, False),
        (499_999_999, 10, 2_000_000_000, False),
        (500_000_000, 10, 500_000_000, False),
        (500_000_000, 10, 500_000_001, True),
    ],
)
def test_a_lock_time_is_a_height_or_a_time(lock_time: int, height: int, time: int, final: bool) -> None:
    open_tx = Parts(inputs=(TxIn(ONE, sequence=0xFFFFFFFE),), lock_time=lock_time).make()
    assert is_final(open_tx, height, time) is final


def test_final_sequences_make_the_lock_time_void() -> None:
    assert is_final(Parts(lock_time=10).make(), 1, 1)
    mixed = Parts(inputs=(TxIn(ONE), TxIn(TWO, sequence=0)), lock_time=10).make()
    assert not is_final(mixed, 1, 1)


def locked(*sequences: int, version: int = 2) -> Transaction:
    inputs = tuple(TxIn(outpoint, sequence=sequence) for outpoint, sequence in zip((ONE, TWO), sequences, strict=False))
    return Parts(inputs=inputs, version=version).make()


def test_a_relative_height_counts_from_the_coin() -> None:
    tip = line(20)
    assert sequence_locks(locked(5), [10], tip) == (14, -1)
    assert sequence_locks(locked(5, 3), [10, 13], tip) == (15, -1)
    assert sequence_locks(locked(0), [10], tip) == (9, -1)


def test_a_relative_time_counts_from_the_median_before_the_coin() -> None:
    tip = line(20)
    made = median_time_past(tip.ancestor(9))
    assert sequence_locks(locked(1 << 22 | 2), [10], tip) == (-1, made + 1024 - 1)
    at_genesis = median_time_past(tip.ancestor(0))
    assert sequence_locks(locked(1 << 22 | 2), [0], tip) == (-1, at_genesis + 1023)


def test_a_sequence_may_waive_the_lock() -> None:
    tip = line(20)
    assert sequence_locks(locked(1 << 31 | 5), [10], tip) == (-1, -1)
    assert sequence_locks(locked(5, version=1), [10], tip) == (-1, -1)
    assert sequence_locks(locked(5, version=0xFFFFFFFF), [10], tip) == (14, -1)
    assert sequence_locks(locked(0xFFBF0000 & 0x7FFFFFFF | 5), [10], tip) == (14, -1), "other bits mean nothing"


def test_locks_are_met_behind_their_height_and_median_time() -> None:
    tip = line(20)
    assert sequence_locks_met((-1, -1), tip)
    assert sequence_locks_met((tip.height, -1), tip)
    assert not sequence_locks_met((tip.height + 1, -1), tip)
    median = median_time_past(tip)
    assert sequence_locks_met((-1, median - 1), tip)
    assert not sequence_locks_met((-1, median), tip)


def test_a_coin_of_the_mempool_has_the_height_of_the_next_block() -> None:
    tip: Ancestor = entry(line(3))
    assert not sequence_locks_met(sequence_locks(locked(1), [tip.height + 1], tip), tip)
    assert sequence_locks_met(sequence_locks(locked(0), [tip.height + 1], tip), tip)


KEY_HASH = bytes(20)
P2PKH = b"\x76\xa9\x14" + KEY_HASH + b"\x88\xac"
TWO_OF_THREE = b"\x52" + 3 * (b"\x21" + bytes(33)) + b"\x53\xae"


@pytest.mark.parametrize(
    ("script", "count"),
    [
        (P2PKH, 1),
        (P2PKH[:-1] + b"\xad", 1),
        (P2PKH + b"\xac", 2),
        (TWO_OF_THREE, 20),
        (b"\x00\x14" + b"\xac" * 20, 0),
        (b"\x00\x20" + b"\xac" * 32, 0),
        (b"\x51\x20" + b"\xac" * 32, 0),
        (b"\x51\x21" + b"\xac" * 32, 0),
        (b"\x52\xac" + b"\xac" * 32, 33),
        (b"\xa9\x14" + b"\xac" * 20 + b"\x87", 0),
        (b"", 0),
    ],
)
def test_signature_operations_are_counted_in_outputs(script: bytes, count: int) -> None:
    assert legacy_sigop_count(Parts(outputs=(TxOut(0, script),)).make()) == count
    assert legacy_sigop_count(Parts(inputs=(TxIn(ONE, script),), outputs=(TxOut(0, b""),)).make()) == count


def spending(
    script_pubkey: bytes, script_sig: bytes = b"", *witness: bytes
) -> tuple[Transaction, dict[OutPoint, Coin]]:
    tx = Parts(inputs=(TxIn(ONE, script_sig, witness=witness),), outputs=(TxOut(0, b""),)).make()
    return tx, {ONE: Coin(TxOut(COIN, script_pubkey), 1, False)}


def p2sh(redeem: bytes) -> bytes:
    return b"\xa9\x14" + hash160(redeem) + b"\x87"


def push(data: bytes) -> bytes:
    return (bytes([len(data)]) if len(data) < 76 else bytes([76, len(data)])) + data


P2WPKH = b"\x00\x14" + KEY_HASH
P2WSH = b"\x00\x20" + sha256(TWO_OF_THREE)


@pytest.mark.parametrize(
    ("script_pubkey", "script_sig", "witness", "cost"),
    [
        pytest.param(P2PKH, b"", (), 0, id="spending P2PKH costs nothing: its output did"),
        pytest.param(P2PKH, b"\xac", (), 4, id="in the script that spends"),
        pytest.param(p2sh(TWO_OF_THREE), push(TWO_OF_THREE), (), 12, id="P2SH counts keys"),
        pytest.param(P2WPKH, b"", (b"", b""), 1, id="P2WPKH"),
        pytest.param(P2WSH, b"", (b"", TWO_OF_THREE), 3, id="P2WSH"),
        pytest.param(p2sh(P2WPKH), push(P2WPKH), (b"", b""), 1, id="P2SH-P2WPKH"),
        pytest.param(p2sh(P2WPKH), push(P2WPKH), (), 1, id="P2SH-P2WPKH without its witness"),
        pytest.param(p2sh(P2WSH), push(P2WSH), (b"", TWO_OF_THREE), 3, id="P2SH-P2WSH"),
        pytest.param(b"\x51\x20" + bytes(32), b"", (b"\xac" * 64,), 0, id="P2TR"),
    ],
)
def test_signature_operations_cost(
    script_pubkey: bytes, script_sig: bytes, witness: tuple[bytes, ...], cost: int
) -> None:
    tx, have = spending(script_pubkey, script_sig, *witness)
    assert sigop_cost(tx, have, P2SH | WITNESS) == cost


def test_cost_before_the_soft_forks() -> None:
    tx, have = spending(p2sh(TWO_OF_THREE), push(TWO_OF_THREE))
    assert sigop_cost(tx, have, NONE) == 0
    tx, have = spending(P2WPKH, b"", b"", b"")
    assert sigop_cost(tx, have, P2SH) == 0
    tx, have = spending(P2WSH, b"", b"", TWO_OF_THREE)
    assert sigop_cost(tx, have, P2SH) == 0


def test_a_coinbase_costs_what_its_scripts_hold() -> None:
    tx = Parts(inputs=(TxIn(NULL_OUTPOINT, b"\xac\xac"),), outputs=(TxOut(0, P2PKH),)).make()
    assert sigop_cost(tx, {}, P2SH | WITNESS) == 12
