"""Who gave a block or header that turns out to be invalid, and whether that peer must go."""

from altyn.consensus.errors import Fault, ValidationError

MAX_BLOCK_SOURCES = 4096
"""For how many blocks, given but not connected yet, it is remembered who gave them."""


class BlockSources:
    """Who gave each block that is not connected yet, and whether as a compact one, which need not be valid."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, tuple[int, bool]] = {}

    def note(self, block_hash: bytes, peer_id: int, *, by_compact: bool) -> None:
        """Remember who was the first to give a block; the oldest is forgotten when there are too many."""
        self._by_hash.setdefault(block_hash, (peer_id, by_compact))
        if len(self._by_hash) > MAX_BLOCK_SOURCES:
            del self._by_hash[next(iter(self._by_hash))]

    def take(self, block_hash: bytes) -> tuple[int, bool]:
        """Return the peer's id, -1 if it is not known, and whether the block came as a compact one; forget both."""
        return self._by_hash.pop(block_hash, (-1, False))


def punishment(error: ValidationError, *, inbound: bool, by_compact: bool = False) -> str | None:
    """Return why a peer that gave this header or block must go; None if it need not (Core: MaybePunishNodeForBlock).

    `by_compact`: it came as a compact block, of which only the header has to be valid (BIP152).
    """
    match error.fault:
        case Fault.TIME_FUTURE | Fault.LOW_WORK:
            return None
        case Fault.CACHED_INVALID if inbound or by_compact:
            return None  # it may simply not know better; an outbound slot is worth more than that
        case Fault.CONSENSUS | Fault.MUTATED if by_compact:
            return None
    return str(error)
