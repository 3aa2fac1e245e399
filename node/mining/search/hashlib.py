"""The search backend that needs nothing but Python: about a million hashes per second and processor."""

import hashlib
import struct
from array import array

_CHUNK = 1 << 14
_LITTLE_ENDIAN = array("I", [1]).tobytes()[0] == 1


class HashlibSearch:
    """Searches with hashlib, on one thread."""

    name = "hashlib"
    pow_hash = "sha256d"

    def search(self, header: bytes, target: int, first: int, count: int) -> int | None:
        """Return the first nonce of the range that meets `target`, or None."""
        for start in range(first, first + count, _CHUNK):
            found = _search_chunk(header, target, start, min(_CHUNK, first + count - start))
            if found is not None:
                return found
        return None


def _search_chunk(header: bytes, target: int, first: int, count: int) -> int | None:
    # The hottest loop of mining: the state after 76 bytes is copied, not computed again; nonces are laid out
    # beforehand; and only a hash that ends in as many zero bytes as the target has is read as a number.
    sha256 = hashlib.sha256
    copy = sha256(header[:76]).copy
    nonces = array("I", range(first, first + count))
    if not _LITTLE_ENDIAN:
        nonces.byteswap()
    zeros = bytes(32 - (target.bit_length() + 7) // 8)
    for (nonce,) in struct.iter_unpack("4s", nonces.tobytes()):
        inner = copy()
        inner.update(nonce)
        digest = sha256(inner.digest()).digest()
        if digest.endswith(zeros) and int.from_bytes(digest, "little") <= target:
            return int.from_bytes(nonce, "little")
    return None
