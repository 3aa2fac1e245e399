"""What is done with a partially signed transaction (BIP174): update, sign, finalize, extract, analyse."""

from dataclasses import dataclass, field
from enum import Enum

from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.script import templates
from altyn.consensus.script.sighash import SIGHASH_ANYONECANPAY, SIGHASH_DEFAULT, SighashCache
from altyn.consensus.script.taproot import Leaf, Tree
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction, TxOut
from altyn.wallet.formats.psbt import Psbt, PsbtInput, PsbtOutput
from altyn.wallet.formats.signing import InputData, InputSigner, Keyring, Solution, learn, solve


class SighashMismatch(ValueError):
    """The input asks for another signature hash type than the signer would use."""


def digests(psbt: Psbt) -> SighashCache:
    """Return the digests of the inputs; those of taproot can be had only if all spent outputs are known."""
    spent = [psbt.spent_output(index) for index in range(len(psbt.inputs))]
    known = [output for output in spent if output is not None]
    return SighashCache(psbt.tx, known if len(known) == len(spent) else [])


def sign_input(
    psbt: Psbt,
    index: int,
    keyring: Keyring,
    cache: SighashCache,
    secp: Secp256k1,
    *,
    hash_type: int = SIGHASH_DEFAULT,
    finish: bool = True,
    may_sign: bool = True,
) -> Solution:
    """Add to an input what the keyring knows and can sign; `finish` a complete one (Core: SignPSBTInput).

    Raises SighashMismatch.
    """
    psbt_input, output = psbt.inputs[index], psbt.spent_output(index)
    if psbt_input.is_final:
        return Solution(psbt_input.final_script_sig, psbt_input.final_witness, is_complete=True)
    if output is None:
        return Solution()
    asked = psbt_input.sighash_type
    if asked is not None and asked != hash_type and may_sign and hash_type != SIGHASH_DEFAULT:
        raise SighashMismatch("Specified sighash value does not match value stored in PSBT")
    signer = InputSigner(cache, index, output, secp, hash_type if asked is None else asked)
    solution = solve(output.script_pubkey, psbt_input, keyring, signer, may_sign=may_sign)
    has_witness = _is_witness(output.script_pubkey, psbt_input)
    if psbt_input.non_witness_utxo is None and not has_witness:
        return Solution()  # the amount is vouched for by a segwit signature only
    if has_witness:
        psbt_input.witness_utxo = output
    if solution.is_complete and finish:
        psbt_input.final_script_sig, psbt_input.final_witness = solution.script_sig, solution.witness
        psbt_input.signatures.clear()
        psbt_input.origins.clear()
        psbt_input.redeem_script = psbt_input.witness_script = b""
    return solution


def _is_witness(script_pubkey: bytes, data: InputData) -> bool:
    redeemed = data.redeem_script if templates.p2sh_of(data.redeem_script) == script_pubkey else script_pubkey
    return templates.witness_program(redeemed) is not None


def pays_witness(script_pubkey: bytes, keyring: Keyring) -> bool:
    """Tell whether an output is spent by a witness, as far as the keyring knows (Core: IsSegWitOutput)."""
    redeem_script = b""
    if templates.is_p2sh(script_pubkey):
        redeem_script = keyring.scripts.get(script_pubkey[2:22], b"")
    return _is_witness(script_pubkey, InputData(redeem_script=redeem_script))


def finalize(psbt: Psbt, secp: Secp256k1) -> bool:
    """Give each input its final scripts, where the signatures suffice; return whether all have them."""
    cache = digests(psbt)
    complete = True
    for index in range(len(psbt.inputs)):
        complete = sign_input(psbt, index, Keyring(), cache, secp, may_sign=False).is_complete and complete
    return complete


def extract(psbt: Psbt) -> Transaction:
    """Return the transaction with the final scripts of its inputs."""
    inputs = [
        txin._replace(script_sig=each.final_script_sig, witness=each.final_witness)
        for txin, each in zip(psbt.tx.inputs, psbt.inputs, strict=True)
    ]
    return Transaction(psbt.tx.version, inputs, psbt.tx.outputs, psbt.tx.lock_time)


def update_output(output: PsbtOutput, script_pubkey: bytes, keyring: Keyring, secp: Secp256k1) -> None:
    """Add to an output what the keyring knows of its script (Core: UpdatePSBTOutput)."""
    data = InputData(
        origins=output.origins,
        redeem_script=output.redeem_script,
        witness_script=output.witness_script,
        internal_key=output.internal_key,
        taproot_origins=output.taproot_origins,
    )
    learn(script_pubkey, data, keyring, secp)
    output.redeem_script, output.witness_script = data.redeem_script, data.witness_script
    output.internal_key = data.internal_key
    made = keyring.taproot.get(script_pubkey[2:])
    if made is not None and made.tree is not None:
        output.tree = tuple(_with_depths(made.tree, 0))


def _with_depths(tree: Tree, depth: int) -> list[tuple[int, int, bytes]]:
    if isinstance(tree, Leaf):
        return [(depth, tree.version, tree.script)]
    left, right = tree
    return [*_with_depths(left, depth + 1), *_with_depths(right, depth + 1)]


def drop_needless_transactions(psbt: Psbt, hash_type: int) -> None:
    """Drop whole previous transactions if all inputs are of segwit from version 1 on, which sign all amounts.

    Core: RemoveUnnecessaryTransactions.
    """
    if hash_type & SIGHASH_ANYONECANPAY:
        return
    for each in psbt.inputs:
        program = each.witness_utxo and (
            templates.witness_program(each.witness_utxo.script_pubkey) or templates.witness_program(each.redeem_script)
        )
        if not program or program[0] == 0 or (each.sighash_type or 0) & SIGHASH_ANYONECANPAY:
            return
    for each in psbt.inputs:
        each.non_witness_utxo = None


# Analysis


class Role(Enum):
    """Who is next; in the order of the work."""

    CREATOR = "creator"
    UPDATER = "updater"
    SIGNER = "signer"
    FINALIZER = "finalizer"
    EXTRACTOR = "extractor"


@dataclass(slots=True)
class InputAnalysis:
    """How far one input is."""

    has_utxo: bool
    is_final: bool
    next: Role
    solution: Solution = field(default_factory=Solution)
    """With what is missing."""


@dataclass(slots=True)
class Analysis:
    """How far a transaction is; fee in satoshis, size in virtual bytes, None if they are unknown."""

    inputs: list[InputAnalysis] = field(default_factory=list)
    fee: int | None = None
    vsize: int | None = None
    next: Role = Role.EXTRACTOR
    error: str = ""


def analyze(psbt: Psbt, secp: Secp256k1) -> Analysis:
    """Return what there is and what is missing (Core: AnalyzePSBT)."""
    cache = digests(psbt)
    found = Analysis()
    total = 0
    for index, psbt_input in enumerate(psbt.inputs):
        output = psbt.spent_output(index)
        if output is not None:
            if not 0 <= output.value <= MAX_MONEY - total:
                return _invalid(f"PSBT is not valid. Input {index} has invalid value")
            if templates.is_unspendable(output.script_pubkey):
                return _invalid(f"PSBT is not valid. Input {index} spends unspendable output")
            total += output.value
        found.inputs.append(_analyze_input(psbt, index, psbt_input, output, cache, secp))
    roles = list(Role)
    found.next = min((each.next for each in found.inputs), key=roles.index, default=Role.EXTRACTOR)
    if all(each.has_utxo for each in found.inputs):
        paid = [output.value for output in psbt.tx.outputs]
        if any(not 0 <= value <= MAX_MONEY for value in paid) or sum(paid) > MAX_MONEY:
            return _invalid("PSBT is not valid. Output amount invalid")
        found.fee = total - sum(paid)
        found.vsize = _estimated_vsize(psbt, found.inputs, cache, secp)
    return found


def _invalid(error: str) -> Analysis:
    return Analysis(next=Role.CREATOR, error=error)


def _analyze_input(
    psbt: Psbt, index: int, psbt_input: PsbtInput, output: TxOut | None, cache: SighashCache, secp: Secp256k1
) -> InputAnalysis:
    if output is None:
        return InputAnalysis(has_utxo=False, is_final=False, next=Role.UPDATER)
    signer = InputSigner(cache, index, output, secp)
    if psbt_input.is_final and not signer.error(psbt_input.final_script_sig, psbt_input.final_witness):
        return InputAnalysis(has_utxo=True, is_final=True, next=Role.EXTRACTOR)
    solution = sign_input(_copy(psbt), index, Keyring(), cache, secp, may_sign=False)
    lacks_more = solution.missing_keys or solution.missing_redeem_script or solution.missing_witness_script
    role = Role.FINALIZER
    if not solution.is_complete:
        role = Role.SIGNER if solution.missing_signatures and not lacks_more else Role.UPDATER
    return InputAnalysis(True, False, role, solution)


def _copy(psbt: Psbt) -> Psbt:
    return Psbt.parse(psbt.serialize())


class _EverySecret(dict[bytes, bytes]):
    """Has a secret for every key."""

    def get(self, key: bytes, default: object = None) -> bytes:
        return b"\1" * 32


class _Pretender(InputSigner):
    """Makes signatures of the usual size that are none (Core: DUMMY_SIGNATURE_CREATOR)."""

    def ecdsa(self, *_: object) -> bytes:
        return b"\1" * 71

    def schnorr(self, *_: object) -> bytes:
        return b"\1" * 64

    def error(self, *_: object) -> str:
        return ""


def _estimated_vsize(psbt: Psbt, found: list[InputAnalysis], cache: SighashCache, secp: Secp256k1) -> int | None:
    """Return the size of the signed transaction, None if keys or scripts are missing."""
    pretended = _copy(psbt)
    keyring = Keyring(secrets=_EverySecret())
    for index, each in enumerate(pretended.inputs):
        output = pretended.spent_output(index)
        if each.is_final:
            continue
        assert output is not None  # the caller has looked
        solution = found[index].solution
        if not solution.is_complete:
            solution = solve(output.script_pubkey, each, keyring, _Pretender(cache, index, output, secp))
        if not solution.is_complete:
            return None
        each.final_script_sig, each.final_witness = solution.script_sig, solution.witness
    return extract(pretended).vsize
