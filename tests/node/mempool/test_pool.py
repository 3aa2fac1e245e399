"""The pool alone: links, aggregates, limits of families, eviction, expiry, the rolling minimum."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from builders import ANYONE
from toy_chain import ToyClock

from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.events import Events
from altyn.node.mempool.entry import (
    LINK_MEMORY,
    MempoolEntry,
    RemovalReason,
    TransactionAdded,
    TransactionRemoved,
    memory_of,
)
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import MEMPOOL_HEIGHT, Mempool


def confirmed(number: int) -> OutPoint:
    return OutPoint.make(number.to_bytes(32, "big"), 0)


def transaction(prevouts: Sequence[OutPoint], outputs: int = 1, size: int = 0) -> Transaction:
    """`size` adds about as many bytes without witness."""
    script = ANYONE + bytes(size)
    return Transaction(2, [TxIn(each) for each in prevouts], [TxOut(1000 + n, script) for n in range(outputs)])


class Pool:
    """A mempool, and a way to put transactions in without asking."""

    def __init__(self, **limits: Any) -> None:
        self.clock = ToyClock()
        self.events: list[Any] = []
        events = Events()
        events.subscribe(self.events.append)
        self.mempool = Mempool(PolicyLimits(**limits), self.clock, events)

    def add(self, tx: Transaction, fee: int = 1000, sigop_cost: int = 4) -> MempoolEntry:
        entry = MempoolEntry(
            tx,
            fee=fee,
            time=int(self.clock.now()),
            height=1,
            sequence=self.mempool.sequence,
            sigop_cost=sigop_cost,
            spends_coinbase=False,
        )
        self.mempool.add(entry)
        return entry

    def chain(self, length: int, start: int = 1, **options: int) -> list[MempoolEntry]:
        entries = [self.add(transaction([confirmed(start)], **options))]
        while len(entries) < length:
            entries.append(self.add(transaction([entries[-1].tx.outpoint(0)], **options)))
        return entries


def test_relatives_are_linked_and_counted() -> None:
    pool = Pool()
    a = pool.add(transaction([confirmed(1)], outputs=2), fee=100)
    b = pool.add(transaction([a.tx.outpoint(0)]), fee=200)
    c = pool.add(transaction([a.tx.outpoint(1)]), fee=300)
    d = pool.add(transaction([b.tx.outpoint(0), c.tx.outpoint(0)]), fee=400)
    assert d.parents == {b.txid, c.txid}
    assert a.children == {b.txid, c.txid}
    assert pool.mempool.ancestors(d.txid) == {a.txid, b.txid, c.txid}
    assert pool.mempool.descendants(a.txid) == {b.txid, c.txid, d.txid}
    assert (d.ancestor_count, d.ancestor_fees, d.ancestor_sigop_cost) == (4, 1000, 16)
    assert (a.descendant_count, a.descendant_fees) == (4, 1000)
    assert a.descendant_size == d.ancestor_size == a.vsize + b.vsize + c.vsize + d.vsize
    assert pool.mempool.sorted_entries()[0] is a
    assert pool.mempool.sorted_entries()[-1] is d


def test_order_is_by_depth_then_feerate_then_hash() -> None:
    pool = Pool()
    a, b, c = (pool.add(transaction([confirmed(n)]), fee=fee) for n, fee in ((1, 1000), (2, 1000), (3, 2000)))
    child = pool.add(transaction([a.tx.outpoint(0)]), fee=9000)
    equals = sorted([a, b], key=lambda each: each.txid, reverse=True)
    assert pool.mempool.sorted_entries() == [c, *equals, child]


def test_reading_finds_by_either_hash_and_by_what_is_spent() -> None:
    pool = Pool()
    entry = pool.add(transaction([confirmed(1)]))
    assert pool.mempool.get(entry.txid) is pool.mempool.get_wtxid(entry.wtxid) is entry
    assert pool.mempool.spender(confirmed(1)) is entry
    coin = pool.mempool.coin(entry.tx.outpoint(0))
    assert coin is not None
    assert coin.height == MEMPOOL_HEIGHT
    assert pool.mempool.coin(entry.tx.outpoint(1)) is None
    assert pool.mempool.coin(confirmed(1)) is None


def test_a_confirmed_parent_leaves_its_children() -> None:
    pool = Pool()
    a, b, c = pool.chain(3)
    pool.mempool.remove_for_block([a.tx])
    assert a.txid not in pool.mempool
    assert (b.ancestor_count, c.ancestor_count, c.ancestor_size) == (1, 2, b.vsize + c.vsize)
    assert b.parents == set()
    assert pool.mempool.total_vsize == b.vsize + c.vsize
    assert pool.mempool.total_fee == 2000


def test_a_block_takes_out_what_conflicts_with_it_and_its_descendants() -> None:
    pool = Pool()
    a, b, _ = pool.chain(3)
    other = pool.add(transaction([confirmed(9)]))
    rival = transaction([confirmed(1)], outputs=2)
    pool.mempool.remove_for_block([rival])
    assert list(pool.mempool) == [other]
    removed = [event for event in pool.events if isinstance(event, TransactionRemoved)]
    assert [event.reason for event in removed] == [RemovalReason.CONFLICT] * 3
    assert [event.entry for event in removed[:2]] == [a, b]


def test_a_parent_that_returns_is_linked_with_children_that_stayed() -> None:
    pool = Pool()
    grandparent, parent = transaction([confirmed(1)], outputs=2), transaction([confirmed(2)])
    middle = transaction([grandparent.outpoint(0), parent.outpoint(0)])
    child = pool.add(transaction([middle.outpoint(0), grandparent.outpoint(1)]))
    grandchild = pool.add(transaction([child.tx.outpoint(0)]))
    added = [pool.add(tx) for tx in (grandparent, parent, middle)]
    assert (child.ancestor_count, grandchild.ancestor_count) == (4, 5)
    assert [entry.descendant_count for entry in added] == [4, 4, 3]
    assert child.parents == {grandparent.txid, middle.txid}
    assert grandchild.ancestor_size == pool.mempool.total_vsize


def test_what_leaves_before_a_peer_took_it_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "altyn.node.mempool")
    pool = Pool()
    a, b = pool.chain(2)
    pool.mempool.unbroadcast.add(a.txid)
    pool.mempool.remove_for_block([a.tx, b.tx])
    assert not pool.mempool.unbroadcast
    text = f"Removed {a.txid[::-1].hex()} from set of unbroadcast txns before confirmation that txn was sent out"
    assert [record.getMessage() for record in caplog.records] == [text]


def test_sequence_counts_additions_and_removals_those_by_blocks_too() -> None:
    pool = Pool()
    a, b = pool.chain(2)
    pool.mempool.remove_for_block([a.tx])
    pool.mempool.remove_with_descendants([b.txid], RemovalReason.EXPIRY)
    assert pool.mempool.sequence == 5
    numbers = [event.sequence for event in pool.events]
    assert numbers == [1, 2, 3, 4]
    assert isinstance(pool.events[0], TransactionAdded)


def refused(pool: Pool, tx: Transaction, vsize: int = 0) -> str:
    with pytest.raises(ValidationError) as caught:
        pool.mempool.check_family_limits(tx, vsize or tx.vsize)
    assert caught.value.reason == "too-long-mempool-chain"
    return caught.value.detail


def test_a_chain_ends_at_25() -> None:
    pool = Pool()
    entries = pool.chain(24)
    last = transaction([entries[23].tx.outpoint(0)])
    assert len(pool.mempool.check_family_limits(last, last.vsize)) == 24
    tx = transaction([pool.add(last).tx.outpoint(0)])
    assert refused(pool, tx) in {
        "too many unconfirmed ancestors [limit: 25]",
        f"too many descendants for tx {entries[0].txid[::-1].hex()} [limit: 25]",
    }


def test_many_parents_are_too_many() -> None:
    pool = Pool()
    parents = [pool.add(transaction([confirmed(n)])) for n in range(1, 26)]
    assert refused(pool, transaction([each.tx.outpoint(0) for each in parents])) == (
        "too many unconfirmed parents [limit: 25]"
    )


def test_many_ancestors_are_too_many() -> None:
    pool = Pool()
    tips = [pool.chain(13, start)[-1] for start in (1, 2)]
    assert refused(pool, transaction([each.tx.outpoint(0) for each in tips])) == (
        "too many unconfirmed ancestors [limit: 25]"
    )


def test_a_full_family_takes_one_small_child_more() -> None:
    pool = Pool()
    parent = pool.add(transaction([confirmed(1)], outputs=27))
    for index in range(24):
        pool.add(transaction([parent.tx.outpoint(index)]))
    big = refused(pool, transaction([parent.tx.outpoint(24)]), vsize=10_001)
    assert big == f"too many descendants for tx {parent.txid[::-1].hex()} [limit: 25]"
    extra = transaction([parent.tx.outpoint(24)])
    refused(pool, Transaction(3, extra.inputs, extra.outputs), vsize=10_000)
    pool.mempool.check_family_limits(extra, 10_000)
    pool.add(extra)
    refused(pool, transaction([parent.tx.outpoint(25)]))


def test_families_are_bounded_in_size() -> None:
    pool = Pool()
    first, second = pool.chain(2, size=40_000)
    text = refused(pool, transaction([second.tx.outpoint(0)]), vsize=30_000)
    assert text in {
        "exceeds ancestor size limit [limit: 101000]",
        f"exceeds descendant size limit for tx {first.txid[::-1].hex()} [limit: 101000]",
    }
    pool = Pool(descendant_size=10**9)
    _, second = pool.chain(2, size=40_000)
    assert refused(pool, transaction([second.tx.outpoint(0)]), vsize=30_000) == (
        "exceeds ancestor size limit [limit: 101000]"
    )
    pool = Pool(ancestor_size=10**9)
    first, second = pool.chain(2, size=40_000)
    assert refused(pool, transaction([first.tx.outpoint(0)]), vsize=30_000) == (
        f"exceeds descendant size limit for tx {first.txid[::-1].hex()} [limit: 101000]"
    )


def test_a_full_pool_drops_the_least_worth_with_its_descendants() -> None:
    pool = Pool(max_bytes=1)
    poor = pool.add(transaction([confirmed(1)]), fee=100)
    poor_child = pool.add(transaction([poor.tx.outpoint(0)]), fee=50)
    paid_for = pool.add(transaction([confirmed(2)]), fee=10)
    rich_child = pool.add(transaction([paid_for.tx.outpoint(0)]), fee=5000)
    room = paid_for.memory + rich_child.memory + LINK_MEMORY
    pool.mempool.limits = PolicyLimits(max_bytes=room)
    pool.mempool.enforce_bounds()
    assert set(pool.mempool) == {paid_for, rich_child}
    assert pool.mempool.usage == room
    assert {event.entry for event in pool.events if isinstance(event, TransactionRemoved)} == {poor, poor_child}
    assert pool.mempool.min_feerate() == 100 * 1000 // poor.vsize + 1000


def test_eviction_sees_what_changed_since_the_pool_was_full() -> None:
    pool = Pool(max_bytes=1)
    a = pool.add(transaction([confirmed(1)]), fee=500)
    b = pool.add(transaction([confirmed(2)]), fee=600)
    pool.mempool.limits = PolicyLimits(max_bytes=a.memory + b.memory + LINK_MEMORY)
    c = pool.add(transaction([confirmed(3)]), fee=400)
    pool.mempool.enforce_bounds()
    assert c.txid not in pool.mempool
    child = pool.add(transaction([a.tx.outpoint(0)]), fee=5000)
    pool.mempool.enforce_bounds()
    assert set(pool.mempool) == {a, child}


def test_the_minimum_feerate_rises_with_eviction_and_decays_after_a_block() -> None:
    pool = Pool(max_bytes=1)
    entry = pool.add(transaction([confirmed(1)]), fee=20_000)
    assert pool.mempool.min_feerate() == 0
    assert pool.mempool.required_feerate() == 1000
    pool.mempool.enforce_bounds()
    assert len(pool.mempool) == 0
    risen = 20_000 * 1000 // entry.vsize + 1000
    assert pool.mempool.min_feerate() == risen
    pool.clock.time += 24 * 3600
    assert pool.mempool.min_feerate() == risen, "only blocks show that room was made"
    pool.mempool.limits = PolicyLimits()
    pool.mempool.remove_for_block([])
    pool.clock.time += 3 * 3600  # an empty pool forgets four times as fast as in 12 hours
    assert pool.mempool.min_feerate() == pytest.approx(risen / 2, abs=1)
    pool.clock.time += 21 * 3600
    assert pool.mempool.min_feerate() == 1000
    pool.clock.time += 24 * 3600
    assert pool.mempool.min_feerate() == 0


def test_what_is_too_old_goes() -> None:
    pool = Pool(expiry=100)
    old = pool.add(transaction([confirmed(1)]))
    pool.clock.time += 50
    child = pool.add(transaction([old.tx.outpoint(0)]))
    young = pool.add(transaction([confirmed(2)]))
    pool.clock.time += 50
    pool.mempool.enforce_bounds()
    assert len(pool.mempool) == 3
    pool.clock.time += 1
    pool.mempool.enforce_bounds()
    assert list(pool.mempool) == [young]
    assert child.txid not in pool.mempool


def test_being_replaceable_is_inherited() -> None:
    pool = Pool()
    signalling = Transaction(2, [TxIn(confirmed(1), sequence=0)], [TxOut(1000, ANYONE)])
    pool.add(signalling)
    child = pool.add(transaction([signalling.outpoint(0)]))
    other = pool.add(transaction([confirmed(2)]))
    assert pool.mempool.is_replaceable(child.txid)
    assert not pool.mempool.is_replaceable(other.txid)


@pytest.mark.parametrize(
    ("inputs", "outputs", "has_witness"), [(1, 2, True), (1, 2, False), (20, 1, True), (1, 20, False)]
)
def test_memory_is_bounded_by_what_is_counted(inputs: int, outputs: int, has_witness: bool) -> None:
    number = 300
    raws = []
    for each in range(number):
        spent = [OutPoint.make(each.to_bytes(32, "big"), index) for index in range(inputs)]
        parts = (b"", 0, (bytes(72), bytes(33))) if has_witness else (bytes(107), 0, ())
        made = [TxOut(1000 + index, (each * 100 + index).to_bytes(22, "big")) for index in range(outputs)]
        raws.append(Transaction(2, [TxIn(one, *parts) for one in spent], made).raw)
    pool = Pool()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for raw in raws:
            entry = pool.add(Transaction.parse(bytes(bytearray(raw))))  # a copy, as a message would bring it
            pool.mempool.get_wtxid(entry.wtxid)
        pool.events.clear()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 3.2 * pool.mempool.usage


def test_memory_is_counted_as_core_counts_it() -> None:
    """Scripts of more than 28 bytes lie apart there, in pieces of 16 bytes; those of a P2WPKH do not."""
    bare, of_key, of_script = [
        memory_of(Transaction(2, [TxIn(OutPoint.make(bytes(32), 0))], [TxOut(1000, bytes(size))] * 100))
        for size in (0, 22, 34)
    ]
    assert (of_key - bare, of_script - bare) == (0, 100 * 64)


def test_a_preference_counts_for_the_whole_family() -> None:
    pool = Pool()
    parent, child = pool.chain(2)
    before = parent.ancestor_fees, parent.descendant_fees, child.ancestor_fees, child.descendant_fees
    pool.mempool.prioritise(parent.txid, 700)
    pool.mempool.prioritise(child.txid, 50)
    changes = (700, 750, 750, 50)
    now = parent.ancestor_fees, parent.descendant_fees, child.ancestor_fees, child.descendant_fees
    assert now == tuple(old + change for old, change in zip(before, changes, strict=True))
    assert parent.modified_fee == parent.fee + 700
    pool.mempool.prioritise(parent.txid, -700)
    assert dict(pool.mempool.fee_deltas) == {child.txid: 50}


def test_a_preference_waits_for_its_transaction_until_a_block_has_it() -> None:
    pool = Pool()
    tx = transaction([confirmed(1)])
    pool.mempool.prioritise(tx.txid, 1 << 70)
    assert pool.mempool.fee_delta(tx.txid) == (1 << 63) - 1
    pool.mempool.prioritise(tx.txid, -(1 << 63) + 1000)
    entry = pool.add(tx)
    assert entry.modified_fee == entry.fee + 999
    assert entry.ancestor_fees == entry.modified_fee
    pool.mempool.remove_with_descendants([tx.txid], RemovalReason.EXPIRY)
    assert pool.mempool.fee_delta(tx.txid) == 999
    pool.mempool.remove_for_block([tx])
    assert pool.mempool.fee_deltas == {}


def test_eviction_goes_by_what_is_preferred() -> None:
    pool = Pool(max_bytes=1)
    a = pool.add(transaction([confirmed(1)]), fee=500)
    b = pool.add(transaction([confirmed(2)]), fee=600)
    pool.mempool.prioritise(a.txid, 5000)
    pool.mempool.limits = PolicyLimits(max_bytes=a.memory)
    pool.mempool.enforce_bounds()
    assert list(pool.mempool) == [a]
    assert b.txid not in pool.mempool
