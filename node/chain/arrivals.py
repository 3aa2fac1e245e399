"""Blocks that came and wait for their turn, and the answers that those who brought them wait for."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.node.chain.tree import Entry

_MOST_BYTES = 250_000
"""Of blocks that are taken in at once: ten milliseconds, for which their senders' other messages wait."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a block that was valid as far as it was looked at."""

    entry: Entry
    is_new: bool
    """Stored now; False for one that was there, or was not wanted (Core: new_block)."""
    is_active: bool
    """Part of the active chain now."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A block, and what is known of it from whoever brought it."""

    block: Block
    requested: bool
    least_work: int
    """Chain work below which its header is not kept; looked at in its turn, when the blocks before it are here."""
    answer: asyncio.Future[Outcome]

    def refuse(self, error: BaseException) -> None:
        if not self.answer.done():  # else the one who asked is gone
            self.answer.set_exception(error)


class Arrivals:
    """A queue of blocks in the order they came, and the answers that are owed."""

    def __init__(self) -> None:
        self._queue: deque[Arrival] = deque()
        self._owed: dict[Entry, list[tuple[Arrival, bool]]] = {}
        self._refused: dict[Entry, ValidationError] = {}

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, block: Block, *, requested: bool, least_work: int) -> asyncio.Future[Outcome]:
        """Queue a block; the future tells what became of it, or raises ValidationError.

        A block whose turn has not come when the future is cancelled is forgotten: peers that leave, leave nothing.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        arrival = Arrival(block, requested, least_work, answer)
        self._queue.append(arrival)
        answer.add_done_callback(lambda _: self._forget(arrival))
        return answer

    def _forget(self, arrival: Arrival) -> None:
        if arrival.answer.cancelled() and arrival in self._queue:
            self._queue.remove(arrival)

    def next(self) -> list[Arrival]:
        """Take out the first, and others behind it as long as they are small; no block twice."""
        taken = [self._queue.popleft()]
        hashes = {taken[0].block.hash}
        room = _MOST_BYTES - len(taken[0].block.raw)
        while self._queue:
            block = self._queue[0].block
            room -= len(block.raw)
            if room < 0 or block.hash in hashes:
                break
            hashes.add(block.hash)
            taken.append(self._queue.popleft())
        return taken

    def owe(self, arrival: Arrival, entry: Entry, *, is_new: bool) -> None:
        """Note that the block is in the tree: the answer comes when it is connected, or when nothing is left to do."""
        self._owed.setdefault(entry, []).append((arrival, is_new))

    def answer(self, entry: Entry, *, is_active: bool) -> None:
        """Answer for one block."""
        for arrival, is_new in self._owed.pop(entry, ()):
            if not arrival.answer.done():
                arrival.answer.set_result(Outcome(entry, is_new, is_active))

    def answer_early(self, entry: Entry) -> None:
        """Answer for a block that is connected, if there are others whose answer tells that all is settled."""
        if self._queue or len(self._owed) > 1:
            self.answer(entry, is_active=True)

    def refuse(self, entry: Entry, error: ValidationError) -> None:
        """Note that a block is invalid: who brought it is told when the chain stands where it ends up without it."""
        if entry in self._owed:
            self._refused[entry] = error

    def answer_all(self, is_active: Callable[[Entry], bool]) -> None:
        """Answer whatever is owed."""
        for entry in list(self._owed):
            error = self._refused.pop(entry, None)
            if error is None:
                self.answer(entry, is_active=is_active(entry))
            else:
                for arrival, _ in self._owed.pop(entry):
                    arrival.refuse(error)

    def refuse_all(self, error: BaseException) -> None:
        """Tell everybody, also those whose turn has not come, that the chain is at its end."""
        for owed in self._owed.values():
            for arrival, _ in owed:
                arrival.refuse(error)
        self._owed.clear()
        self._refused.clear()
        while self._queue:
            self._queue.popleft().refuse(error)
