"""Transactions given as hex: which of two readings is meant, and whether scripts make sense."""

from altyn.consensus.encoding import EncodingError
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.opcodes import MAX_SCRIPT_ELEMENT_SIZE, MAX_SCRIPT_SIZE, OP_CHECKSIGADD, script_operations
from altyn.consensus.transaction import Transaction
from altyn.node.rpc.method import decode_hex


def decode_transaction(text: str, *, try_no_witness: bool = False, try_witness: bool = True) -> Transaction | None:
    """Return the transaction that `text` is the hex of, None if it is none (Core: DecodeHexTx).

    A transaction without inputs looks like one with witnesses: of two possible readings, the one with sensible scripts
    is taken, the one with witnesses if both have them or neither.
    """
    data = decode_hex(text)
    if data is None:
        return None
    extended = _parse(data, allow_witness=True) if try_witness else None
    if extended is not None and (not try_no_witness or _has_sane_scripts(extended)):
        return extended
    legacy = _parse(data, allow_witness=False) if try_no_witness else None
    if legacy is not None and (extended is None or _has_sane_scripts(legacy)):
        return legacy
    return extended


def has_valid_operations(script: bytes) -> bool:
    """Whether a script can be read to its end, with known opcodes and pushes of allowed size (Core: HasValidOps)."""
    try:
        for opcode, data, _ in script_operations(script):
            if opcode > OP_CHECKSIGADD or (data is not None and len(data) > MAX_SCRIPT_ELEMENT_SIZE):
                return False
    except ScriptError:
        return False
    return True


def _parse(data: bytes, *, allow_witness: bool) -> Transaction | None:
    try:
        return Transaction.parse(data, allow_witness=allow_witness)
    except EncodingError:
        return None


def _has_sane_scripts(tx: Transaction) -> bool:
    scripts = [output.script_pubkey for output in tx.outputs]
    if not tx.is_coinbase:
        scripts += (txin.script_sig for txin in tx.inputs)
    return all(len(script) <= MAX_SCRIPT_SIZE and has_valid_operations(script) for script in scripts)
