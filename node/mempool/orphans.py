"""Transactions whose parents are unknown, kept a while in case those arrive (Core: TxOrphanage)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from altyn.consensus.transaction import OutPoint, Transaction
from altyn.p2p.limits import READ_AT_ONCE

log = logging.getLogger(__name__)

MAX_ORPHANS = 100
MAX_ORPHAN_WEIGHT = 400_000
"""Weight units; larger ones are not kept (Core: MAX_STANDARD_TX_WEIGHT)."""
ORPHAN_LIFETIME = 20 * 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A transaction that waits, and the peer it came from.

    Kept as it came: in memory, a witness of many small parts takes fifteen times its bytes.
    """

    raw: bytes
    wtxid: bytes
    prevouts: tuple[OutPoint, ...]
    peer_id: int
    expires_at: float

    async def read(self) -> Transaction:
        """Return the transaction, a large one read on a thread: 400,000 parts of a witness take a tenth of a second."""
        small = len(self.raw) <= READ_AT_ONCE
        return Transaction.parse(self.raw) if small else await asyncio.to_thread(Transaction.parse, self.raw)


class Orphans:
    """A bounded set of orphans by wtxid. Times are seconds of the node's clock."""

    def __init__(self, random: Random, most: int = MAX_ORPHANS) -> None:
        self._random = random
        self._most = most
        self._orphans: dict[bytes, Orphan] = {}
        self._spenders: dict[OutPoint, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._orphans)

    def __contains__(self, tx_hash: object) -> bool:
        """Whether a transaction with this wtxid waits here.

        Not by txid: somebody may have sent it with another witness to keep us from asking for the right one.
        """
        return tx_hash in self._orphans

    def get(self, wtxid: bytes) -> Orphan | None:
        return self._orphans.get(wtxid)

    def add(self, tx: Transaction, peer_id: int, now: float) -> bool:
        """Keep `tx`; False if it is here already or too large.

        Others may be dropped to make room: by chance, of the peer that has most here. A flood drives out itself.
        """
        if tx.wtxid in self._orphans or tx.weight > MAX_ORPHAN_WEIGHT:
            return False
        prevouts = tuple(txin.prevout for txin in tx.inputs)
        self._orphans[tx.wtxid] = Orphan(tx.raw, tx.wtxid, prevouts, peer_id, now + ORPHAN_LIFETIME)
        for prevout in prevouts:
            self._spenders.setdefault(prevout, {})[tx.wtxid] = None
        if len(self._orphans) > self._most:
            for wtxid in [each for each, orphan in self._orphans.items() if orphan.expires_at <= now]:
                self.remove(wtxid)
        before = len(self._orphans)
        while len(self._orphans) > self._most:
            ((greediest, _),) = Counter(orphan.peer_id for orphan in self._orphans.values()).most_common(1)
            self.remove(self._random.choice([key for key, each in self._orphans.items() if each.peer_id == greediest]))
        if before > self._most:
            log.debug("orphanage overflow, removed %d tx", before - self._most)
        return True

    def remove(self, wtxid: bytes) -> None:
        """Forget an orphan; nothing happens if it is not here."""
        orphan = self._orphans.pop(wtxid, None)
        if orphan is None:
            return
        for prevout in orphan.prevouts:
            spenders = self._spenders[prevout]
            spenders.pop(wtxid, None)
            if not spenders:
                del self._spenders[prevout]

    def remove_peer(self, peer_id: int) -> None:
        """Forget what came from a peer that left."""
        for wtxid in [each for each, orphan in self._orphans.items() if orphan.peer_id == peer_id]:
            self.remove(wtxid)

    def remove_for_block(self, transactions: Iterable[Transaction]) -> None:
        """Forget what a block confirmed or made impossible."""
        if not self._orphans:
            return
        for tx in transactions:
            for txin in tx.inputs:
                for wtxid in list(self._spenders.get(txin.prevout, ())):
                    self.remove(wtxid)

    def children(self, tx: Transaction) -> list[Orphan]:
        """Return the orphans that spend an output of `tx`, each once."""
        found: dict[bytes, Orphan] = {}
        if not self._orphans:
            return []
        for index in range(len(tx.outputs)):
            for wtxid in self._spenders.get(tx.outpoint(index), ()):
                found[wtxid] = self._orphans[wtxid]
        return list(found.values())
