"""MuHash3072: a hash of a set that elements join and leave in any order (Core: MuHash3072).

An element becomes a number below 2**3072 - 1103717, a prime; the set is the product of its elements, and to leave is to
be divided by. The set of unspent outputs is hashed so, block by block, without looking at all of it again.
"""

from collections.abc import Iterable
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from altyn.consensus.hashes import sha256

NUMBER_SIZE = 384
"""Bytes of a number, little-endian."""
_BITS = 8 * NUMBER_SIZE
_DISTANCE = 1103717
_PRIME = (1 << _BITS) - _DISTANCE
_LOW = (1 << _BITS) - 1
_NONCE = bytes(16)
_ZEROS = bytes(NUMBER_SIZE)


def _number_of(element: bytes) -> int:
    """Return the ChaCha20 keystream under the element's SHA-256, as a number."""
    stream = Cipher(ChaCha20(sha256(element), _NONCE), None).encryptor()
    return int.from_bytes(stream.update(_ZEROS), "little")


def _fold(product: int) -> int:
    """Bring a product near the prime's size: a quarter of what the remainder of a division costs."""
    product = (product & _LOW) + (product >> _BITS) * _DISTANCE
    return (product & _LOW) + (product >> _BITS) * _DISTANCE


class MuHash:
    """The product of a set's elements; the empty set unless `state` says another."""

    __slots__ = ("_denominator", "_numerator")

    def __init__(self) -> None:
        self._numerator = 1
        self._denominator = 1

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Go on from what `state` returned. Raises ValueError unless it is 384 bytes."""
        if len(state) != NUMBER_SIZE:
            raise ValueError(f"a state has {NUMBER_SIZE} bytes, not {len(state)}")
        self = cls()
        self._numerator = int.from_bytes(state, "little")
        return self

    def insert(self, elements: Iterable[bytes]) -> None:
        """Add elements, of any length."""
        product = self._numerator
        for element in elements:
            product = _fold(product * _number_of(element))
        self._numerator = product

    def remove(self, elements: Iterable[bytes]) -> None:
        """Take elements away; those that never came in leave a debt, which they pay when they come."""
        product = self._denominator
        for element in elements:
            product = _fold(product * _number_of(element))
        self._denominator = product

    def state(self) -> bytes:
        """Return the whole of it as one number of 384 bytes; dividing takes a millisecond."""
        if self._denominator != 1:
            self._numerator *= pow(self._denominator, -1, _PRIME)
            self._denominator = 1
        self._numerator %= _PRIME
        return self._numerator.to_bytes(NUMBER_SIZE, "little")

    def digest(self) -> bytes:
        """Return the hash, 32 bytes in internal order."""
        return sha256(self.state())
