"""Judges that many tests share: each test builds on what those before left."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, Protocol, TypeVar

from differential.ground import Ground


class Judges(Protocol):
    """Two that are given the same blocks."""

    ground: Ground
    """Where the next block is to be built."""

    @property
    def agrees(self) -> bool:
        """Whether both stand where the next block is built; after a failed test they may not."""
        ...


J = TypeVar("J", bound=Judges)


class Arena(Generic[J]):
    """Keeps judges, and opens others when a test left the two in disagreement, or their chain grew old."""

    _OLDEST = 1000
    """Height at which the subsidy is still worth spending."""

    def __init__(self, opened: Callable[[], AbstractContextManager[J]], stack: ExitStack) -> None:
        self._open = opened
        self._stack = stack
        self._judges: J | None = None

    def judges(self) -> J:
        """Return two at the same tip."""
        if self._judges is None or not self._judges.agrees or self._judges.ground.height > self._OLDEST:
            self._judges = None
            self._stack.close()
            self._judges = self._stack.enter_context(self._open())
        return self._judges


@contextmanager
def arena_of(opened: Callable[[], AbstractContextManager[J]]) -> Iterator[Arena[J]]:
    """Make an arena whose judges are opened so; they are dismissed at the end."""
    with ExitStack() as stack:
        yield Arena(opened, stack)
