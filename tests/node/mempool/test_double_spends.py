"""Who spends a coin twice is found out, whatever becomes of the second."""

from typing import Any

import pytest
from builders import ANYONE, coin, spend

from altyn.consensus.errors import ValidationError
from altyn.consensus.limits import COIN
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.mempool import double_spends
from altyn.node.mempool.double_spends import DoubleSpendSeen


async def refused(setup: Any, tx: Transaction) -> None:
    with pytest.raises(ValidationError):
        await setup.accept(tx)


def reports(setup: Any) -> list[Any]:
    return [event.double_spend for event in setup.seen if isinstance(event, DoubleSpendSeen)]


@pytest.mark.parametrize("full_rbf", [True, False])
async def test_a_rival_that_is_refused_is_reported_once(make: Any, full_rbf: bool) -> None:
    setup = make(full_rbf=full_rbf)
    first, rival = spend(setup.coin(1), fee=5000), spend(setup.coin(1), fee=4000)
    await setup.accept(first)
    assert reports(setup) == []
    setup.clock.time += 7
    for _ in range(2):
        await refused(setup, rival)
    (seen,) = reports(setup)
    assert list(setup.acceptance.double_spends) == [seen]
    assert (seen.first, seen.rival, seen.outpoint) == (first.txid, rival.txid, setup.coin(1).outpoint)
    assert (seen.time, seen.replaced) == (setup.clock.time, False)
    assert setup.acceptance.double_spends.rivals(first.txid) == [rival.txid]


async def test_one_that_takes_the_others_place_is_reported_too(setup: Any) -> None:
    first, rival = spend(setup.coin(1)), spend(setup.coin(1), fee=9000)
    await setup.accept(first)
    await setup.accept(rival)
    (seen,) = reports(setup)
    assert (seen.first, seen.rival, seen.replaced) == (first.txid, rival.txid, True)


async def test_what_nobody_signed_is_no_alarm(setup: Any) -> None:
    first = spend(setup.coin(1), fee=5000)
    await setup.accept(first)
    forged = spend(setup.coin(1), fee=4000)
    forged = Transaction(2, [forged.inputs[0]._replace(witness=(b"\x52",))], forged.outputs)
    await refused(setup, forged)
    missing = spend([setup.coin(1), coin(spend(setup.coin(2)))], fee=4000)
    await refused(setup, missing)
    assert reports(setup) == []


async def test_a_test_and_the_same_transaction_are_no_alarm(setup: Any) -> None:
    first = spend(setup.coin(1), fee=5000)
    await setup.accept(first)
    await refused(setup, first)
    with pytest.raises(ValidationError):
        await setup.accept(spend(setup.coin(1), fee=4000), test_only=True)
    with pytest.raises(ValidationError):
        await setup.accept(spend(setup.coin(2), fee=1))
    assert reports(setup) == []


async def test_each_of_several_that_are_robbed_is_named(setup: Any) -> None:
    firsts = [spend(setup.coin(height), fee=5000) for height in (1, 2)]
    for tx in firsts:
        await setup.accept(tx)
    rival = spend([setup.coin(1), setup.coin(2)], fee=1000)
    await refused(setup, rival)
    assert {(seen.first, seen.rival) for seen in reports(setup)} == {(tx.txid, rival.txid) for tx in firsts}


async def test_peers_are_counted_once_each(setup: Any) -> None:
    await setup.accept(spend(setup.coin(1), fee=5000))
    rival = spend(setup.coin(1), fee=4000)
    await refused(setup, rival)
    watch = setup.acceptance.double_spends
    for peer in (1, 2, 2):
        watch.seen_by(rival.wtxid, peer)
    watch.seen_by(rival.txid, 3)
    watch.seen_by(bytes(32), 4)
    assert reports(setup)[0].peers == {1, 2, 3}


async def test_a_flood_of_rivals_costs_little(setup: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(double_spends, "MAX_DOUBLE_SPENDS", 20)
    await setup.accept(spend(setup.coin(1), fee=50_000))
    rivals = [spend(setup.coin(1), fee=1000 + index) for index in range(80)]
    for tx in rivals:
        await refused(setup, tx)
    assert len(reports(setup)) == 50, "scripts are not run for more of them at once"
    watch = setup.acceptance.double_spends
    assert [each.rival for each in watch] == [tx.txid for tx in rivals[30:50]]
    assert len(watch._by_rival) <= 40
    assert watch.rivals(spend(setup.coin(1), fee=50_000).txid) == [tx.txid for tx in rivals[30:50]]
    setup.clock.time += 1
    for tx in rivals[50:]:
        await refused(setup, tx)
    assert len(reports(setup)) == 55
    setup.clock.time += 1000
    await refused(setup, spend(setup.coin(1), [TxOut((50 * COIN - 3000) // 600, ANYONE)] * 600))
    assert len(reports(setup)) == 55
