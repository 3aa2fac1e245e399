"""What is relayed beyond what is valid: Bitcoin Core's standardness rules, as functions of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import MAX_BLOCK_SIGOPS_COST, WITNESS_SCALE_FACTOR
from altyn.consensus.script.opcodes import OP_0, OP_1, OP_1NEGATE, OP_16, script_operations
from altyn.consensus.script.templates import classify, is_p2sh, is_push_only, is_unspendable, witness_program
from altyn.consensus.script.verify import legacy_sigops
from altyn.consensus.transaction import Coin, OutPoint, Transaction, TxOut

MAX_STANDARD_VERSION = 3
TRUC_VERSION = 3
"""Transactions of this version keep to small families (BIP431)."""
MAX_STANDARD_WEIGHT = 400_000
MIN_STANDARD_NONWITNESS_SIZE = 65
"""Smaller ones could pass for an inner node of a merkle tree (CVE-2017-12842)."""
MAX_STANDARD_SCRIPT_SIG_SIZE = 1650
MAX_STANDARD_SIGOPS_COST = MAX_BLOCK_SIGOPS_COST // 5
MAX_P2SH_SIGOPS = 15
MAX_STANDARD_P2WSH_SCRIPT_SIZE = 3600
MAX_STANDARD_P2WSH_STACK_ITEMS = 100
MAX_STANDARD_P2WSH_STACK_ITEM_SIZE = 80
MAX_STANDARD_TAPSCRIPT_STACK_ITEM_SIZE = 80
MAX_DUST_OUTPUTS = 1
"""Of a transaction, which then pays no fee, so that only a child brings it into a block (Core 29: ephemeral dust)."""
MAX_REPLACEABLE_SEQUENCE = 0xFFFFFFFD
"""An input with at most this sequence says that its transaction may be replaced (BIP125)."""
EXTRA_DESCENDANT_SIZE = 10_000
"""Virtual bytes of the one descendant beyond the limit that a parent may have (Core: CPFP carve-out)."""

_MAX_STANDARD_MULTISIG_KEYS = 3
_SPENDING_INPUT_SIZE = 32 + 4 + 1 + 107 + 4
_SPENDING_WITNESS_INPUT_SIZE = 32 + 4 + 1 + 107 // WITNESS_SCALE_FACTOR + 4
_MOST_BESIDE_SCRIPT = 8 + 9 + _SPENDING_INPUT_SIZE
_ANNEX_TAG = 0x50
_TAPROOT_LEAF_MASK, _TAPROOT_LEAF_TAPSCRIPT = 0xFE, 0xC0
_MAX_ELEMENT_SIZE, _MAX_STACK_SIZE = 520, 1000


@dataclass(frozen=True, slots=True)
class PolicyLimits:
    """What this node relays and keeps; the defaults are Core's. Feerates in satoshis per 1000 virtual bytes."""

    require_standard: bool = True
    """-acceptnonstdtxn turns it off."""
    full_rbf: bool = True
    """Whether a transaction may be replaced that does not signal it (-mempoolfullrbf)."""
    min_relay_feerate: int = 1000
    incremental_relay_feerate: int = 1000
    dust_relay_feerate: int = 3000
    max_datacarrier_bytes: int | None = 83
    """Bytes of a whole OP_RETURN script; None where they are not relayed (-datacarrier=0)."""
    permit_bare_multisig: bool = True
    bytes_per_sigop: int = 20
    ancestor_count: int = 25
    """Transactions in the mempool that one may depend on, itself included."""
    ancestor_size: int = 101_000
    """Virtual bytes of them all."""
    descendant_count: int = 25
    descendant_size: int = 101_000
    max_bytes: int = 300_000_000
    """Memory of the mempool, in bytes."""
    expiry: int = 336 * 3600
    """Seconds until a transaction that no block takes is dropped."""


def fee_of_size(feerate: int, size: int) -> int:
    """Return the satoshis that `size` virtual bytes cost at `feerate` per 1000, rounded up (Core: CFeeRate::GetFee)."""
    return -(-feerate * size // 1000)


def feerate_of(fee: int, size: int) -> int:
    """Return satoshis per 1000 virtual bytes, rounded towards zero (Core: CFeeRate)."""
    return fee * 1000 // size if fee >= 0 else -(-fee * 1000 // size)


def virtual_size(weight: int, sigop_cost: int, bytes_per_sigop: int) -> int:
    """Return the virtual bytes a transaction counts for, more than its own where it has many signature checks."""
    return (max(weight, sigop_cost * bytes_per_sigop) + WITNESS_SCALE_FACTOR - 1) // WITNESS_SCALE_FACTOR


def signals_replacement(tx: Transaction) -> bool:
    """Tell whether the transaction says itself that it may be replaced (BIP125)."""
    return any(txin.sequence <= MAX_REPLACEABLE_SEQUENCE for txin in tx.inputs)


def dust_threshold(output: TxOut, feerate: int) -> int:
    """Return the least value, in satoshis, that is worth spending at `feerate` (Core: GetDustThreshold)."""
    script = output.script_pubkey
    if is_unspendable(script):
        return 0
    spending = _SPENDING_INPUT_SIZE if witness_program(script) is None else _SPENDING_WITNESS_INPUT_SIZE
    return fee_of_size(feerate, len(output.serialize()) + spending)


def is_dust(output: TxOut, feerate: int) -> bool:
    """Tell whether an output is not worth spending at `feerate`."""
    value, script = output
    if value * 1000 >= feerate * (len(script) + _MOST_BESIDE_SCRIPT):  # nearly always, and without a look at the script
        return False
    return value < dust_threshold(output, feerate)


def check_standard(tx: Transaction, limits: PolicyLimits) -> None:
    """Refuse forms that are not relayed, without a look at inputs (Core: IsStandardTx). Raises ValidationError."""
    if not 1 <= tx.version <= MAX_STANDARD_VERSION:
        raise _not_standard("version")
    if tx.weight > MAX_STANDARD_WEIGHT:
        raise _not_standard("tx-size")
    for txin in tx.inputs:
        if len(txin.script_sig) > MAX_STANDARD_SCRIPT_SIG_SIZE:
            raise _not_standard("scriptsig-size")
        if not is_push_only(txin.script_sig):
            raise _not_standard("scriptsig-not-pushonly")
    data_outputs = dust_outputs = 0
    for output in tx.outputs:
        kind = _standard_kind(output.script_pubkey, limits.max_datacarrier_bytes)
        if kind is None:
            raise _not_standard("scriptpubkey")
        if kind == "nulldata":
            data_outputs += 1
        elif kind == "multisig" and not limits.permit_bare_multisig:
            raise _not_standard("bare-multisig")
        else:
            dust_outputs += is_dust(output, limits.dust_relay_feerate)
    if dust_outputs > MAX_DUST_OUTPUTS:
        raise _not_standard("dust")
    if data_outputs > 1:
        raise _not_standard("multi-op-return")


def _not_standard(reason: str) -> ValidationError:
    return ValidationError(reason, fault=Fault.NOT_STANDARD)


def _standard_kind(script_pubkey: bytes, max_datacarrier_bytes: int | None) -> str | None:
    """Return the kind of a script that may be paid to, None for others (Core: IsStandard)."""
    template = classify(script_pubkey)
    match template.kind:
        case "nonstandard":
            return None
        case "multisig" if len(template.data) > _MAX_STANDARD_MULTISIG_KEYS:
            return None
        case "nulldata" if max_datacarrier_bytes is None or len(script_pubkey) > max_datacarrier_bytes:
            return None
    return template.kind


def are_inputs_standard(tx: Transaction, coins: Mapping[OutPoint, Coin]) -> bool:
    """Tell whether what the inputs spend, and P2SH scripts in them, are relayed (Core: AreInputsStandard)."""
    for txin in tx.inputs:
        script_pubkey = coins[txin.prevout].output.script_pubkey
        kind = classify(script_pubkey).kind
        if kind in {"nonstandard", "witness_unknown"}:
            return False
        if kind == "scripthash":
            stack = _pushed(txin.script_sig)
            if not stack or legacy_sigops(stack[-1], accurate=True) > MAX_P2SH_SIGOPS:
                return False
    return True


def is_witness_standard(tx: Transaction, coins: Mapping[OutPoint, Coin]) -> bool:
    """Tell whether the witnesses are of a size and form that is relayed (Core: IsWitnessStandard)."""
    return all(
        _is_witness_standard(coins[txin.prevout].output.script_pubkey, txin.script_sig, txin.witness)
        for txin in tx.inputs
        if txin.witness
    )


def _is_witness_standard(script: bytes, script_sig: bytes, witness: Sequence[bytes]) -> bool:
    if classify(script).kind == "anchor":  # a key without a lock: any witness is stuffing
        return False
    wrapped = is_p2sh(script)
    if wrapped:
        pushed = _pushed(script_sig)
        if not pushed:
            return False
        script = pushed[-1]
    program = witness_program(script)
    if program is None:
        return False
    match program[0], len(program[1]):
        case 0, 32:
            *stack, witness_script = witness
            return (
                len(witness_script) <= MAX_STANDARD_P2WSH_SCRIPT_SIZE
                and len(stack) <= MAX_STANDARD_P2WSH_STACK_ITEMS
                and all(len(item) <= MAX_STANDARD_P2WSH_STACK_ITEM_SIZE for item in stack)
            )
        case 1, 32 if not wrapped:
            return _is_taproot_witness_standard(witness)
    return True


def _is_taproot_witness_standard(witness: Sequence[bytes]) -> bool:
    if len(witness) < 2:
        return True
    if witness[-1][:1] == bytes((_ANNEX_TAG,)):
        return False  # nobody has given annexes a meaning
    *stack, _, control_block = witness
    if not control_block:
        return False
    if control_block[0] & _TAPROOT_LEAF_MASK != _TAPROOT_LEAF_TAPSCRIPT:
        return True
    return all(len(item) <= MAX_STANDARD_TAPSCRIPT_STACK_ITEM_SIZE for item in stack)


def _pushed(script_sig: bytes) -> list[bytes] | None:
    """Return the stack that a push-only script leaves; None where running it fails (OP_RESERVED, sizes)."""
    stack: list[bytes] = []
    for opcode, push, _ in script_operations(script_sig):
        if opcode == OP_0:
            push = b""
        elif opcode == OP_1NEGATE:
            push = b"\x81"
        elif OP_1 <= opcode <= OP_16:
            push = bytes((opcode - OP_1 + 1,))
        if push is None or len(push) > _MAX_ELEMENT_SIZE or len(stack) >= _MAX_STACK_SIZE:
            return None
        stack.append(push)
    return stack
