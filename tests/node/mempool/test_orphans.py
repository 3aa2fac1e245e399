"""Transactions that wait for their parents, within bounds."""

import tracemalloc
from random import Random

import pytest
from builders import ANYONE, chain, coin, spend

from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.mempool.orphans import ORPHAN_LIFETIME, Orphans


def family(number: int) -> tuple[Transaction, Transaction]:
    """Return a parent and its child."""
    parent = spend(coin(chain("g a1")["a1"]), [TxOut(10_000 + number, ANYONE), TxOut(20_000, ANYONE)])
    return parent, spend(coin(parent))


@pytest.fixture
def orphans() -> Orphans:
    return Orphans(Random(1), most=5)


def test_an_orphan_is_found_by_its_wtxid_alone_and_by_its_parent(orphans: Orphans) -> None:
    parent, child = family(0)
    assert orphans.add(child, 1, now=0)
    assert not orphans.add(child, 2, now=0)
    assert child.txid not in orphans  # or another witness would keep us from asking for the right one
    assert child.wtxid in orphans
    assert [orphan.raw for orphan in orphans.children(parent)] == [child.raw]


def test_there_are_never_more_than_the_bound(orphans: Orphans) -> None:
    for number in range(50):
        orphans.add(family(number)[1], 1, now=0)
    assert len(orphans) == 5


def test_the_oldest_go_first_once_their_time_is_over(orphans: Orphans) -> None:
    for number in range(5):
        orphans.add(family(number)[1], 1, now=0)
    newcomer = family(9)[1]
    orphans.add(newcomer, 1, now=ORPHAN_LIFETIME + 1)
    assert len(orphans) == 1
    assert newcomer.wtxid in orphans


def test_large_ones_are_not_kept(orphans: Orphans) -> None:
    parent, _ = family(0)
    large = Transaction(2, spend(coin(parent)).inputs, [TxOut(1, bytes(100_001))])
    assert not orphans.add(large, 1, now=0)


def test_a_peers_orphans_leave_with_it(orphans: Orphans) -> None:
    orphans.add(family(0)[1], 1, now=0)
    orphans.add(family(1)[1], 2, now=0)
    orphans.remove_peer(1)
    assert len(orphans) == 1
    assert family(1)[1].wtxid in orphans


def test_a_block_takes_those_it_confirms_or_makes_impossible(orphans: Orphans) -> None:
    parent, child = family(0)
    rival = spend(coin(parent), fee=2000)
    orphans.add(child, 1, now=0)
    orphans.remove_for_block([rival])
    assert len(orphans) == 0
    assert orphans.children(parent) == []


def test_many_small_witness_parts_cost_their_bytes_and_not_a_multiple() -> None:
    parent, child = family(0)
    fat = Transaction(2, [child.inputs[0]._replace(witness=(b"ab",) * 130_000)], child.outputs)
    kept = Orphans(Random(1))
    tracemalloc.start()
    try:
        for number in range(10):
            kept.add(Transaction.parse(fat.raw[:-4] + number.to_bytes(4, "little")), 1, now=0)
        assert len(kept) == 10
        assert tracemalloc.get_traced_memory()[0] < 1.5 * 10 * len(fat.raw)
    finally:
        tracemalloc.stop()
    assert {Transaction.parse(orphan.raw).lock_time for orphan in kept.children(parent)} == set(range(10))
