"""All headers that passed their checks, as a tree; which of them are known to be invalid, and which has most work."""

from collections.abc import Iterator

from altyn.consensus.ancestry import median_time_past
from altyn.consensus.block import Header
from altyn.consensus.pow import work
from altyn.node.storage.blocks import FilePosition

HAVE_BLOCK = 1
"""The block is in the block files."""
HAVE_UNDO = 2
"""What it spent is in the undo files."""
CONNECTED = 4
"""It was part of the active chain once: its scripts are valid."""
FAILED = 8
"""It broke a rule, or the operator said so."""
FAILED_PARENT = 16
"""It builds on one that failed."""

_NO_SEQUENCE = 1 << 62


class Entry:
    """A header with its place in the tree and what is known of its block."""

    __slots__ = (
        "_median",
        "_skip",
        "block_position",
        "block_size",
        "chain_tx_count",
        "chain_work",
        "hash",
        "header",
        "height",
        "parent",
        "sequence",
        "status",
        "tx_count",
        "undo_position",
    )

    def __init__(self, header: Header, parent: "Entry | None") -> None:
        self.header = header
        self.hash: bytes = header.hash
        self.parent = parent
        self.height: int = parent.height + 1 if parent else 0
        self.chain_work: int = (parent.chain_work if parent else 0) + work(header.bits)
        """Expected hashes from genesis to here."""
        self.status: int = 0
        self.tx_count: int = 0
        """Transactions in the block; 0 until it is stored, and kept when it is pruned."""
        self.chain_tx_count: int = 0
        """Transactions from genesis to here; 0 until this block and all before it are stored."""
        self.block_position: FilePosition | None = None
        self.block_size: int = 0
        """Bytes of the stored block."""
        self.undo_position: FilePosition | None = None
        self.sequence: int = _NO_SEQUENCE
        """The order in which entries became connectable: of equal work, the lower wins."""
        self._median: int | None = None
        self._skip = parent.ancestor(_skip_height(self.height)) if parent else None

    def ancestor(self, height: int) -> "Entry":
        """Return the entry at `height` on the way to genesis, in about log2(height) steps. Raises IndexError."""
        if not 0 <= height <= self.height:
            raise IndexError(f"no ancestor at height {height} of an entry at height {self.height}")
        entry = self
        while entry.height > height:
            skip = entry._skip
            if skip is not None and skip.height >= height:
                entry = skip
            else:
                assert entry.parent is not None
                entry = entry.parent
        return entry

    @property
    def median_time_past(self) -> int:
        """The median time of this and the ten headers before, in seconds (BIP113)."""
        median = self._median
        if median is None:
            median = self._median = median_time_past(self)
        return median

    @property
    def time(self) -> int:
        """The header's time, in seconds since 1970."""
        return self.header.time

    @property
    def has_block(self) -> bool:
        return bool(self.status & HAVE_BLOCK)

    @property
    def is_pruned(self) -> bool:
        """Whether the block was in the files once."""
        return self.tx_count > 0 and not self.has_block

    @property
    def was_connected(self) -> bool:
        """Whether its scripts are known to be valid (Core: BLOCK_VALID_SCRIPTS)."""
        return bool(self.status & CONNECTED)

    @property
    def is_failed(self) -> bool:
        """Whether it or one before it is invalid."""
        return bool(self.status & (FAILED | FAILED_PARENT))

    def __repr__(self) -> str:
        return f"<Entry {self.height} {self.hash[::-1].hex()}>"


def line_to(last: Entry, *, above: Entry | None = None) -> list[Entry]:
    """Return the entries above one of them, or from genesis on, up to `last`, which builds on it; lowest first."""
    entries = []
    entry: Entry | None = last
    while entry is not above:
        assert entry is not None
        entries.append(entry)
        entry = entry.parent
    entries.reverse()
    return entries


def _skip_height(height: int) -> int:
    # As Core's GetSkipHeight: far jumps for even heights, so that every ancestor is a logarithmic walk away.
    if height < 2:
        return 0
    if height & 1:
        below = height - 1 & height - 2
        return (below & below - 1) + 1
    return height & height - 1


class HeaderTree:
    """Every known header by hash, from one genesis. Only for the event loop."""

    def __init__(self, genesis: Header) -> None:
        self.genesis = Entry(genesis, None)
        self.best_header = self.genesis
        """The most work, of those not known to be invalid; of equal ones the first."""
        self._entries = {self.genesis.hash: self.genesis}
        self._tips = {self.genesis}

    def get(self, block_hash: bytes) -> Entry | None:
        return self._entries.get(block_hash)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, parents first."""
        return iter(self._entries.values())

    def add(self, header: Header, *, status: int = 0) -> Entry:
        """Put a checked header into the tree, or find it there. Raises KeyError if its parent is unknown.

        A header on an invalid block is invalid itself; `status` is what a store remembers of it.
        """
        entry = self._entries.get(header.hash)
        if entry is not None:
            return entry
        parent = self._entries[header.prev_hash]
        entry = Entry(header, parent)
        entry.status = status
        if parent.is_failed:
            entry.status |= FAILED_PARENT
        self._entries[entry.hash] = entry
        self._tips.discard(parent)
        self._tips.add(entry)
        if entry.chain_work > self.best_header.chain_work and not entry.is_failed:
            self.best_header = entry
        return entry

    def tips(self) -> list[Entry]:
        """Return the entries that nothing builds on, highest first."""
        return sorted(self._tips, key=lambda entry: (-entry.height, entry.hash))

    def descendants(self, entry: Entry) -> list[Entry]:
        """Return all that build on `entry`, parents first."""
        found: dict[Entry, None] = {}
        for tip in self._tips:
            if tip.height <= entry.height or tip.ancestor(entry.height) is not entry:
                continue
            current: Entry | None = tip
            while current is not None and current is not entry and current not in found:
                found[current] = None
                current = current.parent
        return sorted(found, key=lambda one: one.height)

    def mark_failed(self, entry: Entry) -> list[Entry]:
        """Remember that `entry` is invalid; return all whose status changed."""
        changed = [entry] if not entry.status & FAILED else []
        entry.status |= FAILED
        for child in self.descendants(entry):
            if not child.status & FAILED_PARENT:
                child.status |= FAILED_PARENT
                changed.append(child)
        self._choose_best_header()
        return changed

    def forget_failure(self, entry: Entry) -> list[Entry]:
        """Forget that `entry`, all before it and all behind it are invalid; return all whose status changed."""
        family = self.descendants(entry)
        current: Entry | None = entry
        while current is not None:
            family.append(current)
            current = current.parent
        changed = [one for one in family if one.is_failed]
        for one in changed:
            one.status &= ~(FAILED | FAILED_PARENT)
        if changed:  # other branches of an ancestor that fails no longer do not fail for its sake either
            for child in self.descendants(min(changed, key=lambda one: one.height)):
                assert child.parent is not None
                if child.status & FAILED_PARENT and not child.parent.is_failed:
                    child.status &= ~FAILED_PARENT
                    changed.append(child)
        self._choose_best_header()
        return changed

    def _choose_best_header(self) -> None:
        best = self.best_header
        if best.is_failed:
            best = self.genesis
        for tip in self._tips:
            current = tip
            while current.is_failed and current.parent is not None:
                current = current.parent
            if current.chain_work > best.chain_work:
                best = current
        self.best_header = best

    @staticmethod
    def locator(entry: Entry) -> tuple[bytes, ...]:
        """Return hashes from `entry` back to genesis: ten one by one, then ever farther apart (Core: GetLocator)."""
        hashes = []
        step = 1
        current = entry
        while True:
            hashes.append(current.hash)
            if current.height == 0:
                return tuple(hashes)
            current = current.ancestor(max(current.height - step, 0))
            if len(hashes) > 10:
                step *= 2

    @staticmethod
    def fork_point(one: Entry, other: Entry) -> Entry:
        """Return the last entry that both chains have."""
        height = min(one.height, other.height)
        one, other = one.ancestor(height), other.ancestor(height)
        while one is not other:
            if one._skip is not other._skip:
                assert one._skip is not None
                assert other._skip is not None
                one, other = one._skip, other._skip
            else:
                assert one.parent is not None
                assert other.parent is not None
                one, other = one.parent, other.parent
        return one
