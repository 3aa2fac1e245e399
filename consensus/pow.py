"""Proof of work: compact targets, work, and the hashes that networks may choose."""

from collections.abc import Callable, Mapping
from typing import Final

from altyn.consensus.block import Header
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.hashes import sha256d
from altyn.consensus.networks import Network

_HASH_SPACE: Final = 1 << 256
_SIGN = 0x00800000

POW_HASHES: Mapping[str, Callable[[bytes], bytes]] = {"sha256d": sha256d}
"""Proof-of-work hashes by name: 80 bytes of header to 32 bytes, read as a little-endian number."""


def bits_to_target(bits: int) -> int:
    """Return the target that `bits` (compact form, 32 bits) states; 0 where it is negative or exceeds 256 bits.

    No hash is at or below the target 0 in practice, and checks refuse it. Core: arith_uint256::SetCompact.
    """
    size, mantissa = bits >> 24, bits & 0x007FFFFF
    if bits & _SIGN:
        return 0
    if size <= 3:
        return mantissa >> 8 * (3 - size)
    target = mantissa << 8 * (size - 3)
    return target if target < _HASH_SPACE else 0


def target_to_bits(target: int) -> int:
    """Return the compact form of `target`, rounded down to its three leading bytes (Core: GetCompact)."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & _SIGN:  # the highest bit is the sign
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def work(bits: int) -> int:
    """Return the expected number of hashes to meet `bits`; 0 for an invalid form (Core: GetBlockProof)."""
    target = bits_to_target(bits)
    return _HASH_SPACE // (target + 1) if target else 0


def difficulty(bits: int) -> float:
    """Return how many times harder than 0x1d00ffff `bits` are, in Core's own floating-point steps (GetDifficulty)."""
    shift = bits >> 24 & 0xFF
    mantissa = bits & 0x00FFFFFF
    if not mantissa:
        return 0.0
    result = 0x0000FFFF / mantissa
    while shift < 29:
        result *= 256.0
        shift += 1
    while shift > 29:
        result /= 256.0
        shift -= 1
    return result


def meets_target(header: Header, network: Network) -> bool:
    """Tell whether the header's hash is at or below the target it states, and that one within the network's limit."""
    target = bits_to_target(header.bits)
    if not 0 < target <= network.pow_limit:
        return False
    pow_hash = header.hash if network.pow_hash == "sha256d" else POW_HASHES[network.pow_hash](header.raw)
    return int.from_bytes(pow_hash, "little") <= target


def check_proof_of_work(header: Header, network: Network) -> None:
    """Raise ValidationError "high-hash" unless the header's work is done (Core: CheckProofOfWork)."""
    if not meets_target(header, network):
        raise ValidationError("high-hash", "proof of work failed", fault=Fault.INVALID_HEADER)
