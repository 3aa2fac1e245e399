"""What the indexes made of rows share: how rows wait, are written and found, and the view of one chain on them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Self

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.storage.errors import StoreError
from altyn.node.storage.rows import Row, RowStore

TAG_SIZE = 8
"""Bytes of its hash that tell a block from others of its height; the proof of work is at the other end."""
_ROW_COST = 240
"""Bytes that a waiting row takes beside its key and value: two bytes objects and their share of the dictionary."""


class NewRows(NamedTuple):
    """Rows to be added, and what they take in memory, in bytes."""

    rows: dict[bytes, bytes]
    """Values by whole keys. A dictionary of bytes: a hundred thousand tuples would be work for the collector."""
    size: int

    @classmethod
    def of(cls, rows: dict[bytes, bytes]) -> Self:
        """Weigh `rows`."""
        return cls(rows, sum(map(len, rows)) + sum(map(len, rows.values())) + _ROW_COST * len(rows))


class RowIndex(ABC):
    """An index that puts rows block by block and never takes one away (a ChainIndex but for `prepare`).

    Rows say which block they are of. Those of blocks that a reorganisation left stay, and are passed over by whoever
    looks from another branch: so neither a reorganisation nor a crash has anything to mend.
    """

    name: str
    title: str

    def __init__(self, store: RowStore, tree: HeaderTree) -> None:
        """Go on where `store` is. Raises StoreError."""
        self._store = store
        self._waiting: dict[bytes, bytes] = {}
        self._frozen: dict[bytes, bytes] = {}
        self.best = self._written = self._frozen_best = entry_of(store.best_block, tree, self.name)
        self.size = 0

    @abstractmethod
    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> NewRows:
        """Return the rows of a block; blocking, on any thread. Raises StoreError."""

    def commit(self, entry: Entry, prepared: NewRows) -> None:
        """Add the rows of a block."""
        self._waiting.update(prepared.rows)
        self.size += prepared.size
        self.best = entry

    def view(self, tip: Entry) -> Entry:
        """Return the last block of the chain that ends at `tip` whose rows, and those of all before it, are here."""
        assert self.best is not None
        return HeaderTree.fork_point(self.best, tip)

    def group(self, group: bytes) -> list[Row]:
        """Return the rows of a group, in order, of all branches; blocking, on any thread. Raises StoreError."""
        size, rows = len(group), {}
        # In the direction in which rows move, so that none is missed on its way; some may be seen twice.
        for layer in (self._waiting, self._frozen):
            for key in [key for key in list(layer) if key.startswith(group)]:  # some ten milliseconds when it is full
                value = layer.get(key)
                if value is not None:
                    rows[key[size:]] = value
        rows.update(self._store.find(group))
        return sorted(rows.items())

    def at(self, key: bytes) -> bytes | None:
        """Return the value of one row by its whole key; as `group`."""
        return self._waiting.get(key) or self._frozen.get(key) or self._store.get(key)

    @property
    def is_dirty(self) -> bool:
        return self.best is not self._written

    def freeze(self) -> None:
        self._frozen, self._waiting = self._waiting, {}
        self._frozen_best = self.best
        self.size = 0

    def write(self) -> None:
        if self._frozen_best is not None and self._frozen_best is not self._written:
            frozen = self._frozen
            self._store.write(self._frozen_best.hash, frozen)
            while frozen:  # one by one: to drop so many at once would hold up the event loop
                frozen.popitem()

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
