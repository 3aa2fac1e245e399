"""Transactions that are judged together: a child that pays for its parents (Core: ProcessNewPackage)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Coin, OutPoint, Transaction
from altyn.node.mempool.accept import Acceptance, Candidate, Terms
from altyn.node.mempool.dust import UnspentDust, check_dust_is_spent
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.policy import feerate_of
from altyn.node.mempool.pool import MEMPOOL_HEIGHT, Mempool
from altyn.node.mempool.replace import all_leaving, show_feerate, unpaid
from altyn.node.mempool.truc import check_truc_package

MAX_PACKAGE_COUNT = 25
MAX_PACKAGE_WEIGHT = 404_000
"""Weight units of all transactions of a package."""

_ONE_OF_A_PACKAGE = Terms(carve_out=False, trim=False)
_TOGETHER = Terms(carve_out=False, sibling_eviction=False, package_fee=True, trim=False)
_TRIED_TOGETHER = Terms(replacement=False, carve_out=False, sibling_eviction=False, trim=False)
"""How testmempoolaccept looks at several: as if one after the other came, and none replaced anything."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one transaction: it is in the mempool, or `error` says why not.

    `feerate`, satoshis per 1000 virtual bytes, is the one it was judged by, and `includes` the wtxids that it was
    taken over; None where it was in the mempool before. `other_wtxid` is of the same transaction with another witness,
    which is there instead.
    """

    vsize: int = 0
    fee: int = 0
    feerate: int | None = None
    includes: tuple[bytes, ...] = ()
    replaced: frozenset[bytes] = frozenset()
    other_wtxid: bytes | None = None
    error: ValidationError | None = None


class PackageRefused(ValidationError):
    """The package as a whole is refused, some of its transactions perhaps for reasons of their own.

    `is_policy` tells that the package has the wrong form, or would do what is not allowed, whatever its transactions.
    """

    def __init__(
        self, reason: str, detail: str = "", *, is_policy: bool = True, verdicts: Mapping[bytes, Verdict] | None = None
    ) -> None:
        super().__init__(reason, detail, fault=Fault.MEMPOOL_POLICY)
        self.is_policy = is_policy
        self.verdicts = verdicts or {}


@dataclass(slots=True)
class PackageResult:
    """What became of a package: verdicts by wtxid, as far as one was reached, and why it was refused as a whole."""

    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    refusal: PackageRefused | None = None

    @property
    def message(self) -> str:
        return "success" if self.refusal is None else str(self.refusal)


def check_form(transactions: Sequence[Transaction]) -> None:
    """Refuse what cannot be a package, whatever the mempool (Core: IsWellFormedPackage). Raises PackageRefused."""
    if len(transactions) > MAX_PACKAGE_COUNT:
        raise PackageRefused("package-too-many-transactions")
    if len(transactions) > 1 and sum(tx.weight for tx in transactions) > MAX_PACKAGE_WEIGHT:
        raise PackageRefused("package-too-large")
    later = {tx.txid for tx in transactions}
    if len(later) != len(transactions):
        raise PackageRefused("package-contains-duplicates")
    for tx in transactions:
        if any(txin.prevout[:32] in later for txin in tx.inputs):
            raise PackageRefused("package-not-sorted")
        later.remove(tx.txid)
    spent: set[OutPoint] = set()
    for tx in transactions:
        prevouts = {txin.prevout for txin in tx.inputs}
        if not tx.inputs or prevouts & spent:
            raise PackageRefused("conflict-in-package")
        spent |= prevouts


def is_child_with_parents(transactions: Sequence[Transaction]) -> bool:
    """Tell whether all but the last are parents of the last."""
    *parents, child = transactions
    spent = {txin.prevout.txid for txin in child.inputs}
    return bool(parents) and all(tx.txid in spent for tx in parents)


def is_tree(transactions: Sequence[Transaction]) -> bool:
    """Tell whether all but the last are parents of the last, and do not depend on each other."""
    parents = {tx.txid for tx in transactions[:-1]}
    return is_child_with_parents(transactions) and not any(
        txin.prevout[:32] in parents for tx in transactions[:-1] for txin in tx.inputs
    )


class PackageAcceptance:
    """The way into the mempool for transactions that only together pay enough."""

    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance
        self._mempool = acceptance.mempool

    async def accept(self, transactions: Sequence[Transaction], max_feerate: int = 0) -> PackageResult:
        """Let in a child with all its unconfirmed parents, the child last, as far as they hold.

        Each is tried alone first; those that pay too little then together with the others. No transaction may have a
        feerate above `max_feerate`, in satoshis per 1000 virtual bytes, unless that is 0. Never raises
        ValidationError; must not be called from a job of the writer (Core: AcceptPackage).
        """
        result = PackageResult()
        try:
            check_form(transactions)
            self._check_family(transactions)
        except PackageRefused as refused:
            result.refusal = refused
            return result
        rest = await self._accept_each(transactions, max_feerate, result)
        if rest and result.refusal is None:
            try:
                result.verdicts |= await self._accept_together(rest, max_feerate)
            except PackageRefused as refused:
                result.refusal = refused
                result.verdicts |= refused.verdicts
        await self._acceptance.enter([], lambda: [])
        for tx in transactions:
            if result.verdicts[tx.wtxid].error is None and tx.txid not in self._mempool:
                result.refusal = _failed()
                result.verdicts[tx.wtxid] = _refused(ValidationError("mempool full", fault=Fault.MEMPOOL_POLICY))
        return result

    async def test(self, transactions: Sequence[Transaction]) -> PackageResult:
        """Tell what would become of several transactions that come one after the other; change nothing."""
        result = PackageResult()
        try:
            check_form(transactions)
            candidates = self._examine(transactions, _TRIED_TOGETHER)
            for candidate in candidates:
                await self._check_scripts(candidate, result.verdicts)
                result.verdicts[candidate.entry.wtxid] = _alone(candidate)
        except PackageRefused as refused:
            result.refusal = refused
            result.verdicts |= refused.verdicts
        return result

    async def test_alone(self, tx: Transaction) -> Verdict:
        """Tell what would become of one transaction; change nothing."""
        try:
            return _alone(await self._acceptance.accept(tx, test_only=True))
        except ValidationError as error:
            return _refused(error)

    def _check_family(self, transactions: Sequence[Transaction]) -> None:
        if not is_child_with_parents(transactions):
            raise PackageRefused("package-not-child-with-parents")
        parents = {tx.txid for tx in transactions[:-1]}
        for txin in transactions[-1].inputs:
            if txin.prevout.txid not in parents and not self._acceptance.is_confirmed(txin.prevout):
                raise PackageRefused("package-not-child-with-unconfirmed-parents")

    async def _accept_each(
        self, transactions: Sequence[Transaction], max_feerate: int, result: PackageResult
    ) -> list[Transaction]:
        """Try each alone, and return those that others may yet pay for; their own refusals are in `result`."""
        rest = []
        for tx in transactions:
            held = self._mempool.get(tx.txid)
            if held is not None:
                same = held.wtxid == tx.wtxid
                verdict = Verdict(held.vsize, held.fee) if same else Verdict(other_wtxid=held.wtxid)
            else:
                try:
                    verdict = _alone(await self._accept_one(tx, max_feerate))
                except ValidationError as error:
                    verdict = _refused(error)
                    if error.fault in (Fault.RECONSIDERABLE, Fault.MISSING_INPUTS):
                        rest.append(tx)
                    else:
                        result.refusal = _failed()
            result.verdicts[tx.wtxid] = verdict
        return rest

    async def _accept_one(self, tx: Transaction, max_feerate: int) -> Candidate:
        if max_feerate:
            _check_max_feerate(self._acceptance.examine(tx, _ONE_OF_A_PACKAGE).entry, max_feerate)
        return await self._acceptance.accept(tx, terms=_ONE_OF_A_PACKAGE)

    async def _accept_together(self, transactions: Sequence[Transaction], max_feerate: int) -> dict[bytes, Verdict]:
        """Let in all or none. Raises PackageRefused."""
        if len(transactions) == 1:  # what it lacks, nobody here can give
            raise _failed()

        def examine() -> list[Candidate]:
            return self._examine(transactions, _TOGETHER, max_feerate)

        candidates: Sequence[Candidate] = examine()
        for candidate in candidates:
            await self._check_scripts(candidate, {})
        candidates = await self._acceptance.enter(candidates, examine)
        feerate = feerate_of(*_totals(candidates))
        includes = tuple(each.entry.wtxid for each in candidates)
        return {
            each.entry.wtxid: Verdict(
                each.entry.vsize, each.entry.fee, feerate, includes, replaced=frozenset(each.replaces)
            )
            for each in candidates
        }

    def _examine(self, transactions: Sequence[Transaction], terms: Terms, max_feerate: int = 0) -> list[Candidate]:
        """Make every check but that of the scripts (Core: AcceptMultipleTransactions). Raises PackageRefused."""
        mempool = self._mempool
        candidates: list[Candidate] = []
        made: dict[OutPoint, Coin] = {}
        for tx in transactions:
            try:
                candidate = self._acceptance.examine(tx, terms, made)
                _check_max_feerate(candidate.entry, max_feerate)
            except ValidationError as error:
                raise _failed({tx.wtxid: _refused(error)}) from error
            candidates.append(candidate)
            made |= {tx.outpoint(n): Coin(output, MEMPOOL_HEIGHT, False) for n, output in enumerate(tx.outputs)}
        for candidate in candidates:
            violation = check_truc_package(candidate.entry, candidate.ancestors, transactions, mempool)
            if violation:
                raise PackageRefused("TRUC-violation", violation)
        fee, vsize = _totals(candidates)
        if terms.package_fee:
            try:
                self._acceptance.check_feerate(fee, vsize)
            except ValidationError as error:
                raise _failed({transactions[-1].wtxid: _refused(error)}) from error
        text = mempool.check_package_limits(transactions, vsize)
        if text:
            raise PackageRefused("package-mempool-limits", text)
        if any(candidate.direct for candidate in candidates):
            candidates[0].replaces.update(self._check_replacement(candidates, fee, vsize))
        if mempool.limits.require_standard:
            try:
                check_dust_is_spent(transactions, mempool)
            except UnspentDust as error:
                raise PackageRefused(
                    "unspent-dust", is_policy=False, verdicts={error.tx.wtxid: _refused(error)}
                ) from error
        return candidates

    def _check_replacement(self, candidates: Sequence[Candidate], fee: int, vsize: int) -> set[bytes]:
        """Return what leaves for one parent and one child. Raises PackageRefused (Core: PackageMempoolChecks)."""
        if len(candidates) != 2 or not is_child_with_parents([each.entry.tx for each in candidates]):
            raise _no_replacement("package must be 1-parent-1-child")
        if any(candidate.ancestors for candidate in candidates):
            raise _no_replacement("new transaction cannot have mempool ancestors")
        mempool = self._mempool
        parent, child = (candidate.entry for candidate in candidates)
        direct = candidates[0].direct | candidates[1].direct
        who = child.txid[::-1].hex()
        try:
            leaving = all_leaving(direct, mempool, who, "too many potential replacements")
        except ValidationError as error:
            raise _no_replacement(error.reason, error.detail) from error
        too_little = unpaid(leaving, fee, vsize, mempool, who)
        if too_little:
            raise _no_replacement("insufficient anti-DoS fees", too_little)
        feerate, alone = feerate_of(fee, vsize), feerate_of(parent.modified_fee, parent.vsize)
        if feerate <= alone:
            raise _no_replacement(
                "package feerate is less than or equal to parent feerate",
                f"package feerate {show_feerate(feerate)} <= parent feerate is {show_feerate(alone)}",
            )
        text = _too_entangled(direct, mempool)
        if not text and not _is_better(_new_chunks(direct, leaving, mempool, (fee, vsize)), _chunks(leaving, mempool)):
            text = "insufficient feerate: does not improve feerate diagram"
        if text:
            raise _no_replacement(text)
        return leaving

    async def _check_scripts(self, candidate: Candidate, verdicts: Mapping[bytes, Verdict]) -> None:
        try:
            await self._acceptance.check_scripts(candidate)
        except ValidationError as error:
            raise _failed({**verdicts, candidate.entry.wtxid: _refused(error)}) from error


def _alone(candidate: Candidate) -> Verdict:
    entry = candidate.entry
    feerate = feerate_of(entry.modified_fee, entry.vsize)
    return Verdict(entry.vsize, entry.fee, feerate, (entry.wtxid,), replaced=frozenset(candidate.replaces))


def _refused(error: ValidationError) -> Verdict:
    return Verdict(error=error)


def _failed(verdicts: Mapping[bytes, Verdict] | None = None) -> PackageRefused:
    return PackageRefused("transaction failed", is_policy=False, verdicts=verdicts)


def _no_replacement(text: str, detail: str = "") -> PackageRefused:
    return PackageRefused(f"package RBF failed: {text}", detail)


def _check_max_feerate(entry: MempoolEntry, most: int) -> None:
    if most and feerate_of(entry.modified_fee, entry.vsize) > most:
        raise ValidationError("max feerate exceeded", fault=Fault.MEMPOOL_POLICY)


def _totals(candidates: Sequence[Candidate]) -> tuple[int, int]:
    return sum(each.entry.modified_fee for each in candidates), sum(each.entry.vsize for each in candidates)


# What a replacement by a package does to the feerates that a miner can have, least to lose first. A chunk is what is
# mined together, as (fee in satoshis, virtual bytes).
Chunk = tuple[int, int]


def _too_entangled(direct: set[bytes], mempool: Mempool) -> str:
    """Say what keeps `direct` and their relatives from being alone or in pairs (Core: CheckConflictTopology)."""
    for txid in sorted(direct):
        entry, shown = mempool[txid], txid[::-1].hex()
        above, below = entry.ancestor_count - 1, entry.descendant_count - 1
        if above > 1:
            return f"{shown} has {above} ancestors, max 1 allowed"
        if below > 1:
            return f"{shown} has {below} descendants, max 1 allowed"
        if above and below:
            return f"{shown} has both ancestor and descendant, exceeding cluster limit of 2"
        for other in entry.children:
            if mempool[other].ancestor_count > 2:
                return f"{shown} is not the only parent of child {other[::-1].hex()}"
        for other in entry.parents:
            if mempool[other].descendant_count > 2:
                return f"{shown} is not the only child of parent {other[::-1].hex()}"
    return ""


def _chunks(leaving: set[bytes], mempool: Mempool) -> list[Chunk]:
    """Return the chunks of what leaves and their parents, who are alone or in pairs (Core: CalculateChunksForRBF)."""
    chunks: list[Chunk] = []
    for entry in map(mempool.__getitem__, leaving):
        if entry.descendant_count > 1:
            continue  # counted with its child
        own, all_ = (entry.modified_fee, entry.vsize), (entry.ancestor_fees, entry.ancestor_size)
        if entry.ancestor_count == 1 or Fraction(*own) > Fraction(*all_):
            chunks.append(all_)
        else:
            chunks += [(all_[0] - own[0], all_[1] - own[1]), own]
    return chunks


def _new_chunks(direct: set[bytes], leaving: set[bytes], mempool: Mempool, package: Chunk) -> list[Chunk]:
    left_behind = {txid for each in direct for txid in mempool[each].parents - leaving}
    return [package, *((mempool[txid].modified_fee, mempool[txid].vsize) for txid in left_behind)]


def _is_better(new: list[Chunk], old: list[Chunk]) -> bool:
    """Tell whether a miner has more of `new` at some size of block, and less at none (Core: CompareChunks)."""
    sizes = {size for chunks in (new, old) for size, _ in _corners(chunks)}
    gains = [_fees_at(new, size) - _fees_at(old, size) for size in sizes]
    return min(gains) >= 0 and max(gains) > 0


def _corners(chunks: list[Chunk]) -> Iterator[tuple[int, int]]:
    size = fees = 0
    yield 0, 0
    for fee, vsize in sorted(chunks, key=lambda chunk: Fraction(*chunk), reverse=True):
        size, fees = size + vsize, fees + fee
        yield size, fees


def _fees_at(chunks: list[Chunk], size: int) -> Fraction:
    before = 0, 0
    for corner in _corners(chunks):
        if corner[0] >= size:
            width = corner[0] - before[0]
            return before[1] + (Fraction((corner[1] - before[1]) * (size - before[0]), width) if width else Fraction(0))
        before = corner
    return Fraction(before[1])
