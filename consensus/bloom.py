"""Bloom filters by which a peer chooses transactions without saying quite which (BIP37)."""

from collections.abc import Iterator
from enum import IntEnum

from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.opcodes import script_operations
from altyn.consensus.script.templates import classify
from altyn.consensus.transaction import OutPoint, Transaction

MAX_FILTER_SIZE = 36_000
MAX_HASH_FUNCTIONS = 50
_SEED_STEP = 0xFBA4C795
_MASK = 0xFFFFFFFF


def murmur3(data: bytes, seed: int) -> int:
    """Return MurmurHash3 (x86, 32 bits) of `data`."""
    h = seed
    whole = len(data) & ~3
    for offset in range(0, whole, 4):
        h ^= _scramble(int.from_bytes(data[offset : offset + 4], "little"))
        h = (h << 13 | h >> 19) & _MASK
        h = (h * 5 + 0xE6546B64) & _MASK
    h ^= _scramble(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16


def _scramble(k: int) -> int:
    k = k * 0xCC9E2D51 & _MASK
    return (k << 15 | k >> 17) * 0x1B873593 & _MASK


class Update(IntEnum):
    """Which matched outputs are put into the filter, so that their spending matches too: the low bits of the flags."""

    NONE = 0
    ALL = 1
    PUBLIC_KEYS_ONLY = 2
    """Those that pay to bare keys: clients with other outputs know them by what a spender must show."""
    MASK = 3


class BloomFilter:
    """A set of byte strings that may seem to hold others too. An empty one matches everything (CVE-2013-5700)."""

    __slots__ = ("_bits", "_count", "_hash_functions", "_tweak", "_update")

    def __init__(self, bits: bytes, hash_functions: int, tweak: int, flags: int = Update.NONE) -> None:
        """Take the fields of `filterload`, whose sizes have been checked: see `is_too_large`."""
        self._bits = bytearray(bits)
        self._count = 8 * len(bits)
        self._hash_functions, self._tweak = hash_functions, tweak
        self._update = flags & Update.MASK

    @staticmethod
    def is_too_large(size: int, hash_functions: int) -> bool:
        """Whether a filter of `size` bytes would cost its server too much (Core: IsWithinSizeConstraints)."""
        return size > MAX_FILTER_SIZE or hash_functions > MAX_HASH_FUNCTIONS

    @property
    def data(self) -> bytes:
        """The bits, the lowest of a byte first."""
        return bytes(self._bits)

    def add(self, item: bytes) -> None:
        """Put in `item`."""
        if self._bits:
            for position in self._positions(item):
                self._bits[position >> 3] |= 1 << (position & 7)

    def __contains__(self, item: bytes) -> bool:
        bits = self._bits
        return not bits or all(bits[position >> 3] >> (position & 7) & 1 for position in self._positions(item))

    def matches(self, tx: Transaction) -> bool:
        """Whether the transaction concerns the client, by txid, output, input or what its scripts push.

        Puts matched outputs in, as the flags say (Core: IsRelevantAndUpdate).
        """
        if not self._bits:
            return True
        found = tx.txid in self
        for index, output in enumerate(tx.outputs):
            if any(item in self for item in _pushes(output.script_pubkey)):
                found = True
                if self._wants(output.script_pubkey):
                    self.add(bytes(tx.outpoint(index)))
        return found or any(self._holds_input(txin.prevout, txin.script_sig) for txin in tx.inputs)

    def _holds_input(self, prevout: OutPoint, script_sig: bytes) -> bool:
        return bytes(prevout) in self or any(item in self for item in _pushes(script_sig))

    def _wants(self, script_pubkey: bytes) -> bool:
        if self._update == Update.PUBLIC_KEYS_ONLY:
            return classify(script_pubkey).kind in {"pubkey", "multisig"}
        return self._update == Update.ALL

    def _positions(self, item: bytes) -> Iterator[int]:
        for number in range(self._hash_functions):
            yield murmur3(item, (number * _SEED_STEP + self._tweak) & _MASK) % self._count


def _pushes(script: bytes) -> Iterator[bytes]:
    """Yield what a script pushes, up to where it cannot be read."""
    try:
        for _, data, _ in script_operations(script):
            if data:
                yield data
    except ScriptError:
        return
