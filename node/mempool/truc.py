"""Transactions of version 3, whose families are one parent and one child of limited size (BIP431)."""

from collections.abc import Collection, Sequence

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.policy import TRUC_VERSION
from altyn.node.mempool.pool import Mempool

MAX_SIZE = 10_000
"""Virtual bytes of one transaction."""
MAX_CHILD_SIZE = 1000
"""Virtual bytes of one with an unconfirmed parent."""
MAX_FAMILY = 2
"""Transactions: a parent and its child."""


def check_truc(
    entry: MempoolEntry,
    ancestors: Collection[bytes],
    direct: Collection[bytes],
    mempool: Mempool,
    *,
    may_evict: bool = True,
) -> bytes | None:
    """Refuse a newcomer that breaks the form of such families (Core: SingleTRUCChecks). Raises ValidationError.

    `direct` are the txids that it replaces anyway. Return the txid of the other child of its parent, if that has to be
    replaced too, which `may_evict` allows.
    """
    is_truc = entry.tx.version == TRUC_VERSION
    family = [mempool[txid] for txid in sorted(ancestors)]
    for parent in family:
        if (parent.tx.version == TRUC_VERSION) != is_truc:
            raise _wrong_heir(entry.tx, parent.tx)
    if not is_truc:
        return None
    if entry.vsize > MAX_SIZE:
        raise _violation(f"version=3 {_shown(entry.tx)} is too big: {entry.vsize} > {MAX_SIZE} virtual bytes")
    if len(family) + 1 > MAX_FAMILY:
        raise _violation(f"{_shown(entry.tx)} would have too many ancestors")
    for parent in family:
        if entry.vsize > MAX_CHILD_SIZE:
            raise _violation(_child_too_big(entry))
        if parent.descendant_count + 1 > MAX_FAMILY and not parent.children & set(direct):
            sibling = mempool[next(iter(parent.children))]
            if may_evict and (parent.descendant_count, sibling.ancestor_count) == (MAX_FAMILY, MAX_FAMILY):
                return sibling.txid  # a reorganisation may leave more of them, and then there is no choosing
            raise _violation(f"{_shown(parent.tx)} would exceed descendant count limit")
    return None


def check_truc_package(
    entry: MempoolEntry, ancestors: Collection[bytes], package: Sequence[Transaction], mempool: Mempool
) -> str:
    """Say how a transaction of a sorted package breaks the form of such families; "" if it does not.

    `ancestors` are those in the mempool. What single checks found is not looked for again (Core: PackageTRUCChecks).
    """
    tx = entry.tx
    spent = {txin.prevout.txid for txin in tx.inputs}
    parents = [each for each in package if each.txid in spent]
    held = [mempool[txid] for txid in sorted(ancestors)]
    if tx.version != TRUC_VERSION:
        for parent in (*(each.tx for each in held), *parents):
            if parent.version == TRUC_VERSION:
                return _wrong_heir(tx, parent).detail
        return ""
    if len(held) + len(parents) + 1 > MAX_FAMILY:
        return f"{_shown(tx)} would have too many ancestors"
    if not (held or parents):
        return ""
    if entry.vsize > MAX_CHILD_SIZE:
        return _child_too_big(entry)
    parent = held[0].tx if held else parents[0]
    if parent.version != TRUC_VERSION:
        return _wrong_heir(tx, parent).detail
    for other in package:
        spent_by_other = {txin.prevout.txid for txin in other.inputs}
        if other.txid != tx.txid and parent.txid in spent_by_other:
            return f"{_shown(parent)} would exceed descendant count limit"
        if tx.txid in spent_by_other:
            return f"{_shown(other)} would have too many ancestors"
    if held and held[0].descendant_count > 1:
        return f"{_shown(parent)} would exceed descendant count limit"
    return ""


def _child_too_big(entry: MempoolEntry) -> str:
    return f"version=3 child {_shown(entry.tx)} is too big: {entry.vsize} > {MAX_CHILD_SIZE} virtual bytes"


def _wrong_heir(child: Transaction, parent: Transaction) -> ValidationError:
    kinds = ("version=3", "non-version=3")
    own, other = kinds if child.version == TRUC_VERSION else kinds[::-1]
    return _violation(f"{own} {_shown(child)} cannot spend from {other} {_shown(parent)}")


def _shown(tx: Transaction) -> str:
    return f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"


def _violation(text: str) -> ValidationError:
    return ValidationError("TRUC-violation", text, fault=Fault.MEMPOOL_POLICY)
