"""Hash functions of the protocol. Everything takes and returns bytes, in internal (not displayed) order."""

import hashlib
from functools import lru_cache

from altyn.consensus.ripemd160 import ripemd160 as portable_ripemd160

_sha256 = hashlib.sha256


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 of `data`."""
    return _sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """Return SHA-256 applied twice, 32 bytes: the hash of transactions, headers and message checksums."""
    return _sha256(_sha256(data).digest()).digest()


try:
    hashlib.new("ripemd160")
except ValueError:  # an OpenSSL built without the legacy digests
    ripemd160 = portable_ripemd160
else:
    _fresh_ripemd160 = hashlib.new("ripemd160").copy

    def ripemd160(data: bytes) -> bytes:
        """Return the 20-byte RIPEMD-160 of `data`."""
        hasher = _fresh_ripemd160()  # half the price of looking the algorithm up by name each time
        hasher.update(data)
        return hasher.digest()


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256, 20 bytes: the hash of public keys and redeem scripts."""
    return ripemd160(_sha256(data).digest())


@lru_cache(maxsize=32)
def _tagged_midstate(tag: str) -> "hashlib._Hash":
    prefix = _sha256(tag.encode()).digest()
    return _sha256(prefix + prefix)


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Return the 32-byte hash of `data` in the domain `tag` (BIP340)."""
    hasher = _tagged_midstate(tag).copy()
    hasher.update(data)
    return hasher.digest()


_MASK = 0xFFFFFFFFFFFFFFFF


def siphash24(k0: int, k1: int, data: bytes) -> int:
    """Return SipHash-2-4 of `data` under the 128-bit key (k0, k1), as a 64-bit number (BIP152, BIP158)."""
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    size = len(data)
    tail = size & 7
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, size - tail, 8)]
    words.append((size & 0xFF) << 56 | int.from_bytes(data[size - tail :], "little"))
    for word in words:
        v3 ^= word
        for _ in range(2):
            v0 = (v0 + v1) & _MASK
            v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _MASK
            v2 = (v2 + v3) & _MASK
            v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
            v0 = (v0 + v3) & _MASK
            v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
            v2 = (v2 + v1) & _MASK
            v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _MASK
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        v0 = (v0 + v1) & _MASK
        v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _MASK
        v2 = (v2 + v3) & _MASK
        v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0 ^ v1 ^ v2 ^ v3
