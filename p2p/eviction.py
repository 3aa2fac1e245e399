"""Whom to drop when all inbound slots are taken: a pure choice among values (Core: SelectNodeToEvict).

Each protected set is one that an attacker would have to win by something else: keys it cannot know, nearness, useful
work, or having been there for longer. Nobody can fill all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NETGROUP_PROTECTED, PING_PROTECTED, TX_PROTECTED, BLOCK_RELAY_PROTECTED, BLOCK_PROTECTED = 4, 8, 4, 8, 4
LOCAL = "local"
_DISADVANTAGED = ("cjdns", "i2p", LOCAL, "onion")
"""Networks whose peers have long pings: half of what uptime protects goes to them first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An inbound peer. Times in seconds; `min_ping` is infinite before the first pong; `net_group` is keyed.

    `is_useful`: it offers the services we need. `network`: Core's name, or LOCAL.
    """

    id: int
    connected_at: float
    min_ping: float
    last_block: float
    last_transaction: float
    is_useful: bool
    relays_transactions: bool
    filters: bool
    net_group: int
    network: str
    is_discouraged: bool = False


def choose_evicted(candidates: Sequence[Candidate]) -> int | None:
    """Return the id of the peer to drop for a newcomer, or None if all are protected. `noban` ones are not passed."""
    left = list(candidates)
    _protect(left, NETGROUP_PROTECTED, lambda one: one.net_group)
    _protect(left, PING_PROTECTED, lambda one: -one.min_ping)
    _protect(
        left,
        TX_PROTECTED,
        lambda one: (one.last_transaction, one.relays_transactions, not one.filters, -one.connected_at),
    )
    _protect(
        left,
        BLOCK_RELAY_PROTECTED,
        lambda one: (not one.relays_transactions, one.last_block, one.is_useful, -one.connected_at),
        only=lambda one: not one.relays_transactions and one.is_useful,
    )
    _protect(left, BLOCK_PROTECTED, lambda one: (one.last_block, one.is_useful, -one.connected_at))
    _protect_by_uptime(left)
    if any(one.is_discouraged for one in left):
        left = [one for one in left if one.is_discouraged]
    groups = defaultdict(list)
    for one in sorted(left, key=lambda one: -one.connected_at):
        groups[one.net_group].append(one)
    crowded = max(groups.values(), key=lambda group: (len(group), group[0].connected_at), default=None)
    return crowded[0].id if crowded else None


def _protect(
    left: list[Candidate],
    count: int,
    worth: Callable[[Candidate], Any],
    *,
    only: Callable[[Candidate], bool] | None = None,
) -> int:
    """Take the `count` worthiest candidates out, as far as `only` holds of them; return how many these were."""
    best = sorted(left, key=worth)[-count:] if count > 0 else []
    saved = {one.id for one in best if only is None or only(one)}
    left[:] = [one for one in left if one.id not in saved]
    return len(saved)


def _protect_by_uptime(left: list[Candidate]) -> None:
    """Protect half of the rest: up to a quarter from disadvantaged networks, then those with us for longest."""
    total = len(left) // 2
    counts = Counter(one.network for one in left if one.network in _DISADVANTAGED)
    most, protected = total // 2, 0
    while protected < most and counts:
        each = max((most - protected) // len(counts), 1)
        before = protected
        for network in sorted(counts, key=lambda name: (counts[name], _DISADVANTAGED.index(name))):
            saved = _protect(
                left,
                each,
                lambda one, network=network: (one.network == network, -one.connected_at),  # type: ignore[misc]
                only=lambda one, network=network: one.network == network,  # type: ignore[misc]
            )
            protected += saved
            counts[network] -= saved
            if protected >= most:
                break
        counts = +counts
        if protected == before:
            break
    _protect(left, total - protected, lambda one: -one.connected_at)
