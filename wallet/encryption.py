"""Secrets at rest: a key from the passphrase by scrypt, ChaCha20-Poly1305 under it."""

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from altyn.wallet.errors import StoreError, WrongPassphrase

_NONCE_SIZE = 12
_MOST_MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class KeyDerivation:
    """How a passphrase becomes a key (RFC 7914). The defaults take 128 MiB and about a third of a second."""

    cost: int = 1 << 17
    """scrypt's N: memory and time grow with it; a power of two."""
    block_size: int = 8
    parallelism: int = 1
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def key(self, passphrase: str) -> bytes:
        """Return the 32-byte key. Raises StoreError for parameters that a damaged file might ask for."""
        memory = 128 * self.cost * self.block_size
        if self.cost < 2 or self.cost & (self.cost - 1) or not 0 < memory <= _MOST_MEMORY or self.parallelism != 1:
            raise StoreError("the wallet file is damaged: impossible key derivation parameters")
        scrypt = Scrypt(salt=self.salt, length=32, n=self.cost, r=self.block_size, p=self.parallelism)
        return scrypt.derive(passphrase.encode())


def seal(plain: bytes, key: bytes, context: bytes) -> bytes:
    """Encrypt and authenticate; `context` is authenticated too and must be the same when opened."""
    nonce = secrets.token_bytes(_NONCE_SIZE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, context)


def unseal(sealed: bytes, key: bytes, context: bytes) -> bytes:
    """Decrypt what `seal` returned. Raises WrongPassphrase."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], context)
    except (InvalidTag, ValueError):
        raise WrongPassphrase("wrong passphrase (or the secrets in the wallet file are damaged)") from None
