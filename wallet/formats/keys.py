"""Hierarchical deterministic keys (BIP32): parse, derive, write."""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from altyn.consensus.hashes import hash160
from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, base58check_decode, base58check_encode
from altyn.consensus.secp256k1 import InvalidKey, Secp256k1

HARDENED = 1 << 31
"""Added to an index: the child can be derived from the private parent only."""
_SIZE = 78
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)


class KeyFormatError(ValueError):
    """Text or bytes that are no extended key, or a path that cannot be followed."""


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """An extended key. `secret` is None in a public one; `public_key` is compressed.

    `parent` is the first four bytes of the parent's identifier, `number` the index below it, HARDENED included.
    """

    public_key: bytes
    chain_code: bytes
    secret: bytes | None = None
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    def __repr__(self) -> str:
        """Never show a secret: keys end up in tracebacks and logs."""
        return f"<ExtendedKey {self.public_key.hex()}, {'private' if self.is_private else 'public'}>"

    @classmethod
    def from_seed(cls, seed: bytes, secp: Secp256k1) -> Self:
        """Make the master key from 16 to 64 bytes of entropy. Raises KeyFormatError."""
        if not 16 <= len(seed) <= 64:
            raise KeyFormatError("a seed has 16 to 64 bytes")
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        try:
            public_key = secp.public_key(digest[:32])
        except InvalidKey as error:
            raise KeyFormatError("this seed has no master key") from error
        return cls(public_key, digest[32:], digest[:32])

    @classmethod
    def parse(cls, text: str, network: Network, secp: Secp256k1) -> Self:
        """Read an extended key of the network, xpub or xprv form. Raises KeyFormatError."""
        try:
            data = base58check_decode(text, most=_SIZE)
        except AddressError as error:
            raise KeyFormatError(f"not an extended key: {error}") from None
        if len(data) != _SIZE:
            raise KeyFormatError("an extended key has 78 bytes")
        version, depth, parent, number = data[:4], data[4], data[5:9], int.from_bytes(data[9:13], "big")
        chain_code, key = data[13:45], data[45:]
        if depth == 0 and (any(parent) or number):
            raise KeyFormatError("a master key has neither parent nor number")
        if version == network.ext_secret_prefix:
            if key[0] != 0:
                raise KeyFormatError("not a private key")
            secret = key[1:]
            try:
                public_key = secp.public_key(secret)
            except InvalidKey as error:
                raise KeyFormatError("the private key is out of range") from error
            return cls(public_key, chain_code, secret, depth, parent, number)
        if version != network.ext_public_prefix:
            raise KeyFormatError(f"not an extended key of {network.name}")
        if not secp.is_public_key(key):
            raise KeyFormatError("not a public key")
        return cls(key, chain_code, None, depth, parent, number)

    @property
    def is_private(self) -> bool:
        return self.secret is not None

    @property
    def identifier(self) -> bytes:
        """The hash160 of the public key, 20 bytes."""
        return hash160(self.public_key)

    @property
    def fingerprint(self) -> bytes:
        """The first four bytes of the identifier."""
        return self.identifier[:4]

    def neutered(self) -> Self:
        """Return the key without its secret."""
        return replace(self, secret=None)

    def encode(self, network: Network) -> str:
        """Write the key, xprv form if it is private, else xpub form."""
        if self.secret is None:
            prefix, key = network.ext_public_prefix, self.public_key
        else:
            prefix, key = network.ext_secret_prefix, b"\0" + self.secret
        numbers = bytes((self.depth,)) + self.parent + self.number.to_bytes(4, "big")
        return base58check_encode(prefix + numbers + self.chain_code + key)

    def child(self, number: int, secp: Secp256k1) -> Self:
        """Derive one child. Raises KeyFormatError: hardened from a public key, too deep, or no such key (BIP32)."""
        if self.depth == 255:
            raise KeyFormatError("keys are at most 255 deep")
        if number >= HARDENED:
            if self.secret is None:
                raise KeyFormatError("a hardened child needs the private key")
            data = b"\0" + self.secret
        else:
            data = self.public_key
        digest = hmac.digest(self.chain_code, data + number.to_bytes(4, "big"), "sha512")
        secret = None
        try:
            if self.secret is None:
                public_key = secp.add_to_public_key(self.public_key, digest[:32])
            else:
                secret = secp.add_to_secret(self.secret, digest[:32])
                public_key = secp.public_key(secret)
        except InvalidKey as error:
            raise KeyFormatError("there is no key at this number") from error
        return replace(
            self,
            public_key=public_key,
            chain_code=digest[32:],
            secret=secret,
            depth=self.depth + 1,
            parent=self.fingerprint,
            number=number,
        )

    def derive(self, path: Iterable[int], secp: Secp256k1) -> Self:
        """Derive a descendant, step by step. Raises KeyFormatError."""
        key = self
        for number in path:
            key = key.child(number, secp)
        return key


def parse_path(text: str) -> tuple[int, ...]:
    """Read a path such as `m/84h/0'/0`; the leading `m/` may be left out. Raises KeyFormatError."""
    steps = text.split("/")
    if steps[0] in {"m", ""}:
        steps = steps[1:]
    return tuple(map(parse_step, steps))


def parse_step(text: str) -> int:
    """Read one number of a path, hardened by `h` or an apostrophe. Raises KeyFormatError, worded as in Core."""
    hardened = text[-1:] in {"h", "'"}
    digits = text[:-1] if hardened else text
    if not _NUMBER.fullmatch(digits) or int(digits) > 0xFFFFFFFF:
        raise KeyFormatError(f"Key path value '{digits}' is not a valid uint32")
    if int(digits) >= HARDENED:
        raise KeyFormatError(f"Key path value {int(digits)} is out of range")
    return int(digits) + (HARDENED if hardened else 0)


def format_path(path: Iterable[int], marker: str = "h") -> str:
    """Write a path with a slash before every number, hardened ones with `marker`."""
    return "".join(f"/{number % HARDENED}{marker if number >= HARDENED else ''}" for number in path)
