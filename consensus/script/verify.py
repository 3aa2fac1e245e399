"""Whether an input may spend an output: P2SH, witness programs, taproot; and how many signature checks it counts."""

from collections.abc import Sequence

from altyn.consensus.encoding import var_bytes
from altyn.consensus.hashes import sha256
from altyn.consensus.limits import (
    LOCKTIME_THRESHOLD,
    SEQUENCE_FINAL,
    SEQUENCE_LOCKTIME_DISABLE_FLAG,
    SEQUENCE_LOCKTIME_MASK,
    SEQUENCE_LOCKTIME_TYPE_FLAG,
)
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode, fail
from altyn.consensus.script.flags import (
    CLEANSTACK,
    DISCOURAGE_OP_SUCCESS,
    DISCOURAGE_UPGRADABLE_TAPROOT_VERSION,
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM,
    P2SH,
    SIGPUSHONLY,
    TAPROOT,
    WITNESS,
)
from altyn.consensus.script.interpreter import (
    SIGNATURE_WEIGHT,
    TAPSCRIPT,
    WITNESS_V0,
    Checker,
    Execution,
    Version,
    evaluate,
)
from altyn.consensus.script.opcodes import (
    MAX_PUBKEYS_PER_MULTISIG,
    MAX_SCRIPT_ELEMENT_SIZE,
    MAX_STACK_SIZE,
    OP_1,
    OP_16,
    OP_CHECKMULTISIG,
    OP_CHECKMULTISIGVERIFY,
    OP_CHECKSIG,
    OP_CHECKSIGVERIFY,
    OP_PUSHDATA1,
    OP_SUCCESSES,
    push,
    script_operations,
)
from altyn.consensus.script.shortcuts import spends_key_hash
from altyn.consensus.script.sighash import SIGHASH_DEFAULT, SighashCache
from altyn.consensus.script.stack import is_true
from altyn.consensus.script.taproot import (
    ANNEX_TAG,
    CONTROL_BASE_SIZE,
    CONTROL_MAX_NODES,
    CONTROL_NODE_SIZE,
    LEAF_VERSION_MASK,
    LEAF_VERSION_TAPSCRIPT,
    check_commitment,
    leaf_hash,
)
from altyn.consensus.script.templates import ANCHOR_PROGRAM, is_p2sh, is_push_only, p2pkh, witness_program
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction, serialize_witness

_SEGWIT = P2SH | WITNESS


class TransactionChecker:
    """Answers an input's scripts (altyn.consensus.script.interpreter.Checker). One thread at a time."""

    __slots__ = ("_digest", "_digest_of", "amount", "cache", "index", "secp", "tx")

    def __init__(self, tx: Transaction, index: int, amount: int, cache: SighashCache, secp: Secp256k1) -> None:
        """`amount` is what input `index` spends, in satoshis; `cache` belongs to `tx` and may be shared by threads."""
        self.tx = tx
        self.index = index
        self.amount = amount
        self.cache = cache
        self.secp = secp
        self._digest_of: tuple[int, bytes, Version] | None = None
        self._digest = b""

    def check_ecdsa(self, signature: bytes, public_key: bytes, script_code: bytes, version: Version) -> bool:
        if not signature:
            return False
        hash_type = signature[-1]
        asked = hash_type, script_code, version
        if asked == self._digest_of:  # the next key of a multisig
            digest = self._digest
        else:
            if version is WITNESS_V0:
                digest = self.cache.witness_v0(self.index, script_code, self.amount, hash_type)
            else:
                digest = self.cache.legacy(self.index, script_code, hash_type)
            self._digest_of, self._digest = asked, digest
        return self.secp.verify_ecdsa(public_key, signature[:-1], digest)

    def check_schnorr(self, signature: bytes, public_key: bytes, execution: Execution) -> None:
        hash_type = SIGHASH_DEFAULT
        if len(signature) != 64:
            if len(signature) != 65:
                fail(ScriptErrorCode.SCHNORR_SIG_SIZE)
            hash_type = signature[64]
            if hash_type == SIGHASH_DEFAULT:
                fail(ScriptErrorCode.SCHNORR_SIG_HASHTYPE)
            signature = signature[:64]
        digest = self.cache.taproot(
            self.index, hash_type, execution.annex_hash, execution.leaf_hash, execution.code_separator
        )
        if digest is None:
            fail(ScriptErrorCode.SCHNORR_SIG_HASHTYPE)
        if not self.secp.verify_schnorr(public_key, signature, digest):
            fail(ScriptErrorCode.SCHNORR_SIG)

    def check_commitment(self, control: bytes, program: bytes, leaf: bytes) -> bool:
        return check_commitment(self.secp, control, program, leaf)

    def check_lock_time(self, lock_time: int) -> bool:
        own = self.tx.lock_time
        return (
            (own < LOCKTIME_THRESHOLD) is (lock_time < LOCKTIME_THRESHOLD)
            and lock_time <= own
            and self.tx.inputs[self.index].sequence != SEQUENCE_FINAL  # else the lock time is not in force
        )

    def check_sequence(self, sequence: int) -> bool:
        own = self.tx.inputs[self.index].sequence
        if self.tx.version < 2 or own & SEQUENCE_LOCKTIME_DISABLE_FLAG:
            return False
        mask = SEQUENCE_LOCKTIME_TYPE_FLAG | SEQUENCE_LOCKTIME_MASK
        own, sequence = own & mask, sequence & mask
        return (own < SEQUENCE_LOCKTIME_TYPE_FLAG) is (sequence < SEQUENCE_LOCKTIME_TYPE_FLAG) and sequence <= own


def verify_script(
    script_sig: bytes, script_pubkey: bytes, witness: Sequence[bytes], flags: int, checker: Checker
) -> None:
    """Check that an input with `script_sig` and `witness` may spend `script_pubkey` (Core: VerifyScript).

    WITNESS needs P2SH among the flags, CLEANSTACK needs both. Raises ScriptError.
    """
    if flags & SIGPUSHONLY and not is_push_only(script_sig):
        fail(ScriptErrorCode.SIG_PUSHONLY)
    if flags & _SEGWIT == _SEGWIT and spends_key_hash(script_sig, script_pubkey, witness, flags, checker):
        return
    program = witness_program(script_pubkey) if flags & WITNESS else None
    if program is not None and not script_sig:
        # The two pushes of such an output leave its program on the stack, and nothing else can come of them.
        if not is_true(program[1]):
            fail(ScriptErrorCode.EVAL_FALSE)
        _verify_witness_program(*program, witness, flags, checker, nested=False)
        return

    stack: list[bytes] = []
    if script_sig:
        evaluate(stack, script_sig, flags, checker)
    pushed = stack.copy() if flags & P2SH else []
    evaluate(stack, script_pubkey, flags, checker)
    if not stack or not is_true(stack[-1]):
        fail(ScriptErrorCode.EVAL_FALSE)

    if program is not None:
        fail(ScriptErrorCode.WITNESS_MALLEATED)

    witness_used = False
    if flags & P2SH and is_p2sh(script_pubkey):
        if not is_push_only(script_sig):
            fail(ScriptErrorCode.SIG_PUSHONLY)
        stack = pushed
        redeem_script = stack.pop()
        evaluate(stack, redeem_script, flags, checker)
        if not stack or not is_true(stack[-1]):
            fail(ScriptErrorCode.EVAL_FALSE)
        if flags & WITNESS:
            program = witness_program(redeem_script)
            if program is not None:
                witness_used = True
                if script_sig != push(redeem_script):
                    fail(ScriptErrorCode.WITNESS_MALLEATED_P2SH)
                _verify_witness_program(*program, witness, flags, checker, nested=True)
                del stack[1:]

    if flags & CLEANSTACK and len(stack) != 1:
        fail(ScriptErrorCode.CLEANSTACK)
    if flags & WITNESS and witness and not witness_used:
        fail(ScriptErrorCode.WITNESS_UNEXPECTED)


def _verify_witness_program(
    version: int, program: bytes, witness: Sequence[bytes], flags: int, checker: Checker, *, nested: bool
) -> None:
    """Check a witness (BIP141); `nested` in P2SH (Core: VerifyWitnessProgram). Raises ScriptError."""
    if version == 0:
        if len(program) == 32:
            if not witness:
                fail(ScriptErrorCode.WITNESS_PROGRAM_WITNESS_EMPTY)
            *stack, script = witness
            if sha256(script) != program:
                fail(ScriptErrorCode.WITNESS_PROGRAM_MISMATCH)
        elif len(program) == 20:
            if len(witness) != 2:
                fail(ScriptErrorCode.WITNESS_PROGRAM_MISMATCH)
            stack, script = list(witness), p2pkh(program)
        else:
            fail(ScriptErrorCode.WITNESS_PROGRAM_WRONG_LENGTH)
        _execute_witness_script(stack, script, flags, checker, WITNESS_V0, None)
    elif version == 1 and len(program) == 32 and not nested:
        if flags & TAPROOT:
            _verify_taproot(program, witness, flags, checker)
    elif version == 1 and program == ANCHOR_PROGRAM and not nested:
        pass  # anyone can spend an anchor
    elif flags & DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM:
        fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM)


def _verify_taproot(program: bytes, witness: Sequence[bytes], flags: int, checker: Checker) -> None:
    """Check a taproot spend, by key or by script (BIP341). Raises ScriptError."""
    if not witness:
        fail(ScriptErrorCode.WITNESS_PROGRAM_WITNESS_EMPTY)
    stack = list(witness)
    execution = Execution()
    if len(stack) >= 2 and stack[-1] and stack[-1][0] == ANNEX_TAG:
        execution.annex_hash = sha256(var_bytes(stack.pop()))
    if len(stack) == 1:
        checker.check_schnorr(stack[0], program, execution)
        return
    control, script = stack.pop(), stack.pop()
    nodes, rest = divmod(len(control) - CONTROL_BASE_SIZE, CONTROL_NODE_SIZE)
    if rest or not 0 <= nodes <= CONTROL_MAX_NODES:
        fail(ScriptErrorCode.TAPROOT_WRONG_CONTROL_SIZE)
    version = control[0] & LEAF_VERSION_MASK
    execution.leaf_hash = leaf_hash(script, version)
    if not checker.check_commitment(control, program, execution.leaf_hash):
        fail(ScriptErrorCode.WITNESS_PROGRAM_MISMATCH)
    if version == LEAF_VERSION_TAPSCRIPT:
        execution.weight_left = len(serialize_witness(witness)) + SIGNATURE_WEIGHT
        _execute_witness_script(stack, script, flags, checker, TAPSCRIPT, execution)
    elif flags & DISCOURAGE_UPGRADABLE_TAPROOT_VERSION:
        fail(ScriptErrorCode.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION)


def _execute_witness_script(
    stack: list[bytes], script: bytes, flags: int, checker: Checker, version: Version, execution: Execution | None
) -> None:
    """Run a script on the arguments of a witness (Core: ExecuteWitnessScript). Raises ScriptError."""
    if version is TAPSCRIPT:
        # OP_SUCCESS comes before everything else, even behind a mistake; but not behind a push that is cut off.
        for opcode, _, _ in script_operations(script):
            if opcode in OP_SUCCESSES:
                if flags & DISCOURAGE_OP_SUCCESS:
                    fail(ScriptErrorCode.DISCOURAGE_OP_SUCCESS)
                return
        if len(stack) > MAX_STACK_SIZE:
            fail(ScriptErrorCode.STACK_SIZE)
    for element in stack:
        if len(element) > MAX_SCRIPT_ELEMENT_SIZE:
            fail(ScriptErrorCode.PUSH_SIZE)
    evaluate(stack, script, flags, checker, version, execution)
    if len(stack) != 1:
        fail(ScriptErrorCode.CLEANSTACK)
    if not is_true(stack[0]):
        fail(ScriptErrorCode.EVAL_FALSE)


# Signature operations


def legacy_sigops(script: bytes, *, accurate: bool = False) -> int:
    """Count the signature checks in a script (Core: CScript::GetSigOpCount).

    OP_CHECKMULTISIG counts as many as the number before it says if `accurate`, else, and where none stands there, 20.
    Counting ends at a push that the script ends in.
    """
    position, size = 0, len(script)
    while position < size and script[position] < OP_PUSHDATA1:
        position += script[position] + 1
    if position >= size:  # short pushes and nothing else, as in most inputs
        return 0
    count = 0
    before = -1
    try:
        for opcode, _, _ in script_operations(script):
            if opcode in {OP_CHECKSIG, OP_CHECKSIGVERIFY}:
                count += 1
            elif opcode in {OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY}:
                known = accurate and OP_1 <= before <= OP_16
                count += before - OP_1 + 1 if known else MAX_PUBKEYS_PER_MULTISIG
            before = opcode
    except ScriptError:
        pass
    return count


def last_push(script_sig: bytes) -> bytes | None:
    """Return what the last operation pushes, b"" if it is a number or there is none; None if not all of them push."""
    last: bytes | None = None
    try:
        for opcode, data, _ in script_operations(script_sig):
            if opcode > OP_16:
                return None
            last = data
    except ScriptError:
        return None
    return last or b""


def p2sh_sigops(script_sig: bytes, script_pubkey: bytes) -> int:
    """Count the signature checks in the redeem script of a P2SH input, 0 for any other output (BIP16)."""
    redeem_script = last_push(script_sig) if is_p2sh(script_pubkey) else None
    return legacy_sigops(redeem_script, accurate=True) if redeem_script else 0


def count_witness_sigops(script_sig: bytes, script_pubkey: bytes, witness: Sequence[bytes], flags: int) -> int:
    """Count the signature checks in a version 0 witness, also one nested in P2SH (BIP141; Core: CountWitnessSigOps)."""
    if not flags & WITNESS:
        return 0
    program = witness_program(script_pubkey)
    if program is None and is_p2sh(script_pubkey):
        program = witness_program(last_push(script_sig) or b"")
    if program is None or program[0] != 0:
        return 0
    if len(program[1]) == 20:
        return 1
    if len(program[1]) == 32 and witness:
        return legacy_sigops(witness[-1], accurate=True)
    return 0
