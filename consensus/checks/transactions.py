"""The rules of a transaction: alone, against the coins it spends, and against time."""

from collections.abc import Mapping, Sequence

from altyn.consensus.ancestry import ChainEntry, median_time_past
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import (
    COIN,
    COINBASE_MATURITY,
    LOCKTIME_THRESHOLD,
    MAX_BLOCK_WEIGHT,
    MAX_MONEY,
    SEQUENCE_FINAL,
    SEQUENCE_LOCKTIME_DISABLE_FLAG,
    SEQUENCE_LOCKTIME_GRANULARITY,
    SEQUENCE_LOCKTIME_MASK,
    SEQUENCE_LOCKTIME_TYPE_FLAG,
    WITNESS_SCALE_FACTOR,
)
from altyn.consensus.script import flags as script_flag
from altyn.consensus.script.verify import count_witness_sigops, legacy_sigops, p2sh_sigops
from altyn.consensus.transaction import NULL_OUTPOINT, Coin, OutPoint, Transaction


def check_transaction(tx: Transaction) -> None:
    """Check what needs neither coins nor chain (Core: CheckTransaction). Raises ValidationError."""
    if tx.is_sound:
        return
    if not tx.inputs:
        raise ValidationError("bad-txns-vin-empty")
    if not tx.outputs:
        raise ValidationError("bad-txns-vout-empty")
    if len(tx.stripped) * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT:
        raise ValidationError("bad-txns-oversize")
    total = 0
    for value, _ in tx.outputs:
        if value < 0:
            raise ValidationError("bad-txns-vout-negative")
        if value > MAX_MONEY:
            raise ValidationError("bad-txns-vout-toolarge")
        total += value
        if total > MAX_MONEY:
            raise ValidationError("bad-txns-txouttotal-toolarge")
    prevouts = [txin.prevout for txin in tx.inputs]
    if len(set(prevouts)) != len(prevouts):  # CVE-2018-17144
        raise ValidationError("bad-txns-inputs-duplicate")
    if prevouts == [NULL_OUTPOINT]:
        if not 2 <= len(tx.inputs[0].script_sig) <= 100:
            raise ValidationError("bad-cb-length")
    elif NULL_OUTPOINT in prevouts:
        raise ValidationError("bad-txns-prevout-null")
    tx.is_sound = True


def check_inputs(
    tx: Transaction, coins: Mapping[OutPoint, Coin], height: int, maturity: int = COINBASE_MATURITY
) -> int:
    """Return the fee of `tx`, in satoshis, were it in a block at `height` (Core: CheckTxInputs).

    `coins` maps outpoints to unspent outputs; an absent one is missing or spent. `tx` has passed `check_transaction`.
    Raises ValidationError.
    """
    spent = []
    for txin in tx.inputs:
        coin = coins.get(txin.prevout)
        if coin is None:
            raise missing_inputs()
        spent.append(coin)
    return check_spending(tx, spent, height, maturity)


def missing_inputs() -> ValidationError:
    """Return the refusal of a transaction that spends what is not there."""
    detail = "CheckTxInputs: inputs missing/spent"
    return ValidationError("bad-txns-inputs-missingorspent", detail, fault=Fault.MISSING_INPUTS)


def check_spending(tx: Transaction, spent: Sequence[Coin], height: int, maturity: int = COINBASE_MATURITY) -> int:
    """Return the fee of `tx` in a block at `height`, as `check_inputs`, given the coins in the order of its inputs."""
    value_in = 0
    for (value, _), made_at, is_coinbase in spent:
        if is_coinbase and height - made_at < maturity:
            detail = f"tried to spend coinbase at depth {height - made_at}"
            raise ValidationError("bad-txns-premature-spend-of-coinbase", detail, fault=Fault.PREMATURE)
        value_in += value
        if not (0 <= value <= MAX_MONEY and value_in <= MAX_MONEY):
            raise ValidationError("bad-txns-inputvalues-outofrange")
    value_out = sum([value for value, _ in tx.outputs])
    if value_in < value_out:
        detail = f"value in ({format_money(value_in)}) < value out ({format_money(value_out)})"
        raise ValidationError("bad-txns-in-belowout", detail)
    fee = value_in - value_out
    if fee > MAX_MONEY:
        raise ValidationError("bad-txns-fee-outofrange")
    return fee


def is_final(tx: Transaction, height: int, time: int) -> bool:
    """Tell whether the lock time of `tx` allows it in a block at `height`.

    `time` is the block's, or from BIP113 on the median time of its parent, in seconds. Core: IsFinalTx.
    """
    lock_time = tx.lock_time
    if not lock_time or lock_time < (height if lock_time < LOCKTIME_THRESHOLD else time):
        return True
    return all(txin.sequence == SEQUENCE_FINAL for txin in tx.inputs)


def sequence_locks(tx: Transaction, coin_heights: Sequence[int], parent: ChainEntry) -> tuple[int, int]:
    """Return the last height and the last median time at which `tx` is still locked; -1 where nothing locks it.

    `coin_heights` are those of the coins it spends, in the order of its inputs; a coin of the mempool has the height
    of the next block. `parent` precedes the block that shall hold it. BIP68, Core: CalculateSequenceLocks.
    """
    last_height = last_time = -1
    if tx.version < 2:
        return last_height, last_time
    for txin, coin_height in zip(tx.inputs, coin_heights, strict=True):
        sequence = txin.sequence
        if sequence & SEQUENCE_LOCKTIME_DISABLE_FLAG:
            continue
        span = sequence & SEQUENCE_LOCKTIME_MASK
        if sequence & SEQUENCE_LOCKTIME_TYPE_FLAG:
            made_at = median_time_past(parent.ancestor(max(coin_height - 1, 0)))
            last_time = max(last_time, made_at + (span << SEQUENCE_LOCKTIME_GRANULARITY) - 1)
        else:
            last_height = max(last_height, coin_height + span - 1)
    return last_height, last_time


def sequence_locks_met(locks: tuple[int, int], parent: ChainEntry) -> bool:
    """Tell whether the block after `parent` is behind both `locks` (Core: EvaluateSequenceLocks)."""
    last_height, last_time = locks
    return last_height <= parent.height and (last_time < 0 or last_time < median_time_past(parent))


def legacy_sigop_count(tx: Transaction) -> int:
    """Count the signature operations of all scripts in `tx` itself (Core: GetLegacySigOpCount)."""
    count = tx.legacy_sigops
    if count is None:
        count = tx.legacy_sigops = _count_legacy_sigops(tx)
    return count


def _count_legacy_sigops(tx: Transaction) -> int:
    count = 0
    for txin in tx.inputs:
        if txin.script_sig:
            count += legacy_sigops(txin.script_sig)
    for _, script in tx.outputs:
        size = len(script)
        if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
            count += 1
        elif not ((size == 22 and script[:2] == b"\x00\x14") or (size == 34 and script[:2] in _LONG_PROGRAMS)):
            count += legacy_sigops(script)
    return count


_LONG_PROGRAMS = (b"\x00\x20", b"\x51\x20")


def sigop_cost(tx: Transaction, coins: Mapping[OutPoint, Coin], flags: int) -> int:
    """Return the cost of the signature operations of `tx` (BIP141, Core: GetTransactionSigOpCost).

    `coins` hold what it spends, and may be empty for a coinbase.
    """
    spent = [] if tx.is_coinbase else [coins[txin.prevout] for txin in tx.inputs]
    return sigop_cost_of_spending(tx, spent, flags)


def sigop_cost_of_spending(tx: Transaction, spent: Sequence[Coin], flags: int) -> int:
    """Return the cost as `sigop_cost`, given the coins in the order of the inputs; none for a coinbase."""
    cost = legacy_sigop_count(tx) * WITNESS_SCALE_FACTOR
    if not flags & script_flag.P2SH:
        return cost
    for txin, ((_, script), _, _) in zip(tx.inputs, spent, strict=False):
        size = len(script)
        if size == 22 and script[:2] == b"\x00\x14":
            cost += 1 if flags & script_flag.WITNESS else 0
        elif size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
            cost += p2sh_sigops(txin.script_sig, script) * WITNESS_SCALE_FACTOR
            cost += count_witness_sigops(txin.script_sig, script, txin.witness, flags)
        elif txin.witness:
            cost += count_witness_sigops(txin.script_sig, script, txin.witness, flags)
    return cost


def format_money(satoshis: int) -> str:
    """Write an amount in coins with two to eight decimals (Core: FormatMoney)."""
    whole, rest = divmod(abs(satoshis), COIN)
    decimals = f"{rest:08d}".rstrip("0").ljust(2, "0")
    return f"{'-' if satoshis < 0 else ''}{whole}.{decimals}"
