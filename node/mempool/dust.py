"""Dust that lives only within a package: its maker pays no fee, and the child that does spends it (Core 29)."""

from collections.abc import Sequence

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import OutPoint, Transaction
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.policy import PolicyLimits, is_dust
from altyn.node.mempool.pool import Mempool


def check_dust_is_free(entry: MempoolEntry, limits: PolicyLimits) -> None:
    """Refuse a fee of what makes dust, which nobody would mine without it (Core: PreCheckEphemeralTx).

    Raises ValidationError.
    """
    if (entry.fee or entry.modified_fee) and _dust_of(entry.tx, limits):
        raise ValidationError("dust", "tx with dust output must be 0-fee", fault=Fault.NOT_STANDARD)


def check_dust_is_spent(transactions: Sequence[Transaction], mempool: Mempool) -> None:
    """Refuse a child, here of parents before it or in the mempool, that leaves dust of a parent behind.

    Raises ValidationError (Core: CheckEphemeralSpends).
    """
    package = {tx.txid: tx for tx in transactions}
    for tx in transactions:
        spent = {txin.prevout for txin in tx.inputs}
        for txid in {prevout.txid for prevout in spent}:
            held = mempool.get(txid)
            parent = package.get(txid) or (held.tx if held is not None else None)
            if parent is not None and not _dust_of(parent, mempool.limits) <= spent:
                text = f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()}) did not spend parent's ephemeral dust"
                raise UnspentDust(tx, text)


class UnspentDust(ValidationError):
    """The child `tx` does not spend the dust of its parent."""

    def __init__(self, tx: Transaction, text: str) -> None:
        super().__init__("missing-ephemeral-spends", text, fault=Fault.MEMPOOL_POLICY)
        self.tx = tx


def _dust_of(tx: Transaction, limits: PolicyLimits) -> set[OutPoint]:
    return {tx.outpoint(index) for index, output in enumerate(tx.outputs) if is_dust(output, limits.dust_relay_feerate)}
