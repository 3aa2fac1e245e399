"""Headers of a chain that may never have enough work to be kept: looked at twice, stored once (Core: HeadersSyncState).

In the first pass nothing of them is kept but one bit, of a keyed hash, every few hundred headers. If their work turns
out to be enough they are fetched again; the bits tell whether they are the same, long before all of them are here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from altyn.consensus.block import Header
from altyn.consensus.difficulty import permitted_transition
from altyn.consensus.limits import MAX_FUTURE_BLOCK_TIME
from altyn.consensus.networks import Network
from altyn.consensus.pow import work
from altyn.consensus.siphash import SipHashItems
from altyn.node.chain.tree import Entry, HeaderTree

COMMITMENT_PERIOD = 624
"""Headers to one bit."""
REDOWNLOAD_BUFFER = 14_827
"""Headers that are held back in the second pass: as many commitments have to fit before the first is believed."""
_MAX_BLOCKS_PER_SECOND = 6
"""More is not possible: a block's time is above the median of eleven."""


class Phase(Enum):
    """How far it has come."""

    PRESYNC = auto()
    REDOWNLOAD = auto()
    FINAL = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """What a message led to. `headers` are to be checked and kept; `more` asks for those after `Presync.last_hash`."""

    success: bool
    headers: tuple[Header, ...] = ()
    more: bool = False


_FAILED = Step(False)


class Presync:
    """One peer's headers from `start` on, whose work is below `least_work` as yet. The caller has checked their proofs.

    Bounded in memory: a bit for COMMITMENT_PERIOD headers, as many as time allows since `start`, and then a buffer.
    """

    def __init__(
        self,
        network: Network,
        start: Entry,
        least_work: int,
        now: float,
        random: Random,
        *,
        period: int = COMMITMENT_PERIOD,
        buffer: int = REDOWNLOAD_BUFFER,
    ) -> None:
        """`now` in seconds since 1970. `period` and `buffer` are smaller in tests."""
        self._network, self._start, self._least_work = network, start, least_work
        self._period, self._buffer_size = period, buffer
        self._offset = random.randrange(period)
        self._key = random.getrandbits(64), random.getrandbits(64)
        seconds = max(0, int(now) - start.median_time_past + MAX_FUTURE_BLOCK_TIME)
        self._most_commitments = _MAX_BLOCKS_PER_SECOND * seconds // period
        self._commitments = bytearray()
        self._committed = self._checked = 0
        self.phase = Phase.PRESYNC
        self.height = start.height
        """Of the last header of the first pass (RPC: presynced_headers)."""
        self._work = start.chain_work
        self._buffer: deque[bytes] = deque()
        self._release_all = False
        self._restart()

    @property
    def locator(self) -> tuple[bytes, ...]:
        """Where to go on from."""
        return (self.last_hash, *HeaderTree.locator(self._start))

    def take(self, headers: Sequence[Header], *, is_full: bool) -> Step:
        """Take a message of linked headers, at least one; a full one says that there are more."""
        match self.phase:
            case Phase.PRESYNC:
                step = self._look(headers, is_full)
            case Phase.REDOWNLOAD:
                step = self._keep(headers, is_full)
            case Phase.FINAL:
                return _FAILED
        if not step.more:
            self.phase = Phase.FINAL
            self._buffer.clear()
            self._commitments.clear()
        return step

    @property
    def memory(self) -> int:
        """About how many bytes are held."""
        return len(self._commitments) + 120 * len(self._buffer)

    def _restart(self) -> None:
        self._at, self._bits, self.last_hash = self._start.height, self._start.header.bits, self._start.hash

    def _follows(self, header: Header) -> bool:
        """Step to the next header, if its difficulty may follow the one before: work cannot be put into few blocks."""
        self._at += 1
        if not permitted_transition(self._network, self._at, self._bits, header.bits):
            return False
        self._bits, self.last_hash = header.bits, header.hash
        return True

    def _bit(self, header: Header) -> int:
        return SipHashItems([header.hash]).hashes(*self._key)[0] & 1

    def _look(self, headers: Sequence[Header], is_full: bool) -> Step:
        if headers[0].prev_hash != self.last_hash:
            return _FAILED
        for header in headers:
            if not self._follows(header):
                return _FAILED
            if self._at % self._period == self._offset:
                if self._committed == self._most_commitments:
                    return _FAILED  # more blocks than time allows
                if self._committed % 8 == 0:
                    self._commitments.append(0)
                self._commitments[-1] |= self._bit(header) << self._committed % 8
                self._committed += 1
            self._work += work(header.bits)
        self.height = self._at
        if self._work >= self._least_work:
            self.phase = Phase.REDOWNLOAD
            self._work = self._start.chain_work
            self._restart()
            return Step(True, more=True)
        return Step(True, more=is_full)  # at its end the chain has too little work, and that was it

    def _keep(self, headers: Sequence[Header], is_full: bool) -> Step:
        if headers[0].prev_hash != self.last_hash:
            return _FAILED
        for header in headers:
            if not self._follows(header):
                return _FAILED
            self._work += work(header.bits)
            self._release_all = self._release_all or self._work >= self._least_work
            # Behind the header with enough work there may be new ones, for which there are no commitments.
            if not self._release_all and self._at % self._period == self._offset and not self._matches(header):
                return _FAILED
            self._buffer.append(header.raw)
        ready = []
        while self._buffer and (self._release_all or len(self._buffer) > self._buffer_size):
            ready.append(Header.parse(self._buffer.popleft()))
        more = is_full and not self._release_all
        return Step(True, tuple(ready), more)

    def _matches(self, header: Header) -> bool:
        if self._checked == self._committed:
            return False
        expected = self._commitments[self._checked // 8] >> self._checked % 8 & 1
        self._checked += 1
        return self._bit(header) == expected
