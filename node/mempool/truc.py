"""Transactions of version 3, whose families are one parent and one child of limited size (BIP431).

Eviction of a sibling belongs to replacement, which is not offered yet: a second child is refused.
"""

from collections.abc import Collection

from altyn.consensus.errors import Fault, ValidationError
from altyn.node.mempool.policy import TRUC_VERSION
from altyn.node.mempool.pool import Mempool, MempoolEntry

MAX_SIZE = 10_000
"""Virtual bytes of one transaction."""
MAX_CHILD_SIZE = 1000
"""Virtual bytes of one with an unconfirmed parent."""
MAX_FAMILY = 2
"""Transactions: a parent and its child."""


def check_truc(entry: MempoolEntry, ancestors: Collection[bytes], mempool: Mempool) -> None:
    """Refuse a newcomer that breaks the form of such families (Core: SingleTRUCChecks). Raises ValidationError."""
    is_truc = entry.tx.version == TRUC_VERSION
    family = [parent for txid in sorted(ancestors) if (parent := mempool.get(txid)) is not None]
    for parent in family:
        if (parent.tx.version == TRUC_VERSION) != is_truc:
            kinds = ("version=3", "non-version=3") if is_truc else ("non-version=3", "version=3")
            raise _violation(f"{kinds[0]} {_shown(entry)} cannot spend from {kinds[1]} {_shown(parent)}")
    if not is_truc:
        return
    if entry.vsize > MAX_SIZE:
        raise _violation(f"version=3 {_shown(entry)} is too big: {entry.vsize} > {MAX_SIZE} virtual bytes")
    if len(family) + 1 > MAX_FAMILY:
        raise _violation(f"{_shown(entry)} would have too many ancestors")
    for parent in family:
        if entry.vsize > MAX_CHILD_SIZE:
            text = f"version=3 child {_shown(entry)} is too big: {entry.vsize} > {MAX_CHILD_SIZE} virtual bytes"
            raise _violation(text)
        if parent.descendant_count + 1 > MAX_FAMILY:
            raise _violation(f"{_shown(parent)} would exceed descendant count limit")


def _shown(entry: MempoolEntry) -> str:
    return f"tx {entry.txid[::-1].hex()} (wtxid={entry.wtxid[::-1].hex()})"


def _violation(text: str) -> ValidationError:
    return ValidationError("TRUC-violation", text, fault=Fault.MEMPOOL_POLICY)
