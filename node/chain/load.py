"""Starting: from what the stores hold to a tree, a tip, and the blocks that came after the last flush."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from altyn.consensus.block import HEADER_SIZE, Block, Header
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network, TrustedSnapshot
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.accept import accept_header
from altyn.node.chain.stores import Stores
from altyn.node.chain.tree import CONNECTED, HAVE_BLOCK, Entry, HeaderTree
from altyn.node.storage.blocks import FilePosition
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.errors import REINDEX, REINDEX_CHAINSTATE, StoreError
from altyn.node.storage.headers import HeaderRecord

log = logging.getLogger(__name__)

_PROGRESS_INTERVAL = 5.0
"""Seconds between log lines while block files are read."""
_REPORT_INTERVAL = 0.2

Report = Callable[[int, int], None]
"""Told how many bytes of block files are read, of how many; on any thread."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The state of a chain at its start."""

    tree: HeaderTree
    tip: Entry
    changed: set[Entry]
    """Entries that the header index does not have in this form."""
    sequence: int
    """The next number for Entry.sequence."""
    base: Entry | None = None
    """The block of the snapshot that the coins at the tip began with, while it is not proved."""
    background: Entry | None = None
    """Where the coins from genesis stand then."""


def load(stores: Stores, network: Network, secp: Secp256k1, now: float, report: Report | None = None) -> Loaded:
    """Read the tree, find the block the coins stand at, and pick up blocks written since; blocking.

    Raises StoreError where the stores contradict each other.
    """
    tree = HeaderTree(network.genesis.header)
    stores.files.remove(stores.headers.pruned_files())  # what a crash left of them
    ends = _read_headers(stores, tree)
    finder = _Finder(stores, tree, network, secp, now, report)
    for position, data in stores.files.recover(ends):
        finder.found(position, data)
    if not tree.genesis.tx_count:
        set_stored(tree.genesis, network.genesis, stores.files.write_block(network.genesis.raw))
        tree.genesis.status |= CONNECTED
        finder.changed.add(tree.genesis)
    if finder.count:
        log.info("found %d blocks that were written after the last flush", finder.count)
    base = background = None
    if stores.background is not None:
        background = _coins_tip(stores.background, tree, None)
        base = _snapshot_base(stores.coins, tree, network)
    tip = _coins_tip(stores.coins, tree, base)
    sequence = _connectable(tree, tip)
    return Loaded(tree, tip, finder.changed, sequence, base, background)


def _snapshot_base(coins: CoinStore, tree: HeaderTree, network: Network) -> Entry:
    block_hash = coins.base or b""
    entry = tree.get(block_hash)
    listed = find_trusted(network, block_hash)
    if entry is None or listed is None:
        raise StoreError(
            f"the coins began with a snapshot at block {block_hash[::-1].hex()}, which this version does not trust: "
            f"{REINDEX_CHAINSTATE}"
        )
    entry.chain_tx_count = listed.chain_tx_count
    return entry


def find_trusted(network: Network, block_hash: bytes) -> TrustedSnapshot | None:
    """Return the snapshot that the network lists for a block."""
    return next((each for each in network.snapshots if each.block_hash == block_hash), None)


def record_of(entry: Entry) -> HeaderRecord:
    """Return what the header index keeps of an entry."""
    return HeaderRecord(
        entry.header,
        entry.height,
        entry.status,
        entry.tx_count,
        entry.block_position,
        entry.block_size,
        entry.undo_position,
    )


def _read_headers(stores: Stores, tree: HeaderTree) -> dict[int, tuple[int, int]]:
    ends: dict[int, tuple[int, int]] = {}
    for record in stores.headers:
        try:
            entry = tree.add(record.header, status=record.status)
        except KeyError:
            raise StoreError(
                f"the header index lacks the parent of block {record.header.hash[::-1].hex()}: {REINDEX}"
            ) from None
        entry.status = record.status
        entry.tx_count = record.tx_count
        entry.block_position, entry.block_size = record.block_position, record.block_size
        entry.undo_position = record.undo_position
        if record.block_position is not None:
            file, offset = record.block_position
            block_end, last_undo = ends.get(file, (0, 0))
            undo_offset = record.undo_position.offset if record.undo_position else 0
            ends[file] = max(block_end, offset + record.block_size), max(last_undo, undo_offset)
    return ends


def set_stored(entry: Entry, block: Block, position: FilePosition) -> None:
    """Note that the block of `entry` is in the files."""
    entry.block_position, entry.block_size = position, len(block.raw)
    entry.tx_count = len(block.transactions)
    entry.status |= HAVE_BLOCK


class _Finder:
    """Takes up blocks that are in the files, but not in the index."""

    def __init__(
        self, stores: Stores, tree: HeaderTree, network: Network, secp: Secp256k1, now: float, report: Report | None
    ) -> None:
        self._stores = stores
        self._tree = tree
        self._network = network
        self._secp = secp
        self._now = now
        self._waiting: dict[bytes, list[FilePosition]] = {}  # by the hash of the parent that has not been found yet
        self.changed: set[Entry] = set()
        self.count = 0
        self._said = self._reported = time.monotonic()
        self._report = report
        self._read, self._total = 0, stores.files.usage

    def found(self, position: FilePosition, data: bytes) -> None:
        """Take up a block, and then those that waited for it: blocks may have come before their parents."""
        self._read += len(data)
        if self._report is not None and time.monotonic() - self._reported > _REPORT_INTERVAL:
            self._reported = time.monotonic()
            self._report(self._read, self._total)
        if time.monotonic() - self._said > _PROGRESS_INTERVAL:
            self._said = time.monotonic()
            log.info("reading block files: blk%05d.dat, %d blocks found", position.file, self.count)
        block_hash = self._take(position, data)
        following = self._waiting.pop(block_hash, []) if block_hash else []
        for one in following:  # grows while it is gone through
            data = self._stores.files.read_block(one)
            header = Header.parse(data[:HEADER_SIZE])
            child, parent = header.hash[::-1].hex(), header.prev_hash[::-1].hex()
            log.debug("LoadExternalBlockFile: Processing out of order child %s of %s", child, parent)
            block_hash = self._take(one, data)
            following += self._waiting.pop(block_hash, []) if block_hash else []

    def _take(self, position: FilePosition, data: bytes) -> bytes | None:
        header = Header.parse(data[:HEADER_SIZE])
        if header.prev_hash not in self._tree and header.hash not in self._tree:
            log.debug(
                "LoadExternalBlockFile: Out of order block %s, parent %s not known",
                header.hash[::-1].hex(),
                header.prev_hash[::-1].hex(),
            )
            self._waiting.setdefault(header.prev_hash, []).append(position)
            return None
        try:
            block = Block.parse(data)
            check_block(block, self._network, secp=self._secp)
            entry = accept_header(self._tree, header, self._network, self._now)
            self.changed.add(entry)  # whatever becomes of the block: the index needs the parents of what it holds
            if not entry.has_block:
                check_block_in_context(block, entry.parent, self._network)
                set_stored(entry, block, position)
                if entry.parent is None:
                    entry.status |= CONNECTED
                self.count += 1
        except (EncodingError, ValidationError) as error:
            log.warning("left out block %s found in the block files: %s", header.hash[::-1].hex(), error)
            return None
        return header.hash


def _coins_tip(coins: CoinStore, tree: HeaderTree, base: Entry | None) -> Entry:
    best_block = coins.best_block
    if best_block is None:
        return tree.genesis
    tip = tree.get(best_block)
    if tip is None:
        raise StoreError(
            f"the coins stand at block {best_block[::-1].hex()}, which the header index does not have: "
            f"{REINDEX_CHAINSTATE}"
        )
    if tip.parent is not None and tip is not base and not (tip.was_connected and tip.undo_position):
        raise StoreError(f"the header index is older than the coins at {tip}: {REINDEX_CHAINSTATE}")
    return tip


def _connectable(tree: HeaderTree, tip: Entry) -> int:
    """Count transactions from genesis on and number the connectable entries: the tip's chain, then as stored."""
    stored = []
    for entry in tree:  # parents first
        parent = entry.parent
        has_been = entry.has_block or (entry.is_pruned and _is_ancestor(entry, tip))
        if entry.chain_tx_count:  # the base of a snapshot: its blocks come later
            stored.append(entry)
        elif has_been and (parent is None or parent.chain_tx_count):
            entry.chain_tx_count = entry.tx_count + (parent.chain_tx_count if parent else 0)
            stored.append(entry)
    sequence = 1
    for entry in sorted(stored, key=lambda one: one.block_position or FilePosition(0, 0)):
        if _is_ancestor(entry, tip):
            entry.sequence = 0
        else:
            entry.sequence = sequence
            sequence += 1
    return sequence


def _is_ancestor(entry: Entry, tip: Entry) -> bool:
    return tip.height >= entry.height and tip.ancestor(entry.height) is entry
