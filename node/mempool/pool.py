"""The pool itself: entries, how they depend on each other, and the bounds it keeps. Not who is let in."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Coin, OutPoint, Transaction
from altyn.node.events import Events
from altyn.node.mempool.policy import (
    EXTRA_DESCENDANT_SIZE,
    TRUC_VERSION,
    PolicyLimits,
    feerate_of,
    signals_replacement,
    virtual_size,
)
from altyn.p2p.clock import Clock

MEMPOOL_HEIGHT = 0x7FFFFFFF
"""The height of coins that no block holds yet."""

_HALF_LIFE = 12 * 3600
_UPDATE_INTERVAL = 10
# Bytes of Python objects for an entry and its links, and for each of its inputs and outputs: measured with tracemalloc.
_ENTRY_MEMORY, _INPUT_MEMORY, _OUTPUT_MEMORY = 1250, 235, 160


class RemovalReason(Enum):
    """Why a transaction left the mempool; the values are Core's words."""

    EXPIRY = "expiry"
    SIZE_LIMIT = "sizelimit"
    REORG = "reorg"
    BLOCK = "block"
    CONFLICT = "conflict"
    REPLACED = "replaced"


class MempoolEntry:
    """A transaction in the mempool. Fees in satoshis, sizes in virtual bytes as policy counts them, times in seconds.

    `ancestor_*` and `descendant_*` include the transaction itself. `parents` and `children` are txids.
    `height` is that of the tip when it came, `sequence` the mempool's then (0 for one that a reorganisation returned).
    """

    __slots__ = (
        "ancestor_count",
        "ancestor_fees",
        "ancestor_sigop_cost",
        "ancestor_size",
        "children",
        "descendant_count",
        "descendant_fees",
        "descendant_size",
        "fee",
        "height",
        "memory",
        "modified_fee",
        "parents",
        "sequence",
        "sigop_cost",
        "spends_coinbase",
        "stamp",
        "time",
        "tx",
        "txid",
        "vsize",
        "weight",
    )

    def __init__(
        self,
        tx: Transaction,
        *,
        fee: int,
        time: int,
        height: int,
        sequence: int,
        sigop_cost: int,
        spends_coinbase: bool,
        bytes_per_sigop: int = 20,
    ) -> None:
        self.tx = tx
        self.txid = tx.txid
        self.fee = self.modified_fee = fee
        self.time = time
        self.height = height
        self.sequence = sequence
        self.sigop_cost = sigop_cost
        self.spends_coinbase = spends_coinbase
        self.weight = tx.weight
        self.vsize = virtual_size(self.weight, sigop_cost, bytes_per_sigop)
        self.memory = memory_of(tx)
        self.stamp = 0
        self.parents: set[bytes] = set()
        self.children: set[bytes] = set()
        self.reset_aggregates()

    def reset_aggregates(self) -> None:
        """Count only the transaction itself among its ancestors and descendants."""
        self.ancestor_count = self.descendant_count = 1
        self.ancestor_size = self.descendant_size = self.vsize
        self.ancestor_fees = self.descendant_fees = self.modified_fee
        self.ancestor_sigop_cost = self.sigop_cost

    @property
    def wtxid(self) -> bytes:
        return self.tx.wtxid

    @property
    def worth(self) -> float:
        """Satoshis per virtual byte, of itself or with its descendants, whichever is more: the least go first."""
        return max(self.modified_fee / self.vsize, self.descendant_fees / self.descendant_size)

    @property
    def ancestor_feerate(self) -> float:
        """Satoshis per virtual byte, of itself or with its ancestors, whichever is less: the most are mined first."""
        return min(self.modified_fee / self.vsize, self.ancestor_fees / self.ancestor_size)

    def add_ancestor(self, other: "MempoolEntry", sign: int = 1) -> None:
        """Count `other` among the ancestors, or with sign -1 no longer."""
        self.ancestor_count += sign
        self.ancestor_size += sign * other.vsize
        self.ancestor_fees += sign * other.modified_fee
        self.ancestor_sigop_cost += sign * other.sigop_cost

    def add_descendant(self, other: "MempoolEntry", sign: int = 1) -> None:
        """Count `other` among the descendants, or with sign -1 no longer."""
        self.descendant_count += sign
        self.descendant_size += sign * other.vsize
        self.descendant_fees += sign * other.modified_fee

    def __repr__(self) -> str:
        return f"<MempoolEntry {self.txid[::-1].hex()}>"


@dataclass(frozen=True, slots=True)
class TransactionAdded:
    """Published when a transaction enters the mempool; `sequence` is the mempool's number of this change."""

    entry: MempoolEntry
    sequence: int


@dataclass(frozen=True, slots=True)
class TransactionRemoved:
    """Published when a transaction leaves; `sequence` as for additions, 0 where a block took it (as Core counts)."""

    entry: MempoolEntry
    reason: RemovalReason
    sequence: int


def memory_of(tx: Transaction) -> int:
    """Estimate the bytes of memory that keeping `tx` costs, links and indexes included."""
    size = len(tx.raw) * (3 if tx.has_witness else 2)  # the raw bytes, and slices of them as scripts and witnesses
    return _ENTRY_MEMORY + size + _INPUT_MEMORY * len(tx.inputs) + _OUTPUT_MEMORY * len(tx.outputs)


class Mempool:
    """Unconfirmed transactions that depend only on the active chain and on each other, and never conflict.

    Changed only by Acceptance and ChainFollower, in the writer; read by anybody on the event loop.
    """

    def __init__(self, limits: PolicyLimits, clock: Clock, events: Events) -> None:
        self.limits = limits
        self.clock = clock
        self.events = events
        self.sequence = 1
        """Grows with every addition and every removal that no block caused (Core: GetSequence)."""
        self.total_vsize = 0
        self.total_fee = 0
        self.usage = 0
        """Bytes of memory, estimated."""
        self._entries: dict[bytes, MempoolEntry] = {}
        self._by_wtxid: dict[bytes, MempoolEntry] = {}
        self._spenders: dict[OutPoint, MempoolEntry] = {}
        self._ages: list[tuple[int, bytes]] = []
        # The next to evict, lowest worth first, outdated lines among them; kept only once the pool has been full.
        self._worths: list[tuple[float, int, bytes, int]] | None = None
        self._stamps = 0
        self._rolling_feerate = 0.0
        self._rolling_since = 0
        self._block_since_bump = False

    # --- reading ---

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self._entries

    def __iter__(self) -> Iterator[MempoolEntry]:
        """Yield the entries in the order they came; the pool must not change meanwhile."""
        return iter(self._entries.values())

    def get(self, txid: bytes) -> MempoolEntry | None:
        return self._entries.get(txid)

    def get_wtxid(self, wtxid: bytes) -> MempoolEntry | None:
        return self._by_wtxid.get(wtxid)

    def sorted_entries(self) -> list[MempoolEntry]:
        """Return all entries, parents before children, high feerates before low (Core: GetSortedDepthAndScore)."""
        found = sorted(self, key=lambda each: each.txid, reverse=True)  # which decides between equals
        found.sort(key=lambda each: (each.ancestor_count, -each.modified_fee / each.vsize))
        return found

    def spender(self, outpoint: OutPoint) -> MempoolEntry | None:
        """Return the entry that spends `outpoint`."""
        return self._spenders.get(outpoint)

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return the output of a mempool transaction as a coin at MEMPOOL_HEIGHT, spent by another one or not."""
        entry = self._entries.get(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.tx.outputs):
            return None
        return Coin(entry.tx.outputs[outpoint.vout], MEMPOOL_HEIGHT, False)

    def ancestors(self, txid: bytes) -> set[bytes]:
        """Return the txids that the transaction depends on, directly or not, without itself."""
        entries = self._entries
        found: set[bytes] = set()
        todo = list(entries[txid].parents)
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo += entries[each].parents
        return found

    def descendants(self, txid: bytes) -> set[bytes]:
        """Return the txids that depend on the transaction, directly or not, without itself."""
        entries = self._entries
        found: set[bytes] = set()
        todo = list(entries[txid].children)
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo += entries[each].children
        return found

    def is_replaceable(self, txid: bytes) -> bool:
        """Tell whether the transaction, or one it depends on, signals that it may be replaced (BIP125)."""
        return any(signals_replacement(self._entries[each].tx) for each in (txid, *self.ancestors(txid)))

    def min_feerate(self) -> int:
        """Return the feerate, in satoshis per 1000 virtual bytes, that a full pool demands; 0 when it was not full.

        It decays after a block was seen, by half in 12 hours, faster when the pool is emptier (Core: GetMinFee).
        """
        if not self._block_since_bump or not self._rolling_feerate:
            return round(self._rolling_feerate)
        now = int(self.clock.now())
        if now > self._rolling_since + _UPDATE_INTERVAL:
            half_life = _HALF_LIFE
            if self.usage < self.limits.max_bytes // 4:
                half_life //= 4
            elif self.usage < self.limits.max_bytes // 2:
                half_life //= 2
            self._rolling_feerate /= 2 ** ((now - self._rolling_since) / half_life)
            self._rolling_since = now
            if self._rolling_feerate < self.limits.incremental_relay_feerate / 2:
                self._rolling_feerate = 0.0
                return 0
        return max(round(self._rolling_feerate), self.limits.incremental_relay_feerate)

    def required_feerate(self) -> int:
        """Return the least feerate that is let in now, in satoshis per 1000 virtual bytes (RPC: mempoolminfee)."""
        return max(self.min_feerate(), self.limits.min_relay_feerate)

    # --- what a newcomer would depend on ---

    def parents_of(self, tx: Transaction) -> set[bytes]:
        """Return the txids in the pool whose outputs `tx` spends."""
        return {txid for txid in (txin.prevout[:32] for txin in tx.inputs) if txid in self._entries}

    def check_package_limits(self, tx: Transaction, vsize: int) -> set[bytes]:
        """Return the ancestors that `tx` would have.

        Raises ValidationError "too-long-mempool-chain" where it or they would have too many or too large relatives,
        one small child of a full family excepted (Core: CalculateMemPoolAncestors, CPFP carve-out).
        """
        limits = self.limits
        found, text = self._ancestors_within(
            tx, vsize, limits.ancestor_count, limits.descendant_count, limits.descendant_size
        )
        if text and vsize <= EXTRA_DESCENDANT_SIZE and tx.version != TRUC_VERSION:
            found, still = self._ancestors_within(
                tx, vsize, 2, limits.descendant_count + 1, limits.descendant_size + EXTRA_DESCENDANT_SIZE
            )
            text = text if still else ""
        if text:
            raise ValidationError("too-long-mempool-chain", text, fault=Fault.MEMPOOL_POLICY)
        return found

    def _ancestors_within(
        self, tx: Transaction, vsize: int, most_ancestors: int, most_descendants: int, most_descendant_size: int
    ) -> tuple[set[bytes], str]:
        staged = self.parents_of(tx)
        found: set[bytes] = set()
        if len(staged) + 1 > most_ancestors:
            return found, f"too many unconfirmed parents [limit: {most_ancestors}]"
        size = vsize
        while staged:
            txid = min(staged)  # Core walks them in this order, and the first limit hit is the one reported
            staged.remove(txid)
            found.add(txid)
            entry = self._entries[txid]
            size += entry.vsize
            shown = txid[::-1].hex()
            if entry.descendant_size + vsize > most_descendant_size:
                return found, f"exceeds descendant size limit for tx {shown} [limit: {most_descendant_size}]"
            if entry.descendant_count + 1 > most_descendants:
                return found, f"too many descendants for tx {shown} [limit: {most_descendants}]"
            if size > self.limits.ancestor_size:
                return found, f"exceeds ancestor size limit [limit: {self.limits.ancestor_size}]"
            staged |= entry.parents - found
            if len(staged) + len(found) + 1 > most_ancestors:
                return found, f"too many unconfirmed ancestors [limit: {most_ancestors}]"
        return found, ""

    # --- changing ---

    def add(self, entry: MempoolEntry) -> None:
        """Put an entry in, and link it with its parents, and its children if it has some here already.

        That happens when a reorganisation returns a transaction whose children never left. The caller has made sure
        that nothing here conflicts with it.
        """
        entries = self._entries
        txid = entry.txid
        entry.parents = self.parents_of(entry.tx)
        entry.children = {
            spender.txid
            for index in range(len(entry.tx.outputs))
            if (spender := self._spenders.get(entry.tx.outpoint(index))) is not None
        }
        entry.reset_aggregates()
        entries[txid] = entry
        self._by_wtxid[entry.wtxid] = entry
        for txin in entry.tx.inputs:
            self._spenders[txin.prevout] = entry
        ancestors = self.ancestors(txid)
        self._count_for_descendants(entry, ancestors)
        for each in entry.parents:
            entries[each].children.add(txid)
        for each in ancestors:
            entry.add_ancestor(entries[each])
            entries[each].add_descendant(entry)
            self._restamp(entries[each])
        for each in entry.children:
            entries[each].parents.add(txid)
        self._restamp(entry)
        self.total_vsize += entry.vsize
        self.total_fee += entry.fee
        self.usage += entry.memory
        heapq.heappush(self._ages, (entry.time, txid))
        self.events.publish(TransactionAdded(entry, self._next_sequence()))

    def _count_for_descendants(self, entry: MempoolEntry, ancestors: set[bytes]) -> None:
        """Count `entry`, not linked yet, and its ancestors for all that depends on it, as far as they are not."""
        entries = self._entries
        below = entry.children.union(*map(self.descendants, entry.children))
        for txid in below:
            for each in {entry.txid, *ancestors} - self.ancestors(txid):
                entries[txid].add_ancestor(entries[each])
                entries[each].add_descendant(entries[txid])
                self._restamp(entries[each])

    def remove(self, txids: Iterable[bytes], reason: RemovalReason) -> list[MempoolEntry]:
        """Take entries out and return them, leaving those that depend on them; absent ones are ignored."""
        entries = self._entries
        leaving = {txid for txid in txids if txid in entries}
        for txid in leaving:
            entry = entries[txid]
            for each in self.ancestors(txid) - leaving:
                entries[each].add_descendant(entry, -1)
                self._restamp(entries[each])
            for each in self.descendants(txid) - leaving:
                entries[each].add_ancestor(entry, -1)
        removed = sorted((entries.pop(txid) for txid in leaving), key=lambda each: (each.ancestor_count, each.txid))
        for entry in removed:
            for each in entry.parents - leaving:
                entries[each].children.discard(entry.txid)
            for each in entry.children - leaving:
                entries[each].parents.discard(entry.txid)
            del self._by_wtxid[entry.wtxid]
            for txin in entry.tx.inputs:
                del self._spenders[txin.prevout]
            self.total_vsize -= entry.vsize
            self.total_fee -= entry.fee
            self.usage -= entry.memory
        self._compact()
        for entry in removed:
            sequence = 0 if reason is RemovalReason.BLOCK else self._next_sequence()
            self.events.publish(TransactionRemoved(entry, reason, sequence))
        return removed

    def remove_with_descendants(self, txids: Iterable[bytes], reason: RemovalReason) -> list[MempoolEntry]:
        """Take entries out together with all that depends on them, and return them; absent ones are ignored."""
        leaving: set[bytes] = set()
        for txid in txids:
            if txid in self._entries and txid not in leaving:
                leaving |= {txid, *self.descendants(txid)}
        return self.remove(leaving, reason)

    def remove_for_block(self, transactions: Sequence[Transaction]) -> None:
        """Take out what a block confirms, then what spends the same outputs otherwise, with its descendants."""
        self.remove([tx.txid for tx in transactions], RemovalReason.BLOCK)
        conflicts = {
            spender.txid
            for tx in transactions
            for txin in tx.inputs
            if (spender := self._spenders.get(txin.prevout)) is not None
        }
        if conflicts:
            self.remove_with_descendants(conflicts, RemovalReason.CONFLICT)
        self._rolling_since = int(self.clock.now())
        self._block_since_bump = True

    def remove_spenders(self, tx: Transaction, reason: RemovalReason) -> None:
        """Take out all that depends on outputs of `tx`, which itself need not be here."""
        outpoints = (tx.outpoint(index) for index in range(len(tx.outputs)))
        spenders = {spender.txid for each in outpoints if (spender := self._spenders.get(each)) is not None}
        self.remove_with_descendants({tx.txid, *spenders}, reason)

    def enforce_bounds(self) -> None:
        """Drop what is too old, then the least worth until memory is within its limit (Core: LimitMempoolSize)."""
        self._expire(int(self.clock.now()) - self.limits.expiry)
        while self.usage > self.limits.max_bytes:
            entry = self._least_worth()
            feerate = feerate_of(entry.descendant_fees, entry.descendant_size) + self.limits.incremental_relay_feerate
            if feerate > self._rolling_feerate:
                self._rolling_feerate = feerate
                self._block_since_bump = False
            self.remove_with_descendants([entry.txid], RemovalReason.SIZE_LIMIT)

    def _expire(self, before: int) -> None:
        ages = self._ages
        expired = []
        while ages and ages[0][0] < before:
            time, txid = heapq.heappop(ages)
            entry = self._entries.get(txid)
            if entry is not None and entry.time == time:
                expired.append(txid)
        if expired:
            self.remove_with_descendants(expired, RemovalReason.EXPIRY)

    def _least_worth(self) -> MempoolEntry:
        if self._worths is None:
            self._worths = [(each.worth, -each.time, each.txid, each.stamp) for each in self]
            heapq.heapify(self._worths)
        while True:
            _, _, txid, stamp = self._worths[0]
            entry = self._entries.get(txid)
            if entry is not None and entry.stamp == stamp:
                return entry
            heapq.heappop(self._worths)

    def _restamp(self, entry: MempoolEntry) -> None:
        """Note that the worth of `entry` changed, which outdates its line in the order of eviction."""
        self._stamps += 1
        entry.stamp = self._stamps
        if self._worths is not None:
            heapq.heappush(self._worths, (entry.worth, -entry.time, entry.txid, entry.stamp))

    def _compact(self) -> None:
        """Keep the two heaps from growing by lines of entries that are gone."""
        if len(self._ages) > 2 * len(self._entries) + 1000:
            self._ages = [(each.time, each.txid) for each in self]
            heapq.heapify(self._ages)
        if self._worths is not None and len(self._worths) > 4 * len(self._entries) + 1000:
            self._worths = None  # built anew when it is needed

    def _next_sequence(self) -> int:
        sequence = self.sequence
        self.sequence += 1
        return sequence
