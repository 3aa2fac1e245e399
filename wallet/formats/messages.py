"""Messages signed by the key of a P2PKH address (Core: signmessage)."""

import base64
import binascii

from altyn.consensus.encoding import var_bytes
from altyn.consensus.hashes import hash160, sha256d
from altyn.consensus.secp256k1 import Secp256k1

_MAGIC = var_bytes(b"Bitcoin Signed Message:\n")
_HEADER, _COMPRESSED = 27, 4
"""The first byte of a signature: 27 and the recovery number, 4 more for a compressed key."""


def message_hash(message: str) -> bytes:
    """Return what is signed for a message, 32 bytes."""
    return sha256d(_MAGIC + var_bytes(message.encode()))


def sign_message(message: str, secret: bytes, secp: Secp256k1, *, compressed: bool = True) -> str:
    """Return the signature of `message`, 65 bytes in base64. Raises InvalidKey."""
    signature, number = secp.sign_recoverable(secret, message_hash(message))
    return base64.b64encode(bytes((_HEADER + number + _COMPRESSED * compressed,)) + signature).decode()


def signer_of_message(message: str, signature: str, secp: Secp256k1) -> bytes | None:
    """Return the hash160 of the public key that signed `message`, None for no signature at all.

    Raises ValueError for text that is not base64.
    """
    try:
        data = base64.b64decode(signature, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(data) != 65 or not _HEADER <= data[0] < _HEADER + 2 * _COMPRESSED:
        return None
    key = secp.recover(data[1:], (data[0] - _HEADER) & 3, message_hash(message))
    if key is None:
        return None
    return hash160(key if data[0] >= _HEADER + _COMPRESSED else secp.uncompressed(key))
