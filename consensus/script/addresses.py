"""Addresses and private keys as text: base58check, bech32 (BIP173) and bech32m (BIP350)."""

from collections.abc import Iterable, Sequence
from functools import cache

from altyn.consensus.hashes import sha256d
from altyn.consensus.networks import Network
from altyn.consensus.script.templates import classify, p2pkh, p2sh, witness_output
from altyn.consensus.secp256k1 import ORDER

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {character: value for value, character in enumerate(_BASE58)}
_SPACES = " \f\n\r\t\v"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_VALUES = {character: value for value, character in enumerate(_BECH32)}
_BECH32_LIMIT = 90
_CHECKSUM_SIZE = 6
BECH32, BECH32M = 1, 0x2BC830A3
"""What a valid checksum leaves behind: the names of the two encodings (BIP350)."""


class AddressError(ValueError):
    """Text that is no address of the network. Its message is Core's; `locations` are indexes of wrong characters."""

    def __init__(self, message: str, locations: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.locations = tuple(locations)


def encode_address(script_pubkey: bytes, network: Network) -> str | None:
    """Return the address of an output script, None if its form has none (Core: EncodeDestination)."""
    template = classify(script_pubkey)
    if template.version is not None:
        return encode_segwit_address(network.bech32_hrp, template.version, template.data[0])
    match template.kind:
        case "pubkeyhash":
            return base58check_encode(bytes((network.pubkey_prefix,)) + template.data[0])
        case "scripthash":
            return base58check_encode(bytes((network.script_prefix,)) + template.data[0])
    return None


def decode_address(text: str, network: Network) -> bytes:
    """Return the output script that an address stands for (Core: DecodeDestination). Raises AddressError."""
    hrp = network.bech32_hrp
    if text[: len(hrp)].lower() == hrp:
        return _decode_segwit_address(text, hrp)
    try:
        data = base58check_decode(text, most=21)
    except AddressError:
        try:
            base58_decode(text, most=100)
        except AddressError:
            raise AddressError("Invalid or unsupported Segwit (Bech32) or Base58 encoding.") from None
        raise AddressError("Invalid checksum or length of Base58 address (P2PKH or P2SH)") from None
    prefix = data[:1]
    if prefix == bytes((network.pubkey_prefix,)) and len(data) == 21:
        return p2pkh(data[1:])
    if prefix == bytes((network.script_prefix,)) and len(data) == 21:
        return p2sh(data[1:])
    if prefix in {bytes((network.pubkey_prefix,)), bytes((network.script_prefix,))}:
        raise AddressError("Invalid length for Base58 address (P2PKH or P2SH)")
    raise AddressError("Invalid or unsupported Base58-encoded address.")


def _decode_segwit_address(text: str, hrp: str) -> bytes:
    decoded = bech32_decode(text)
    if decoded is None:
        raise AddressError(*locate_bech32_errors(text))
    found_hrp, values, encoding = decoded
    if not values:
        raise AddressError("Empty Bech32 data section")
    if found_hrp != hrp:
        raise AddressError(
            f"Invalid or unsupported prefix for Segwit (Bech32) address (expected {hrp}, got {found_hrp})."
        )
    version = values[0]
    if version == 0 and encoding != BECH32:
        raise AddressError("Version 0 witness address must use Bech32 checksum")
    if version != 0 and encoding != BECH32M:
        raise AddressError("Version 1+ witness address must use Bech32m checksum")
    program = regroup_from_base32(values[1:])
    if program is None:
        raise AddressError("Invalid padding in Bech32 data section")
    size = f"{len(program)} {'byte' if len(program) == 1 else 'bytes'}"
    if version == 0 and len(program) not in {20, 32}:
        raise AddressError(f"Invalid Bech32 v0 address program size ({size}), per BIP141")
    if version > 16:
        raise AddressError("Invalid Bech32 address witness version")
    if not 2 <= len(program) <= 40:
        raise AddressError(f"Invalid Bech32 address program size ({size})")
    return witness_output(version, program)


def encode_wif(secret: bytes, network: Network, *, compressed: bool = True) -> str:
    """Write a 32-byte secret key as text; `compressed` says which public key belongs to it."""
    return base58check_encode(bytes((network.secret_prefix,)) + secret + (b"\x01" if compressed else b""))


def decode_wif(text: str, network: Network) -> tuple[bytes, bool]:
    """Return the 32-byte secret key and whether its public key is compressed (Core: DecodeSecret).

    Raises AddressError.
    """
    data = base58check_decode(text, most=34)
    compressed = len(data) == 34 and data[-1] == 1
    if data[:1] != bytes((network.secret_prefix,)) or (len(data) != 33 and not compressed):
        raise AddressError("Invalid private key encoding")
    secret = data[1:33]
    if not 0 < int.from_bytes(secret, "big") < ORDER:
        raise AddressError("Private key outside allowed range")
    return secret, compressed


# base58


def base58_encode(data: bytes) -> str:
    """Write bytes in base 58; leading zero bytes become leading 1s."""
    digits = []
    number = int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _BASE58[0] * zeros + "".join(reversed(digits))


def base58_decode(text: str, *, most: int = 1000) -> bytes:
    """Read base 58, spaces around it allowed, of at most `most` bytes (Core: DecodeBase58). Raises AddressError."""
    text = text.strip(_SPACES)
    if len(text) > 2 * most + 2:  # every character carries over half a byte, a leading 1 a whole one
        raise AddressError("Invalid Base58 length")
    number = 0
    for character in text:
        value = _BASE58_VALUES.get(character)
        if value is None:
            raise AddressError("Invalid Base58 character")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) > most:
        raise AddressError("Invalid Base58 length")
    return data


def base58check_encode(data: bytes) -> str:
    """Write bytes in base 58 with a 4-byte checksum behind them."""
    return base58_encode(data + sha256d(data)[:4])


def base58check_decode(text: str, *, most: int = 1000) -> bytes:
    """Read base 58 with its checksum, of at most `most` bytes without it. Raises AddressError."""
    data = base58_decode(text, most=most + 4)
    if len(data) < 4 or sha256d(data[:-4])[:4] != data[-4:]:
        raise AddressError("Invalid Base58 checksum")
    return data[:-4]


# bech32 and bech32m


def encode_segwit_address(hrp: str, version: int, program: bytes) -> str:
    """Write a witness program as an address: bech32 for version 0, bech32m from version 1 on."""
    return bech32_encode(hrp, [version, *regroup_to_base32(program)], BECH32M if version else BECH32)


def bech32_encode(hrp: str, values: Sequence[int], encoding: int) -> str:
    """Write 5-bit values behind a lower-case prefix, with the checksum of `encoding`."""
    residue = _polymod([*_expand(hrp), *values, *bytes(_CHECKSUM_SIZE)]) ^ encoding
    checksum = [residue >> 5 * (_CHECKSUM_SIZE - 1 - i) & 31 for i in range(_CHECKSUM_SIZE)]
    return f"{hrp}1{''.join(_BECH32[value] for value in (*values, *checksum))}"


def bech32_decode(text: str) -> tuple[str, list[int], int] | None:
    """Return the prefix, the values without checksum, and the encoding; None if it is neither bech32 nor bech32m."""
    if _wrong_characters(text) or len(text) > _BECH32_LIMIT:
        return None
    separator = text.rfind("1")
    if separator < 1 or separator + _CHECKSUM_SIZE >= len(text):
        return None
    hrp = text[:separator].lower()
    values = [_BECH32_VALUES.get(character, -1) for character in text[separator + 1 :].lower()]
    if -1 in values:
        return None
    residue = _polymod([*_expand(hrp), *values])
    if residue not in {BECH32, BECH32M}:
        return None
    return hrp, values[:-_CHECKSUM_SIZE], residue


def regroup_to_base32(data: bytes) -> list[int]:
    """Cut bytes into 5-bit values, padded with zero bits."""
    number, bits = int.from_bytes(data, "big"), len(data) * 8
    padding = -bits % 5
    number <<= padding
    return [number >> shift & 31 for shift in range(bits + padding - 5, -1, -5)]


def regroup_from_base32(values: Sequence[int]) -> bytes | None:
    """Join 5-bit values to bytes; None if five or more bits, or any that are not zero, are left over."""
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding >= 5 or number & (1 << padding) - 1:
        return None
    return (number >> padding).to_bytes(len(values) * 5 // 8, "big")


def locate_bech32_errors(text: str) -> tuple[str, list[int]]:
    """Say what is wrong with text that is not bech32(m), and where, for up to two errors (Core: LocateErrors)."""
    if len(text) > _BECH32_LIMIT:
        return "Bech32 string too long", list(range(_BECH32_LIMIT, len(text)))
    wrong = _wrong_characters(text)
    if wrong:
        return "Invalid character or mixed case", wrong
    separator = text.rfind("1")
    if separator == -1:
        return "Missing separator", []
    if separator == 0 or separator + _CHECKSUM_SIZE >= len(text):
        return "Invalid separator position", [separator]
    values = []
    for index in range(separator + 1, len(text)):
        value = _BECH32_VALUES.get(text[index].lower())
        if value is None:
            return "Invalid Base 32 character", [index]
        values.append(value)
    residue = _polymod([*_expand(text[:separator].lower()), *values])
    message, locations = "Invalid checksum", list[int]()
    for encoding, name in ((BECH32, "Bech32"), (BECH32M, "Bech32m")):
        distances = _find_errors(residue ^ encoding, len(values))
        if distances and (not locations or len(distances) < len(locations)):
            message = f"Invalid {name} checksum"
            locations = sorted(len(text) - 1 - distance for distance in distances)
    return message, locations


def _find_errors(residue: int, length: int) -> tuple[int, ...]:
    """Return where one or two wrong values leave `residue`, counted from the end; none if there is no such place.

    The checksum is linear, and four errors never cancel out, so that at most one answer exists.
    """
    effects = {effect: distance for effect, distance in _error_effects().items() if distance < length}
    if residue in effects:
        return (effects[residue],)
    for effect, distance in effects.items():
        other = effects.get(residue ^ effect)
        if other is not None and other != distance:
            return distance, other
    return ()


@cache
def _error_effects() -> dict[int, int]:
    """Map what each single error adds to the residue to its distance from the end."""
    effects = {}
    for error in range(1, 32):
        effect = error
        for distance in range(_BECH32_LIMIT):
            effects[effect] = distance
            effect = _polymod_step(effect, 0)
    return effects


def _wrong_characters(text: str) -> list[int]:
    """Return the indexes of unprintable characters, and of letters whose case differs from that of the first."""
    lower = upper = False
    wrong = []
    for index, character in enumerate(text):
        if "a" <= character <= "z":
            if upper:
                wrong.append(index)
            else:
                lower = True
        elif "A" <= character <= "Z":
            if lower:
                wrong.append(index)
            else:
                upper = True
        elif not "!" <= character <= "~":
            wrong.append(index)
    return wrong


def _expand(hrp: str) -> list[int]:
    return [*(ord(character) >> 5 for character in hrp), 0, *(ord(character) & 31 for character in hrp)]


def _polymod(values: Iterable[int]) -> int:
    residue = 1
    for value in values:
        residue = _polymod_step(residue, value)
    return residue


_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _polymod_step(residue: int, value: int) -> int:
    top = residue >> 25
    residue = (residue & 0x1FFFFFF) << 5 ^ value
    for bit, generator in enumerate(_GENERATORS):
        if top >> bit & 1:
            residue ^= generator
    return residue
