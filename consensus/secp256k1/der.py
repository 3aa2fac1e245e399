"""DER signatures as old blocks hold them."""

from altyn.consensus.secp256k1 import ORDER


def parse_lax(signature: bytes) -> bytes | None:
    """Return R and S, 64 bytes, of a signature in any form that was ever accepted.

    Core: ecdsa_signature_parse_der_lax. Lengths may be padded, numbers too long or seemingly negative, and bytes may
    follow. A number of the group order or more gives 64 zero bytes, which never verify. None: it cannot be read.
    """
    size = len(signature)
    if size < 2 or signature[0] != 0x30:
        return None
    position = 2
    if signature[1] & 0x80:
        position += signature[1] & 0x7F
    r = _read_integer(signature, position)
    if r is None:
        return None
    s = _read_integer(signature, r[1])
    if s is None:
        return None
    if r[0] >= ORDER or s[0] >= ORDER:
        return bytes(64)
    return r[0].to_bytes(32, "big") + s[0].to_bytes(32, "big")


def _read_integer(data: bytes, position: int) -> tuple[int, int] | None:
    """Read an unsigned number at `position`; return it and the position behind it."""
    size = len(data)
    if position + 2 > size or data[position] != 0x02:
        return None
    length = data[position + 1]
    position += 2
    if length & 0x80:
        digits = data[position : position + (length & 0x7F)]
        if len(digits) != length & 0x7F:
            return None
        position += len(digits)
        length = int.from_bytes(digits, "big")
    end = position + length
    if end > size:
        return None
    return int.from_bytes(data[position:end], "big"), end


def is_low_s(signature: bytes) -> bool:
    """Tell whether S of a readable DER signature is in the lower half (Core: CPubKey::CheckLowS)."""
    compact = parse_lax(signature)
    return compact is not None and int.from_bytes(compact[32:], "big") <= ORDER // 2
