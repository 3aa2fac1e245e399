"""What was found valid and need not be checked again, bounded in bytes.

Keys are hashes behind a random salt, so that nobody can make up entries that push out others or collide. Only what
passed is kept: a failure is worth nothing to an attacker to repeat, since its sender is dropped.
"""

from hashlib import sha256

from altyn.consensus.secp256k1 import Secp256k1

ENTRY_BYTES = 208
"""What an entry takes: its key 80 bytes, its place in a set that is at worst an eighth full 128."""


class Remembered:
    """A set of keys. When it is full the older half is forgotten. May be used from many threads."""

    def __init__(self, salt: bytes, max_bytes: int) -> None:
        """`salt` is 32 random bytes."""
        self._hasher = sha256(salt * 2)  # a whole block: the salt costs nothing each time
        self._half = max(max_bytes // (2 * ENTRY_BYTES), 1)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def key(self, data: bytes) -> bytes:
        """Return the 32 bytes under which `data` is known here."""
        hasher = self._hasher.copy()
        hasher.update(data)
        return hasher.digest()

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, key: bytes) -> None:
        young = self._young
        young.add(key)
        if len(young) >= self._half:
            self._old, self._young = young, set()


class ScriptCache:
    """Transactions whose scripts all pass under some flags (Core: the script execution cache)."""

    def __init__(self, salt: bytes, max_bytes: int) -> None:
        """`salt` is 32 random bytes."""
        self._passed = Remembered(salt, max_bytes)

    def __bool__(self) -> bool:
        """Whether anything is known to pass."""
        return bool(len(self._passed))

    def has_passed(self, wtxid: bytes, flags: int) -> bool:
        """Tell whether all inputs are known to pass. Spent outputs are named by hash, so that the wtxid says all."""
        return self._key(wtxid, flags) in self._passed

    def add(self, wtxid: bytes, flags: int) -> None:
        """Remember that all inputs pass."""
        self._passed.add(self._key(wtxid, flags))

    def _key(self, wtxid: bytes, flags: int) -> bytes:
        return self._passed.key(wtxid + flags.to_bytes(4, "little"))


class CachedSecp256k1:
    """A curve that remembers valid signatures (altyn.consensus.secp256k1.Secp256k1; Core: the signature cache)."""

    def __init__(self, secp: Secp256k1, salt: bytes, max_bytes: int) -> None:
        """`salt` is 32 random bytes."""
        self.name = secp.name
        self._secp = secp
        self._valid = Remembered(salt, max_bytes)
        self.check_tweak = secp.check_tweak
        self.is_public_key = secp.is_public_key
        self.public_key = secp.public_key
        self.sign_ecdsa = secp.sign_ecdsa
        self.sign_schnorr = secp.sign_schnorr
        self.sign_recoverable = secp.sign_recoverable
        self.recover = secp.recover
        self.uncompressed = secp.uncompressed
        self.add_to_secret = secp.add_to_secret
        self.add_to_public_key = secp.add_to_public_key
        self.tweak_x_only = secp.tweak_x_only

    def verify_ecdsa(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        """Check a DER signature; see Secp256k1."""
        key = self._valid.key(b"".join((b"E", digest, len(public_key).to_bytes(4, "little"), public_key, signature)))
        if key in self._valid:
            return True
        valid = self._secp.verify_ecdsa(public_key, signature, digest)
        if valid:
            self._valid.add(key)
        return valid

    def verify_schnorr(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        """Check a 64-byte signature; see Secp256k1."""
        key = self._valid.key(b"".join((b"S", public_key, signature, digest)))
        if key in self._valid:
            return True
        valid = self._secp.verify_schnorr(public_key, signature, digest)
        if valid:
            self._valid.add(key)
        return valid
