"""What is learnt from transactions that come and are taken, and what is said while nothing was learnt."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.events import BlockConnected
from altyn.node.mempool.entry import MempoolEntry, RemovalReason, TransactionAdded, TransactionRemoved
from altyn.node.mempool.fee_stats import BUCKETS, ConfirmStats, bucket_of
from altyn.node.mempool.fees import FeeEstimator, Horizon

NOW = 1_700_000_000


@dataclass
class Tip:
    height: int
    time: int = NOW


class World:
    """As much of a node as the estimator sees."""

    def __init__(self) -> None:
        self.tip = Tip(0)
        self.is_initial_block_download = False
        self.total_vsize = 0
        self.entries: list[MempoolEntry] = []
        self.time = float(NOW)
        world: Any = self
        self.fees = FeeEstimator(world, world, world)
        self.number = 0

    def __iter__(self) -> Any:
        return iter(self.entries)

    def now(self) -> float:
        return self.time

    def required_feerate(self) -> int:
        return 1000

    def come(self, feerate: int, **parts: Any) -> MempoolEntry:
        """Let one come that pays `feerate`, sat/vB."""
        self.number += 1
        tx = Transaction(2, [TxIn(OutPoint.make(self.number.to_bytes(32, "big"), 0))], [TxOut(1000, bytes(22))])
        values = {"time": NOW, "height": self.tip.height, "sequence": 1, "sigop_cost": 0, "spends_coinbase": False}
        entry = MempoolEntry(tx, fee=feerate * tx.vsize, **values | parts)
        self.entries.append(entry)
        self.total_vsize += entry.vsize
        self.fees.event(TransactionAdded(entry, 1))
        return entry

    def leave(self, entry: MempoolEntry, reason: RemovalReason) -> None:
        self.entries.remove(entry)
        self.total_vsize -= entry.vsize
        self.fees.event(TransactionRemoved(entry, reason, 0))

    def block(self, *taken: MempoolEntry, weight: int = 1000) -> None:
        for entry in taken:
            self.leave(entry, RemovalReason.BLOCK)
        self.tip = replace(self.tip, height=self.tip.height + 1)
        block: Any = Weight((Weighty(weight),))
        self.fees.event(BlockConnected(self.tip, block, []))  # type: ignore[arg-type]


@dataclass
class Weighty:
    weight: int


@dataclass
class Weight:
    transactions: tuple[Weighty, ...]


def live(world: World, blocks: int) -> None:
    """For so many blocks, 30 sat/vB are taken by the next block, 10 by the fourth, 2 by none."""
    waiting: list[list[MempoolEntry]] = []
    for _ in range(blocks):
        dear = [world.come(30) for _ in range(3)]
        world.come(2)
        waiting.append([world.come(10) for _ in range(3)])
        slow = waiting.pop(0) if len(waiting) == 4 else []
        world.block(*dear, *slow)


def test_those_that_pay_more_are_sooner_in_a_block() -> None:
    world = World()
    world.block()
    live(world, 60)
    soon, later = world.fees.smart(2), world.fees.smart(8)
    assert (soon.source, later.source) == ("history", "history")
    assert soon.feerate == pytest.approx(30_000, rel=0.05)
    assert later.feerate == pytest.approx(10_000, rel=0.05)
    assert (soon.blocks, later.blocks) == (2, 8)
    assert world.fees.smart(1).blocks == 2, "nobody can promise the next block"
    assert world.fees.smart(1008).blocks == 29, "half of what was seen"
    assert world.fees.smart(4, conservative=True).feerate >= world.fees.smart(4).feerate


def test_nothing_is_learnt_of_what_says_nothing() -> None:
    world = World()
    world.block()
    for parts in ({"sequence": 0}, {"together": True}, {"height": 0}):
        for _ in range(40):
            world.block(*[world.come(30, **parts) for _ in range(5)])
    parent = world.come(1)
    child = world.come(50)
    child.parents = {parent.txid}
    world.is_initial_block_download = True
    for _ in range(40):
        world.block(*[world.come(30) for _ in range(5)])
    assert world.fees.smart(2).source == "mempool"


def test_a_fresh_chain_has_an_answer_and_says_where_from() -> None:
    world = World()
    answer = world.fees.smart(6)
    assert (answer.feerate, answer.blocks, answer.source) == (1000, 6, "mempool")


def test_a_queue_shows_what_the_last_place_costs() -> None:
    world = World()
    for index in range(30):
        entry = world.come(10 + index)
        world.total_vsize += 100_000 - entry.vsize
        entry.fee = entry.modified_fee = entry.ancestor_fees = (10 + index) * 100_000
        entry.vsize = entry.ancestor_size = 100_000
    assert world.fees.smart(1).feerate == 30_000  # the ten dearest fill a block
    assert world.fees.smart(2).feerate == 20_000
    assert world.fees.smart(3).feerate == 10_000
    assert world.fees.smart(4).feerate == 1000


def test_full_blocks_show_what_they_took() -> None:
    world = World()
    for _ in range(4):
        world.block(*[world.come(rate, sequence=0) for rate in range(20, 40)], weight=3_990_000)
    assert world.fees.smart(2).feerate == 22_000
    for _ in range(4):
        world.block(world.come(50))
    assert world.fees.smart(2).feerate == 1000


def test_what_leaves_without_a_block_counts_against_its_feerate() -> None:
    stats = ConfirmStats(*Horizon.SHORT.value)
    for _ in range(200):
        stats.block()
        stats.confirmed(1, [5000])
        stats.failed(3, bucket_of(5000))
    estimate = stats.estimate(2, 0.5, 0.85, {})
    assert estimate.feerate == -1
    assert estimate.failed.left > 0
    assert stats.estimate(2, 0.5, 0.3, {}).feerate == pytest.approx(5000)


def test_old_counts_fade() -> None:
    stats = ConfirmStats(*Horizon.SHORT.value)
    stats.confirmed(1, [5000])
    for _ in range(2):
        stats.block()
    assert sum(stats.as_json()["seen"]) == pytest.approx(0.962**2)
    for _ in range(1000):
        stats.block()
    stats.confirmed(1, [5000, 5000])
    assert sum(stats.as_json()["seen"]) == pytest.approx(2)


def test_what_was_learnt_outlives_the_run_for_a_while() -> None:
    world = World()
    world.block()
    live(world, 60)
    kept = json.loads(json.dumps(world.fees.as_json()))
    again = World()
    again.fees.load(kept)
    assert again.fees.smart(2) == world.fees.smart(2)
    late = World()
    late.time += 61 * 3600
    late.fees.load(kept)
    assert late.fees.smart(2).source == "mempool"
    kept["stats"]["SHORT"]["seen"][0] = -1
    with pytest.raises(ValueError, match="out of range"):
        World().fees.load(kept)
    kept["stats"]["SHORT"]["seen"] = []
    with pytest.raises(ValueError, match="out of range"):
        World().fees.load(kept)


def test_those_that_wait_count_as_failures_only_when_the_node_ends() -> None:
    world = World()
    world.block()
    world.come(50)
    for _ in range(3):
        world.block()
    kept = json.dumps(world.fees.as_json())
    assert json.dumps(world.fees.as_json()) == kept
    world.fees.give_up_waiting()
    assert json.dumps(world.fees.as_json()) != kept


def test_the_buckets_are_cores() -> None:
    assert BUCKETS[:2] == (1000.0, 1050.0)
    assert BUCKETS[-2] <= 1e7 < BUCKETS[-2] * 1.05
    assert bucket_of(1) == 0
    assert bucket_of(10**12) == len(BUCKETS) - 1
