"""The active chain as it stands: its tip, the coins there, and its entries by height."""

from collections.abc import Sequence

from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.connect import CoinChange
from altyn.node.chain.tree import Entry, HeaderTree, line_to
from altyn.node.storage.coins import CoinStore


class ActiveChain:
    """Tip and coins, which change together: nothing here awaits. Changed only in the writer's task."""

    def __init__(self, tree: HeaderTree, tip: Entry, coins: CoinsCache) -> None:
        self.tree = tree
        self.tip = tip
        self.coins = coins
        self.has_moved = False
        """Since those who follow it were told last that it is settled."""
        self._entries = line_to(tip)

    def at(self, height: int) -> Entry | None:
        """Return the entry at `height`; None above the tip or below 0."""
        return self._entries[height] if 0 <= height < len(self._entries) else None

    def __contains__(self, entry: Entry) -> bool:
        return self.at(entry.height) is entry

    def find_fork(self, locator: Sequence[bytes]) -> Entry:
        """Return the first of `locator` that is here, the tip where one builds on it, else genesis.

        Core: FindForkInGlobalIndex.
        """
        for block_hash in locator:
            entry = self.tree.get(block_hash)
            if entry is not None:
                if entry in self:
                    return entry
                if entry.height > self.tip.height and entry.ancestor(self.tip.height) is self.tip:
                    return self.tip
        return self.tree.genesis

    def connect(self, entry: Entry, change: CoinChange) -> None:
        """Go forward to `entry`, which builds on the tip."""
        self._apply(change)
        self.tip = entry
        self._entries.append(entry)
        self.has_moved = True

    def disconnect(self, change: CoinChange) -> None:
        """Go back by one block."""
        self._apply(change)
        assert self.tip.parent is not None
        self.tip = self.tip.parent
        self._entries.pop()
        self.has_moved = True

    def stand_on(self, base: Entry, coins: CoinStore) -> CoinsCache:
        """Go on from `base` with the coins of a snapshot; return those of the tip that is left."""
        left = self.coins.move_to(coins)
        self.tip, self._entries = base, line_to(base)
        self.has_moved = True
        return left

    def _apply(self, change: CoinChange) -> None:
        self.coins.apply(change.created, change.removed, change.overwrites)
