"""What a confirmation within some blocks costs: by history as Core does, else by what waits and what blocks took."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from altyn.node.chain.chain import Chain
from altyn.node.events import BlockConnected
from altyn.node.mempool.entry import MempoolEntry, RemovalReason, TransactionAdded, TransactionRemoved
from altyn.node.mempool.fee_stats import ConfirmStats, Estimate, bucket_of
from altyn.node.mempool.pool import Mempool
from altyn.p2p.clock import Clock

_HALF_SUCCESS, _SUCCESS, _DOUBLE_SUCCESS = 0.6, 0.85, 0.95
_ENOUGH, _ENOUGH_SHORT = 0.1, 0.5
"""Transactions a block that a statement needs."""
_MAX_TIP_AGE = 3 * 3600
_MAX_FILE_AGE = 60 * 3600
"""Seconds: older tips are no time to learn, and older files no use."""
_BLOCK_VSIZE = 999_000
_RECENT_BLOCKS = 6
_FULL = 0.9


class Horizon(Enum):
    """How far back, and how far ahead: periods, blocks in each, and what a count keeps from block to block."""

    SHORT = (12, 1, 0.962)
    MEDIUM = (24, 2, 0.9952)
    LONG = (42, 24, 0.99931)

    @property
    def most_blocks(self) -> int:
        return self.value[0] * self.value[1]


@dataclass(frozen=True, slots=True)
class SmartFee:
    """A feerate, satoshis per 1000 virtual bytes, the number of blocks it is for, and where it comes from."""

    feerate: int
    blocks: int
    source: str


class FeeEstimator:
    """Learns from the events of chain and mempool; subscribe `event`."""

    def __init__(self, chain: Chain, mempool: Mempool, clock: Clock) -> None:
        self._chain = chain
        self._mempool = mempool
        self._clock = clock
        self._stats = {each: ConfirmStats(*each.value) for each in Horizon}
        self._tracked: dict[bytes, tuple[int, int]] = {}
        """Of what waits: the height of the tip when it came, and the bucket of its feerate."""
        self._waiting: dict[int, Counter[int]] = {}
        """How many of each bucket wait since a height."""
        self._taken: list[MempoolEntry] = []
        self._best = self._first = 0
        self._old_span = 0
        self._recent: deque[int] = deque(maxlen=_RECENT_BLOCKS)

    def event(self, event: object) -> None:
        """Follow the events of chain and mempool."""
        match event:
            case TransactionAdded(entry=entry):
                self._came(entry)
            case TransactionRemoved(entry=entry, reason=RemovalReason.BLOCK):
                self._taken.append(entry)
            case TransactionRemoved(entry=entry):
                self._forget(entry.txid, in_block=False)
            case BlockConnected(entry=entry, block=block):
                taken, self._taken = self._taken, []
                if self._is_current():
                    weight = sum(tx.weight for tx in block.transactions)
                    is_full = weight >= _FULL * 4 * _BLOCK_VSIZE
                    self._recent.append(_tenth(taken) if is_full and taken else 0)
                self._block(entry.height, taken)

    def _came(self, entry: MempoolEntry) -> None:
        """Track one that says what it takes to get into a block: on its own, and new to the network."""
        if entry.height != self._best or not entry.sequence or entry.parents or entry.together:
            return
        if self._is_current():
            bucket = bucket_of(entry.feerate)
            self._tracked[entry.txid] = entry.height, bucket
            row = self._waiting.get(entry.height)
            if row is None:
                row = self._waiting[entry.height] = Counter()
            row[bucket] += 1

    def _is_current(self) -> bool:
        chain = self._chain
        return not chain.is_initial_block_download and chain.tip.time >= self._clock.now() - _MAX_TIP_AGE

    def _forget(self, txid: bytes, *, in_block: bool) -> tuple[int, int] | None:
        tracked = self._tracked.pop(txid, None)
        if tracked is None:
            return None
        height, bucket = tracked
        row = self._waiting[height]
        row[bucket] -= 1
        if not row[bucket]:
            del row[bucket]
        if not row:
            del self._waiting[height]
        if not in_block and self._best:
            for stats in self._stats.values():
                stats.failed(self._best - height, bucket)
        return tracked

    def _block(self, height: int, taken: list[MempoolEntry]) -> None:
        if height <= self._best:
            return  # of a branch that took the place of another: waits cannot be told there
        self._best = height
        for stats in self._stats.values():
            stats.block()
        alike: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        for entry in taken:
            tracked = self._forget(entry.txid, in_block=True)
            if tracked is not None and height > tracked[0]:
                alike[tracked].append(entry.feerate)
        for (came, _), feerates in alike.items():
            for stats in self._stats.values():
                stats.confirmed(height - came, feerates)
        if alike and not self._first:
            self._first = height

    # --- asking ---

    def smart(self, target: int, *, conservative: bool = False) -> SmartFee:
        """Say what feerate should do for a confirmation within `target` blocks, 1 to 1008, never below the minimum.

        The source is "history" where that says something; else "mempool": what waits now, and what full blocks took.
        """
        median, blocks = self._by_history(target, conservative)
        least = self._mempool.required_feerate()
        if median > 0:
            return SmartFee(max(round(median), least), blocks, "history")
        return SmartFee(max(self._by_mempool(target), least), target, "mempool")

    def raw(self, target: int, success: float, horizon: Horizon) -> Estimate:
        """Say what the counts over one horizon say (Core: estimateRawFee)."""
        enough = _ENOUGH_SHORT if horizon is Horizon.SHORT else _ENOUGH
        late: Counter[int] = Counter()
        for height, row in self._waiting.items():
            if self._best - height >= target:
                late.update(row)
        return self._stats[horizon].estimate(target, enough, success, late)

    def _median(self, horizon: Horizon, target: int, success: float) -> float:
        return self.raw(target, success, horizon).feerate

    def _by_history(self, target: int, conservative: bool) -> tuple[float, int]:
        """Return a median feerate, -1 for none, and the target it is for (Core: estimateSmartFee)."""
        span = self._best - self._first if self._first else 0
        usable = min(Horizon.LONG.most_blocks, max(span, self._old_span) // 2)
        target = min(max(target, 2), usable)
        if target <= 1:
            return -1.0, target
        median = max(
            self._combined(target // 2, _HALF_SUCCESS, True),
            self._combined(target, _SUCCESS, True),
            self._combined(2 * target, _DOUBLE_SUCCESS, not conservative),
        )
        if conservative or median == -1:
            median = max(median, self._conservative(2 * target))
        return median, target

    def _combined(self, target: int, success: float, check_shorter: bool) -> float:
        if not 1 <= target <= Horizon.LONG.most_blocks:
            return -1.0
        horizon = next(each for each in Horizon if target <= each.most_blocks)
        estimate = self._median(horizon, target, success)
        if check_shorter:
            for shorter in (Horizon.MEDIUM, Horizon.SHORT):
                if target > shorter.most_blocks:
                    other = self._median(shorter, shorter.most_blocks, success)
                    if other > 0 and (estimate == -1 or other < estimate):
                        estimate = other
        return estimate

    def _conservative(self, target: int) -> float:
        estimate = -1.0
        if target <= Horizon.SHORT.most_blocks:
            estimate = self._median(Horizon.MEDIUM, target, _DOUBLE_SUCCESS)
        if target <= Horizon.MEDIUM.most_blocks:
            estimate = max(estimate, self._median(Horizon.LONG, target, _DOUBLE_SUCCESS))
        return estimate

    def _by_mempool(self, target: int) -> int:
        """Return the feerate of the last that `target` blocks could take now, or that full blocks lately took."""
        recent = sorted(self._recent)[len(self._recent) // 2] if self._recent else 0
        room = target * _BLOCK_VSIZE
        if self._mempool.total_vsize <= room:
            return recent
        for entry in sorted(self._mempool, key=lambda each: each.ancestor_feerate, reverse=True):
            room -= entry.vsize
            if room < 0:
                return max(recent, round(entry.ancestor_feerate * 1000))
        return recent

    # --- between runs ---

    def give_up_waiting(self) -> None:
        """Let those that wait count as failures from now on: what becomes of them will not be seen."""
        for txid in list(self._tracked):
            self._forget(txid, in_block=False)

    def as_json(self) -> dict[str, Any]:
        """Return what was learnt."""
        span = max(self._best - self._first if self._first else 0, self._old_span)
        stats = {horizon.name: stats.as_json() for horizon, stats in self._stats.items()}
        return {"saved": int(self._clock.now()), "best": self._best, "span": span, "stats": stats}

    def load(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_json` gave, unless that is too old. Raises ValueError, KeyError or TypeError."""
        if self._clock.now() - int(kept["saved"]) > _MAX_FILE_AGE:
            return
        for horizon, stats in self._stats.items():
            stats.load(kept["stats"][horizon.name])
        self._best, self._old_span = int(kept["best"]), int(kept["span"])


def _tenth(taken: list[MempoolEntry]) -> int:
    """Return the feerate above which nine of ten are."""
    return round(sorted(entry.feerate for entry in taken)[len(taken) // 10])
