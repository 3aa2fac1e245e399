"""libsecp256k1, called through the low-level symbols of coincurve: its own classes cost more than they do here.

The symbols are private to coincurve 21. All that are used are fetched when this module is imported, so that a version
without one of them shows itself then, as ImportError.
"""

from typing import Any

from coincurve._libsecp256k1 import ffi, lib

from altyn.consensus.secp256k1 import InvalidKey
from altyn.consensus.secp256k1.der import parse_lax

try:
    _context_create = lib.secp256k1_context_create
    _parse_public_key = lib.secp256k1_ec_pubkey_parse
    _serialize_public_key = lib.secp256k1_ec_pubkey_serialize
    _create_public_key = lib.secp256k1_ec_pubkey_create
    _add_to_public_key = lib.secp256k1_ec_pubkey_tweak_add
    _add_to_secret = lib.secp256k1_ec_seckey_tweak_add
    _verify_secret = lib.secp256k1_ec_seckey_verify
    _parse_der = lib.secp256k1_ecdsa_signature_parse_der
    _parse_compact = lib.secp256k1_ecdsa_signature_parse_compact
    _serialize_compact = lib.secp256k1_ecdsa_signature_serialize_compact
    _serialize_der = lib.secp256k1_ecdsa_signature_serialize_der
    _normalize = lib.secp256k1_ecdsa_signature_normalize
    _verify_ecdsa = lib.secp256k1_ecdsa_verify
    _sign_ecdsa = lib.secp256k1_ecdsa_sign
    _sign_recoverable = lib.secp256k1_ecdsa_sign_recoverable
    _parse_recoverable = lib.secp256k1_ecdsa_recoverable_signature_parse_compact
    _serialize_recoverable = lib.secp256k1_ecdsa_recoverable_signature_serialize_compact
    _recover = lib.secp256k1_ecdsa_recover
    _nonce_rfc6979 = lib.secp256k1_nonce_function_rfc6979
    _parse_x_only = lib.secp256k1_xonly_pubkey_parse
    _serialize_x_only = lib.secp256k1_xonly_pubkey_serialize
    _x_only_from_public_key = lib.secp256k1_xonly_pubkey_from_pubkey
    _tweak_x_only = lib.secp256k1_xonly_pubkey_tweak_add
    _check_tweak = lib.secp256k1_xonly_pubkey_tweak_add_check
    _create_keypair = lib.secp256k1_keypair_create
    _verify_schnorr = lib.secp256k1_schnorrsig_verify
    _sign_schnorr = lib.secp256k1_schnorrsig_sign_custom
    _create_ellswift = lib.secp256k1_ellswift_create
    _decode_ellswift = lib.secp256k1_ellswift_decode
    _agree_ellswift = lib.secp256k1_ellswift_xdh
    _hash_bip324 = lib.secp256k1_ellswift_xdh_hash_function_bip324
    _CONTEXT_NONE = lib.SECP256K1_CONTEXT_NONE
    _COMPRESSED = lib.SECP256K1_EC_COMPRESSED
    _UNCOMPRESSED = lib.SECP256K1_EC_UNCOMPRESSED
    _PUBLIC_KEY = ffi.typeof("secp256k1_pubkey *")
    _X_ONLY = ffi.typeof("secp256k1_xonly_pubkey *")
    _SIGNATURE = ffi.typeof("secp256k1_ecdsa_signature *")
    _RECOVERABLE = ffi.typeof("secp256k1_ecdsa_recoverable_signature *")
    _KEYPAIR = ffi.typeof("secp256k1_keypair *")
    _EXTRA = ffi.typeof("secp256k1_schnorrsig_extraparams *")
    _BUFFER = ffi.typeof("unsigned char[]")
    _SIZE = ffi.typeof("size_t *")
    _INT = ffi.typeof("int *")
except (AttributeError, ffi.error) as error:
    raise ImportError(f"coincurve lacks what is used of it: {error}") from error

_new = ffi.new
_buffer = ffi.buffer
_EXTRA_MAGIC = bytes.fromhex("da6fb38c")


class LibSecp256k1:
    """The fast backend (altyn.consensus.secp256k1.Secp256k1).

    One context serves all threads: the library changes none after making it. What a call writes to is its own, because
    the interpreter lock is free during a call.
    """

    __slots__ = ("_context", "name")

    def __init__(self) -> None:
        self.name = "coincurve"
        self._context = ffi.gc(_context_create(_CONTEXT_NONE), lib.secp256k1_context_destroy)

    def verify_ecdsa(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        context = self._context
        key, parsed = _new(_PUBLIC_KEY), _new(_SIGNATURE)
        if not _parse_public_key(context, key, public_key, len(public_key)):
            return False
        if _parse_der(context, parsed, signature, len(signature)) and _verify_ecdsa(context, parsed, digest, key):
            return True
        # Rare from here on: the signature is wrong, or its S is high, or its form is one of those of old blocks. The
        # strict parser reads negative numbers as zero, so that its word counts for yes only.
        compact = parse_lax(signature)
        if compact is None:
            return False
        lax = _new(_SIGNATURE)
        _parse_compact(context, lax, compact)
        _normalize(context, lax, lax)
        if _buffer(lax)[:] == _buffer(parsed)[:]:
            return False
        return bool(_verify_ecdsa(context, lax, digest, key))

    def verify_schnorr(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        context, key = self._context, _new(_X_ONLY)
        if len(public_key) != 32 or len(signature) != 64 or not _parse_x_only(context, key, public_key):
            return False
        return bool(_verify_schnorr(context, signature, digest, len(digest), key))

    def check_tweak(self, output_key: bytes, parity: int, internal_key: bytes, tweak: bytes) -> bool:
        context, key = self._context, _new(_X_ONLY)
        if len(output_key) != 32 or len(internal_key) != 32 or len(tweak) != 32:
            return False
        if not _parse_x_only(context, key, internal_key):
            return False
        return bool(_check_tweak(context, output_key, parity, key, tweak))

    def is_public_key(self, public_key: bytes) -> bool:
        return bool(_parse_public_key(self._context, _new(_PUBLIC_KEY), public_key, len(public_key)))

    def public_key(self, secret: bytes, *, compressed: bool = True) -> bytes:
        key = _new(_PUBLIC_KEY)
        if len(secret) != 32 or not _create_public_key(self._context, key, secret):
            raise InvalidKey("not a secret key")
        return self._serialize(key, compressed)

    def sign_ecdsa(self, secret: bytes, digest: bytes) -> bytes:
        context, signature = self._context, _new(_SIGNATURE)
        if len(secret) != 32 or not _verify_secret(context, secret):
            raise InvalidKey("not a secret key")
        _require_size(digest, "digest")
        compact = _new(_BUFFER, 64)
        extra: Any = ffi.NULL
        attempt = 0
        while True:
            _sign_ecdsa(context, signature, digest, secret, _nonce_rfc6979, extra)
            _serialize_compact(context, compact, signature)
            if compact[0] < 0x80:
                break
            attempt += 1
            extra = ffi.from_buffer(attempt.to_bytes(32, "little"))
        size, der = _new(_SIZE, 72), _new(_BUFFER, 72)
        _serialize_der(context, der, size, signature)
        return bytes(_buffer(der, size[0]))

    def sign_schnorr(self, secret: bytes, digest: bytes, aux: bytes = bytes(32)) -> bytes:
        context, keypair = self._context, _new(_KEYPAIR)
        if len(secret) != 32 or not _create_keypair(context, keypair, secret):
            raise InvalidKey("not a secret key")
        _require_size(aux, "aux")
        randomness = ffi.from_buffer(aux)
        extra = _new(_EXTRA, {"magic": _EXTRA_MAGIC, "noncefp": ffi.NULL, "ndata": randomness})
        signature = _new(_BUFFER, 64)
        _sign_schnorr(context, signature, digest, len(digest), keypair, extra)
        return bytes(_buffer(signature))

    def sign_recoverable(self, secret: bytes, digest: bytes) -> tuple[bytes, int]:
        _require_size(digest, "digest")
        signature, number, compact = _new(_RECOVERABLE), _new(_INT), _new(_BUFFER, 64)
        if len(secret) != 32 or not _sign_recoverable(self._context, signature, digest, secret, ffi.NULL, ffi.NULL):
            raise InvalidKey("not a secret key")
        _serialize_recoverable(self._context, compact, number, signature)
        return bytes(_buffer(compact)), number[0]

    def recover(self, signature: bytes, number: int, digest: bytes) -> bytes | None:
        _require_size(digest, "digest")
        parsed, key = _new(_RECOVERABLE), _new(_PUBLIC_KEY)
        if len(signature) != 64 or not _parse_recoverable(self._context, parsed, signature, number):
            return None
        return self._serialize(key, True) if _recover(self._context, key, parsed, digest) else None

    def uncompressed(self, public_key: bytes) -> bytes:
        key = _new(_PUBLIC_KEY)
        if not _parse_public_key(self._context, key, public_key, len(public_key)):
            raise InvalidKey("not a public key")
        return self._serialize(key, False)

    def add_to_secret(self, secret: bytes, tweak: bytes) -> bytes:
        _require_size(tweak, "tweak")
        total = _new(_BUFFER, 32)
        if len(secret) == 32:  # else it stays zero, which is no key
            _buffer(total)[:] = secret
        if not _add_to_secret(self._context, total, tweak):
            raise InvalidKey("not a secret key, or the sum is none")
        return bytes(_buffer(total))

    def add_to_public_key(self, public_key: bytes, tweak: bytes) -> bytes:
        _require_size(tweak, "tweak")
        key = _new(_PUBLIC_KEY)
        if not _parse_public_key(self._context, key, public_key, len(public_key)):
            raise InvalidKey("not a public key")
        if not _add_to_public_key(self._context, key, tweak):
            raise InvalidKey("the sum is no public key")
        return self._serialize(key, True)

    def tweak_x_only(self, key: bytes, tweak: bytes) -> tuple[bytes, int]:
        context, internal = self._context, _new(_X_ONLY)
        _require_size(tweak, "tweak")
        if len(key) != 32 or not _parse_x_only(context, internal, key):
            raise InvalidKey("not an x-only key")
        total, output, parity, x = _new(_PUBLIC_KEY), _new(_X_ONLY), _new(_INT), _new(_BUFFER, 32)
        if not _tweak_x_only(context, total, internal, tweak):
            raise InvalidKey("the sum is no public key")
        _x_only_from_public_key(context, output, parity, total)
        _serialize_x_only(context, x, output)
        return bytes(_buffer(x)), parity[0]

    def ellswift_create(self, secret: bytes, randomness: bytes) -> bytes:
        _require_size(randomness, "randomness")
        encoded = _new(_BUFFER, 64)
        if len(secret) != 32 or not _create_ellswift(self._context, encoded, secret, randomness):
            raise InvalidKey("not a secret key")
        return bytes(_buffer(encoded))

    def ellswift_decode(self, encoded: bytes) -> bytes:
        key = _new(_PUBLIC_KEY)
        _decode_ellswift(self._context, key, _require_ellswift(encoded))
        return self._serialize(key, True)

    def ellswift_agree(self, secret: bytes, ours: bytes, theirs: bytes, *, initiating: bool) -> bytes:
        first, second = (ours, theirs) if initiating else (theirs, ours)
        a, b = _require_ellswift(first), _require_ellswift(second)
        context, shared, party = self._context, _new(_BUFFER, 32), int(not initiating)
        if len(secret) != 32 or not _verify_secret(
            context, secret
        ):  # the call itself reduces a secret that is too large
            raise InvalidKey("not a secret key")
        _agree_ellswift(context, shared, a, b, secret, party, _hash_bip324, ffi.NULL)
        return bytes(_buffer(shared))

    def _serialize(self, key: Any, compressed: bool) -> bytes:
        length = 33 if compressed else 65
        size, out = _new(_SIZE, length), _new(_BUFFER, length)
        _serialize_public_key(self._context, out, size, key, _COMPRESSED if compressed else _UNCOMPRESSED)
        return bytes(_buffer(out))


def _require_size(data: bytes, what: str) -> None:
    if len(data) != 32:
        raise ValueError(f"{what} must have 32 bytes, not {len(data)}")


def _require_ellswift(encoded: bytes) -> bytes:
    if len(encoded) != 64:
        raise ValueError(f"an ElligatorSwift key has 64 bytes, not {len(encoded)}")
    return encoded
