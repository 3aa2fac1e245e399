"""What the indexes made of rows share: how rows wait, are written and found, and the view of one chain on them."""

from collections.abc import Sequence
from typing import NamedTuple

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.storage.errors import StoreError
from altyn.node.storage.rows import Row, RowStore

TAG_SIZE = 8
"""Bytes of its hash that tell a block from others of its height; the proof of work is at the other end."""
_ROW_COST = 250
"""Bytes that a waiting row takes beside its own."""


class NewRow(NamedTuple):
    """A row to be added."""

    group: bytes
    rest: bytes
    value: bytes


class RowIndex:
    """An index that adds rows block by block and never takes one away (a ChainIndex but for `prepare`).

    Rows say which block they are of. Those of blocks that a reorganisation left stay, and are passed over by whoever
    looks from another branch: so neither a reorganisation nor a crash has anything to mend.
    """

    name: str
    title: str

    def __init__(self, store: RowStore, tree: HeaderTree) -> None:
        """Go on where `store` is. Raises StoreError."""
        self._store = store
        self._waiting: dict[bytes, list[Row]] = {}
        self._frozen: dict[bytes, list[Row]] = {}
        self.best = self._written = self._frozen_best = entry_of(store.best_block, tree, self.name)
        self.size = 0

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> list[NewRow]:
        """Return the rows of a block; blocking, on any thread. Raises StoreError."""
        raise NotImplementedError

    def commit(self, entry: Entry, prepared: list[NewRow]) -> None:
        """Add the rows of a block."""
        for group, rest, value in prepared:
            self._waiting.setdefault(group, []).append((rest, value))
            self.size += _ROW_COST + len(group) + len(rest) + len(value)
        self.best = entry

    def view(self, tip: Entry) -> Entry:
        """Return the last block of the chain that ends at `tip` whose rows, and those of all before it, are here."""
        assert self.best is not None
        return HeaderTree.fork_point(self.best, tip)

    def find(self, group: bytes) -> list[Row]:
        """Return the rows of a group, in order, of all branches; blocking, on any thread. Raises StoreError."""
        # In the direction in which rows move, so that none is missed on its way; some may be seen twice.
        rows = dict(self._waiting.get(group, ()))
        rows.update(self._frozen.get(group, ()))
        rows.update(self._store.find(group))
        return sorted(rows.items())

    @property
    def is_dirty(self) -> bool:
        return self.best is not self._written

    def freeze(self) -> None:
        self._frozen, self._waiting = self._waiting, {}
        self._frozen_best = self.best
        self.size = 0

    def write(self) -> None:
        if self._frozen_best is not None and self._frozen_best is not self._written:
            self._store.write(self._frozen_best.hash, self._frozen)

    def thaw(self) -> None:
        self._frozen = {}
        self._written = self._frozen_best


def tag_of(entry: Entry) -> bytes:
    """Return what rows keep of their block's hash."""
    return entry.hash[:TAG_SIZE]


def entry_of(block_hash: bytes | None, tree: HeaderTree, name: str) -> Entry | None:
    """Return the entry that an index stands at. Raises StoreError if it is of another chain."""
    if block_hash is None:
        return None
    entry = tree.get(block_hash)
    if entry is None:
        raise StoreError(
            f"the index {name} stands at a block that is unknown here: delete indexes/{name} to build it anew"
        )
    return entry
