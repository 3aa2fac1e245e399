"""How much may be sent in a day (`-maxuploadtarget`), and what is then left for whom."""

import re
from collections.abc import Callable

CYCLE = 24 * 60 * 60
BLOCK_SECONDS, BLOCK_BYTES = 600, 4_000_000
"""What the rest of a day may still need for new blocks."""
_UNITS = "kmgt"


def parse_bytes(text: str) -> int:
    """Read a number of bytes with a unit: k, m, g, t for powers of 1000, capitals for 1024; M by default (Core).

    Raises ValueError.
    """
    match = re.fullmatch(r"([0-9]{1,12})([kmgtKMGT]?)", text)
    if match is None:
        raise ValueError(f"not a number of bytes: {text}")
    unit = match[2] or "M"
    base, power = 1000 if unit.islower() else 1024, _UNITS.index(unit.lower()) + 1
    return int(match[1]) * int(base**power)


class UploadTarget:
    """Looks at how much has been sent in this cycle of a day. Times in seconds of the node's clock."""

    def __init__(self, target: int, total_sent: Callable[[], int], now: float) -> None:
        """`target`: bytes in a day, 0 for no limit. `total_sent`: bytes that were ever sent."""
        self.target = target
        self._total_sent = total_sent
        self._started, self._before = now, 0

    def time_left(self, now: float) -> int:
        """Return the seconds left in this cycle."""
        self._turn(now)
        return max(int(self._started + CYCLE - now), 0) if self.target else 0

    def bytes_left(self, now: float) -> int:
        """Return what may still be sent in this cycle."""
        self._turn(now)
        return max(self.target - self._total_sent() + self._before, 0) if self.target else 0

    def is_reached(self, now: float, *, historical: bool) -> bool:
        """Whether no more may be sent; for old blocks, what new ones may need until the day ends is kept back."""
        reserve = self.time_left(now) // BLOCK_SECONDS * BLOCK_BYTES if historical else 0
        return self.target > 0 and self.bytes_left(now) <= reserve

    def _turn(self, now: float) -> None:
        if self._started + CYCLE < now:
            self._started, self._before = now, self._total_sent()
