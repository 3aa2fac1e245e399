"""Optional indexes over the active chain: each follows it block by block, and catches up when it was away."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from altyn.consensus.block import HEADER_SIZE, Block, Header
from altyn.consensus.encoding import compact_size
from altyn.consensus.filters import build_filter, filter_header
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Coin, Transaction
from altyn.node.chain.addresses import AddressIndex
from altyn.node.chain.coin_statistics import CoinStatisticsIndex
from altyn.node.chain.rows import NewRows, RowIndex, entry_of
from altyn.node.chain.spenders import SpenderIndex
from altyn.node.chain.stores import Stores
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.offload import Offload
from altyn.node.storage.blocks import BlockFiles, FilePosition
from altyn.node.storage.errors import FATAL, BlockNotStored, StoreError
from altyn.node.storage.filters import FilterRecord, FilterStore
from altyn.node.storage.layout import TRANSACTION, TRANSACTION_VALUE
from altyn.node.storage.rows import RowStore

log = logging.getLogger(__name__)

_PROGRESS_INTERVAL = 10.0
"""Seconds between log lines of an index that catches up."""
_FILTER_COST = 400
"""Bytes that a waiting filter takes beside its own."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Which indexes are kept."""

    filter_index: bool = False
    transaction_index: bool = False
    address_index: bool = False
    spender_index: bool = False
    coin_statistics_index: bool = False


class ChainIndex(Protocol):
    """Something looked up by key that is worked out from blocks.

    `best` is the last indexed block; all before it are indexed too. What is committed stays in memory until `freeze`
    sets it aside, `write` (on a thread) makes it durable and `thaw` forgets it.
    """

    name: str
    """Its folder, and how the log calls it."""
    title: str
    """How getindexinfo calls it."""
    best: Entry | None
    size: int
    """Bytes of Python that wait to be set aside, roughly."""

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> Any:
        """Work out what is to be added for `entry`; blocking. `best` is its parent, or about to be."""
        ...

    def commit(self, entry: Entry, prepared: Any) -> None:
        """Add it; `entry` is the new `best`."""
        ...

    @property
    def is_dirty(self) -> bool:
        """Whether something is not written."""
        ...

    def freeze(self) -> None: ...

    def write(self) -> None: ...

    def thaw(self) -> None: ...


class Indexes:
    """The indexes that are switched on, treated as one."""

    def __init__(self) -> None:
        self._all: list[ChainIndex] = []
        self.filters: FilterIndex | None = None
        self.transactions: TransactionIndex | None = None
        self.addresses: AddressIndex | None = None
        self.spenders: SpenderIndex | None = None
        self.coin_statistics: CoinStatisticsIndex | None = None

    def open(self, options: IndexOptions, stores: Stores, tree: HeaderTree, network: Network) -> None:
        """Open those that `options` ask for; each has at least genesis from now on. Raises StoreError."""
        if options.transaction_index:
            positions = RowStore(stores.open_index(TransactionIndex.name))
            self.transactions = TransactionIndex(positions, tree, stores.files)
            self.add(self.transactions)
        if options.coin_statistics_index:
            rows = RowStore(stores.open_index(CoinStatisticsIndex.name))
            self.coin_statistics = CoinStatisticsIndex(rows, tree, network)
            self.add(self.coin_statistics)
        if options.filter_index:
            self.filters = FilterIndex(FilterStore(stores.open_index(FilterIndex.name)), tree)
            self.add(self.filters)
        if options.address_index:
            self.addresses = AddressIndex(RowStore(stores.open_index(AddressIndex.name)), tree)
            self.add(self.addresses)
        if options.spender_index:
            self.spenders = SpenderIndex(RowStore(stores.open_index(SpenderIndex.name)), tree)
            self.add(self.spenders)
        for index in self._all:
            if index.best is None:
                index.commit(tree.genesis, index.prepare(tree.genesis, network.genesis, [[]]))

    def add(self, index: ChainIndex) -> None:
        self._all.append(index)

    def __iter__(self) -> Iterator[ChainIndex]:
        return iter(self._all)

    def ready_for(self, entry: Entry) -> list[ChainIndex]:
        """Return those that have all before `entry`; the others come to it when they catch up."""
        return [index for index in self._all if _has_parent(index, entry)]

    @property
    def size(self) -> int:
        """Bytes of Python that wait to be set aside, roughly."""
        return sum(index.size for index in self._all)

    @property
    def are_dirty(self) -> bool:
        return any(index.is_dirty for index in self._all)

    def freeze(self) -> None:
        for index in self._all:
            index.freeze()

    def write(self) -> None:
        for index in self._all:
            index.write()

    def thaw(self) -> None:
        for index in self._all:
            index.thaw()


def _has_parent(index: ChainIndex, entry: Entry) -> bool:
    if index.best is None or entry.parent is None:
        return entry.parent is None
    height = entry.parent.height
    return index.best.height >= height and index.best.ancestor(height) is entry.parent


class IndexedChain(Protocol):
    """What an index follows."""

    @property
    def validated(self) -> Entry:
        """The last block whose ancestors were all connected."""
        ...

    def read_block(self, entry: Entry) -> Block: ...

    def read_spent(self, entry: Entry) -> list[list[Coin]]: ...


async def catch_up(
    index: ChainIndex,
    chain: IndexedChain,
    offload: Offload,
    make_room: Callable[[], Awaitable[None]],
    report: Callable[[int, int], None] = lambda height, tip: None,
) -> None:
    """Bring an index that was switched off, or fell behind in a crash, to the tip. Raises StoreError.

    `make_room` is awaited after every block, lest what waits to be written fills the memory; `report` is told after
    each how high it has come, and how high the chain is.
    """
    began = said = time.monotonic()
    count = 0
    while (entry := _next_to_index(index, chain)) is not None:
        prepared = await offload(_read_and_prepare, index, chain, entry)
        if _next_to_index(index, chain) is entry:  # else the chain moved, or has just indexed it
            index.commit(entry, prepared)
            count += 1
            report(entry.height, chain.validated.height)
            await make_room()
        if time.monotonic() - said > _PROGRESS_INTERVAL:
            said = time.monotonic()
            share = 100 * (entry.height + 1) / (chain.validated.height + 1)
            rate = count / (said - began)
            log.info(
                "index %s is at height %d of %d, %.1f %%, %.0f blocks/s",
                index.name,
                entry.height,
                chain.validated.height,
                share,
                rate,
            )
    if count:
        log.info("index %s has caught up with %d blocks", index.name, count)


def _next_to_index(index: ChainIndex, chain: IndexedChain) -> Entry | None:
    assert index.best is not None
    end = chain.validated
    fork = HeaderTree.fork_point(index.best, end)
    return None if fork is end else end.ancestor(fork.height + 1)


def check_reach(index: ChainIndex, chain: IndexedChain) -> None:
    """See that the next block an index needs has not been pruned. Raises StoreError."""
    entry = _next_to_index(index, chain)
    if entry is not None and not (entry.has_block and entry.undo_position):
        raise _beyond_pruned(index)


def _beyond_pruned(index: ChainIndex) -> StoreError:
    return StoreError(
        f"{index.title} best block of the index goes beyond pruned data. Please disable the index or reindex "
        f"(which will download the whole blockchain again)\nError: {FATAL}Failed to start indexes, shutting down.."
    )


def _read_and_prepare(index: ChainIndex, chain: IndexedChain, entry: Entry) -> Any:
    try:
        block, spent = chain.read_block(entry), chain.read_spent(entry)
    except BlockNotStored as error:
        raise _beyond_pruned(index) from error
    return index.prepare(entry, block, spent)


class FilterIndex:
    """Compact filters and their header chain (BIP157, BIP158), of all blocks that were ever connected."""

    name = "filters"
    title = "basic block filter index"

    def __init__(self, store: FilterStore, tree: HeaderTree) -> None:
        self._store = store
        self._pending: dict[tuple[int, bytes], FilterRecord] = {}  # by height and hash
        self._frozen: dict[tuple[int, bytes], FilterRecord] = {}
        self._frozen_best: Entry | None = None
        self.best = entry_of(store.best_block, tree, self.name)
        self.size = 0

    def get(self, height: int, block_hash: bytes) -> FilterRecord | None:
        """Return the filter of a block, or None where the index has not come yet; on any thread. Raises StoreError."""
        key = height, block_hash
        return self._pending.get(key) or self._frozen.get(key) or self._store.get(height, block_hash)

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> FilterRecord:
        known = self.get(entry.height, entry.hash)
        if known is not None:
            return known
        before = bytes(32)
        if entry.parent is not None:
            parent = self.get(entry.parent.height, entry.parent.hash)
            if parent is None:
                raise StoreError(
                    f"the filter index lacks block {entry.parent!r}: delete indexes/filters to build it anew"
                )
            before = parent.header
        data = build_filter(block, [coin.output.script_pubkey for coins in spent for coin in coins])
        return FilterRecord(filter_header(before, data), data)

    def commit(self, entry: Entry, prepared: FilterRecord) -> None:
        self._pending[entry.height, entry.hash] = prepared
        self.size += _FILTER_COST + len(prepared.filter)
        self.best = entry

    @property
    def is_dirty(self) -> bool:
        return bool(self._pending)

    def freeze(self) -> None:
        self._frozen, self._pending = self._pending, {}
        self._frozen_best = self.best
        self.size = 0

    def write(self) -> None:
        if self._frozen_best is not None and self._frozen:
            records = [(height, block_hash, record) for (height, block_hash), record in self._frozen.items()]
            self._store.write(self._frozen_best.hash, records)

    def thaw(self) -> None:
        self._frozen = {}


class TransactionIndex(RowIndex):
    """Where each transaction of the active chain lies in the block files (Core: txindex).

    A transaction of a block that left the active chain keeps its place until another block has it.
    """

    name = "transactions"
    title = "txindex"

    def __init__(self, store: RowStore, tree: HeaderTree, files: BlockFiles) -> None:
        super().__init__(store, tree)
        self._files = files

    def find(self, txid: bytes) -> tuple[Transaction, bytes] | None:
        """Return a transaction and the hash of a block that has it; blocking. Raises StoreError."""
        value = self.at(TRANSACTION + txid)
        if value is None:
            return None
        file, offset, tx_offset = TRANSACTION_VALUE.unpack(value)
        data = self._files.read_block(FilePosition(file, offset))
        tx, _ = Transaction.parse_from(data, tx_offset)
        if tx.txid != txid:
            raise StoreError("the transaction index is damaged: delete indexes/transactions to build it anew")
        return tx, Header.parse(data[:HEADER_SIZE]).hash

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> NewRows:
        del spent
        assert entry.block_position is not None
        file, block_offset = entry.block_position
        offset = HEADER_SIZE + len(compact_size(len(block.transactions)))
        rows = {}
        for tx in block.transactions:
            rows[TRANSACTION + tx.txid] = TRANSACTION_VALUE.pack(file, block_offset, offset)
            offset += len(tx.raw)
        return NewRows.of(rows)
