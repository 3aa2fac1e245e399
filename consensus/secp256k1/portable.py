"""The curve in plain Python on the `ecdsa` package: for machines without coincurve, and to check it against."""

import hashlib
from typing import cast

from ecdsa import SECP256k1
from ecdsa.ellipticcurve import INFINITY, PointJacobi
from ecdsa.numbertheory import SquareRootError, square_root_mod_prime
from ecdsa.rfc6979 import generate_k
from ecdsa.util import sigencode_der

from altyn.consensus.hashes import tagged_hash
from altyn.consensus.secp256k1 import ORDER, InvalidKey
from altyn.consensus.secp256k1.der import parse_lax

_CURVE = SECP256k1.curve
_G = SECP256k1.generator
_P = int(_CURVE.p())


class PortableSecp256k1:
    """The slow backend (altyn.consensus.secp256k1.Secp256k1): milliseconds a signature, and not in constant time."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "ecdsa"

    def verify_ecdsa(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        point = _decode_point(public_key)
        compact = parse_lax(signature)
        if point is None or compact is None:
            return False
        r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:], "big")
        if not r or not s:
            return False
        inverse = pow(s, -1, ORDER)
        total = _G.mul_add(int.from_bytes(digest, "big") * inverse % ORDER, point, r * inverse % ORDER)
        return total != INFINITY and int(total.x()) % ORDER == r

    def verify_schnorr(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        point = _lift_x(public_key)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if point is None or len(signature) != 64 or r >= _P or s >= ORDER:
            return False
        challenge = _challenge(signature[:32], public_key, digest)
        total = _G.mul_add(s, point, ORDER - challenge)
        return total != INFINITY and not total.y() & 1 and int(total.x()) == r

    def check_tweak(self, output_key: bytes, parity: int, internal_key: bytes, tweak: bytes) -> bool:
        try:
            return len(tweak) == 32 and self.tweak_x_only(internal_key, tweak) == (output_key, parity)
        except InvalidKey:
            return False

    def is_public_key(self, public_key: bytes) -> bool:
        return _decode_point(public_key) is not None

    def public_key(self, secret: bytes, *, compressed: bool = True) -> bytes:
        point = _G * _decode_secret(secret)
        return _encode_point(point) if compressed else b"\x04" + _bytes32(point.x()) + _bytes32(point.y())

    def sign_ecdsa(self, secret: bytes, digest: bytes) -> bytes:
        key = _decode_secret(secret)
        _require_size(digest, "digest")
        message = int.from_bytes(digest, "big") % ORDER
        attempt = 0
        extra = b""
        while True:
            nonce = generate_k(ORDER, key, hashlib.sha256, _bytes32(message), extra_entropy=extra)
            r = int((_G * nonce).x()) % ORDER
            s = pow(nonce, -1, ORDER) * (message + r * key) % ORDER
            if r >> 255 == 0 and r and s:
                return cast(bytes, sigencode_der(r, min(s, ORDER - s), ORDER))
            attempt += 1
            extra = attempt.to_bytes(32, "little")

    def sign_schnorr(self, secret: bytes, digest: bytes, aux: bytes = bytes(32)) -> bytes:
        key = _decode_secret(secret)
        _require_size(aux, "aux")
        point = _G * key
        if point.y() & 1:
            key = ORDER - key
        x = _bytes32(point.x())
        masked = key ^ int.from_bytes(tagged_hash("BIP0340/aux", aux), "big")
        nonce = int.from_bytes(tagged_hash("BIP0340/nonce", _bytes32(masked) + x + digest), "big") % ORDER
        commitment = _G * nonce
        if commitment.y() & 1:
            nonce = ORDER - nonce
        r = _bytes32(commitment.x())
        return r + _bytes32((nonce + _challenge(r, x, digest) * key) % ORDER)

    def sign_recoverable(self, secret: bytes, digest: bytes) -> tuple[bytes, int]:
        key = _decode_secret(secret)
        _require_size(digest, "digest")
        message = int.from_bytes(digest, "big") % ORDER
        nonce = generate_k(ORDER, key, hashlib.sha256, _bytes32(message))
        point = _G * nonce
        x, number = int(point.x()), int(point.y()) & 1
        r = x % ORDER
        s = pow(nonce, -1, ORDER) * (message + r * key) % ORDER
        if s > ORDER // 2:
            s, number = ORDER - s, number ^ 1
        return _bytes32(r) + _bytes32(s), number | (x >= ORDER) << 1

    def recover(self, signature: bytes, number: int, digest: bytes) -> bytes | None:
        _require_size(digest, "digest")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        x = r + ORDER * (number >> 1)
        if len(signature) != 64 or not 0 < r < ORDER or not 0 < s < ORDER or x >= _P:
            return None
        point = _decode_point(bytes((2 | number & 1,)) + _bytes32(x))
        if point is None:
            return None
        inverse = pow(r, -1, ORDER)
        key = point * (s * inverse % ORDER) + _G * (-int.from_bytes(digest, "big") * inverse % ORDER)
        return None if key == INFINITY else _encode_point(key)

    def uncompressed(self, public_key: bytes) -> bytes:
        point = _decode_point(public_key)
        if point is None:
            raise InvalidKey("not a public key")
        return b"\x04" + _bytes32(point.x()) + _bytes32(point.y())

    def add_to_secret(self, secret: bytes, tweak: bytes) -> bytes:
        total = (_decode_secret(secret) + _decode_tweak(tweak)) % ORDER
        if not total:
            raise InvalidKey("not a secret key, or the sum is none")
        return _bytes32(total)

    def add_to_public_key(self, public_key: bytes, tweak: bytes) -> bytes:
        point = _decode_point(public_key)
        if point is None:
            raise InvalidKey("not a public key")
        return _encode_point(_add_tweak(point, tweak))

    def tweak_x_only(self, key: bytes, tweak: bytes) -> tuple[bytes, int]:
        point = _lift_x(key)
        if point is None:
            raise InvalidKey("not an x-only key")
        total = _add_tweak(point, tweak)
        return _bytes32(total.x()), int(total.y()) & 1


def _bytes32(number: int) -> bytes:
    return int(number).to_bytes(32, "big")


def _require_size(data: bytes, what: str) -> None:
    if len(data) != 32:
        raise ValueError(f"{what} must have 32 bytes, not {len(data)}")


def _decode_secret(secret: bytes) -> int:
    number = int.from_bytes(secret, "big")
    if len(secret) != 32 or not 0 < number < ORDER:
        raise InvalidKey("not a secret key")
    return number


def _decode_tweak(tweak: bytes) -> int:
    _require_size(tweak, "tweak")
    number = int.from_bytes(tweak, "big")
    if number >= ORDER:
        raise InvalidKey("the tweak is too large")
    return number


def _add_tweak(point: PointJacobi, tweak: bytes) -> PointJacobi:
    number = _decode_tweak(tweak)
    total = point + _G * number if number else point
    if total == INFINITY:
        raise InvalidKey("the sum is no public key")
    return total


def _challenge(r: bytes, x: bytes, message: bytes) -> int:
    return int.from_bytes(tagged_hash("BIP0340/challenge", r + x + message), "big") % ORDER


def _lift_x(key: bytes) -> PointJacobi | None:
    """Return the point with this x and an even y (BIP340)."""
    return _decode_point(b"\x02" + key) if len(key) == 32 else None


def _encode_point(point: PointJacobi) -> bytes:
    return (b"\x03" if point.y() & 1 else b"\x02") + _bytes32(point.x())


def _decode_point(key: bytes) -> PointJacobi | None:
    """Read a compressed, uncompressed or hybrid key; None when it is not on the curve."""
    size, head = len(key), key[:1]
    x = int.from_bytes(key[1:33], "big")
    if x >= _P:
        return None
    square = (pow(x, 3, _P) + 7) % _P
    if size == 33 and head in {b"\x02", b"\x03"}:
        try:
            y = int(square_root_mod_prime(square, _P))
        except SquareRootError:
            return None
        if y & 1 != key[0] & 1:
            y = _P - y
    elif size == 65 and head in {b"\x04", b"\x06", b"\x07"}:
        y = int.from_bytes(key[33:], "big")
        if y >= _P or y * y % _P != square or (key[0] != 4 and y & 1 != key[0] & 1):
            return None
    else:
        return None
    return PointJacobi(_CURVE, x, y, 1, ORDER)
