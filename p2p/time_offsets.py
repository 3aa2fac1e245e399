"""How far the clocks of outbound peers are from ours: a reason to warn the user, never to change a clock."""

from collections import deque
from statistics import median_low

MAX_SAMPLES, MIN_SAMPLES = 50, 5
WARNING_THRESHOLD = 600
"""Seconds."""
WARNING = (
    "Your computer's date and time appear to be more than 10 minutes out of sync with the network, "
    "this may lead to consensus failure. After you've confirmed your computer's clock, this message "
    "should no longer appear when you restart your node. Without a restart, it should stop showing "
    "automatically after you've connected to a sufficient number of new outbound peers, which may "
    "take some time. You can inspect the `timeoffset` field of the `getpeerinfo` and `getnetworkinfo` "
    "RPC methods to get more info."
)


class TimeOffsets:
    """The last fifty samples, in seconds. Only peers that we chose ourselves count: others can lie as they like."""

    def __init__(self) -> None:
        self._samples: deque[int] = deque(maxlen=MAX_SAMPLES)

    def add(self, seconds: int) -> None:
        """Note the clock of one more peer."""
        self._samples.append(seconds)

    @property
    def median(self) -> int:
        """What most peers agree on; 0 while there are too few."""
        return median_low(self._samples) if len(self._samples) >= MIN_SAMPLES else 0

    @property
    def warnings(self) -> list[str]:
        """What to tell the user, if anything."""
        return [WARNING] if abs(self.median) > WARNING_THRESHOLD else []
