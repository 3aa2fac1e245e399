"""Sets of script flags that go together, as Core's tests vary them."""

from collections.abc import Iterator

from altyn.consensus.script.flags import CLEANSTACK, FLAGS, P2SH, WITNESS


def trimmed(flags: int) -> int:
    """Return `flags` without those that lack what they need (Core: TrimFlags)."""
    if not flags & P2SH:
        flags &= ~WITNESS
    if not flags & WITNESS:
        flags &= ~CLEANSTACK
    return flags


def filled(flags: int) -> int:
    """Return `flags` with those that they need (Core: FillFlags)."""
    if flags & CLEANSTACK:
        flags |= WITNESS
    if flags & WITNESS:
        flags |= P2SH
    return flags


def without_one(flags: int) -> Iterator[int]:
    """Yield the sets that come of leaving one flag out (Core: ExcludeIndividualFlags)."""
    for smaller in dict.fromkeys(trimmed(flags & ~bit) for bit in FLAGS.values()):
        if smaller != flags:
            yield smaller


def with_one_more(flags: int) -> Iterator[int]:
    """Yield the sets that come of adding one flag."""
    for larger in dict.fromkeys(filled(flags | bit) for bit in FLAGS.values()):
        if larger != flags:
            yield larger
