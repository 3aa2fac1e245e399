"""The elliptic curve behind signatures: one interface, two backends."""

import warnings
from typing import Protocol, runtime_checkable

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of the group."""


class InvalidKey(ValueError):
    """A secret that is no key, or a public key that is not on the curve."""


class Secp256k1(Protocol):
    """What consensus and wallets ask of the curve.

    Secrets, digests, tweaks and x-only keys are 32 bytes. Public keys are 33 or 65 bytes as in scripts. The checks
    return False for whatever is malformed; the functions that make something raise InvalidKey.
    Objects may be used from many threads. A cache of verified signatures can be another implementation around one.
    """

    name: str
    """"coincurve" or "ecdsa"."""

    def verify_ecdsa(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        """Check a DER signature as leniently as old blocks need, high S included (Core: CPubKey::Verify)."""
        ...

    def verify_schnorr(self, public_key: bytes, signature: bytes, digest: bytes) -> bool:
        """Check a 64-byte signature by a 32-byte key over a message of any length (BIP340)."""
        ...

    def check_tweak(self, output_key: bytes, parity: int, internal_key: bytes, tweak: bytes) -> bool:
        """Check that `output_key`, with a y of that `parity`, is `internal_key` plus `tweak` times G (BIP341)."""
        ...

    def is_public_key(self, public_key: bytes) -> bool:
        """Tell whether these bytes are a point on the curve: compressed, uncompressed or hybrid."""
        ...

    def public_key(self, secret: bytes, *, compressed: bool = True) -> bytes:
        """Return the public key of `secret`, 33 or 65 bytes. Raises InvalidKey."""
        ...

    def sign_ecdsa(self, secret: bytes, digest: bytes) -> bytes:
        """Return a DER signature of at most 71 bytes: low S, and low R by trying nonces (RFC6979; Core: CKey::Sign).

        Raises InvalidKey.
        """
        ...

    def sign_schnorr(self, secret: bytes, digest: bytes, aux: bytes = bytes(32)) -> bytes:
        """Return a 64-byte signature (BIP340); `aux` is 32 random bytes against side channels. Raises InvalidKey."""
        ...

    def sign_recoverable(self, secret: bytes, digest: bytes) -> tuple[bytes, int]:
        """Return an ECDSA signature as 64 bytes, and the number, 0 to 3, by which `recover` finds the public key.

        Low S, the first nonce (RFC6979; Core: CKey::SignCompact). Raises InvalidKey.
        """
        ...

    def recover(self, signature: bytes, number: int, digest: bytes) -> bytes | None:
        """Return the one public key, 33 bytes, for which a signature of 64 bytes holds; None if there is none."""
        ...

    def uncompressed(self, public_key: bytes) -> bytes:
        """Return a public key in its form of 65 bytes. Raises InvalidKey."""
        ...

    def add_to_secret(self, secret: bytes, tweak: bytes) -> bytes:
        """Return secret plus tweak modulo the order. Raises InvalidKey, also when the sum is zero."""
        ...

    def add_to_public_key(self, public_key: bytes, tweak: bytes) -> bytes:
        """Return public key plus tweak times G, 33 bytes. Raises InvalidKey, also when the sum is no point."""
        ...

    def tweak_x_only(self, key: bytes, tweak: bytes) -> tuple[bytes, int]:
        """Return the x-only key plus tweak times G: its x, 32 bytes, and the parity of its y. Raises InvalidKey."""
        ...


@runtime_checkable
class Ellswift(Protocol):
    """Key agreement with public keys that look like random bytes (BIP324); of the backends, libsecp256k1 only has it.

    Encoded keys are 64 bytes, and any 64 bytes are one.
    """

    def ellswift_create(self, secret: bytes, randomness: bytes) -> bytes:
        """Return one of the many encodings of the public key of `secret`, chosen by 32 random bytes.

        Raises InvalidKey.
        """
        ...

    def ellswift_decode(self, encoded: bytes) -> bytes:
        """Return the public key, 33 bytes."""
        ...

    def ellswift_agree(self, secret: bytes, ours: bytes, theirs: bytes, *, initiating: bool) -> bytes:
        """Return the 32 bytes that both sides come to; `initiating`: we made the connection. Raises InvalidKey."""
        ...


def load(name: str = "auto") -> Secp256k1:
    """Return a backend: "coincurve" (libsecp256k1), "ecdsa" (plain Python, slow), or "auto".

    "auto" is coincurve, or ecdsa with a warning where coincurve or one of the private symbols used of it is missing.
    Raises ImportError when the named one cannot be had, ValueError for another name.
    """
    if name not in {"auto", "coincurve", "ecdsa"}:
        raise ValueError(f"no secp256k1 backend {name!r}: auto, coincurve or ecdsa")
    if name != "ecdsa":
        try:
            from altyn.consensus.secp256k1.libsecp import LibSecp256k1  # noqa: PLC0415 - may be missing

            return LibSecp256k1()
        except ImportError as error:
            if name == "coincurve":
                raise
            warnings.warn(f"signatures are checked in plain Python, very slowly: {error}", RuntimeWarning, stacklevel=2)
    from altyn.consensus.secp256k1.portable import PortableSecp256k1  # noqa: PLC0415 - costs time

    return PortableSecp256k1()
