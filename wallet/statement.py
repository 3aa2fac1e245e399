"""What a wallet states: its balance, a feerate, a payment, a line of its history. Amounts are satoshis."""

from dataclasses import dataclass

from altyn.consensus.transaction import Transaction
from altyn.wallet.store import State


@dataclass(frozen=True, slots=True)
class Balance:
    """What the wallet holds. `pending` waits for a block, `immature` for more blocks on a coinbase."""

    confirmed: int
    pending: int
    immature: int
    spendable: int
    """Confirmed, mature money and pending change of one's own payments: what `send` may use."""
    height: int

    @property
    def total(self) -> int:
        return self.confirmed + self.pending + self.immature


@dataclass(frozen=True, slots=True)
class Feerate:
    """A feerate and where it comes from: "chosen", "estimate" or "fallback"."""

    per_kvb: int
    source: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed payment; `change` is what came back, 0 if nothing. `is_sent` is False after a dry run."""

    transaction: Transaction
    amount: int
    fee: int
    feerate: Feerate
    change: int
    is_sent: bool

    @property
    def txid(self) -> str:
        return self.transaction.txid[::-1].hex()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A transaction as it concerns the wallet: `amount` is what it added to the balance, negative for payments.

    `fee` is known of own payments only. `confirmations` is 0 unless the state is confirmed.
    """

    txid: str
    state: State
    reason: str
    amount: int
    fee: int | None
    height: int | None
    confirmations: int
    time: int
    is_coinbase: bool
    addresses: tuple[str, ...]
    """Whom it paid: for payments the addresses of others, for receipts those of the wallet."""
