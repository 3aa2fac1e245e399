"""Ways round the interpreter for the commonest spends: they only ever say that a spend passes, never that it fails.

What a shortcut does not pass is run by the interpreter. So it is right if whatever it passes would pass there too, and
whatever it raises would be raised there; a property test holds both beside each other.
"""

from collections.abc import Sequence

from altyn.consensus.hashes import hash160
from altyn.consensus.script.interpreter import BASE, WITNESS_V0, Checker, check_signature
from altyn.consensus.script.templates import is_p2pkh, is_p2sh, p2pkh

_COMPRESSED = 33
_LEAST_SIGNATURE, _MOST_SIGNATURE = 9, 73
"""Bytes of a signature in DER with its hash type."""
_NESTED_KEY_HASH = b"\x16\x00\x14"
"""The push of a P2WPKH program; 20 bytes follow."""


def spends_key_hash(
    script_sig: bytes, script_pubkey: bytes, witness: Sequence[bytes], flags: int, checker: Checker
) -> bool:
    """Tell that an input spends P2WPKH, P2SH-P2WPKH or P2PKH with a compressed key, rightly; False: run the scripts.

    `flags` include P2SH and WITNESS. Raises ScriptError where the interpreter would.
    """
    if len(witness) == 2:
        signature, public_key = witness
        if script_sig:
            if not (len(script_sig) == 23 and script_sig.startswith(_NESTED_KEY_HASH) and is_p2sh(script_pubkey)):
                return False
            program = script_sig[1:]
            if hash160(program) != script_pubkey[2:22]:
                return False
        else:
            program = script_pubkey
            if len(program) != 22 or program[:2] != b"\x00\x14":
                return False
        version, key_hash = WITNESS_V0, program[2:]
        script_code = p2pkh(key_hash)
    elif not witness and is_p2pkh(script_pubkey) and script_sig:
        end = script_sig[0] + 1
        if len(script_sig) != end + 1 + _COMPRESSED or script_sig[end] != _COMPRESSED:
            return False
        signature, public_key = script_sig[1:end], script_sig[end + 1 :]
        version, key_hash, script_code = BASE, script_pubkey[3:23], script_pubkey
    else:
        return False
    if not _LEAST_SIGNATURE <= len(signature) <= _MOST_SIGNATURE or len(public_key) != _COMPRESSED:
        return False
    if hash160(public_key) != key_hash:
        return False
    return check_signature(signature, public_key, script_code, flags, checker, version)
