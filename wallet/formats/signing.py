"""Signing inputs: P2PKH, P2WPKH and the key path of P2TR. Everything is signed: SIGHASH_ALL, in taproot the default."""

from collections.abc import Mapping, Sequence

from altyn.consensus.script import flags, templates
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.opcodes import push
from altyn.consensus.script.sighash import SIGHASH_ALL, SIGHASH_DEFAULT, SighashCache
from altyn.consensus.script.taproot import output_secret
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction, TxIn, TxOut


class SigningError(ValueError):
    """An input that cannot be signed, or whose signature does not hold."""


def sign(
    tx: Transaction,
    spent_outputs: Sequence[TxOut],
    secrets: Mapping[bytes, bytes],
    secp: Secp256k1,
    aux: bytes = bytes(32),
) -> Transaction:
    """Return `tx` with every input signed; `secrets` maps output scripts to the secrets of their public keys.

    The secret of a P2TR output is the internal one (BIP86). `aux` is 32 bytes of chance for Schnorr signatures.
    Raises SigningError for an input without secret, or of another kind.
    """
    cache = SighashCache(tx, spent_outputs)
    inputs = []
    for index, (txin, output) in enumerate(zip(tx.inputs, spent_outputs, strict=True)):
        secret = secrets.get(output.script_pubkey)
        if secret is None:
            raise SigningError(f"there is no key for input {index}")
        inputs.append(_sign_input(txin, index, output, secret, cache, secp, aux))
    return Transaction(tx.version, inputs, tx.outputs, tx.lock_time)


def _sign_input(
    txin: TxIn, index: int, output: TxOut, secret: bytes, cache: SighashCache, secp: Secp256k1, aux: bytes
) -> TxIn:
    template = templates.classify(output.script_pubkey)
    match template.kind:
        case "witness_v0_keyhash":
            code = templates.p2pkh(template.data[0])
            digest = cache.witness_v0(index, code, output.value, SIGHASH_ALL)
            signature = secp.sign_ecdsa(secret, digest) + bytes((SIGHASH_ALL,))
            return txin._replace(script_sig=b"", witness=(signature, secp.public_key(secret)))
        case "witness_v1_taproot":
            taproot_digest = cache.taproot(index, SIGHASH_DEFAULT)
            assert taproot_digest is not None  # the hash type is a valid one
            signature = secp.sign_schnorr(output_secret(secp, secret), taproot_digest, aux)
            return txin._replace(script_sig=b"", witness=(signature,))
        case "pubkeyhash":
            digest = cache.legacy(index, output.script_pubkey, SIGHASH_ALL)
            signature = secp.sign_ecdsa(secret, digest) + bytes((SIGHASH_ALL,))
            return txin._replace(script_sig=push(signature) + push(secp.public_key(secret)), witness=())
    raise SigningError(f"input {index} spends a {template.kind} output, which cannot be signed here")


def check_signatures(tx: Transaction, spent_outputs: Sequence[TxOut], secp: Secp256k1) -> None:
    """Run the scripts of all inputs under the rules of relay. Raises SigningError."""
    cache = SighashCache(tx, spent_outputs)
    for index, (txin, output) in enumerate(zip(tx.inputs, spent_outputs, strict=True)):
        checker = TransactionChecker(tx, index, output.value, cache, secp)
        try:
            verify_script(txin.script_sig, output.script_pubkey, txin.witness, flags.STANDARD, checker)
        except ScriptError as error:
            raise SigningError(f"the signature of input {index} does not hold: {error}") from None
