"""From an intent to an unsigned transaction: coins, change, fee, lock time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from altyn.consensus.encoding import compact_size
from altyn.consensus.limits import COIN, WITNESS_SCALE_FACTOR
from altyn.consensus.script import templates
from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.wallet.coins import Candidate, Costs, select
from altyn.wallet.errors import NotEnoughMoney, WalletError

MAX_WEIGHT = 400_000
"""The heaviest transaction that nodes relay (Core: MAX_STANDARD_TX_WEIGHT)."""
MAX_FEE = COIN // 10
"""The highest fee paid, satoshis: more is taken for a mistake (Core: -maxtxfee)."""
_DUST_FEERATE = 3
"""Satoshis per vbyte at which spending an output would cost more than it is worth (Core: DUST_RELAY_TX_FEE)."""
_REPLACEABLE, _NOT_REPLACEABLE = 0xFFFFFFFD, 0xFFFFFFFE
"""Both leave the lock time in force; the first says that the payment may be replaced (BIP125)."""

_INPUT_BASE = 41 * WITNESS_SCALE_FACTOR
INPUT_WEIGHTS = {
    # count, length and signature (low R and low S: 70 bytes and the hash type), length and key
    "witness_v0_keyhash": _INPUT_BASE + 1 + 1 + 71 + 1 + 33,
    "witness_v1_taproot": _INPUT_BASE + 1 + 1 + 64,
}
"""Weight of a signed input, by the kind of output that it spends."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to pay. `amount` is in satoshis; None means all there is, less the fee."""

    script_pubkey: bytes
    amount: int | None


@dataclass(frozen=True, slots=True)
class Draft:
    """An unsigned transaction with the coins it spends, in the order of its inputs. `change` is an output's index."""

    transaction: Transaction
    coins: tuple[Candidate, ...]
    fee: int
    change: int | None

    @property
    def spent_outputs(self) -> list[TxOut]:
        return [coin.output for coin in self.coins]

    def with_lock_time(self, lock_time: int) -> "Draft":
        """Return the same payment with another lock time."""
        tx = self.transaction
        return replace(self, transaction=Transaction(tx.version, tx.inputs, tx.outputs, lock_time))


def input_weight(script_pubkey: bytes) -> int:
    """Return the weight of the signed input that spends such an output."""
    return INPUT_WEIGHTS[templates.classify(script_pubkey).kind]


def dust_limit(script_pubkey: bytes) -> int:
    """Return the least amount an output must carry to be relayed, satoshis (Core: GetDustThreshold)."""
    if templates.is_unspendable(script_pubkey):
        return 0
    size = len(TxOut(0, script_pubkey).serialize())
    spending = 32 + 4 + 1 + 4 + (107 // 4 if templates.witness_program(script_pubkey) else 107)
    return (size + spending) * _DUST_FEERATE


def fee_for(weight: int, feerate: int) -> int:
    """Return the fee of a transaction of that weight at `feerate` satoshis per 1000 vbytes, rounded up."""
    vsize = -(-weight // WITNESS_SCALE_FACTOR)
    return -(-vsize * feerate // 1000)


def build(
    recipients: Sequence[Recipient],
    candidates: Sequence[Candidate],
    *,
    feerate: int,
    change_script: bytes,
    lock_time: int,
    replaceable: bool,
    random: Random,
) -> Draft:
    """Choose coins and lay out the transaction; fee and change are exact for signatures of the usual size.

    `feerate` is in satoshis per 1000 vbytes. Raises NotEnoughMoney, WalletError.
    """
    for recipient in recipients:
        least = dust_limit(recipient.script_pubkey)
        if recipient.amount is not None and recipient.amount < least:
            raise WalletError(f"{recipient.amount} satoshis are too little to send: this address takes {least} or more")
    if any(recipient.amount is None for recipient in recipients):
        coins, outputs, change = _sweep(recipients, candidates, feerate)
    else:
        coins, outputs, change = _pay(recipients, candidates, feerate, change_script, random)
    sequence = _REPLACEABLE if replaceable else _NOT_REPLACEABLE
    random.shuffle(coins)
    order = list(range(len(outputs)))
    random.shuffle(order)
    inputs = [TxIn(coin.outpoint, sequence=sequence) for coin in coins]
    transaction = Transaction(2, inputs, [outputs[index] for index in order], lock_time)
    fee = sum(coin.value for coin in coins) - sum(output.value for output in outputs)
    if fee > MAX_FEE:
        raise WalletError(f"the fee would be {fee} satoshis, more than {MAX_FEE}: choose a lower --feerate")
    if signed_weight(coins, outputs) > MAX_WEIGHT:
        raise WalletError(f"this takes {len(coins)} coins, too many for one transaction: send less at once")
    return Draft(transaction, tuple(coins), fee, None if change is None else order.index(change))


def signed_weight(coins: Sequence[Candidate], outputs: Sequence[TxOut]) -> int:
    """Return the weight that the transaction will have once it is signed."""
    return _base_weight(len(coins), outputs) + sum(coin.weight for coin in coins)


def _base_weight(inputs: int, outputs: Sequence[TxOut]) -> int:
    stripped = 4 + len(compact_size(inputs)) + len(compact_size(len(outputs))) + 4
    stripped += sum(len(output.serialize()) for output in outputs)
    return stripped * WITNESS_SCALE_FACTOR + 2  # marker and flag (BIP144)


def _pay(
    recipients: Sequence[Recipient], candidates: Sequence[Candidate], feerate: int, change_script: bytes, random: Random
) -> tuple[list[Candidate], list[TxOut], int | None]:
    """Return the coins, the outputs and the index of the change among them."""
    outputs = [TxOut(recipient.amount or 0, recipient.script_pubkey) for recipient in recipients]
    target = sum(output.value for output in outputs)
    spend_weight = input_weight(change_script)
    costs = Costs(
        target=target,
        feerate=feerate,
        # as many inputs as can be, so that a longer count is paid for
        base_weight=_base_weight(len(candidates), [*outputs, TxOut(0, change_script)]) - _output_weight(change_script),
        change_weight=_output_weight(change_script),
        change_spend_weight=spend_weight,
        least_change=dust_limit(change_script),
    )
    coins = select(candidates, costs, random)
    if coins is None:
        have = sum(coin.value for coin in candidates)
        need = target + fee_for(signed_weight(candidates[:1], outputs), feerate)
        raise NotEnoughMoney(
            f"not enough money: {format_coins(target)} and a fee are to be paid (at least {format_coins(need)}), "
            f"{format_coins(have)} can be spent"
        )
    with_change = [*outputs, TxOut(0, change_script)]
    rest = sum(coin.value for coin in coins) - target
    change = rest - fee_for(signed_weight(coins, with_change), feerate)
    # Change that is dust, or costs more to spend than it holds, is left to the miner.
    if change < max(costs.least_change, fee_for(spend_weight, feerate) + 1):
        return coins, outputs, None
    return coins, [*outputs, TxOut(change, change_script)], len(outputs)


def _sweep(
    recipients: Sequence[Recipient], candidates: Sequence[Candidate], feerate: int
) -> tuple[list[Candidate], list[TxOut], None]:
    """Spend every coin that is worth its fee; the recipient without an amount gets what is left."""
    coins = [coin for coin in candidates if coin.value > fee_for(coin.weight, feerate)]
    outputs = [TxOut(recipient.amount or 0, recipient.script_pubkey) for recipient in recipients]
    have = sum(coin.value for coin in coins)
    rest = have - sum(output.value for output in outputs) - fee_for(signed_weight(coins, outputs), feerate)
    takers = [place for place, recipient in enumerate(recipients) if recipient.amount is None]
    if len(takers) != 1:
        raise WalletError("only one recipient can be sent all that is left")
    taker = takers[0]
    if not coins or rest < dust_limit(recipients[taker].script_pubkey):
        raise NotEnoughMoney(f"not enough money: {format_coins(have)} can be spent, the fee aside nothing is left")
    outputs[taker] = TxOut(rest, outputs[taker].script_pubkey)
    return coins, outputs, None


def _output_weight(script_pubkey: bytes) -> int:
    return len(TxOut(0, script_pubkey).serialize()) * WITNESS_SCALE_FACTOR


def format_coins(satoshis: int) -> str:
    """Write an amount in coins with eight decimals."""
    sign = "-" if satoshis < 0 else ""
    return f"{sign}{abs(satoshis) // COIN}.{abs(satoshis) % COIN:08}"
