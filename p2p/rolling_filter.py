"""Remembers the last few thousand things in a few kilobytes; errs once in ten thousand times, and that way only."""

from altyn.p2p.netgroups import keyed_number

_BITS = 1 << 16
_PROBES = 8


class RollingFilter:
    """Two Bloom filters, of which the older is emptied when the younger is full: 16 kB, whatever is put in."""

    def __init__(self, key: bytes, count: int = 2500) -> None:
        """`count` to twice as many of the last items are remembered; `key`: so that nobody else can make it err."""
        self._key, self._count, self._added = key, count, 0
        self._old, self._young = bytearray(_BITS // 8), bytearray(_BITS // 8)

    def add(self, item: bytes) -> None:
        """Remember an item."""
        if self._added >= self._count:
            self._old, self._young, self._added = self._young, bytearray(_BITS // 8), 0
        for byte, bit in self._probes(item):
            self._young[byte] |= bit
        self._added += 1

    def __contains__(self, item: bytes) -> bool:
        probes = self._probes(item)
        return any(all(bits[byte] & bit for byte, bit in probes) for bits in (self._young, self._old))

    def clear(self) -> None:
        """Forget everything."""
        self._old, self._young, self._added = bytearray(_BITS // 8), bytearray(_BITS // 8), 0

    def _probes(self, item: bytes) -> list[tuple[int, int]]:
        number = keyed_number(self._key, item)
        step, place = number >> 32 | 1, number & 0xFFFFFFFF
        places = ((place + step * probe) % _BITS for probe in range(_PROBES))
        return [(position >> 3, 1 << (position & 7)) for position in places]
