"""What becomes of transactions of peers: let in, kept until their parents come, or refused (Core: txdownloadman)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.orphans import Orphans
from altyn.node.mempool.packages import PackageAcceptance
from altyn.node.sync.transactions import RecentHashes

log = logging.getLogger(__name__)

RECENT_REJECTS = 50_000
RECENT_CONFIRMED = 24_000
"""Hashes remembered of transactions that were refused since the last block, or confirmed lately."""

MENDABLE = Fault.RECONSIDERABLE, Fault.MISSING_INPUTS
"""Faults that company may mend: a child that pays, a parent that comes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a transaction that was not refused."""

    accepted: bool = False
    parents: tuple[bytes, ...] = ()
    """Txids that an orphan waits for: its sender must have them."""


class TransactionJudge:
    """Judges each transaction once, alone and then together with a child that pays for it.

    One that pays too little may be let in with a child, so it is refused like others but taken again when an orphan of
    its wants it: one parent and one child are a package.
    """

    def __init__(self, acceptance: Acceptance, random: Random, settled: Callable[[bytes], None]) -> None:
        """`settled` is told the txid or wtxid of which nobody need be asked any more."""
        self._acceptance = acceptance
        self._mempool = acceptance.mempool
        self._packages = PackageAcceptance(acceptance)
        self._random = random
        self._settled = settled
        self._orphans = Orphans(random)
        self._rejects = RecentHashes(RECENT_REJECTS)
        self._underpaid = RecentHashes(RECENT_REJECTS)
        """Wtxids of what pays too little alone, and packages that were refused (Core: reconsiderable rejects)."""
        self._confirmed = RecentHashes(RECENT_CONFIRMED)

    def has(self, tx_hash: bytes, *, underpaid: bool = True) -> bool:
        """Whether there is no point in asking for a transaction, by txid or wtxid (Core: AlreadyHaveTx).

        `underpaid` False asks for a parent: those that pay too little alone are wanted then.
        """
        mempool = self._mempool
        return (
            tx_hash in self._orphans
            or tx_hash in self._confirmed
            or tx_hash in self._rejects
            or (underpaid and tx_hash in self._underpaid)
            or tx_hash in mempool
            or mempool.get_wtxid(tx_hash) is not None
        )

    async def judge(self, tx: Transaction, peer_id: int, now: float) -> Judgement:
        """Let `tx` in, with those that waited for it, or keep it as an orphan. Raises ValidationError if refused."""
        if self.has(tx.wtxid):
            again = tx.wtxid in self._underpaid and await self._accept_with_child(tx, peer_id)
            return Judgement(accepted=again)
        try:
            await self._acceptance.accept(tx)
        except ValidationError as error:
            if error.fault is Fault.MISSING_INPUTS:
                return self._keep(tx, peer_id, now)
            self._refuse(tx, error)
            if error.fault is Fault.RECONSIDERABLE and await self._accept_with_child(tx, peer_id):
                return Judgement(accepted=True)
            raise
        await self._judge_children(tx)
        return Judgement(accepted=True)

    def remove_peer(self, peer_id: int) -> None:
        """Forget the orphans of a peer that left."""
        self._orphans.remove_peer(peer_id)

    def block_connected(self, transactions: Sequence[Transaction], hashes: Iterable[bytes]) -> None:
        """Forget what is settled by a block; `hashes` are the txids and wtxids of its transactions."""
        self._orphans.remove_for_block(transactions)
        self._confirmed.update(hashes)

    def block_disconnected(self) -> None:
        """Want again what was confirmed."""
        self._confirmed.clear()

    def tip_changed(self) -> None:
        """Want again what was refused: the next block may allow what this one did not."""
        self._rejects.clear()
        self._underpaid.clear()

    async def _accept_with_child(self, parent: Transaction, peer_id: int) -> bool:
        """Try `parent` with one of the orphans that spend it, which may pay for both; return whether they are in.

        Those of the same peer go first, for nobody else can have made them up to go with it (Core: Find1P1CPackage).
        """
        children = self._orphans.children(parent)
        own = [child for child in reversed(children) if child.peer_id == peer_id]
        others = [child for child in children if child.peer_id != peer_id]
        self._random.shuffle(others)
        for child in (*own, *others):
            package = sha256(b"".join(sorted((parent.wtxid, child.wtxid)))).digest()
            if package in self._underpaid:
                continue
            tx = await child.read()
            result = await self._packages.accept([parent, tx])
            if result.refusal is None:
                log.debug("accepted %s together with %s", parent.txid[::-1].hex(), tx.txid[::-1].hex())
                self._orphans.remove(tx.wtxid)
                for other in (parent, tx):
                    await self._judge_children(other)
                return True
            log.debug(
                "package with %s and %s refused: %s", parent.txid[::-1].hex(), tx.txid[::-1].hex(), result.refusal
            )
            self._underpaid.add(package)
            verdict = result.verdicts.get(tx.wtxid)
            if verdict is not None and verdict.error is not None and verdict.error.fault not in MENDABLE:
                self._refuse(tx, verdict.error)
                self._orphans.remove(tx.wtxid)
            return False
        return False

    async def _judge_children(self, tx: Transaction) -> None:
        """Try the orphans that waited for `tx`, then those that waited for them. What is wrong costs no peer: it
        could not have known the parent's outputs to be so.
        """
        waiting = self._orphans.children(tx)
        while waiting:
            orphan = waiting.pop()
            if self._orphans.get(orphan.wtxid) is None:
                continue
            tx = await orphan.read()
            try:
                await self._acceptance.accept(tx)
            except ValidationError as error:
                if error.fault is Fault.MISSING_INPUTS:
                    continue
                self._refuse(tx, error)
                log.debug("orphan %s refused: %s", tx.txid[::-1].hex(), error)
            else:
                waiting += self._orphans.children(tx)
            self._orphans.remove(tx.wtxid)

    def _keep(self, tx: Transaction, peer_id: int, now: float) -> Judgement:
        parents = dict.fromkeys(txin.prevout.txid for txin in tx.inputs)
        underpaid = [parent for parent in parents if parent in self._underpaid and parent not in self._mempool]
        for tx_hash in (tx.txid, tx.wtxid):
            self._settled(tx_hash)
        if len(underpaid) > 1 or any(parent in self._rejects for parent in parents):
            for tx_hash in (tx.txid, tx.wtxid):  # nothing can come of it
                self._rejects.add(tx_hash)
            log.debug("not keeping orphan with rejected parents %s", tx.txid[::-1].hex())
            return Judgement()
        self._orphans.add(tx, peer_id, now)
        return Judgement(parents=tuple(parents))

    def _refuse(self, tx: Transaction, error: ValidationError) -> None:
        """Remember a refusal, under whatever name nothing else can come."""
        self._settled(tx.wtxid)
        if error.fault is Fault.WITNESS_STRIPPED:
            return  # with its witness it may be fine, and without one its wtxid is its txid
        if error.fault is Fault.RECONSIDERABLE:
            self._underpaid.add(tx.wtxid)
            return
        self._rejects.add(tx.wtxid)
        if error.fault is Fault.INPUTS_NOT_STANDARD and tx.has_witness:
            self._rejects.add(tx.txid)  # no witness can mend that
            self._settled(tx.txid)
