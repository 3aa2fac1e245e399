"""Which tips the active chain could have: stored down to genesis, not invalid, and with at least its work."""

from collections.abc import Iterable

from altyn.node.chain.tree import Entry, HeaderTree


class Candidates:
    """The choice of the best branch: most work, and of equal work the one that was complete first."""

    def __init__(self, tree: HeaderTree, tip: Entry, sequence: int) -> None:
        """`sequence` is the next number to give out."""
        self._sequence = sequence
        self._preferred = 0  # the sequence given out last to a preferred entry, and the tip's work then
        self._preferred_at = 0
        self._entries = {entry for entry in tree if _is_possible(entry) and entry.chain_work >= tip.chain_work} | {tip}
        self._waiting: dict[Entry, list[Entry]] = {}  # stored blocks, by the parent that is not complete yet
        for entry in tree:
            if entry.has_block and not entry.chain_tx_count and entry.parent is not None:
                self._waiting.setdefault(entry.parent, []).append(entry)

    def stored(self, entry: Entry, tip: Entry) -> None:
        """Take in a block that was just stored, and those that waited for it (Core: ReceivedBlockTransactions)."""
        parent = entry.parent
        if parent is not None and not parent.chain_tx_count:
            self._waiting.setdefault(parent, []).append(entry)
            return
        self._complete([entry], tip)

    def begin_at(self, entry: Entry) -> None:
        """Let the chain stand on an entry whose blocks are not all here, but whose `chain_tx_count` is known."""
        self._entries = {entry}
        self._complete(self._waiting.pop(entry, []), entry)

    def _complete(self, ready: list[Entry], tip: Entry) -> None:
        for one in ready:  # grows while it is gone through
            one.chain_tx_count = one.tx_count + (one.parent.chain_tx_count if one.parent else 0)
            one.sequence, self._sequence = self._sequence, self._sequence + 1
            if one.chain_work >= tip.chain_work and not one.is_failed:
                self._entries.add(one)
            ready += self._waiting.pop(one, [])

    def lost(self, entry: Entry, descendants: Iterable[Entry]) -> None:
        """Note that a block off the active chain was pruned: it, and what builds on it, wait for it to come again."""
        waiting = self._waiting.get(entry.parent, []) if entry.parent else []
        if entry in waiting:
            waiting.remove(entry)
        for one in (entry, *descendants):
            if not one.chain_tx_count:
                continue
            one.chain_tx_count = 0
            self._entries.discard(one)
            if one.has_block and one.parent is not None:
                self._waiting.setdefault(one.parent, []).append(one)

    def best(self, tip: Entry) -> Entry:
        """Return the entry the active chain should end at; `tip` if no other is better."""
        best = tip
        for entry in self._entries:
            if entry.chain_work > best.chain_work or (
                entry.chain_work == best.chain_work and entry.sequence < best.sequence
            ):
                best = entry
        return best

    def left(self, *entries: Entry) -> None:
        """Keep the former and the new end of a chain that went back: it may have to return."""
        self._entries.update(entries)

    def prefer(self, entry: Entry, tip: Entry) -> None:
        """Let an entry win against others of its work; the last one preferred wins (Core: PreciousBlock)."""
        if entry.chain_work < tip.chain_work:
            return
        if tip.chain_work > self._preferred_at:
            self._preferred = 0
        self._preferred_at = tip.chain_work
        self._preferred -= 1
        entry.sequence = self._preferred
        if _is_possible(entry):
            self._entries.add(entry)

    def drop_failed(self) -> None:
        self._entries = {entry for entry in self._entries if not entry.is_failed}

    def drop_weaker(self, tip: Entry) -> None:
        """Forget those that have less work than the tip, now that it is reached."""
        self._entries = {entry for entry in self._entries if entry.chain_work >= tip.chain_work}

    def gather(self, tip: Entry, branches: Iterable[Entry]) -> None:
        """Begin anew with the best possible entry of each branch, after validity was changed by decree."""
        self._entries = {tip}
        for entry in branches:
            while entry.parent is not None and not _is_possible(entry):
                entry = entry.parent
            if entry.chain_work >= tip.chain_work:
                self._entries.add(entry)


def _is_possible(entry: Entry) -> bool:
    return entry.chain_tx_count > 0 and not entry.is_failed
