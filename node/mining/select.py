"""Which transactions of the mempool a block takes: those that pay most, together with what they depend on."""

import heapq
from dataclasses import dataclass

from altyn.consensus.checks.transactions import is_final
from altyn.consensus.limits import MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, WITNESS_SCALE_FACTOR
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.policy import fee_of_size
from altyn.node.mempool.pool import Mempool

RESERVED_WEIGHT = 4000
"""Weight units kept for the header and the coinbase."""
RESERVED_SIGOP_COST = 400
_MOST_FAILURES = 1000


@dataclass(frozen=True, slots=True)
class Room:
    """What a block has to offer: weight units, cost of signature checks, and the least feerate, in sat/kvB."""

    weight: int = MAX_BLOCK_WEIGHT - RESERVED_WEIGHT
    reserved_weight: int = RESERVED_WEIGHT
    reserved_sigop_cost: int = RESERVED_SIGOP_COST
    min_feerate: int = 1000


@dataclass(slots=True)
class _Package:
    """An entry with those of its ancestors that the block does not hold yet."""

    size: int
    fees: int
    sigop_cost: int
    version: int = 0

    def feerate(self, entry: MempoolEntry) -> float:
        return min(entry.modified_fee / entry.vsize, self.fees / self.size)


def select(mempool: Mempool, room: Room, height: int, lock_time: int) -> list[MempoolEntry]:
    """Return entries in an order fit for a block at `height`; `lock_time` is the median time past before it.

    Takes the package of an entry and its ancestors that pays the highest feerate, again and again, counting for the
    others what the block holds already (Core: addPackageTxs).
    """
    chosen: list[MempoolEntry] = []
    included: set[bytes] = set()
    changed: dict[bytes, _Package] = {}
    weight, sigop_cost, failures = room.reserved_weight, room.reserved_sigop_cost, 0
    queue = [(-entry.ancestor_feerate, entry.txid, 0) for entry in mempool]
    heapq.heapify(queue)
    while queue:
        _, txid, version = heapq.heappop(queue)
        if txid in included:
            continue
        entry = mempool.get(txid)
        assert entry is not None
        package = changed.get(txid) or _whole(entry)
        if package.version != version:
            continue
        if package.fees < fee_of_size(room.min_feerate, package.size):
            break  # what follows pays less
        fits = (
            weight + WITNESS_SCALE_FACTOR * package.size < room.weight
            and sigop_cost + package.sigop_cost < MAX_BLOCK_SIGOPS_COST
        )
        if not fits:
            failures += 1
            if failures > _MOST_FAILURES and weight > room.weight - RESERVED_WEIGHT:
                break
            continue
        members = [entry, *(each for each in map(mempool.get, mempool.ancestors(txid)) if each is not None)]
        members = [each for each in members if each.txid not in included]
        if not all(is_final(each.tx, height, lock_time) for each in members):
            continue
        failures = 0
        members.sort(key=lambda each: (each.ancestor_count, each.txid))
        for each in members:
            chosen.append(each)
            included.add(each.txid)
            weight += each.weight
            sigop_cost += each.sigop_cost
        _update(mempool, members, included, changed, queue)
    return chosen


def _whole(entry: MempoolEntry) -> _Package:
    return _Package(entry.ancestor_size, entry.ancestor_fees, entry.ancestor_sigop_cost)


def _update(
    mempool: Mempool,
    added: list[MempoolEntry],
    included: set[bytes],
    changed: dict[bytes, _Package],
    queue: list[tuple[float, bytes, int]],
) -> None:
    """Take what the block now holds off the packages of all that depends on it, and queue these anew."""
    touched: dict[bytes, MempoolEntry] = {}
    for each in added:
        for txid in mempool.descendants(each.txid) - included:
            below = mempool.get(txid)
            assert below is not None
            package = changed.setdefault(txid, _whole(below))
            package.size -= each.vsize
            package.fees -= each.modified_fee
            package.sigop_cost -= each.sigop_cost
            touched[txid] = below
    for txid, below in touched.items():
        package = changed[txid]
        package.version += 1
        heapq.heappush(queue, (-package.feerate(below), txid, package.version))
