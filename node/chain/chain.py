"""The active chain: the branch with the most work, and the coins that it leaves unspent."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.checks.headers import check_header_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import Network, TrustedSnapshot
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Coin
from altyn.node.chain.arrivals import Arrivals, Outcome
from altyn.node.chain.assumed import is_assumed_valid
from altyn.node.chain.background import Background
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.branches import Branches
from altyn.node.chain.candidates import Candidates
from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.connect import CoinChange, Connection, connect_block, disconnect_block
from altyn.node.chain.flush import Flusher
from altyn.node.chain.indexes import (
    ChainIndex,
    FilterIndex,
    Indexes,
    IndexOptions,
    TransactionIndex,
    catch_up,
    check_reach,
)
from altyn.node.chain.intake import Intake
from altyn.node.chain.load import Loaded, find_trusted, load
from altyn.node.chain.pipeline import Pipeline, Prepared
from altyn.node.chain.prune import PruneOptions, Pruner
from altyn.node.chain.stores import Checkpoint, Stores
from altyn.node.chain.tree import CONNECTED, HAVE_UNDO, Entry
from altyn.node.chain.verify import ScriptVerifier
from altyn.node.events import (
    BestHeaderChanged,
    BlockConnected,
    BlockDisconnected,
    Events,
    IndexCaughtUp,
    Progressed,
    SnapshotChanged,
    TipChanged,
)
from altyn.node.offload import Offload
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.errors import REINDEX, UNPRUNE, BlockNotStored, StoreError
from altyn.node.storage.snapshot import SnapshotError
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock

log = logging.getLogger(__name__)

_PREPARED_AT_ONCE = 16
"""Blocks that a thread prepares before the chain looks what else there is to do."""
_LONGEST_RUN = 0.5
"""Seconds for which blocks that arrive are taken up before others of the writer's jobs, and listeners, get a turn."""


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


class ChainListener(Protocol):
    """A part that moves with the active chain, such as the mempool."""

    def block_connected(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> None:
        """Follow one block forward; in the same instant in which tip and coins change."""
        ...

    def block_disconnected(self, entry: Entry, block: Block) -> None:
        """Follow one block back."""
        ...

    async def settled(self) -> None:
        """The most-work chain is reached. Runs inside the writer's job: must not call Writer.do."""
        ...


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
        self.tip = loaded.tip
        self.coins = CoinsCache(stores.coins)
        self.filters: FilterIndex | None = None
        self.transactions: TransactionIndex | None = None
        self._stores = stores
        self._blocks = StoredBlocks(stores.files)
        self._clock = clock
        self._writer = writer
        self._offload = offload
        self._secp = secp
        self.verifier = verifier or ScriptVerifier(offload, secp)
        self._pipeline = Pipeline(self.coins, network, self._blocks, offload, self.verifier, self._is_assumed_valid)
        self._arrivals = Arrivals()
        self._arrivals_called = False
        self._at_hand: dict[Entry, Block] = {}
        self._checkpoint = checkpoint
        self._listeners: list[ChainListener] = []
        self.indexes = Indexes()
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
        self._candidates = Candidates(self.tree, self.tip, loaded.sequence)
        self._branches = Branches(self.tree, self._candidates, network, events, self._flusher.changed)
        self._intake = Intake(self._branches, self._blocks, network, clock, offload, secp)
        self._active = _chain_to(self.tip)
        self.background: Background | None = None
        """The chain from genesis, while this one stands on a snapshot that is not proved."""
        self._has_background = asyncio.Event()
        if loaded.base is not None and loaded.background is not None and stores.background is not None:
            self._begin_background(loaded.background, loaded.base, CoinsCache(stores.background))
        self.pruner: Pruner | None = None
        if options.prune is not None:
            self.pruner = Pruner(
                stores,
                self._branches,
                self.indexes,
                self._flush_all,
                offload,
                options.prune,
                checkpoint,
                lambda: self.validated,
            )
        self._announced_tip = self.tip
        self._has_moved = False
        self._is_synchronised = False

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
                raise StoreError(UNPRUNE)
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
                await self._activate()
                if self.pruner is not None:
                    for index in self.indexes:
                        check_reach(index, self)
                yield self
            finally:
                if not self._flusher.has_failed:  # what is in memory is whole, whatever ended the body
                    await self._flush_all()
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
        """Wait until the chain stands on a snapshot, have it proved, and let indexes go on to the tip."""
        await self._has_background.wait()
        assert self.background is not None
        await self.background.run()
        await self._writer.do(self._retire_background)
        await self._catch_up_indexes()

    async def _retire_background(self) -> None:
        assert self.background is not None
        base, self.background = self.background.base, None
        self._stores.retire()
        self.events.publish(SnapshotChanged(base, is_proved=True))

    async def _flush_all(self) -> None:
        if self.background is None:
            await self._flusher.flush()
        elif not self.background.has_failed:
            await self.background.flush()

    # What is read

    @property
    def validated(self) -> Entry:
        """The last block up to which all blocks were connected: the tip, unless it stands on a snapshot not proved."""
        return self.background.tip if self.background is not None else self.tip

    def active(self, height: int) -> Entry | None:
        """Return the entry of the active chain at `height`; None above the tip or below 0."""
        return self._active[height] if 0 <= height < len(self._active) else None

    def is_active(self, entry: Entry) -> bool:
        return self.active(entry.height) is entry

    def next_active(self, entry: Entry) -> Entry | None:
        """Return the entry that follows in the active chain; None behind the tip and for entries outside."""
        return self.active(entry.height + 1) if self.is_active(entry) else None

    def find_fork(self, locator: Sequence[bytes]) -> Entry:
        """Return the first of `locator` in the active chain, the tip where one builds on it, else genesis.

        Core: FindForkInGlobalIndex.
        """
        for block_hash in locator:
            entry = self.tree.get(block_hash)
            if entry is not None:
                if self.is_active(entry):
                    return entry
                if entry.height > self.tip.height and entry.ancestor(self.tip.height) is self.tip:
                    return self.tip
        return self.tree.genesis

    def add_listener(self, listener: ChainListener) -> None:
        """Let `listener` follow every block from now on, after those added before."""
        self._listeners.append(listener)

    @property
    def is_initial_block_download(self) -> bool:
        """Whether the tip has not been recent and worked enough since the start (Core: IsInitialBlockDownload)."""
        self._note_synchronised()
        return not self._is_synchronised

    def _note_synchronised(self) -> None:
        if not self._is_synchronised:
            recent = self.tip.time >= self._clock.now() - self.options.max_tip_age
            self._is_synchronised = recent and self.tip.chain_work >= self.network.minimum_chain_work

    @property
    def verification_progress(self) -> float:
        """How much of all transactions is connected, from 0 to 1, guessed."""
        return self.progress_at(self.tip)

    def progress_at(self, tip: Entry) -> float:
        """How much of all transactions is before or in the block `tip`, guessed (Core: GuessVerificationProgress)."""
        known_until, known, rate = self.network.known_transactions
        done, now = tip.chain_tx_count, self._clock.now()
        if done <= known:
            total = known + (now - known_until) * rate
        else:
            total = done + (now - tip.time) * rate
        return min(done / total, 1.0) if total > 0 else 1.0

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

    async def add_block(self, block: Block, *, requested: bool = True, min_work_checked: bool = True) -> Outcome:
        """Check and store a block and reach the most-work chain. Raises ValidationError if this block is invalid.

        One that was not `requested` is stored only if it may matter soon (Core: ProcessNewBlock, AcceptBlock).
        """
        self._writer.admit()
        answer = self._arrivals.put(block, requested=requested, min_work_checked=min_work_checked)
        self._pipeline.wake()
        self._call_for_arrivals()
        return await answer

    def _call_for_arrivals(self) -> None:
        if not self._arrivals_called:
            self._arrivals_called = True
            self._writer.post(self._take_arrivals).add_done_callback(self._arrivals_taken)

    def _arrivals_taken(self, job: asyncio.Future[None]) -> None:
        self._arrivals_called = False
        error = job.exception()
        if error is not None:
            self._arrivals.refuse_all(error)
        elif self._arrivals:
            self._call_for_arrivals()

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
        return not (self._stores.has_snapshot or self._stores.is_loading)

    async def begin_snapshot(self) -> CoinStore:
        """Return an empty store for the coins of a snapshot: for `stand_on`, or `drop_snapshot`. Raises StoreError."""
        return await self._offload(self._stores.begin_snapshot)

    async def stand_on(self, snapshot: CoinStore, listed: TrustedSnapshot, check: Callable[[], object]) -> None:
        """Go on from a snapshot whose coins were loaded and have the hash listed; its proof follows in the background.

        `check` is called in the same turn, and may refuse by SnapshotError, which is raised here.
        """
        refusal = await self._writer.do(lambda: self._stand_on(snapshot, listed, check))
        if refusal is not None:
            raise refusal

    async def drop_snapshot(self) -> None:
        """Forget a snapshot that was begun, unless the chain stands on it."""
        await self._writer.do(lambda: self._offload(self._stores.drop_snapshot))

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

    async def _take_arrivals(self) -> None:
        started = self._clock.monotonic()
        await self._activate(lambda: not self._writer.pending and self._clock.monotonic() - started < _LONGEST_RUN)

    async def _take_in(self) -> None:
        """Check and store blocks that arrived."""
        arrivals = self._arrivals.next()
        try:
            found = await self._intake.blocks(arrivals, self.tip)
        except StoreError as error:  # ends the node; who brought the blocks must not wait for ever
            for arrival in arrivals:
                arrival.refuse(error)
            raise
        for arrival, stored in zip(arrivals, found, strict=True):
            if isinstance(stored, ValidationError):
                arrival.refuse(stored)
                continue
            self._arrivals.owe(arrival, stored.entry, is_new=stored.is_new)
            if self.background is not None:
                self.background.wake()
            # A block that was there already is read again: this copy may differ from it in its witnesses.
            if stored.is_new and stored.entry.chain_tx_count:
                self._at_hand[stored.entry] = arrival.block

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
        if self.is_active(entry) and not self._can_leave_for(entry.height - 1):
            return False
        while self.is_active(entry):
            await self._disconnect_tip()
        self._branches.condemn(entry, self.tip)
        await self._activate()
        return True

    async def _prefer(self, entry: Entry) -> None:
        self._candidates.prefer(entry, self.tip)
        await self._activate()

    async def _reconsider(self, entry: Entry) -> None:
        self._branches.pardon(entry, self.tip)
        await self._activate()

    async def _stand_on(
        self, snapshot: CoinStore, listed: TrustedSnapshot, check: Callable[[], object]
    ) -> SnapshotError | None:
        await self._flusher.flush()  # the header index has the base from here on
        try:
            check()
        except SnapshotError as error:
            return error
        self._checkpoint("snapshot-loaded")
        await self._offload(snapshot.loaded, listed.block_hash)
        self._checkpoint("snapshot-begin")
        await self._flusher.flush()  # no other is under way until this awaits again
        base = self.tree.get(listed.block_hash)
        assert base is not None
        self._stores.stand_on_snapshot()
        start, coins = self.tip, self.coins.move_to(snapshot)
        base.chain_tx_count = listed.chain_tx_count
        self.tip, self._active = base, _chain_to(base)
        self._candidates.begin_at(base)
        self._begin_background(start, base, coins)
        self._has_moved = True
        self.events.publish(SnapshotChanged(base, is_proved=False))
        await self._activate()
        return None

    def _begin_background(self, tip: Entry, base: Entry, coins: CoinsCache) -> None:
        listed = find_trusted(self.network, base.hash)
        assert listed is not None
        self.background = Background(
            tip,
            base,
            listed,
            coins,
            pipeline=Pipeline(coins, self.network, self._blocks, self._offload, self.verifier, self._is_assumed_valid),
            blocks=self._blocks,
            branches=self._branches,
            indexes=self.indexes,
            stores=self._stores,
            flusher=self._flusher,
            writer=self._writer,
            offload=self._offload,
            cache_size=self.options.cache_size // 2,
            make_room=self._make_room,
        )
        self._has_background.set()

    # Reaching the most work

    async def _activate(self, may_take: Callable[[], bool] = lambda: False) -> None:
        """Go to the best candidate, or to the next one where a block on the way is invalid.

        Take in blocks that arrive meanwhile, at least one, as long as `may_take`.
        """
        try:
            if self._arrivals:
                await self._take_in()
            await self._advance(may_take)
        finally:
            await self._pipeline.abandon()
            self._at_hand.clear()
        self._candidates.drop_weaker(self.tip)
        self._note_synchronised()
        if self._has_moved:
            for listener in self._listeners:
                await listener.settled()
            self._has_moved = False
        old, self._announced_tip = self._announced_tip, self.tip
        if self.tip is not old:
            self.events.publish(TipChanged(old, self.tip))
        self._arrivals.answer_all(self.is_active)

    async def _advance(self, may_take: Callable[[], bool]) -> None:
        pipeline = self._pipeline
        reorganises = False
        while True:
            head = pipeline.head or self.tip
            if pipeline.has_verdict:
                await self._commit_lowest()
            elif pipeline.has_room and self._arrivals and may_take():
                await self._take_in()
            elif (target := self._candidates.best(self.tip)) is not head and self._builds_on(target, head):
                if pipeline.has_room:
                    await self._prepare(head, target)
                else:
                    await pipeline.change()
            elif pipeline:
                if pipeline.has_room and may_take():
                    await pipeline.change()
                else:
                    await self._commit_lowest()
            else:
                if reorganises:
                    self._checkpoint("reorganise-end")
                if target is self.tip:
                    return
                reorganises = True
                await self._leave_for(target)

    @staticmethod
    def _builds_on(entry: Entry, other: Entry) -> bool:
        return entry.height > other.height and entry.ancestor(other.height) is other

    async def _leave_for(self, target: Entry) -> None:
        fork = self.tree.fork_point(self.tip, target)
        if not self._can_leave_for(fork.height):
            why = f"where blocks are pruned. {UNPRUNE}" if self.background is None else f"below a snapshot: {REINDEX}"
            raise StoreError(f"the chain with the most work leaves the active one {why}")
        self._checkpoint("reorganise-begin")
        log.info("leaving %s for %s, %d blocks back", self.tip, target, self.tip.height - fork.height)
        while self.tip is not fork:
            await self._disconnect_tip()

    def _can_leave_for(self, height: int) -> bool:
        """Whether all blocks above `height` can be undone."""
        above_base = self.background is None or self.background.base.height <= height
        return above_base and (self.pruner is None or self.pruner.height <= height)

    async def _prepare(self, head: Entry, target: Entry) -> None:
        """Put blocks from behind `head` up to `target` into the pipeline.

        When one is invalid, say so after those before it have their verdict.
        """
        last = min(target.height, head.height + _PREPARED_AT_ONCE)
        try:
            await self._pipeline.prepare(_line(head, target.ancestor(last)), self._at_hand)
        except ValidationError as error:
            while self._pipeline:
                if not await self._commit_lowest():
                    return
            first_unprepared = target.ancestor(self.tip.height + 1)
            self._refuse(first_unprepared, error)

    async def _commit_lowest(self) -> bool:
        """Let the lowest block of the pipeline become the tip when it has its verdict; return whether it is valid."""
        entry = self._pipeline.lowest
        try:
            prepared = await self._pipeline.take()
        except ValidationError as error:
            await self._pipeline.abandon()
            self._refuse(entry, error)
            return False
        await self._commit(prepared)
        return True

    def _refuse(self, entry: Entry, error: ValidationError) -> None:
        if error.fault is Fault.MUTATED:
            raise StoreError(f"block {entry.hash[::-1].hex()} is damaged in the block files") from error
        self._branches.fail(entry, error)
        self._arrivals.refuse(entry, error)

    async def _commit(self, prepared: Prepared) -> None:
        entry, block, connection = prepared.entry, prepared.block, prepared.connection
        indexes = self.indexes.ready_for(entry)
        values = await self._offload(_prepare_indexes, prepared, indexes) if indexes else []
        # From here to the end nothing awaits: whoever reads on the loop sees all of it or nothing.
        self._apply(connection.coins)
        self._pipeline.committed(prepared)
        self.tip = entry
        self._active.append(entry)
        entry.status |= CONNECTED | HAVE_UNDO
        entry.undo_position = prepared.undo
        self._flusher.changed(entry)
        for index, value in zip(indexes, values, strict=True):
            index.commit(entry, value)
        self._has_moved = True
        for listener in self._listeners:
            listener.block_connected(entry, block, connection.spent)
        self.events.publish(BlockConnected(entry, block, connection.spent))
        self._arrivals.answer_early(entry)
        await self._flusher.limit()
        await self._make_room()

    async def _make_room(self) -> None:
        if self.pruner is not None and self.pruner.is_due(self.tip):
            await self.pruner.make_room(self.tip, syncing=self.is_initial_block_download)

    def _is_assumed_valid(self, entry: Entry) -> bool:
        return is_assumed_valid(entry, self.tree, self.network)

    async def _disconnect_tip(self) -> None:
        entry = self.tip
        if entry.parent is None:
            raise ValueError("genesis cannot be disconnected")
        block, change = await self._offload(self._prepare_disconnect, entry)
        self._checkpoint("disconnect")
        self._apply(change)
        self.tip = entry.parent
        self._active.pop()
        self._candidates.left(entry, self.tip)
        self._has_moved = True
        for listener in self._listeners:
            listener.block_disconnected(entry, block)
        self.events.publish(BlockDisconnected(entry, block))
        await self._flusher.limit()

    def _prepare_disconnect(self, entry: Entry) -> tuple[Block, CoinChange]:
        block = self._blocks.read(entry)
        return block, disconnect_block(block, self._blocks.read_spent(entry))

    def _apply(self, change: CoinChange) -> None:
        self.coins.apply(change.created, change.removed, change.overwrites)


def _chain_to(tip: Entry) -> list[Entry]:
    """Return the entries from genesis to `tip`."""
    entries = []
    entry: Entry | None = tip
    while entry is not None:
        entries.append(entry)
        entry = entry.parent
    entries.reverse()
    return entries


def _no_checkpoint(name: str) -> None:
    """Nobody wants to crash here."""


def _line(above: Entry, last: Entry) -> list[Entry]:
    """Return the entries above one of them up to another that builds on it, lowest first."""
    entries = []
    entry = last
    while entry is not above:
        entries.append(entry)
        assert entry.parent is not None
        entry = entry.parent
    entries.reverse()
    return entries


def _prepare_indexes(prepared: Prepared, indexes: Sequence[ChainIndex]) -> list[Any]:
    return [index.prepare(prepared.entry, prepared.block, prepared.connection.spent) for index in indexes]
