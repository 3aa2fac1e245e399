"""The forms that signatures and public keys in scripts must have, by flags."""

from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.flags import DERSIG, LOW_S, STRICTENC, WITNESS_PUBKEYTYPE
from altyn.consensus.script.sighash import SIGHASH_NAMES
from altyn.consensus.secp256k1.der import is_low_s

_ANY_DER = DERSIG | LOW_S | STRICTENC
_ANY = _ANY_DER | WITNESS_PUBKEYTYPE


def check_encodings(signature: bytes, public_key: bytes, flags: int, witness_v0: bool) -> None:
    """Check a signature with its hash type, and a key (Core: CheckSignatureEncoding, CheckPubKeyEncoding).

    An empty signature has the right form. Raises ScriptError.
    """
    if not flags & _ANY:
        return
    if flags & _ANY_DER and signature:
        check_signature_encoding(signature, flags)
    if flags & STRICTENC and not is_compressed(public_key) and not (len(public_key) == 65 and public_key[0] == 4):
        raise ScriptError(ScriptErrorCode.PUBKEYTYPE)
    if flags & WITNESS_PUBKEYTYPE and witness_v0 and not is_compressed(public_key):
        raise ScriptError(ScriptErrorCode.WITNESS_PUBKEYTYPE)


def check_signature_encoding(signature: bytes, flags: int) -> None:
    """Check a signature that is not empty, its hash type behind it. Raises ScriptError."""
    if not is_strict_der(signature):
        raise ScriptError(ScriptErrorCode.SIG_DER)
    if flags & LOW_S and not is_low_s(signature[:-1]):
        raise ScriptError(ScriptErrorCode.SIG_HIGH_S)
    if flags & STRICTENC and signature[-1] not in SIGHASH_NAMES:
        raise ScriptError(ScriptErrorCode.SIG_HASHTYPE)


def is_compressed(public_key: bytes) -> bool:
    """Tell whether a key has the compressed form; not whether it is on the curve."""
    return len(public_key) == 33 and public_key[0] in (2, 3)


def is_strict_der(signature: bytes) -> bool:
    """Tell whether a signature with its hash type is 30 LEN 02 LEN R 02 LEN S TYPE, all in shortest form (BIP66)."""
    size = len(signature)
    if not 9 <= size <= 73 or signature[0] != 0x30 or signature[1] != size - 3:
        return False
    r_size = signature[3]
    if r_size + 5 >= size:
        return False
    s_size = signature[r_size + 5]
    if r_size + s_size + 7 != size or signature[2] != 2 or signature[r_size + 4] != 2 or not r_size or not s_size:
        return False
    r, s = signature[4], signature[r_size + 6]
    if r & 0x80 or s & 0x80:
        return False  # negative
    if r_size > 1 and not r and not signature[5] & 0x80:
        return False  # padded
    return not (s_size > 1 and not s and not signature[r_size + 7] & 0x80)
