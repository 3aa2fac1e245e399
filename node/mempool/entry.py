"""A transaction of the mempool, with what is counted about its relatives, and what is told of its coming and going."""

from dataclasses import dataclass
from enum import Enum

from altyn.consensus.transaction import Transaction
from altyn.node.mempool.policy import feerate_of, virtual_size

# What Core's nodes take in memory on a machine of 64 bits, before the allocator rounds them up.
_ENTRY, _SHARED_TRANSACTION, _INPUT, _OUTPUT, _WITNESS_ITEM, _INLINE_SCRIPT = 464, 176, 104, 40, 24, 28
_SPENT_OUTPUT = 64
LINK_MEMORY = 128
"""Bytes that a parent and its child take to know each other."""


class RemovalReason(Enum):
    """Why a transaction left the mempool; the values are Core's words."""

    EXPIRY = "expiry"
    SIZE_LIMIT = "sizelimit"
    REORG = "reorg"
    BLOCK = "block"
    CONFLICT = "conflict"
    REPLACED = "replaced"


class MempoolEntry:
    """A transaction in the mempool. Fees in satoshis, sizes in virtual bytes as policy counts them, times in seconds.

    `ancestor_*` and `descendant_*` include the transaction itself. `parents` and `children` are txids.
    `together`: it came as one of a package, for the fee of all.
    `height` is that of the tip when it came, `sequence` the mempool's then (0 for one that a reorganisation returned).
    """

    __slots__ = (
        "ancestor_count",
        "ancestor_fees",
        "ancestor_sigop_cost",
        "ancestor_size",
        "children",
        "descendant_count",
        "descendant_fees",
        "descendant_size",
        "fee",
        "height",
        "memory",
        "modified_fee",
        "parents",
        "sequence",
        "sigop_cost",
        "spends_coinbase",
        "stamp",
        "time",
        "together",
        "tx",
        "txid",
        "vsize",
        "weight",
    )

    def __init__(
        self,
        tx: Transaction,
        *,
        fee: int,
        time: int,
        height: int,
        sequence: int,
        sigop_cost: int,
        spends_coinbase: bool,
        bytes_per_sigop: int = 20,
        together: bool = False,
    ) -> None:
        self.tx = tx
        self.txid = tx.txid
        self.fee = self.modified_fee = fee
        self.time = time
        self.height = height
        self.sequence = sequence
        self.sigop_cost = sigop_cost
        self.spends_coinbase = spends_coinbase
        self.together = together
        self.weight = tx.weight
        self.vsize = virtual_size(self.weight, sigop_cost, bytes_per_sigop)
        self.memory = memory_of(tx)
        self.stamp = 0
        self.parents: set[bytes] = set()
        self.children: set[bytes] = set()
        self.reset_aggregates()

    def reset_aggregates(self) -> None:
        """Count only the transaction itself among its ancestors and descendants."""
        self.ancestor_count = self.descendant_count = 1
        self.ancestor_size = self.descendant_size = self.vsize
        self.ancestor_fees = self.descendant_fees = self.modified_fee
        self.ancestor_sigop_cost = self.sigop_cost

    @property
    def wtxid(self) -> bytes:
        return self.tx.wtxid

    @property
    def feerate(self) -> int:
        """Satoshis per 1000 virtual bytes, of itself and as paid."""
        return feerate_of(self.fee, self.vsize)

    @property
    def worth(self) -> float:
        """Satoshis per virtual byte, of itself or with its descendants, whichever is more: the least go first."""
        return max(self.modified_fee / self.vsize, self.descendant_fees / self.descendant_size)

    @property
    def ancestor_feerate(self) -> float:
        """Satoshis per virtual byte, of itself or with its ancestors, whichever is less: the most are mined first."""
        return min(self.modified_fee / self.vsize, self.ancestor_fees / self.ancestor_size)

    def add_ancestor(self, other: "MempoolEntry", sign: int = 1) -> None:
        """Count `other` among the ancestors, or with sign -1 no longer."""
        self.ancestor_count += sign
        self.ancestor_size += sign * other.vsize
        self.ancestor_fees += sign * other.modified_fee
        self.ancestor_sigop_cost += sign * other.sigop_cost

    def add_descendant(self, other: "MempoolEntry", sign: int = 1) -> None:
        """Count `other` among the descendants, or with sign -1 no longer."""
        self.descendant_count += sign
        self.descendant_size += sign * other.vsize
        self.descendant_fees += sign * other.modified_fee

    def __repr__(self) -> str:
        return f"<MempoolEntry {self.txid[::-1].hex()}>"


@dataclass(frozen=True, slots=True)
class TransactionAdded:
    """Published when a transaction enters the mempool; `sequence` is the mempool's number of this change."""

    entry: MempoolEntry
    sequence: int


@dataclass(frozen=True, slots=True)
class TransactionRemoved:
    """Published when a transaction leaves; `sequence` as for additions."""

    entry: MempoolEntry
    reason: RemovalReason
    sequence: int


def memory_of(tx: Transaction) -> int:
    """Return the bytes that -maxmempool counts for `tx`: what it takes in Core (DynamicMemoryUsage).

    So the same limit keeps the same transactions. In Python they take up to three times as much.
    """
    total = _ENTRY + _SHARED_TRANSACTION + _SPENT_OUTPUT * len(tx.inputs)
    total += _allocated(_INPUT * len(tx.inputs)) + _allocated(_OUTPUT * len(tx.outputs))
    for _, script_sig, _, witness in tx.inputs:
        total += _script_memory(script_sig)
        if witness:
            total += _allocated(_WITNESS_ITEM * len(witness)) + sum(_allocated(len(item)) for item in witness)
    return total + sum(_script_memory(script) for _, script in tx.outputs)


def _allocated(size: int) -> int:
    return (size + 31) // 16 * 16 if size else 0


def _script_memory(script: bytes) -> int:
    return _allocated(len(script)) if len(script) > _INLINE_SCRIPT else 0
