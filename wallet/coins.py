"""Coin selection: which coins pay for a payment. Pure; chance is passed in.

Feerates are satoshis per 1000 vbytes, sizes weight units. To stay exact, amounts are compared in 1/4000 of a satoshi:
that is what one weight unit costs at one satoshi per 1000 vbytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from altyn.consensus.transaction import OutPoint, TxOut

FINE = 4000
"""How many of the small units make a satoshi."""
_MOST_TRIES = 100_000
CHANGE_AT_LEAST = 50_000
"""The change that random selection aims for, satoshis: less is of little use later (Core: CHANGE_LOWER)."""


class Candidate(NamedTuple):
    """A coin that may be spent. `weight` is that of the signed input."""

    outpoint: OutPoint
    output: TxOut
    weight: int
    is_confirmed: bool = True

    @property
    def value(self) -> int:
        return self.output.value


@dataclass(frozen=True, slots=True)
class Costs:
    """What the coins have to cover besides themselves.

    `target` is the sum of the payments in satoshis, `base_weight` that of the transaction without inputs and change,
    `change_weight` that of the change output, `change_spend_weight` that of the input that will spend it,
    `least_change` the smallest change worth making, satoshis.
    """

    target: int
    feerate: int
    base_weight: int
    change_weight: int
    change_spend_weight: int
    least_change: int

    @property
    def changeless(self) -> int:
        """The effective value needed without change, in small units; rounding up to a whole vbyte included."""
        return self.target * FINE + self.feerate * (self.base_weight + 3) + FINE - 1

    @property
    def change(self) -> int:
        """What having change costs, now and when it is spent, in small units."""
        return self.feerate * (self.change_weight + self.change_spend_weight)

    def effective(self, coin: Candidate) -> int:
        """What a coin adds, less what spending it costs, in small units."""
        return coin.value * FINE - self.feerate * coin.weight


def select(candidates: Sequence[Candidate], costs: Costs, random: Random) -> list[Candidate] | None:
    """Choose coins that cover `costs`; None if all together do not.

    Confirmed coins alone if they suffice. First a set without change, found by branch and bound; else random coins
    until there is change of a useful size; else the largest coins.
    """
    confirmed = [coin for coin in candidates if coin.is_confirmed]
    for allowed in (confirmed, list(candidates)):
        useful = sorted((c for c in allowed if costs.effective(c) > 0), key=costs.effective, reverse=True)
        if sum(map(costs.effective, useful)) < costs.changeless:
            continue
        return branch_and_bound(useful, costs) or random_draw(useful, costs, random) or largest_first(useful, costs)
    return None


def branch_and_bound(coins: Sequence[Candidate], costs: Costs) -> list[Candidate] | None:
    """Search a set that needs no change: no more above the target than change would cost (Core: SelectCoinsBnB).

    `coins` are sorted by effective value, largest first. Returns the set with the least excess found, or None.
    """
    values = [costs.effective(coin) for coin in coins]
    least, most = costs.changeless, costs.changeless + costs.change
    sums = [0, *accumulate(values)]
    available = sums[-1]
    chosen: list[int] = []
    best: list[int] | None = None
    best_sum = most + 1
    total, place = 0, 0
    for _ in range(_MOST_TRIES):
        backtrack = total + available < least or total > most or total >= best_sum
        if not backtrack and total >= least:
            best, best_sum = list(chosen), total
            backtrack = True
        if backtrack or place == len(coins):
            if not chosen or best_sum == least:
                break
            last = chosen.pop()
            available += sums[place] - sums[last + 1]
            total -= values[last]
            place = last + 1  # leave it out and go on behind it
            continue
        available -= values[place]
        # Leaving out a coin and taking its twin leads to sets seen already.
        if place == 0 or (chosen and chosen[-1] == place - 1) or values[place] != values[place - 1]:
            chosen.append(place)
            total += values[place]
        place += 1
    return None if best is None else [coins[index] for index in best]


def random_draw(coins: Iterable[Candidate], costs: Costs, random: Random) -> list[Candidate] | None:
    """Take coins in random order until payments, fee and useful change are covered; None if they never are."""
    shuffled = list(coins)
    random.shuffle(shuffled)
    change = max(costs.least_change, CHANGE_AT_LEAST) * FINE + costs.feerate * costs.change_weight
    return _take(shuffled, costs, costs.changeless + change)


def largest_first(coins: Iterable[Candidate], costs: Costs) -> list[Candidate] | None:
    """Take the largest coins until payments and fee are covered, change or not; None if they never are."""
    return _take(sorted(coins, key=costs.effective, reverse=True), costs, costs.changeless)


def _take(coins: Iterable[Candidate], costs: Costs, target: int) -> list[Candidate] | None:
    taken, total = [], 0
    for coin in coins:
        taken.append(coin)
        total += costs.effective(coin)
        if total >= target:
            return taken
    return None
