"""Compact block filters, basic type: Golomb-coded sets of a block's scripts (BIP158)."""

import re
from collections.abc import Iterable
from itertools import accumulate

from altyn.consensus.block import Block
from altyn.consensus.encoding import EncodingError, compact_size, read_compact_size
from altyn.consensus.hashes import sha256d
from altyn.consensus.siphash import SipHashItems

BASIC = 0
"""The filter type on the wire (BIP157)."""
_P = 19
_M = 784_931
_OP_RETURN = 0x6A
_LOW_BITS = (1 << _P) - 1
_CODE = re.compile(f"(1*+)0([01]{{{_P}}})")


def build_filter(block: Block, spent_scripts: Iterable[bytes]) -> bytes:
    """Return the basic filter of `block`, on the wire: the number of elements, then the coded set.

    `spent_scripts` are the script_pubkeys of all outputs that the block spends.
    """
    elements = {script for script in spent_scripts if script}
    for tx in block.transactions:
        for _, script in tx.outputs:
            if script and script[0] != _OP_RETURN:
                elements.add(script)
    return encode_filter(block.hash, elements)


def encode_filter(block_hash: bytes, elements: Iterable[bytes]) -> bytes:
    """Return the coded set of distinct `elements`, keyed by the block hash."""
    items = SipHashItems(elements)
    count = len(items)
    values = sorted(_values(items, block_hash, count))
    codes = []
    before = 0
    for value in values:
        delta = value - before
        before = value
        # quotient in unary, a zero, the remainder: as text, because int() reads binary digits in linear time
        codes.append("1" * (delta >> _P) + f"{delta & _LOW_BITS:020b}")
    bits = "".join(codes)
    size = (len(bits) + 7) // 8
    return compact_size(count) + int(bits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


def decode_filter(data: bytes) -> list[int]:
    """Return the values coded in a filter, ascending. Raises EncodingError if there are more or fewer than it says."""
    count, position = read_compact_size(data, 0)
    size = len(data) - position
    bits = f"{int.from_bytes(data[position:], 'big'):0{8 * size}b}" if size else ""
    read_code = _CODE.match
    deltas = []
    end = 0
    for _ in range(count):
        code = read_code(bits, end)
        if code is None:
            raise EncodingError("filter ends early")
        end = code.end()
        deltas.append((len(code[1]) << _P) + int(code[2], 2))
    if size != (end + 7) // 8:
        raise EncodingError("bytes behind the filter")
    return list(accumulate(deltas))


def match_any(data: bytes, block_hash: bytes, scripts: Iterable[bytes] | SipHashItems) -> bool:
    """Tell whether any of `scripts` may be in the filter `data` of a block; wrongly so once in 784,931.

    To look into many filters, pass SipHashItems(scripts), made once. Raises EncodingError for a malformed filter.
    """
    values = decode_filter(data)
    items = scripts if isinstance(scripts, SipHashItems) else SipHashItems(scripts)
    return bool(values) and not set(values).isdisjoint(_values(items, block_hash, len(values)))


def matching(data: bytes, block_hash: bytes, scripts: Iterable[bytes]) -> set[bytes]:
    """Return those of `scripts` that may be in the filter `data` of a block, as `match_any`."""
    values = decode_filter(data)
    if not values:
        return set()
    items = SipHashItems(scripts)
    coded = set(values)
    mapped = _values(items, block_hash, len(values))
    return {item for item, value in zip(items.items, mapped, strict=True) if value in coded}


def filter_hash(data: bytes) -> bytes:
    """Return the hash of a filter as it is on the wire, 32 bytes."""
    return sha256d(data)


def filter_header(previous: bytes, data: bytes) -> bytes:
    """Return the filter header of a block, 32 bytes: a chain over `previous`, its parent's (zeros for genesis)."""
    return sha256d(sha256d(data) + previous)


def _values(items: SipHashItems, block_hash: bytes, count: int) -> list[int]:
    """Map the items, in their order, evenly to numbers below `count` times M."""
    k0 = int.from_bytes(block_hash[:8], "little")
    k1 = int.from_bytes(block_hash[8:16], "little")
    space = count * _M
    return [(value * space) >> 64 for value in items.hashes(k0, k1)]
