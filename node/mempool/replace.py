"""When a newcomer takes the place of what spends the same coins (BIP125, and Core's rules beyond it)."""

from collections.abc import Collection

from altyn.consensus.checks.transactions import format_money
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import COIN
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.policy import TRUC_VERSION, fee_of_size, feerate_of, signals_replacement
from altyn.node.mempool.pool import Mempool

MAX_REPLACED = 100
"""Transactions that one newcomer, or package, may put out (Core: MAX_REPLACEMENT_CANDIDATES)."""


def find_conflicts(tx: Transaction, mempool: Mempool, *, allowed: bool = True) -> set[bytes]:
    """Return the txids in the pool that spend an output which `tx` spends.

    Raises ValidationError where one of them may not be replaced: "bip125-replacement-disallowed" unless `allowed`,
    "txn-mempool-conflict" for one that does not signal it, without -mempoolfullrbf.
    """
    found = set()
    for txin in tx.inputs:
        rival = mempool.spender(txin.prevout)
        if rival is None:
            continue
        if not allowed:
            raise ValidationError("bip125-replacement-disallowed", fault=Fault.MEMPOOL_POLICY)
        if not (mempool.limits.full_rbf or rival.tx.version == TRUC_VERSION or signals_replacement(rival.tx)):
            raise ValidationError("txn-mempool-conflict", fault=Fault.MEMPOOL_POLICY)
        found.add(rival.txid)
    return found


def check_replacement(
    newcomer: MempoolEntry, direct: Collection[bytes], mempool: Mempool, *, evicts_sibling: bool = False
) -> set[bytes]:
    """Return all that leaves for `newcomer`: those it conflicts with, `direct`, and their descendants.

    Raises ValidationError with Core's reason where it pays too little or asks too much (Core: ReplacementChecks).
    `evicts_sibling`: among `direct` is a child of the same parent of version 3, without a common coin.
    """
    suffix = " (including sibling eviction)" if evicts_sibling else ""
    who = newcomer.txid[::-1].hex()
    feerate = feerate_of(newcomer.modified_fee, newcomer.vsize)
    for txid in sorted(direct):
        rival = mempool[txid]
        theirs = feerate_of(rival.modified_fee, rival.vsize)
        if feerate <= theirs:
            text = f"rejecting replacement {who}; new feerate {show_feerate(feerate)} <= old feerate "
            raise ValidationError(f"insufficient fee{suffix}", text + show_feerate(theirs), fault=Fault.RECONSIDERABLE)
    leaving = all_leaving(direct, mempool, who, f"too many potential replacements{suffix}")
    known_parents = {txin.prevout[:32] for txid in leaving for txin in mempool[txid].tx.inputs}
    for index, txin in enumerate(newcomer.tx.inputs):
        parent = txin.prevout[:32]
        if parent not in known_parents and parent in mempool:
            text = f"replacement {who} adds unconfirmed input, idx {index}"
            raise ValidationError("replacement-adds-unconfirmed", text, fault=Fault.MEMPOOL_POLICY)
    too_little = unpaid(leaving, newcomer.modified_fee, newcomer.vsize, mempool, who)
    if too_little:
        raise ValidationError(f"insufficient fee{suffix}", too_little, fault=Fault.RECONSIDERABLE)
    return leaving


def all_leaving(direct: Collection[bytes], mempool: Mempool, who: str, reason: str) -> set[bytes]:
    """Return `direct` and all that depends on them. Raises ValidationError with `reason` where they are too many.

    Those that depend on several of them are counted as often as that, which keeps the count cheap (Core: rule 5).
    """
    count = 0
    for txid in sorted(direct):
        count += mempool[txid].descendant_count
        if count > MAX_REPLACED:
            text = f"rejecting replacement {who}; too many potential replacements ({count} > {MAX_REPLACED})"
            raise ValidationError(reason, text, fault=Fault.MEMPOOL_POLICY)
    return set(direct).union(*map(mempool.descendants, direct))


def unpaid(leaving: Collection[bytes], fee: int, vsize: int, mempool: Mempool, who: str) -> str:
    """Say why `fee`, in satoshis, for `vsize` virtual bytes does not pay for what leaves; "" if it does.

    It must not be less than what they paid together, and pay for its own relay beside (Core: rules 3 and 4).
    """
    paid = sum(mempool[txid].modified_fee for txid in leaving)
    if fee < paid:
        shown = f"{format_money(fee)} < {format_money(paid)}"
        return f"rejecting replacement {who}, less fees than conflicting txs; {shown}"
    relay_fee = fee_of_size(mempool.limits.incremental_relay_feerate, vsize)
    if fee - paid < relay_fee:
        shown = f"{format_money(fee - paid)} < {format_money(relay_fee)}"
        return f"rejecting replacement {who}, not enough additional fees to relay; {shown}"
    return ""


def check_independent(newcomer: MempoolEntry, ancestors: Collection[bytes], direct: Collection[bytes]) -> None:
    """Refuse what depends on a transaction that it would replace. Raises ValidationError."""
    for txid in sorted(ancestors):
        if txid in direct:
            text = f"{newcomer.txid[::-1].hex()} spends conflicting transaction {txid[::-1].hex()}"
            raise ValidationError("bad-txns-spends-conflicting-tx", text)


def show_feerate(feerate: int) -> str:
    """Return a feerate in satoshis per 1000 virtual bytes as Core writes it (CFeeRate::ToString)."""
    return f"{feerate // COIN}.{feerate % COIN:08d} BTC/kvB"
