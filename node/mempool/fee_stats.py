"""How long transactions of each feerate waited for a block, remembered over one horizon (Core: TxConfirmStats)."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat, takewhile
from typing import Any

_LOWEST, _HIGHEST, _SPACING = 1000.0, 1e7, 1.05
_TOP = 1e99
_LARGEST_UNIT = 1e9

BUCKETS = (*takewhile(lambda edge: edge <= _HIGHEST, accumulate(repeat(_LOWEST), lambda a, _: a * _SPACING)), _TOP)
"""The highest feerate of each bucket, satoshis per 1000 virtual bytes."""
_COUNT = len(BUCKETS)


@dataclass(slots=True)
class Range:
    """Some neighbouring buckets, and what became of their transactions; numbers fade with the age of what they count.

    `start` and `end` are feerates; `start` is -1 where there are none.
    """

    start: float = -1.0
    end: float = -1.0
    within_target: float = 0.0
    confirmed: float = 0.0
    waiting: float = 0.0
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median feerate of the cheapest buckets that were quick enough, -1 if none; those; the next that failed."""

    feerate: float
    passed: Range
    failed: Range


class ConfirmStats:
    """Counts by feerate, and by periods of `scale` blocks; each block that comes shrinks them all to `decay`."""

    def __init__(self, periods: int, scale: int, decay: float) -> None:
        self.scale = scale
        self.decay = decay
        self.most_blocks = scale * periods
        """The longest wait that is told from longer ones."""
        self._seen = [0.0] * _COUNT
        self._fees = [0.0] * _COUNT
        self._confirmed = [[0.0] * _COUNT for _ in range(periods)]
        self._failed = [[0.0] * _COUNT for _ in range(periods)]
        self._unit = 1.0
        """What one counts for now: it grows from block to block, so that what was counted before need not shrink."""

    def failed(self, waited: int, bucket: int) -> None:
        """Count one that left after `waited` blocks, and not for a block."""
        if waited >= self.scale:
            for period in self._failed[: waited // self.scale]:
                period[bucket] += self._unit

    def confirmed(self, blocks: int, feerates: Sequence[float]) -> None:
        """Count some that a block took after `blocks`, at least 1; their feerates are of one bucket."""
        bucket, count = bucket_of(feerates[0]), len(feerates) * self._unit
        for period in self._confirmed[-(-blocks // self.scale) - 1 :]:
            period[bucket] += count
        self._seen[bucket] += count
        self._fees[bucket] += sum(feerates) * self._unit

    def block(self) -> None:
        """Let a block pass."""
        self._unit /= self.decay
        if self._unit > _LARGEST_UNIT:
            self._settle()

    def _settle(self) -> None:
        """Let one count for one again."""
        if self._unit != 1.0:
            for row in (self._seen, self._fees, *self._confirmed, *self._failed):
                row[:] = [value / self._unit for value in row]
            self._unit = 1.0

    def estimate(self, target: int, enough: float, success: float, late: Mapping[int, int]) -> Estimate:
        """Find the lowest feerates of which the share `success` was in a block within `target` blocks.

        Buckets are put together, from the highest feerate down, until they hold `enough` transactions a block; `late`
        counts, by bucket, what waits for `target` blocks or more (Core: EstimateMedianVal).
        """
        self._settle()
        period = -(-target // self.scale) - 1
        enough /= 1 - self.decay
        passed, failed = Range(), Range()
        current, partial, passing, best_buckets = Range(), 0.0, True, (0, 0)
        near = far = _COUNT - 1
        is_fresh, found = True, False
        for bucket in reversed(range(_COUNT)):
            if is_fresh:
                near, is_fresh = bucket, False
            far = bucket
            current.within_target += self._confirmed[period][bucket]
            current.confirmed += self._seen[bucket]
            current.left += self._failed[period][bucket]
            current.waiting += late.get(bucket, 0)
            partial += self._seen[bucket]
            if partial < enough:
                continue
            partial = 0.0
            if current.within_target / (current.confirmed + current.left + current.waiting) < success:
                if passing:
                    failed, passing = _between(far, near, current), False
                continue
            failed, found, passing = Range(), True, True
            best_buckets, passed = (far, near), _between(far, near, current)
            current, is_fresh = Range(), True
        if passing and not is_fresh:
            failed = _between(far, near, current)
        return Estimate(self._median(*best_buckets) if found else -1.0, passed if found else Range(), failed)

    def _median(self, first: int, last: int) -> float:
        half = sum(self._seen[first : last + 1]) / 2
        for bucket in range(first, last + 1):
            if self._seen[bucket] >= half and self._seen[bucket]:
                return self._fees[bucket] / self._seen[bucket]
            half -= self._seen[bucket]
        return -1.0

    def as_json(self) -> dict[str, Any]:
        """Return what is worth keeping over a restart: what waits is not."""
        self._settle()
        return {"seen": self._seen, "fees": self._fees, "confirmed": self._confirmed, "failed": self._failed}

    def load(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_json` gave. Raises ValueError, KeyError or TypeError where it makes no sense."""
        table = [kept["seen"], kept["fees"], *kept["confirmed"], *kept["failed"]]
        if len(table) != 2 + 2 * len(self._confirmed):
            raise ValueError("fee statistics of another number of periods")
        rows = [[float(value) for value in row] for row in table]
        if any(len(row) != _COUNT or not all(0 <= value < _TOP for value in row) for row in rows):
            raise ValueError("fee statistics out of range")
        periods = len(self._confirmed)
        self._seen, self._fees = rows[:2]
        self._confirmed, self._failed = rows[2 : 2 + periods], rows[2 + periods :]


def bucket_of(feerate: float) -> int:
    """Return the index of the bucket that holds a feerate, in satoshis per 1000 virtual bytes."""
    return bisect_left(BUCKETS, feerate)


def _between(first: int, last: int, numbers: Range) -> Range:
    return Range(
        BUCKETS[first - 1] if first else 0.0,
        BUCKETS[last],
        numbers.within_target,
        numbers.confirmed,
        numbers.waiting,
        numbers.left,
    )
