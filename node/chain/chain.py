"""The active chain: the branch with the most work, and the coins that it leaves unspent."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.checks.headers import check_header_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import Network, TrustedSnapshot
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Coin
from altyn.node.chain.activate import Activation, ChainListener
from altyn.node.chain.active import ActiveChain
from altyn.node.chain.arrivals import Outcome
from altyn.node.chain.background import Background
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.branches import Branches
from altyn.node.chain.candidates import Candidates
from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.connect import Connection, connect_block
from altyn.node.chain.flush import Flusher
from altyn.node.chain.foundation import Foundation
from altyn.node.chain.indexes import FilterIndex, Indexes, IndexOptions, TransactionIndex, catch_up, check_reach
from altyn.node.chain.intake import Intake
from altyn.node.chain.load import Loaded, load
from altyn.node.chain.progress import SyncState
from altyn.node.chain.prune import PruneOptions, Pruner
from altyn.node.chain.shared import Shared
from altyn.node.chain.stores import Checkpoint, Stores
from altyn.node.chain.tree import Entry
from altyn.node.chain.verify import ScriptVerifier
from altyn.node.events import BestHeaderChanged, Events, IndexCaughtUp, Progressed
from altyn.node.offload import Offload
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.errors import UNPRUNE, BlockNotStored, RebuildNeeded, StoreError
from altyn.node.storage.snapshot import SnapshotError
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChainOptions(IndexOptions):
    """How a chain behaves, and its indexes; sizes in bytes, times in seconds."""

    cache_size: int = 150 << 20
    """Of coins not written yet."""
    flush_interval: float = 300.0
    max_tip_age: int = 24 * 3600
    """A tip older than this means that the node is still synchronising."""
    prune: PruneOptions | None = None
    """None to keep all blocks."""


class Chain:
    """The header tree, the active chain and its coins.

    Changed only by its own coroutines, which take their turn in the writer's task; never call those from a job.
    Everything else is to be read on the event loop, where tip and coins always fit together.
    """

    def __init__(
        self,
        network: Network,
        stores: Stores,
        clock: Clock,
        writer: Writer,
        offload: Offload,
        secp: Secp256k1,
        events: Events,
        options: ChainOptions,
        checkpoint: Checkpoint,
        verifier: ScriptVerifier | None,
        loaded: Loaded,
    ) -> None:
        """Use `open` instead."""
        self.network = network
        self.events = events
        self.options = options
        self.tree = loaded.tree
        self.coins = CoinsCache(stores.coins)
        self.indexes = Indexes()
        self.filters: FilterIndex | None = None
        self.transactions: TransactionIndex | None = None
        self.verifier = verifier or ScriptVerifier(offload, secp)
        self._stores = stores
        self._blocks = StoredBlocks(stores.files)
        self._clock = clock
        self._writer = writer
        self._offload = offload
        self._secp = secp
        self._active = ActiveChain(self.tree, loaded.tip, self.coins)
        self._flusher = Flusher(
            stores,
            self.coins,
            self.indexes,
            offload,
            checkpoint,
            cache_size=options.cache_size,
            tip=lambda: self.tip,
        )
        self._flusher.changed(*loaded.changed)
        candidates = Candidates(self.tree, self.tip, loaded.sequence)
        self._branches = Branches(self.tree, candidates, network, events, self._flusher.changed)
        shared = Shared(
            network=network,
            stores=stores,
            blocks=self._blocks,
            branches=self._branches,
            indexes=self.indexes,
            flusher=self._flusher,
            verifier=self.verifier,
            events=events,
            clock=clock,
            writer=writer,
            offload=offload,
            checkpoint=checkpoint,
        )
        self._intake = Intake(shared, secp)
        self._sync = SyncState(self._active, network, clock, options.max_tip_age)
        self._foundation = Foundation(shared, self._active, options.cache_size // 2, self._make_room)
        if loaded.base is not None and loaded.background is not None and stores.background is not None:
            self._foundation.begin_background(loaded.background, loaded.base, CoinsCache(stores.background))
        self.pruner: Pruner | None = None
        if options.prune is not None:
            self.pruner = Pruner(shared, options.prune, flush=self._flush_all, validated=lambda: self.validated)
        self._activation = Activation(shared, self._active, self._intake, self._sync, self._foundation, self.pruner)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        network: Network,
        stores: Stores,
        clock: Clock,
        writer: Writer,
        *,
        offload: Offload,
        secp: Secp256k1,
        events: Events | None = None,
        options: ChainOptions | None = None,
        checkpoint: Checkpoint | None = None,
        verifier: ScriptVerifier | None = None,
    ) -> AsyncIterator[Self]:
        """Load a chain and go forward to its most work; on the way out write all and close `stores`.

        `verifier` runs the script checks; left out, it is one on `offload`. Nothing else may be using the writer before
        the body runs, nor after it. Raises StoreError.
        """
        try:
            loaded = await offload(load, stores, network, secp, clock.now())
            prune = options.prune if options else None
            if prune is None and stores.headers.pruned_files():
                raise RebuildNeeded(UNPRUNE)
            self = cls(
                network,
                stores,
                clock,
                writer,
                offload,
                secp,
                events or Events(),
                options or ChainOptions(),
                checkpoint or _no_checkpoint,
                verifier,
                loaded,
            )
            self.indexes.open(self.options, stores, self.tree, network)
            self.filters, self.transactions = self.indexes.filters, self.indexes.transactions
            try:
                if self.pruner is not None:
                    self.pruner.opened(self.tip)
                self.events.publish(BestHeaderChanged(self.tree.best_header))
                await self._activation.reach_most_work()
                if self.pruner is not None:
                    for index in self.indexes:
                        check_reach(index, self)
                yield self
            except BaseException:  # what is in memory is whole, whatever ended the body; that is raised first of all
                try:
                    await self._flush_at_end()
                except StoreError as error:
                    log.error("the chain could not be written at the end: %s", error)
                raise
            else:
                await self._flush_at_end()
        finally:
            stores.close()

    async def run(self) -> None:
        """Flush when the cache is full or time has passed, and bring indexes to the tip; until cancelled.

        Raises StoreError, in a group.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flusher.run(self.options.flush_interval))
            tasks.create_task(self._catch_up_indexes())
            tasks.create_task(self._prove_snapshot())

    async def _catch_up_indexes(self) -> None:
        for index in self.indexes:

            def report(height: int, tip: int, work: str = f"building index {index.name}") -> None:
                self.events.publish(Progressed(work, height, tip))

            await catch_up(index, self, self._offload, self._flusher.limit, report)
            if self.background is None:
                self.events.publish(IndexCaughtUp(index.name))

    async def _prove_snapshot(self) -> None:
        """Wait until the chain stands on a snapshot that is proved, and let indexes go on to the tip."""
        await self._foundation.prove()
        await self._catch_up_indexes()

    async def _flush_all(self) -> None:
        await self._foundation.flush()

    async def _flush_at_end(self) -> None:
        if not self._flusher.has_failed:
            await self._flush_all()

    async def _make_room(self) -> None:
        await self._activation.make_room()

    # What is read

    @property
    def tip(self) -> Entry:
        return self._active.tip

    @property
    def background(self) -> Background | None:
        """The chain from genesis, while this one stands on a snapshot that is not proved."""
        return self._foundation.background

    @property
    def validated(self) -> Entry:
        """The last block up to which all blocks were connected: the tip, unless it stands on a snapshot not proved."""
        return self._foundation.validated

    def active(self, height: int) -> Entry | None:
        """Return the entry of the active chain at `height`; None above the tip or below 0."""
        return self._active.at(height)

    def is_active(self, entry: Entry) -> bool:
        return entry in self._active

    def next_active(self, entry: Entry) -> Entry | None:
        """Return the entry that follows in the active chain; None behind the tip and for entries outside."""
        return self.active(entry.height + 1) if self.is_active(entry) else None

    def find_fork(self, locator: Sequence[bytes]) -> Entry:
        """Return the first of `locator` in the active chain, the tip where one builds on it, else genesis.

        Core: FindForkInGlobalIndex.
        """
        return self._active.find_fork(locator)

    def add_listener(self, listener: ChainListener) -> None:
        """Let `listener` follow every block from now on, after those added before."""
        self._activation.listeners.append(listener)

    @property
    def is_initial_block_download(self) -> bool:
        """Whether the tip has not been recent and worked enough since the start (Core: IsInitialBlockDownload)."""
        return self._sync.is_initial_block_download

    @property
    def verification_progress(self) -> float:
        """How much of all transactions is connected, from 0 to 1, guessed."""
        return self.progress_at(self.tip)

    def progress_at(self, tip: Entry) -> float:
        """How much of all transactions is before or in the block `tip`, guessed (Core: GuessVerificationProgress)."""
        return self._sync.progress_at(tip)

    @property
    def size_on_disk(self) -> int:
        """Bytes of all block and undo files."""
        return self._stores.files.usage

    def read_block_bytes(self, entry: Entry) -> bytes:
        """Read a stored block; blocking. Raises BlockNotStored, StoreError."""
        return self._blocks.read_bytes(entry)

    def read_block(self, entry: Entry) -> Block:
        """Read and parse a stored block; blocking. Raises BlockNotStored, StoreError."""
        return self._blocks.read(entry)

    def read_spent(self, entry: Entry) -> list[list[Coin]]:
        """Read the coins each transaction spent, an empty list for the coinbase; blocking.

        Raises BlockNotStored for a block that was never connected, StoreError.
        """
        return self._blocks.read_spent(entry)

    # What changes it, each in its turn

    async def add_headers(self, headers: Sequence[Header], *, min_work_checked: bool = True) -> Entry:
        """Check headers, parents first, and put them into the tree; return the last one's entry.

        `min_work_checked` says that their chain has enough work to be kept. Raises ValidationError; those before the
        one that is refused are kept. Raises IndexError if there are none.
        """
        return await self._writer.do(lambda: self._intake.headers(headers, min_work_checked=min_work_checked))

    async def add_block(self, block: Block, *, requested: bool = True, least_work: int = 0) -> Outcome:
        """Check and store a block and reach the most-work chain. Raises ValidationError if this block is invalid.

        One that was not `requested` is stored only if it may matter soon (Core: ProcessNewBlock, AcceptBlock), and an
        unknown one with less chain work than `least_work` is refused.
        """
        return await self._activation.bring(block, requested=requested, least_work=least_work)

    async def test_block(self, block: Block, *, check_pow: bool = True, check_merkle: bool = True) -> None:
        """Check a block on the tip without changing anything: a proposal, a template (Core: TestBlockValidity).

        Raises ValidationError, also when it does not build on the tip ("inconclusive-not-best-prevblk").
        """
        await self._writer.do(lambda: self._test_block(block, check_pow, check_merkle))

    async def invalidate(self, entry: Entry) -> None:
        """Treat a block as invalid, whatever the rules say, and leave its branch.

        Raises ValueError for genesis, BlockNotStored where blocks to be left are pruned.
        """
        if entry.parent is None:
            raise ValueError("genesis cannot be invalid")
        if not await self._writer.do(lambda: self._invalidate(entry)):
            raise BlockNotStored("the blocks behind it cannot be undone: some are pruned")

    async def reconsider(self, entry: Entry) -> None:
        """Forget that a block, those before it and those behind it were invalid, and look at them again."""
        await self._writer.do(lambda: self._reconsider(entry))

    async def prefer(self, entry: Entry) -> None:
        """Treat a block as if it had come before all others of its work (Core: PreciousBlock)."""
        await self._writer.do(lambda: self._prefer(entry))

    @property
    def may_begin_snapshot(self) -> bool:
        """Whether no snapshot is being loaded, and the chain does not stand on one since the start."""
        return self._foundation.may_begin

    async def begin_snapshot(self) -> CoinStore:
        """Return an empty store for the coins of a snapshot: for `stand_on`, or `drop_snapshot`. Raises StoreError."""
        return await self._foundation.begin()

    async def stand_on(self, snapshot: CoinStore, listed: TrustedSnapshot, check: Callable[[], object]) -> None:
        """Go on from a snapshot whose coins were loaded and have the hash listed; its proof follows in the background.

        `check` is called in the same turn, and may refuse by SnapshotError, which is raised here.
        """
        refusal = await self._writer.do(lambda: self._stand_on(snapshot, listed, check))
        if refusal is not None:
            raise refusal

    async def drop_snapshot(self) -> None:
        """Forget a snapshot that was begun, unless the chain stands on it."""
        await self._writer.do(self._foundation.drop)

    async def prune(self, height: int) -> None:
        """Remove the block files whose blocks are all at `height` or below, as far as may be.

        Raises StoreError; ValueError if this chain keeps all blocks.
        """
        pruner = self.pruner
        if pruner is None:
            raise ValueError("this chain keeps all blocks")
        await self._writer.do(lambda: pruner.remove_up_to(height, self.tip))

    async def flush(self) -> None:
        """Write all that is in memory, and return when it is durable. Reading goes on meanwhile. Raises StoreError."""
        await self._flusher.flush()

    # The writer's jobs

    async def _test_block(self, block: Block, check_pow: bool, check_merkle: bool) -> None:
        if block.header.prev_hash != self.tip.hash:
            raise ValidationError("inconclusive-not-best-prevblk", fault=Fault.MISSING_PREVIOUS)
        check_header_in_context(block.header, self.tip, self.network, int(self._clock.now()))
        connection = await self._offload(self._check_whole, block, check_pow, check_merkle)
        await self.verifier.verify(connection.checks)

    def _check_whole(self, block: Block, check_pow: bool, check_merkle: bool) -> Connection:
        check_block(block, self.network, check_pow=check_pow, check_merkle=check_merkle, secp=self._secp)
        check_block_in_context(block, self.tip, self.network)
        return connect_block(block, Entry(block.header, self.tip), self.coins, self.network)

    async def _invalidate(self, entry: Entry) -> bool:
        if self.is_active(entry) and not self._activation.can_leave_for(entry.height - 1):
            return False
        while self.is_active(entry):
            await self._activation.disconnect_tip()
        self._branches.condemn(entry, self.tip)
        await self._activation.reach_most_work()
        return True

    async def _prefer(self, entry: Entry) -> None:
        self._branches.candidates.prefer(entry, self.tip)
        await self._activation.reach_most_work()

    async def _reconsider(self, entry: Entry) -> None:
        self._branches.pardon(entry, self.tip)
        await self._activation.reach_most_work()

    async def _stand_on(
        self, snapshot: CoinStore, listed: TrustedSnapshot, check: Callable[[], object]
    ) -> SnapshotError | None:
        refusal = await self._foundation.stand_on(snapshot, listed, check)
        if refusal is None:
            await self._activation.reach_most_work()
        return refusal


def _no_checkpoint(name: str) -> None:
    """Nobody wants to crash here."""
