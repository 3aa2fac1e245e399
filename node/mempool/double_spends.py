"""Attempts to spend again what a transaction of the mempool spends, remembered: a merchant is warned in time."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from altyn.consensus.transaction import OutPoint, Transaction
from altyn.node.mempool.pool import Mempool

log = logging.getLogger(__name__)

MAX_DOUBLE_SPENDS = 1000
"""Those remembered; the oldest go first."""
MAX_PEERS = 256
"""Peers that are told apart for one of them."""
_CHECKS_A_SECOND, _MOST_CHECKS = 5.0, 50.0
_MAX_WEIGHT = 100_000


@dataclass(slots=True)
class DoubleSpend:
    """`rival`, whose scripts hold, spends what `first` was seen to spend before; txids, and the second of that.

    `replaced`: it paid enough more to take the place of the first. `peers` are the ids of those that had it.
    """

    outpoint: OutPoint
    first: bytes
    rival: bytes
    rival_wtxid: bytes
    time: int
    replaced: bool
    peers: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class DoubleSpendSeen:
    """Published when a double spend is seen for the first time."""

    double_spend: DoubleSpend


class DoubleSpends:
    """The latest attempts. Bounded in number, and in how many scripts are run for rivals that are refused anyway."""

    def __init__(self, mempool: Mempool) -> None:
        self._mempool = mempool
        self._seen: dict[tuple[bytes, bytes], DoubleSpend] = {}
        self._by_first: dict[bytes, dict[bytes, DoubleSpend]] = {}
        self._by_rival: dict[bytes, dict[bytes, DoubleSpend]] = {}
        self._checks = _MOST_CHECKS
        self._checked_at = mempool.clock.monotonic()

    def __len__(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[DoubleSpend]:
        """Yield them, oldest first."""
        return iter(self._seen.values())

    def rivals(self, txid: bytes) -> list[bytes]:
        """Return the txids that were seen to spend what the transaction spends."""
        return list(self._by_first.get(txid, ()))

    def should_check(self, tx: Transaction) -> bool:
        """Tell whether to run the scripts of what was refused: a rival, not large, and not many in a short time."""
        if not self._conflicts(tx) or tx.wtxid in self._by_rival or tx.weight > _MAX_WEIGHT:
            return False
        now = self._mempool.clock.monotonic()
        self._checks = min(self._checks + (now - self._checked_at) * _CHECKS_A_SECOND, _MOST_CHECKS)
        self._checked_at = now
        if self._checks < 1:
            return False
        self._checks -= 1
        return True

    def note(self, tx: Transaction, *, replaced: bool) -> None:
        """Remember `tx` as the rival of those in the mempool it conflicts with, and publish that the first time."""
        for first, outpoint in self._conflicts(tx).items():
            if (first, tx.txid) in self._seen:
                continue
            new = DoubleSpend(outpoint, first, tx.txid, tx.wtxid, int(self._mempool.clock.now()), replaced)
            self._seen[first, tx.txid] = new
            self._by_first.setdefault(first, {})[tx.txid] = new
            for tx_hash in (tx.txid, tx.wtxid):
                self._by_rival.setdefault(tx_hash, {})[first] = new
            shown = [each[::-1].hex() for each in (first, tx.txid)]
            log.info("double spend of %s: first seen %s, then %s%s", outpoint, *shown, ", which replaced it" * replaced)
            self._mempool.events.publish(DoubleSpendSeen(new))
        while len(self._seen) > MAX_DOUBLE_SPENDS:
            self._forget(next(iter(self._seen.values())))

    def _forget(self, old: DoubleSpend) -> None:
        del self._seen[old.first, old.rival]
        for index, key, inner in (
            (self._by_first, old.first, old.rival),
            (self._by_rival, old.rival, old.first),
            (self._by_rival, old.rival_wtxid, old.first),
        ):
            index.get(key, {}).pop(inner, None)
            if not index.get(key, True):
                del index[key]

    def _conflicts(self, tx: Transaction) -> dict[bytes, OutPoint]:
        found: dict[bytes, OutPoint] = {}
        for txin in tx.inputs:
            other = self._mempool.spender(txin.prevout)
            if other is not None and other.txid != tx.txid:
                found.setdefault(other.txid, txin.prevout)
        return found

    def seen_by(self, tx_hash: bytes, peer_id: int) -> None:
        """Note that a peer has the transaction with this txid or wtxid, if it is such a rival."""
        for each in self._by_rival.get(tx_hash, {}).values():
            if len(each.peers) < MAX_PEERS:
                each.peers.add(peer_id)
