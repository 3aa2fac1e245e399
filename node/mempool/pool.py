"""The pool itself: entries, how they depend on each other, and the bounds it keeps. Not who is let in."""

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Coin, OutPoint, Transaction
from altyn.node.events import Events
from altyn.node.mempool.entry import LINK_MEMORY, MempoolEntry, RemovalReason, TransactionAdded, TransactionRemoved
from altyn.node.mempool.policy import (
    EXTRA_DESCENDANT_SIZE,
    TRUC_VERSION,
    PolicyLimits,
    feerate_of,
    signals_replacement,
)
from altyn.p2p.clock import Clock

log = logging.getLogger(__name__)

MEMPOOL_HEIGHT = 0x7FFFFFFF
"""The height of coins that no block holds yet."""

_HALF_LIFE = 12 * 3600
_UPDATE_INTERVAL = 10
_MOST_DELTA = (1 << 63) - 1

_parents: Callable[[MempoolEntry], set[bytes]] = attrgetter("parents")
_children: Callable[[MempoolEntry], set[bytes]] = attrgetter("children")


class Mempool:
    """Unconfirmed transactions that depend only on the active chain and on each other, and never conflict.

    Filled and emptied only by Acceptance and ChainFollower, in the writer; read by anybody on the event loop.
    """

    def __init__(self, limits: PolicyLimits, clock: Clock, events: Events) -> None:
        self.limits = limits
        self.clock = clock
        self.events = events
        self.sequence = 1
        """Grows with every addition and every removal that no block caused (Core: GetSequence)."""
        self.changes = 0
        """Grows with whatever may make another template better (Core: GetTransactionsUpdated)."""
        self.total_vsize = 0
        self.total_fee = 0
        self.usage = 0
        """Bytes of memory, as `memory_of` counts them."""
        self.unbroadcast: set[bytes] = set()
        """Txids of those that were submitted here and that no peer has taken yet."""
        self.loaded = False
        """Whether what the last run left on the disk has been taken up."""
        self._entries: dict[bytes, MempoolEntry] = {}
        self._by_wtxid: dict[bytes, MempoolEntry] = {}
        self._spenders: dict[OutPoint, MempoolEntry] = {}
        self._deltas: dict[bytes, int] = {}
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

    def __getitem__(self, txid: bytes) -> MempoolEntry:
        return self._entries[txid]

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
        return self._reach(self._entries[txid].parents, _parents)

    def descendants(self, txid: bytes) -> set[bytes]:
        """Return the txids that depend on the transaction, directly or not, without itself."""
        return self._reach(self._entries[txid].children, _children)

    def _reach(self, first: set[bytes], further: Callable[[MempoolEntry], set[bytes]]) -> set[bytes]:
        found = set(first)
        todo = list(first)
        while todo:
            new = further(self._entries[todo.pop()]) - found
            found |= new
            todo += new
        return found

    def is_replaceable(self, txid: bytes) -> bool:
        """Tell whether the transaction, or one it depends on, signals that it may be replaced (BIP125)."""
        return any(signals_replacement(self._entries[each].tx) for each in (txid, *self.ancestors(txid)))

    @property
    def fee_deltas(self) -> Mapping[bytes, int]:
        """What is added to the fees of transactions, here or not, when they are compared: satoshis by txid."""
        return self._deltas

    def fee_delta(self, txid: bytes) -> int:
        return self._deltas.get(txid, 0)

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

    def check_family_limits(
        self, tx: Transaction, vsize: int, *, carve_out: bool = True, replaced: MempoolEntry | None = None
    ) -> set[bytes]:
        """Return the ancestors that `tx` would have.

        Raises ValidationError "too-long-mempool-chain" where it or they would have too many or too large relatives.
        With `carve_out`, one small child of a full family is excepted, and what takes the place of a single
        transaction, `replaced`, is not counted twice (Core: PreChecks, CalculateMemPoolAncestors).
        """
        limits = self.limits
        if replaced is not None and carve_out:
            limits = replace(
                limits,
                descendant_count=limits.descendant_count + 1,
                descendant_size=limits.descendant_size + replaced.descendant_size,
            )
        parents = self.parents_of(tx)
        found, text = self._ancestors_within(parents, 1, vsize, limits)
        if text and carve_out and vsize <= EXTRA_DESCENDANT_SIZE and tx.version != TRUC_VERSION:
            wider = replace(
                limits,
                ancestor_count=2,
                descendant_count=limits.descendant_count + 1,
                descendant_size=limits.descendant_size + EXTRA_DESCENDANT_SIZE,
            )
            found, still = self._ancestors_within(parents, 1, vsize, wider)
            text = text if still else ""
        if text:
            raise ValidationError("too-long-mempool-chain", text, fault=Fault.MEMPOOL_POLICY)
        return found

    def check_package_limits(self, transactions: Sequence[Transaction], vsize: int) -> str:
        """Say which limit transactions of `vsize` virtual bytes together would break; "" if none.

        They count as if each depended on all that any of them depends on (Core: CheckPackageLimits).
        """
        limits, count = self.limits, len(transactions)
        for name, value, most in (
            ("count {} exceeds ancestor count", count, limits.ancestor_count),
            ("count {} exceeds descendant count", count, limits.descendant_count),
            ("size {} exceeds ancestor size", vsize, limits.ancestor_size),
            ("size {} exceeds descendant size", vsize, limits.descendant_size),
        ):
            if value > most:
                return f"package {name.format(value)} limit [limit: {most}]"
        _, text = self._ancestors_within(set().union(*map(self.parents_of, transactions)), count, vsize, limits)
        if text and not text.startswith("too many unconfirmed parents"):
            text = f"possibly {text}"
        return text

    def _ancestors_within(
        self, parents: set[bytes], count: int, vsize: int, limits: PolicyLimits
    ) -> tuple[set[bytes], str]:
        """Return the ancestors of `count` newcomers of `vsize` virtual bytes, and the limit they break or ""."""
        staged = set(parents)
        found: set[bytes] = set()
        if len(staged) + count > limits.ancestor_count:
            return found, f"too many unconfirmed parents [limit: {limits.ancestor_count}]"
        size = vsize
        while staged:
            txid = min(staged)  # Core walks them in this order, and the first limit hit is the one reported
            staged.remove(txid)
            found.add(txid)
            entry = self._entries[txid]
            size += entry.vsize
            if entry.descendant_size + vsize > limits.descendant_size:
                return found, f"exceeds descendant size limit for tx {_shown(txid)} [limit: {limits.descendant_size}]"
            if entry.descendant_count + count > limits.descendant_count:
                return found, f"too many descendants for tx {_shown(txid)} [limit: {limits.descendant_count}]"
            if size > limits.ancestor_size:
                return found, f"exceeds ancestor size limit [limit: {limits.ancestor_size}]"
            staged |= entry.parents - found
            if len(staged) + len(found) + count > limits.ancestor_count:
                return found, f"too many unconfirmed ancestors [limit: {limits.ancestor_count}]"
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
        entry.modified_fee = entry.fee + self.fee_delta(txid)
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
        self.usage += entry.memory + LINK_MEMORY * (len(entry.parents) + len(entry.children))
        self.changes += 1
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
            if entry.parents:
                for each in self.ancestors(txid) - leaving:
                    entries[each].add_descendant(entry, -1)
                    self._restamp(entries[each])
            if entry.children:
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
            self.usage -= entry.memory + LINK_MEMORY * (len(entry.parents) + len(entry.children - leaving))
            if entry.txid in self.unbroadcast:
                self.unbroadcast.remove(entry.txid)
                log.debug(
                    "Removed %s from set of unbroadcast txns before confirmation that txn was sent out",
                    _shown(entry.txid),
                )
        self._compact()
        self.changes += len(removed)
        for entry in removed:
            self.events.publish(TransactionRemoved(entry, reason, self._next_sequence()))
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
        if self._deltas:
            for tx in transactions:
                self._deltas.pop(tx.txid, None)
        if self._entries:
            self._remove_confirmed(transactions)
        self._rolling_since = int(self.clock.now())
        self._block_since_bump = True

    def _remove_confirmed(self, transactions: Sequence[Transaction]) -> None:
        self.remove([tx.txid for tx in transactions], RemovalReason.BLOCK)
        conflicts = {
            spender.txid
            for tx in transactions
            for txin in tx.inputs
            if (spender := self._spenders.get(txin.prevout)) is not None
        }
        if conflicts:
            self.remove_with_descendants(conflicts, RemovalReason.CONFLICT)

    def remove_spenders(self, tx: Transaction, reason: RemovalReason) -> None:
        """Take out all that depends on outputs of `tx`, which itself need not be here."""
        outpoints = (tx.outpoint(index) for index in range(len(tx.outputs)))
        spenders = {spender.txid for each in outpoints if (spender := self._spenders.get(each)) is not None}
        self.remove_with_descendants({tx.txid, *spenders}, reason)

    def prioritise(self, txid: bytes, delta: int) -> None:
        """Have a transaction, here or to come, count as if it paid `delta` satoshis more than before."""
        total = max(-_MOST_DELTA, min(_MOST_DELTA, self.fee_delta(txid) + delta))
        if total:
            self._deltas[txid] = total
        else:
            self._deltas.pop(txid, None)
        self.changes += 1
        entry = self._entries.get(txid)
        if entry is None:
            return
        change = entry.fee + total - entry.modified_fee
        entry.modified_fee += change
        for each in (entry, *map(self._entries.__getitem__, self.ancestors(txid))):
            each.descendant_fees += change
            self._restamp(each)
        for each in (entry, *map(self._entries.__getitem__, self.descendants(txid))):
            each.ancestor_fees += change

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


def _shown(txid: bytes) -> str:
    return txid[::-1].hex()
