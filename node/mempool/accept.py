"""Who is let into the mempool: Core's checks in Core's order, with Core's reasons (MemPoolAccept)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.checks.transactions import (
    check_inputs,
    check_transaction,
    is_final,
    sequence_locks,
    sequence_locks_met,
    sigop_cost,
)
from altyn.consensus.deployments import script_flags
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import SEQUENCE_LOCKTIME_DISABLE_FLAG
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import CLEANSTACK, MANDATORY, STANDARD, WITNESS
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Coin, OutPoint, Transaction
from altyn.node.chain.caches import ScriptCache
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.mempool.double_spends import DoubleSpends
from altyn.node.mempool.dust import check_dust_is_free, check_dust_is_spent
from altyn.node.mempool.entry import MempoolEntry, RemovalReason
from altyn.node.mempool.policy import (
    MAX_STANDARD_SIGOPS_COST,
    MIN_STANDARD_NONWITNESS_SIZE,
    TRUC_VERSION,
    are_inputs_standard,
    check_standard,
    fee_of_size,
    is_witness_standard,
)
from altyn.node.mempool.pool import MEMPOOL_HEIGHT, Mempool
from altyn.node.mempool.replace import check_independent, check_replacement, find_conflicts
from altyn.node.mempool.truc import check_truc
from altyn.node.offload import Offload
from altyn.node.writer import Writer

SMALL_WEIGHT, SMALL_SIGOP_COST = 2000, 40
"""Up to which scripts run on the event loop: a thread would take longer to be woken, and come back.

Weight alone says little: 2,000 units have room for hundreds of keys that one signature is tried with.
"""
NOTHING: Mapping[OutPoint, Coin] = {}

_MOST_OUTPUTS_LOOKED_UP = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """What one way into the mempool allows (Core: ATMPArgs)."""

    returned: bool = False
    """It was in a block: no fee is too low, and no limit is enforced before all are back."""
    replacement: bool = True
    carve_out: bool = True
    sibling_eviction: bool = True
    package_fee: bool = False
    """Its fee is judged, and what it replaces is paid for, together with that of others."""
    trim: bool = True
    """The mempool is kept within its bounds at once."""
    time: int = 0
    """When it came, in seconds; 0 for now."""


ALONE = Terms()
RETURNED = Terms(returned=True)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that may enter if its scripts hold, and the tip and mempool under which that is so."""

    entry: MempoolEntry
    coins: dict[OutPoint, Coin]
    ancestors: set[bytes]
    direct: set[bytes]
    """What it conflicts with."""
    replaces: set[bytes]
    """All that leaves for it; where others pay for that too, it is empty."""
    tip: Entry
    changes: int


class Acceptance:
    """The way into the mempool.

    A newcomer is examined on the loop, its scripts run elsewhere, and it is put in by the writer, which examines it
    again if anything moved meanwhile. Scripts need no second look: they depend on nothing but the spent outputs, and
    those are named by hash.
    """

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        writer: Writer,
        offload: Offload,
        secp: Secp256k1,
        scripts: ScriptCache | None = None,
    ) -> None:
        """`scripts` learns what the next block need not check again; then `secp` should remember signatures."""
        self._chain = chain
        self.mempool = mempool
        self._writer = writer
        self._offload = offload
        self._secp = secp
        self._scripts = scripts
        self.double_spends = DoubleSpends(mempool)

    async def accept(
        self, tx: Transaction, *, test_only: bool = False, max_feerate: int = 0, terms: Terms = ALONE
    ) -> Candidate:
        """Let `tx` in and return its candidate; with `test_only` only tell what that would be.

        `max_feerate`, in satoshis per 1000 virtual bytes, refuses a higher fee ("max-fee-exceeded"); 0 is no limit.
        Raises ValidationError with Core's reason; its `fault` is MISSING_INPUTS where a parent may be unknown yet.
        Must not be called from a job of the writer.
        """
        try:
            candidate = self.examine(tx, terms)
        except ValidationError as error:
            if not test_only and error.fault in (Fault.RECONSIDERABLE, Fault.MEMPOOL_POLICY):
                await self._note_rival(tx)
            raise
        await self.check_scripts(candidate)
        if max_feerate and candidate.entry.fee > fee_of_size(max_feerate, candidate.entry.vsize):
            raise ValidationError("max-fee-exceeded", fault=Fault.MEMPOOL_POLICY)
        if test_only:
            return candidate
        (candidate,) = await self.enter([candidate], lambda: [self.examine(tx, terms)], trim=terms.trim)
        if candidate.entry.txid not in self.mempool:
            raise ValidationError("mempool full", fault=Fault.RECONSIDERABLE)
        return candidate

    async def enter(
        self, candidates: Sequence[Candidate], again: Callable[[], Sequence[Candidate]], *, trim: bool = True
    ) -> Sequence[Candidate]:
        """Put in candidates whose scripts hold, in place of what they replace, and return them.

        `again` examines them once more where tip or mempool moved meanwhile; what it raises is raised here. `trim`
        then keeps the mempool within its bounds, which may throw out some of them.
        """

        def commit() -> Sequence[Candidate]:
            now = self._chain.tip, self.mempool.changes
            valid = candidates if all((each.tip, each.changes) == now for each in candidates) else again()
            for each in valid:
                if each.replaces:
                    self.double_spends.note(each.entry.tx, replaced=True)
                    self.mempool.remove(each.replaces, RemovalReason.REPLACED)
            for each in valid:
                self.mempool.add(each.entry)
            if trim:
                self.mempool.enforce_bounds()
            return valid

        return await self._writer.do_now(commit)

    async def readmit(self, tx: Transaction) -> None:
        """Put back what a block held that is no longer active, at whatever fee. Raises ValidationError.

        For jobs of the writer. Bounds are not enforced: that is for the caller, once all are back.
        """
        candidate = self.examine(tx, RETURNED)
        await self.check_scripts(candidate)
        self.mempool.remove(candidate.replaces, RemovalReason.REPLACED)
        self.mempool.add(candidate.entry)

    def examine(self, tx: Transaction, terms: Terms = ALONE, others: Mapping[OutPoint, Coin] = NOTHING) -> Candidate:
        """Make every check but that of the scripts (Core: PreChecks, ReplacementChecks). Raises ValidationError.

        `others` are the outputs of transactions that are to enter with this one.
        """
        mempool, limits, tip = self.mempool, self.mempool.limits, self._chain.tip
        check_transaction(tx)
        if tx.is_coinbase:
            raise ValidationError("coinbase")
        if limits.require_standard:
            check_standard(tx, limits)
        if len(tx.stripped) < MIN_STANDARD_NONWITNESS_SIZE:
            raise ValidationError("tx-size-small", fault=Fault.NOT_STANDARD)
        if not is_final(tx, tip.height + 1, tip.median_time_past):
            raise ValidationError("non-final", fault=Fault.PREMATURE)
        if mempool.get_wtxid(tx.wtxid) is not None:
            raise ValidationError("txn-already-in-mempool", fault=Fault.CONFLICT)
        if tx.txid in mempool:
            raise ValidationError("txn-same-nonwitness-data-in-mempool", fault=Fault.CONFLICT)
        direct = find_conflicts(tx, mempool, allowed=terms.replacement)
        coins = self._find_coins(tx, others)
        self.check_sequence_locks(tx, coins)
        fee = check_inputs(tx, coins, tip.height + 1, self._chain.network.coinbase_maturity)
        if limits.require_standard and not are_inputs_standard(tx, coins):
            raise ValidationError("bad-txns-nonstandard-inputs", fault=Fault.INPUTS_NOT_STANDARD)
        if limits.require_standard and tx.has_witness and not is_witness_standard(tx, coins):
            raise ValidationError("bad-witness-nonstandard", fault=Fault.WITNESS_MUTATED)
        cost = sigop_cost(tx, coins, STANDARD)
        entry = MempoolEntry(
            tx,
            fee=fee,
            time=terms.time or int(mempool.clock.now()),
            height=tip.height,
            sequence=0 if terms.returned else mempool.sequence,
            sigop_cost=cost,
            spends_coinbase=any(coin.is_coinbase for coin in coins.values()),
            bytes_per_sigop=limits.bytes_per_sigop,
            together=terms.package_fee,
        )
        if cost > MAX_STANDARD_SIGOPS_COST:
            raise ValidationError("bad-txns-too-many-sigops", str(cost), fault=Fault.NOT_STANDARD)
        entry.modified_fee = fee + mempool.fee_delta(tx.txid)
        if limits.require_standard:
            check_dust_is_free(entry, limits)
        if not terms.returned:
            self._check_fee(entry, terms)
        replaced = mempool[next(iter(direct))] if len(direct) == 1 else None
        ancestors = mempool.check_family_limits(tx, entry.vsize, carve_out=terms.carve_out, replaced=replaced)
        sibling = check_truc(entry, ancestors, direct, mempool, may_evict=terms.sibling_eviction)
        if sibling is not None:
            direct.add(sibling)
        check_independent(entry, ancestors, direct)
        leaving: set[bytes] = set()
        if direct and not terms.package_fee:
            leaving = check_replacement(entry, direct, mempool, evicts_sibling=sibling is not None)
        if limits.require_standard and ancestors and not others:
            check_dust_is_spent([tx], mempool)
        return Candidate(entry, coins, ancestors, direct, leaving, tip, mempool.changes)

    def _find_coins(self, tx: Transaction, others: Mapping[OutPoint, Coin] = NOTHING) -> dict[OutPoint, Coin]:
        coins = {}
        view = self._chain.coins
        for txin in tx.inputs:
            coin = self.mempool.coin(txin.prevout) or view.get(txin.prevout) or others.get(txin.prevout)
            if coin is not None:
                coins[txin.prevout] = coin
                continue
            own = range(min(len(tx.outputs), _MOST_OUTPUTS_LOOKED_UP))
            if any(view.get(tx.outpoint(index)) is not None for index in own):
                raise ValidationError("txn-already-known", fault=Fault.CONFLICT)
            raise ValidationError("bad-txns-inputs-missingorspent", fault=Fault.MISSING_INPUTS)
        return coins

    def is_confirmed(self, outpoint: OutPoint) -> bool:
        """Tell whether the active chain has made an output that it has not spent."""
        return self._chain.coins.get(outpoint) is not None

    def check_sequence_locks(self, tx: Transaction, coins: dict[OutPoint, Coin]) -> None:
        """Refuse what the next block could not hold for its relative lock times (BIP68). Raises ValidationError."""
        tip = self._chain.tip
        heights = [
            tip.height + 1 if coin.height == MEMPOOL_HEIGHT else coin.height
            for coin in (coins[txin.prevout] for txin in tx.inputs)
        ]
        if not sequence_locks_met(sequence_locks(tx, heights, tip), tip):
            raise ValidationError("non-BIP68-final", fault=Fault.PREMATURE)

    def is_mineable(self, entry: MempoolEntry) -> bool:
        """Tell whether the next block could hold a transaction of the pool: final, its coins there and ripe."""
        tx, tip = entry.tx, self._chain.tip
        if tx.lock_time and not is_final(tx, tip.height + 1, tip.median_time_past):
            return False
        relative = tx.version >= 2 and any(not txin.sequence & SEQUENCE_LOCKTIME_DISABLE_FLAG for txin in tx.inputs)
        if not relative and not entry.spends_coinbase:
            return True
        try:
            coins = self._find_coins(tx)
            self.check_sequence_locks(tx, coins)
        except ValidationError:
            return False
        maturity = self._chain.network.coinbase_maturity
        return not any(each.is_coinbase and tip.height + 1 - each.height < maturity for each in coins.values())

    def _check_fee(self, entry: MempoolEntry, terms: Terms) -> None:
        fee, relay_fee = entry.modified_fee, fee_of_size(self.mempool.limits.min_relay_feerate, entry.vsize)
        if fee < relay_fee and entry.tx.version != TRUC_VERSION:  # no relative can mend that: it might leave again
            raise ValidationError("min relay fee not met", f"{fee} < {relay_fee}", fault=Fault.MEMPOOL_POLICY)
        if not terms.package_fee:
            self.check_feerate(fee, entry.vsize)

    def check_feerate(self, fee: int, vsize: int) -> None:
        """Refuse less than what is let in now (Core: CheckFeeRate). Raises ValidationError."""
        for reason, feerate in (
            ("mempool min fee not met", self.mempool.min_feerate()),
            ("min relay fee not met", self.mempool.limits.min_relay_feerate),
        ):
            needed = fee_of_size(feerate, vsize)
            if fee < needed:
                raise ValidationError(reason, f"{fee} < {needed}", fault=Fault.RECONSIDERABLE)

    async def check_scripts(self, candidate: Candidate) -> None:
        """Run the scripts elsewhere, under the rules of relay and of blocks. Raises ValidationError."""
        tx, scripts = candidate.entry.tx, self._scripts
        flags = script_flags(self._chain.network, candidate.tip.height + 1, b"") if scripts is not None else None
        if tx.weight <= SMALL_WEIGHT and candidate.entry.sigop_cost <= SMALL_SIGOP_COST:
            passed = check_scripts(tx, candidate.coins, self._secp, flags)
        else:
            passed = await self._offload(check_scripts, tx, candidate.coins, self._secp, flags)
        if passed and scripts is not None and flags is not None:
            scripts.add(tx.wtxid, flags)

    async def _note_rival(self, tx: Transaction) -> None:
        """Remember a transaction that is refused, if it is a double spend that its owner has signed."""
        if not self.double_spends.should_check(tx):
            return
        try:
            await self._offload(check_scripts, tx, self._find_coins(tx), self._secp)
        except ValidationError:
            return  # anybody could have made it: it says nothing
        self.double_spends.note(tx, replaced=False)


def check_scripts(
    tx: Transaction, coins: dict[OutPoint, Coin], secp: Secp256k1, block_flags: int | None = None
) -> bool:
    """Run the scripts of all inputs under the rules of relay (Core: PolicyScriptChecks). Raises ValidationError.

    The reason tells whether a block could hold the transaction nevertheless. Return whether they pass under
    `block_flags` too, by a second run (Core: ConsensusScriptChecks): False unless given.
    """
    cache = SighashCache(tx, [coins[txin.prevout].output for txin in tx.inputs])
    for index in range(len(tx.inputs)):
        error = _script_error(tx, index, cache, STANDARD, secp)
        if error is None:
            continue
        if _script_error(tx, index, cache, STANDARD & MANDATORY, secp) is None:
            reason, fault = f"non-mandatory-script-verify-flag ({error.code.text})", Fault.NOT_STANDARD
        else:
            reason, fault = f"mandatory-script-verify-flag-failed ({error.code.text})", Fault.CONSENSUS
        if not tx.has_witness and _lacks_only_witness(tx, cache, secp):
            fault = Fault.WITNESS_STRIPPED
        raise ValidationError(reason, fault=fault)
    return block_flags is not None and all(
        _script_error(tx, index, cache, block_flags, secp) is None for index in range(len(tx.inputs))
    )


def _script_error(tx: Transaction, index: int, cache: SighashCache, flags: int, secp: Secp256k1) -> ScriptError | None:
    try:
        ScriptCheck(tx, index, cache, flags).run(secp)
    except ScriptError as error:
        return error
    return None


def _lacks_only_witness(tx: Transaction, cache: SighashCache, secp: Secp256k1) -> bool:
    """Tell whether all scripts hold without the rules of witnesses, and some do not with them."""
    inputs = range(len(tx.inputs))
    relaxed = STANDARD & ~CLEANSTACK  # which cannot be demanded without WITNESS
    return all(_script_error(tx, index, cache, relaxed & ~WITNESS, secp) is None for index in inputs) and any(
        _script_error(tx, index, cache, relaxed, secp) is not None for index in inputs
    )
