"""The keys inside descriptors (BIP380): plain or extended, with origin, derivation path and wildcard."""

from dataclasses import dataclass, field
from enum import Enum

from altyn.consensus.hashes import hash160
from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_wif, encode_wif
from altyn.consensus.secp256k1 import Secp256k1
from altyn.wallet.formats.keys import HARDENED, ExtendedKey, KeyFormatError, format_path, parse_step


class DescriptorError(ValueError):
    """Text that is no descriptor, or one that cannot be expanded. The message is Core's where Core has one."""


class Wildcard(Enum):
    """The last step of a ranged key."""

    NONE = ""
    PLAIN = "*"
    HARDENED = "*h"


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A key of an expanded descriptor, and the way to it from the key with this fingerprint (4 bytes)."""

    public_key: bytes
    fingerprint: bytes
    path: tuple[int, ...]
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """Where a key comes from: the master's fingerprint (4 bytes) and the path down to the key."""

    fingerprint: bytes
    path: tuple[int, ...]
    marker: str = "h"

    def text(self, marker: str | None = None) -> str:
        return f"{self.fingerprint.hex()}{format_path(self.path, marker or self.marker)}"


@dataclass(frozen=True, slots=True)
class PlainKey:
    """A single public key, 33 or 65 bytes; `secret` if it was given as WIF. `x_only`: written as 32 bytes."""

    public_key: bytes
    secret: bytes | None
    x_only: bool
    origin: KeyOrigin | None
    network: Network

    is_range = False

    def __repr__(self) -> str:
        return f"<PlainKey {self.public_key.hex()}>"

    @property
    def is_compressed(self) -> bool:
        return len(self.public_key) == 33

    @property
    def has_secret(self) -> bool:
        return self.secret is not None

    def derive(self, index: int, secp: Secp256k1) -> DerivedKey:
        """Return the key; `index` does not matter."""
        if self.origin:
            return DerivedKey(self.public_key, self.origin.fingerprint, self.origin.path, self.secret)
        return DerivedKey(self.public_key, hash160(self.public_key)[:4], (), self.secret)

    def text(self) -> str:
        key = self.public_key[1:] if self.x_only else self.public_key
        return _bracketed(self.origin) + key.hex()

    def normal_text(self, secp: Secp256k1) -> str:
        return _bracketed(self.origin, "h") + self.text().rpartition("]")[2]

    def private_text(self) -> str:
        if self.secret is None:
            raise DescriptorError("Private key not available")
        return _bracketed(self.origin) + encode_wif(self.secret, self.network, compressed=self.is_compressed)


@dataclass(frozen=True, slots=True)
class DerivableKey:
    """An extended key with a path below it and perhaps a wildcard."""

    root: ExtendedKey
    path: tuple[int, ...]
    wildcard: Wildcard
    marker: str
    origin: KeyOrigin | None
    network: Network
    base: ExtendedKey | None
    """The key at the end of the path, None if that needs the private key."""

    is_compressed = True

    @property
    def is_range(self) -> bool:
        return self.wildcard is not Wildcard.NONE

    @property
    def has_secret(self) -> bool:
        return self.root.is_private

    def _child(self, index: int, secp: Secp256k1) -> tuple[ExtendedKey, tuple[int, ...]]:
        path = self.path
        if self.wildcard is not Wildcard.NONE:
            index += HARDENED if self.wildcard is Wildcard.HARDENED else 0
            path = (*path, index)
        try:
            if self.base is None:
                raise KeyFormatError("a hardened child needs the private key")
            return (self.base.child(index, secp) if self.is_range else self.base), path
        except KeyFormatError as error:
            raise DescriptorError("Cannot derive script without private keys") from error

    def derive(self, index: int, secp: Secp256k1) -> DerivedKey:
        """Return the key at `index`. Raises DescriptorError if that takes a private key that is not there."""
        key, path = self._child(index, secp)
        if self.origin:
            return DerivedKey(key.public_key, self.origin.fingerprint, self.origin.path + path, key.secret)
        return DerivedKey(key.public_key, self.root.fingerprint, path, key.secret)

    def _steps(self, marker: str) -> str:
        wildcard = {Wildcard.NONE: "", Wildcard.PLAIN: "/*", Wildcard.HARDENED: f"/*{marker}"}[self.wildcard]
        return format_path(self.path, marker) + wildcard

    def text(self) -> str:
        return _bracketed(self.origin) + self.root.neutered().encode(self.network) + self._steps(self.marker)

    def private_text(self) -> str:
        if not self.has_secret:
            raise DescriptorError("Private key not available")
        return _bracketed(self.origin) + self.root.encode(self.network) + self._steps(self.marker)

    def normal_text(self, secp: Secp256k1) -> str:
        """Write it with the hardened steps moved into the origin (Core: ToNormalizedString)."""
        last = max((place for place, number in enumerate(self.path, 1) if number >= HARDENED), default=0)
        if self.wildcard is Wildcard.HARDENED or last == 0:
            return _bracketed(self.origin, "h") + self.root.neutered().encode(self.network) + self._steps("h")
        try:
            key = self.root.derive(self.path[:last], secp)
        except KeyFormatError as error:
            raise DescriptorError("Private key not available") from error
        above = self.origin or KeyOrigin(self.root.fingerprint, ())
        origin = KeyOrigin(above.fingerprint, above.path + self.path[:last])
        wildcard = "/*" if self.is_range else ""
        rest = format_path(self.path[last:]) + wildcard
        return _bracketed(origin, "h") + key.neutered().encode(self.network) + rest


KeyExpression = PlainKey | DerivableKey


def _bracketed(origin: KeyOrigin | None, marker: str | None = None) -> str:
    return f"[{origin.text(marker)}]" if origin else ""


def parse_key(
    text: str, network: Network, secp: Secp256k1, *, uncompressed: bool = False, x_only: bool = False
) -> KeyExpression:
    """Read a key expression; `uncompressed` and `x_only` keys are allowed where the script allows them.

    Raises DescriptorError (Core: ParsePubkey).
    """
    parts = text.split("]")
    if len(parts) > 2:
        raise DescriptorError("Multiple ']' characters found for a single pubkey")
    first, *steps = parts[-1].split("/")
    marker = _marker(text)
    origin = _parse_origin(parts[0], marker) if len(parts) == 2 else None
    if not first:
        raise DescriptorError("No key provided")
    if first != first.strip():
        raise DescriptorError(f"Key '{first}' is invalid due to whitespace")
    if not steps:
        plain = _parse_plain(first, origin, network, secp, uncompressed, x_only)
        if plain:
            return plain
    try:
        root = ExtendedKey.parse(first, network, secp)
    except KeyFormatError:
        raise DescriptorError(f"key '{first}' is not valid") from None
    return _parse_derivable(root, steps, marker, origin, network, secp)


def _parse_origin(text: str, marker: str) -> KeyOrigin:
    if text[:1] != "[":
        raise DescriptorError(f"Key origin start '[ character expected but not found, got '{text[:1] or ']'}' instead")
    fingerprint, *steps = text[1:].split("/")
    if len(fingerprint) != 8:
        raise DescriptorError(f"Fingerprint is not 4 bytes ({len(fingerprint)} characters instead of 8 characters)")
    if not is_hex(fingerprint):
        raise DescriptorError(f"Fingerprint '{fingerprint}' is not hex")
    for step in steps:
        if step.startswith("<"):
            raise DescriptorError(
                f"Key path value '{step}' specifies multipath in a section where multipath is not allowed"
            )
    return KeyOrigin(bytes.fromhex(fingerprint), _parse_steps(steps), marker)


def _parse_steps(steps: list[str]) -> tuple[int, ...]:
    try:
        return tuple(map(parse_step, steps))
    except KeyFormatError as error:
        raise DescriptorError(str(error)) from None


def _marker(text: str) -> str:
    """Return how hardened steps are written: as the last one read, which in Core are those of the path."""
    origin, _, key = text.rpartition("]")
    steps = key.split("/")[1:]
    last = steps[-1:] if steps[-1:] in (["*h"], ["*'"]) else []
    steps = [*origin.split("/"), *last, *steps[: len(steps) - len(last)]]
    hardened = [step[-1] for step in steps if step.endswith(("h", "'"))]
    return hardened[-1] if hardened else "h"


def _parse_plain(
    text: str, origin: KeyOrigin | None, network: Network, secp: Secp256k1, uncompressed: bool, x_only: bool
) -> PlainKey | None:
    if is_hex(text):
        key = bytes.fromhex(text)
        if len(key) == 65 and key[0] in {6, 7}:
            raise DescriptorError("Hybrid public keys are not allowed")
        if len(key) in {33, 65} and secp.is_public_key(key):
            if len(key) == 65 and not uncompressed:
                raise DescriptorError("Uncompressed keys are not allowed")
            return PlainKey(key, None, False, origin, network)
        if x_only and len(key) == 32 and secp.is_public_key(b"\x02" + key):
            return PlainKey(b"\x02" + key, None, True, origin, network)
        raise DescriptorError(f"Pubkey '{text}' is invalid")
    try:
        secret, compressed = decode_wif(text, network)
    except AddressError:
        return None
    if not compressed and not uncompressed:
        raise DescriptorError("Uncompressed keys are not allowed")
    return PlainKey(secp.public_key(secret, compressed=compressed), secret, x_only, origin, network)


def _parse_derivable(
    root: ExtendedKey, steps: list[str], marker: str, origin: KeyOrigin | None, network: Network, secp: Secp256k1
) -> DerivableKey:
    wildcard = Wildcard.NONE
    if steps and steps[-1] in {"*", "*h", "*'"}:
        wildcard = Wildcard.PLAIN if steps[-1] == "*" else Wildcard.HARDENED
        steps = steps[:-1]
    path = _parse_steps(steps)
    try:
        base = root.derive(path, secp)
    except KeyFormatError:
        base = None  # a hardened step below a public key: it can be written, but not expanded
    return DerivableKey(root, path, wildcard, marker, origin, network, base)


def is_hex(text: str) -> bool:
    """Whether the text is an even number of hex digits, at least two (Core: IsHex)."""
    return bool(text) and len(text) % 2 == 0 and all(character in "0123456789abcdefABCDEF" for character in text)
