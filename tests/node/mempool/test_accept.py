"""Who is let in, and the reason, word for word, why another is not."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import ANYONE, OP_TRUE, Spendable, coin, spend

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.hashes import hash160
from altyn.consensus.script.templates import p2pkh, p2sh_of, p2wpkh, p2wsh_of, push
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut
from altyn.node.mempool import accept
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import TransactionAdded

FIRST_IMMATURE = 32


async def refusal(setup: Any, tx: Transaction, **options: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        await setup.accept(tx, **options)
    return caught.value


async def test_a_payment_is_let_in(setup: Any) -> None:
    tx = spend(setup.coin(1), fee=2000)
    entry = await setup.accept(tx)
    assert setup.mempool.get(tx.txid) is entry
    assert (entry.fee, entry.height, entry.spends_coinbase, entry.sequence) == (2000, 130, True, 1)
    assert entry.time == setup.clock.now()
    assert [type(event) for event in setup.seen] == [TransactionAdded]
    child = await setup.accept(spend(coin(tx)))
    assert child.parents == {tx.txid}
    assert not child.spends_coinbase


async def test_a_test_changes_nothing(setup: Any) -> None:
    tx = spend(setup.coin(1), fee=2000)
    assert (await setup.accept(tx, test_only=True)).fee == 2000
    assert len(setup.mempool) == 0
    assert setup.seen == []


async def test_the_second_of_two_is_refused_though_both_were_examined_before(make: Any) -> None:
    setup = make(full_rbf=False)
    both = [spend(setup.coin(1), fee=fee) for fee in (1000, 2000)]
    results = await asyncio.gather(*(setup.accept(tx) for tx in both), return_exceptions=True)
    assert sorted(str(result) for result in results if isinstance(result, ValidationError)) == ["txn-mempool-conflict"]
    assert len(setup.mempool) == 1


async def test_a_block_between_examination_and_commit_counts(setup: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(accept, "SMALL_WEIGHT", 0)
    tx, rival = spend(setup.coin(1)), spend(setup.coin(1), fee=5000)
    waiting = asyncio.Event()

    class Slow:
        workers = 1

        async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            await waiting.wait()
            return result

    slow = Acceptance(setup.chain, setup.mempool, setup.writer, Slow(), setup.chain.secp)
    task = asyncio.create_task(slow.accept(tx))
    await asyncio.sleep(0)
    await setup.chain.add_block(setup.block("a130 a131", rival, fees=5000))
    waiting.set()
    with pytest.raises(ValidationError, match="bad-txns-inputs-missingorspent"):
        await task


def with_inputs(*inputs: TxIn, outputs: tuple[TxOut, ...] = (TxOut(10_000, ANYONE),)) -> Transaction:
    return Transaction(2, inputs, outputs)


def anyones(spent: Spendable, **parts: Any) -> TxIn:
    return TxIn(spent.outpoint, witness=(OP_TRUE,), **parts)


async def test_rules_of_every_transaction_come_first(setup: Any) -> None:
    spent = setup.coin(1)
    twice = with_inputs(anyones(spent), anyones(spent))
    assert str(await refusal(setup, twice)) == "bad-txns-inputs-duplicate"
    assert str(await refusal(setup, with_inputs(anyones(spent), outputs=()))) == "bad-txns-vout-empty"
    assert str(await refusal(setup, with_inputs(TxIn(NULL_OUTPOINT, b"ab")))) == "coinbase"


async def test_forms_that_are_not_standard_are_refused_unless_allowed(make: Any) -> None:
    setup = make()
    tx = spend(setup.coin(1), version=4)
    error = await refusal(setup, tx)
    assert (str(error), error.fault) == ("version", Fault.NOT_STANDARD)
    await make(require_standard=False).accept(tx)


async def test_small_transactions_are_refused(make: Any) -> None:
    tx = Transaction(2, [anyones(make().coin(1))], [TxOut(0, b"\x6a\x02ab")])  # 64 bytes without witness
    assert len(tx.stripped) == 64
    assert str(await refusal(make(), tx)) == "tx-size-small"
    assert str(await refusal(make(require_standard=False), tx)) == "tx-size-small"
    await make().accept(Transaction(2, tx.inputs, [TxOut(0, b"\x6a\x03abc")]))


async def test_lock_times_must_be_over_for_the_next_block(setup: Any) -> None:
    error = await refusal(setup, spend(setup.coin(1), lock_time=131))
    assert (str(error), error.fault) == ("non-final", Fault.PREMATURE)
    await setup.accept(spend(setup.coin(1), lock_time=130))
    median = setup.chain.tip.median_time_past
    assert str(await refusal(setup, spend(setup.coin(2), lock_time=median))) == "non-final"
    await setup.accept(spend(setup.coin(2), lock_time=median - 1))


async def test_the_same_again_is_refused(setup: Any) -> None:
    tx = spend(setup.coin(1))
    await setup.accept(tx)
    assert str(await refusal(setup, tx)) == "txn-already-in-mempool"
    other_witness = Transaction(2, [tx.inputs[0]._replace(witness=(b"\x52",))], tx.outputs)
    assert str(await refusal(setup, other_witness)) == "txn-same-nonwitness-data-in-mempool"


async def test_what_spends_the_unknown_may_be_an_orphan(setup: Any) -> None:
    error = await refusal(setup, with_inputs(TxIn(OutPoint.make(bytes(31) + b"\7", 0), witness=(OP_TRUE,))))
    assert (str(error), error.fault) == ("bad-txns-inputs-missingorspent", Fault.MISSING_INPUTS)


async def test_what_a_block_holds_is_known(setup: Any) -> None:
    tx = spend(setup.coin(1))
    await setup.chain.add_block(setup.block("a130 a131", tx, fees=1000))
    error = await refusal(setup, tx)
    assert (str(error), error.fault) == ("txn-already-known", Fault.CONFLICT)


async def test_relative_lock_times_must_be_over_for_the_next_block(setup: Any) -> None:
    tx = spend(setup.coin(20), sequence=111)
    await setup.accept(tx)
    error = await refusal(setup, spend(setup.coin(21), sequence=111))
    assert (str(error), error.fault) == ("non-BIP68-final", Fault.PREMATURE)
    assert str(await refusal(setup, spend(coin(tx), sequence=1))) == "non-BIP68-final"
    await setup.accept(spend(coin(tx), sequence=0))


async def test_coinbases_must_be_mature_in_the_next_block(setup: Any) -> None:
    error = await refusal(setup, spend(setup.coin(FIRST_IMMATURE)))
    assert str(error) == "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99"
    assert error.fault is Fault.PREMATURE
    await setup.accept(spend(setup.coin(FIRST_IMMATURE - 1)))


async def test_money_is_not_made(setup: Any) -> None:
    error = await refusal(setup, spend(setup.coin(1), fee=-1))
    assert error.reason == "bad-txns-in-belowout"
    assert error.detail == "value in (50.00) < value out (50.00000001)"


async def fund(setup: Any, script: bytes, *, height: int = 1, value: int = 0) -> Spendable:
    """Have a block pay to `script`, however odd it is."""
    spent = setup.coin(height)
    tx = spend(spent, [TxOut(value or spent.output.value, script)])
    tip = f"a{setup.chain.tip.height}"
    await setup.chain.add_block(setup.block(f"{tip} a{setup.chain.tip.height + 1}", tx))
    return coin(tx)


async def test_odd_inputs_are_refused(setup: Any) -> None:
    bare = await fund(setup, b"\x51")
    tx = with_inputs(TxIn(bare.outpoint))
    error = await refusal(setup, tx)
    assert (str(error), error.fault) == ("bad-txns-nonstandard-inputs", Fault.INPUTS_NOT_STANDARD)


async def test_odd_witnesses_are_refused(setup: Any) -> None:
    tx = Transaction(2, [TxIn(setup.coin(1).outpoint, witness=(bytes(81), OP_TRUE))], [TxOut(1000, ANYONE)])
    error = await refusal(setup, tx)
    assert (str(error), error.fault) == ("bad-witness-nonstandard", Fault.WITNESS_MUTATED)


async def test_many_signature_checks_are_refused(make: Any) -> None:
    setup = make(require_standard=False)
    outputs = [TxOut(1000, b"\xac" * 4001)]  # four for each, and a block may hold five times 16,000
    error = await refusal(setup, spend(setup.coin(1), outputs))
    assert (str(error), error.fault) == ("bad-txns-too-many-sigops, 16004", Fault.NOT_STANDARD)
    await setup.accept(spend(setup.coin(1), [TxOut(1000, b"\xac" * 4000)]))


async def test_the_fee_must_pay_for_the_relay(setup: Any) -> None:
    vsize = spend(setup.coin(1)).vsize
    error = await refusal(setup, spend(setup.coin(1), fee=vsize - 1))
    assert str(error) == f"min relay fee not met, {vsize - 1} < {vsize}"
    assert error.fault is Fault.MEMPOOL_POLICY
    await setup.accept(spend(setup.coin(1), fee=vsize))


async def test_a_pool_that_was_full_demands_more(make: Any) -> None:
    setup = make()
    one = await setup.accept(spend(setup.coin(1), fee=5000))
    full = make(max_bytes=one.memory)
    await full.accept(spend(setup.coin(1), fee=5000))
    assert str(await refusal(full, spend(setup.coin(2), fee=2000))) == "mempool full"
    assert len(full.mempool) == 1
    vsize = one.vsize
    least = -(-(2000 * 1000 // vsize + 1000) * vsize // 1000)
    error = await refusal(full, spend(setup.coin(2), fee=2000))
    assert str(error) == f"mempool min fee not met, 2000 < {least}"
    richer = await full.accept(spend(setup.coin(2), fee=9000))
    assert list(full.mempool) == [richer]


async def test_the_fee_for_relay_is_asked_first_but_of_version_3(make: Any) -> None:
    setup = make()
    entry = await setup.accept(spend(setup.coin(1), fee=5000))
    setup.mempool.limits = replace(setup.mempool.limits, max_bytes=1)
    setup.mempool.enforce_bounds()
    setup.mempool.limits = replace(setup.mempool.limits, max_bytes=10**9)
    needed = -(-setup.mempool.min_feerate() * entry.vsize // 1000)
    assert str(await refusal(setup, spend(setup.coin(1), fee=50))) == f"min relay fee not met, 50 < {entry.vsize}"
    error = await refusal(setup, spend(setup.coin(1), fee=50, version=3))
    assert str(error) == f"mempool min fee not met, 50 < {needed}"
    error = await refusal(make(), spend(setup.coin(1), fee=50, version=3))
    assert str(error) == f"min relay fee not met, 50 < {entry.vsize}"


async def test_a_fee_above_what_the_caller_allows_is_refused(setup: Any) -> None:
    tx = spend(setup.coin(1), fee=100_000)
    assert str(await refusal(setup, tx, max_feerate=100_000)) == "max-fee-exceeded"
    exact = spend(setup.coin(2), fee=100 * tx.vsize)
    assert str(await refusal(setup, exact, max_feerate=99_900)) == "max-fee-exceeded"
    await setup.accept(exact, max_feerate=100_000)


async def test_long_chains_end(setup: Any) -> None:
    tx = spend(setup.coin(1))
    for _ in range(25):
        await setup.accept(tx)
        last, tx = tx, spend(coin(tx))
    error = await refusal(setup, tx)
    assert error.reason == "too-long-mempool-chain"
    assert last.txid in setup.mempool


@pytest.mark.parametrize(
    ("witness_script", "stack", "reason", "fault"),
    [
        pytest.param(
            b"\x00",
            (),
            "mandatory-script-verify-flag-failed (Script evaluated without error but finished with a false/empty top "
            "stack element)",
            Fault.CONSENSUS,
            id="false",
        ),
        pytest.param(
            b"\x51\xb3",
            (),
            "non-mandatory-script-verify-flag (NOPx reserved for soft-fork upgrades)",
            Fault.NOT_STANDARD,
            id="a NOP kept for later",
        ),
        pytest.param(
            b"\x63\x51\x67\x51\x68",
            (b"\2",),
            "non-mandatory-script-verify-flag (OP_IF/NOTIF argument must be minimal)",
            Fault.NOT_STANDARD,
            id="an IF that is not minimal",
        ),
    ],
)
async def test_scripts_must_hold(
    setup: Any, witness_script: bytes, stack: tuple[bytes, ...], reason: str, fault: Fault
) -> None:
    funded = await fund(setup, p2wsh_of(witness_script))
    error = await refusal(setup, with_inputs(TxIn(funded.outpoint, witness=(*stack, witness_script))))
    assert (str(error), error.fault) == (reason, fault)


async def test_a_witness_that_was_stripped_is_told_apart(setup: Any) -> None:
    error = await refusal(setup, with_inputs(TxIn(setup.coin(1).outpoint)))
    assert str(error) == "mandatory-script-verify-flag-failed (Witness program was passed an empty witness)"
    assert error.fault is Fault.WITNESS_STRIPPED
    funded = await fund(setup, p2sh_of(b"\x00"), height=2)
    error = await refusal(setup, with_inputs(TxIn(funded.outpoint, push(b"\x00"))))
    assert error.fault is Fault.CONSENSUS


async def test_signatures_are_checked(setup: Any) -> None:
    secp = setup.chain.secp
    key = secp.public_key(bytes(31) + b"\1")
    for number, script in enumerate((p2pkh(hash160(key)), p2wpkh(hash160(key))), start=1):
        funded = await fund(setup, script, height=number)
        wrong = secp.sign_ecdsa(bytes(31) + b"\1", bytes(32)) + b"\1"
        parts = (push(wrong) + push(key), ()) if number == 1 else (b"", (wrong, key))
        error = await refusal(setup, with_inputs(TxIn(funded.outpoint, parts[0], witness=parts[1])))
        assert "Signature must be zero for failed CHECK(MULTI)SIG operation" in str(error)


async def test_version_3_keeps_small_families(setup: Any) -> None:
    def shown(tx: Transaction) -> str:
        return f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"

    parent = spend(setup.coin(1), [TxOut(10**9, ANYONE), TxOut(10**9, ANYONE)], version=3)
    await setup.accept(parent)
    other = spend(coin(parent), version=2)
    error = await refusal(setup, other)
    assert str(error) == f"TRUC-violation, non-version=3 {shown(other)} cannot spend from version=3 {shown(parent)}"
    large = spend(coin(parent), [TxOut(1000, ANYONE)] * 30, version=3)
    error = await refusal(setup, large)
    assert error.detail == f"version=3 child {shown(large)} is too big: {large.vsize} > 1000 virtual bytes"
    child = spend(coin(parent), version=3)
    await setup.accept(child)
    assert (await refusal(setup, spend(coin(child), version=3))).detail.endswith("would have too many ancestors")
    plain = spend(setup.coin(2))
    await setup.accept(plain)
    huge = spend(setup.coin(3), [TxOut(1000, ANYONE)] * 232, version=3)
    assert huge.vsize > 10_000
    assert (await refusal(setup, huge)).detail == (
        f"version=3 {shown(huge)} is too big: {huge.vsize} > 10000 virtual bytes"
    )
    mixed = spend(coin(plain), version=3)
    assert (await refusal(setup, mixed)).detail == (
        f"version=3 {shown(mixed)} cannot spend from non-version=3 {shown(plain)}"
    )
