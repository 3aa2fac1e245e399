"""Who may take whose place, and Core's words for why not."""

from typing import Any

import pytest
from builders import ANYONE, coin, spend

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.mempool.entry import RemovalReason, TransactionAdded, TransactionRemoved

FINAL = 0xFFFFFFFF


async def refusal(setup: Any, tx: Transaction) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        await setup.accept(tx)
    return caught.value


def shown(tx: Transaction) -> str:
    return tx.txid[::-1].hex()


async def test_the_better_paid_takes_the_place_of_the_other_and_its_descendants(setup: Any) -> None:
    parent = spend(setup.coin(1), fee=1000, sequence=FINAL)
    child = spend(coin(parent), fee=1000)
    for tx in (parent, child):
        await setup.accept(tx)
    better = spend(setup.coin(1), fee=2000 + parent.vsize)
    setup.seen.clear()
    entry = await setup.accept(better)
    assert list(setup.mempool) == [entry]
    gone = [event for event in setup.seen if isinstance(event, TransactionRemoved)]
    assert [(event.entry.txid, event.reason) for event in gone] == [
        (tx.txid, RemovalReason.REPLACED) for tx in (parent, child)
    ]
    assert isinstance(setup.seen[-1], TransactionAdded)
    assert setup.mempool.spender(parent.inputs[0].prevout) is entry


async def test_a_test_replaces_nothing(setup: Any) -> None:
    first = spend(setup.coin(1))
    await setup.accept(first)
    await setup.accept(spend(setup.coin(1), fee=9000), test_only=True)
    assert [entry.txid for entry in setup.mempool] == [first.txid]


async def test_without_full_replacement_only_what_signals_it_is_replaced(make: Any) -> None:
    setup = make(full_rbf=False)
    await setup.accept(spend(setup.coin(1), sequence=FINAL - 1))
    error = await refusal(setup, spend(setup.coin(1), fee=9000))
    assert (str(error), error.fault) == ("txn-mempool-conflict", Fault.MEMPOOL_POLICY)
    await setup.accept(spend(setup.coin(2), sequence=FINAL - 2))
    await setup.accept(spend(setup.coin(2), fee=9000))
    await setup.accept(spend(setup.coin(3), version=3))
    await setup.accept(spend(setup.coin(3), fee=9000))


async def test_the_feerate_must_be_higher_than_that_of_each_it_replaces(setup: Any) -> None:
    first = spend(setup.coin(1), fee=9600)
    await setup.accept(first)
    large = spend([setup.coin(1), setup.coin(2)], fee=9600)
    error = await refusal(setup, large)
    assert str(error) == (
        f"insufficient fee, rejecting replacement {shown(large)}; "
        "new feerate 0.00070072 BTC/kvB <= old feerate 0.00100000 BTC/kvB"
    )
    assert error.fault is Fault.RECONSIDERABLE


async def test_it_must_pay_what_they_paid_and_its_own_relay(setup: Any) -> None:
    first = spend(setup.coin(1), fee=1000)
    await setup.accept(first)
    await setup.accept(spend(coin(first), fee=5000))
    less = spend(setup.coin(1), fee=5999)
    error = await refusal(setup, less)
    assert str(error) == (
        f"insufficient fee, rejecting replacement {shown(less)}, less fees than conflicting txs; 0.00005999 < 0.00006"
    )
    short = spend(setup.coin(1), fee=6000 + first.vsize - 1)
    error = await refusal(setup, short)
    assert str(error) == (
        f"insufficient fee, rejecting replacement {shown(short)}, not enough additional fees to relay; "
        "0.00000095 < 0.00000096"
    )
    await setup.accept(spend(setup.coin(1), fee=6000 + first.vsize))


async def test_it_may_not_depend_on_what_was_not_needed_before(setup: Any) -> None:
    other = spend(setup.coin(2))
    for tx in (spend(setup.coin(1)), other):
        await setup.accept(tx)
    tx = spend([setup.coin(1), coin(other)], fee=9000)
    assert str(await refusal(setup, tx)) == (
        f"replacement-adds-unconfirmed, replacement {shown(tx)} adds unconfirmed input, idx 1"
    )
    parent = spend(setup.coin(3), [TxOut(10**9, ANYONE)] * 2)
    await setup.accept(parent)
    await setup.accept(spend([coin(parent), setup.coin(4)]))
    await setup.accept(spend([coin(parent, 1), setup.coin(4)], fee=9000))


async def test_it_may_not_depend_on_what_it_replaces(setup: Any) -> None:
    first = spend(setup.coin(1), [TxOut(10**9, ANYONE)] * 2)
    await setup.accept(first)
    tx = spend([coin(first), setup.coin(1)], fee=10**6)
    assert str(await refusal(setup, tx)) == (
        f"bad-txns-spends-conflicting-tx, {shown(tx)} spends conflicting transaction {shown(first)}"
    )


async def test_it_replaces_a_hundred_at_most(setup: Any) -> None:
    parents = []
    for height in range(1, 6):
        parents.append(spend(setup.coin(height), [TxOut(249_999_000, ANYONE)] * 20))
        await setup.accept(parents[-1])
        for index in range(19 if height > 1 else 20):
            await setup.accept(spend(coin(parents[-1], index)))
    coins = [setup.coin(height) for height in range(1, 6)]
    tx = spend(coins, fee=2 * 10**8)
    assert str(await refusal(setup, tx)) == (
        f"too many potential replacements, rejecting replacement {shown(tx)}; too many potential replacements "
        "(101 > 100)"
    )
    setup.mempool.remove_with_descendants([parents[0].txid], RemovalReason.EXPIRY)
    await setup.accept(spend(coins, [TxOut(10**9, ANYONE)]))
    assert len(setup.mempool) == 1


async def test_a_full_family_may_still_replace_one_of_its_own(setup: Any) -> None:
    parent = spend(setup.coin(1), [TxOut(10**8, ANYONE)] * 25)
    await setup.accept(parent)
    for index in range(24):
        await setup.accept(spend(coin(parent, index)))
    await setup.accept(spend(coin(parent, 3), fee=9000))
    assert len(setup.mempool) == 25


async def test_the_one_child_of_version_3_gives_way_to_a_better_paid_sibling(setup: Any) -> None:
    parent = spend(setup.coin(1), [TxOut(10**9, ANYONE)] * 2, version=3)
    first = spend(coin(parent), version=3)
    for tx in (parent, first):
        await setup.accept(tx)
    poor = spend(coin(parent, 1), fee=900, version=3)
    assert str(await refusal(setup, poor)).startswith(
        f"insufficient fee (including sibling eviction), rejecting replacement {shown(poor)}; new feerate"
    )
    short = spend(coin(parent, 1), fee=1001, version=3)
    assert (await refusal(setup, short)).reason == "insufficient fee (including sibling eviction)"
    rich = spend(coin(parent, 1), fee=9000, version=3)
    await setup.accept(rich)
    assert {entry.txid for entry in setup.mempool} == {parent.txid, rich.txid}


async def test_a_sibling_that_a_reorganisation_left_with_a_child_stays(setup: Any) -> None:
    parent = spend(setup.coin(1), [TxOut(10**9, ANYONE)] * 2, version=3)
    await setup.chain.add_block(setup.block("a130 a131", parent))
    first = spend(coin(parent), version=3)
    for tx in (first, spend(coin(first), version=3)):
        await setup.accept(tx)
    setup.chain.disconnect()
    await setup.chain.settle()
    assert len(setup.mempool) == 3
    assert (await refusal(setup, spend(coin(parent, 1), fee=9000, version=3))).detail.endswith(
        f"(wtxid={parent.wtxid[::-1].hex()}) would exceed descendant count limit"
    )


async def test_what_left_already_is_not_replaced(setup: Any) -> None:
    first = spend(setup.coin(1), fee=1000)
    await setup.accept(first)
    candidate = setup.acceptance.examine(spend(setup.coin(1), fee=9000))
    assert candidate.replaces == {first.txid}
    setup.mempool.remove([first.txid], RemovalReason.EXPIRY)
    assert setup.acceptance.examine(candidate.entry.tx).replaces == set()
