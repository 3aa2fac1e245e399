"""Reaching the most work: blocks come in, go through the pipeline, and become the tip (ActivateBestChain)."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from altyn.consensus.block import Block
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.transaction import Coin
from altyn.node.chain.active import ActiveChain
from altyn.node.chain.arrivals import Arrivals, Outcome
from altyn.node.chain.connect import CoinChange, disconnect_block
from altyn.node.chain.foundation import Foundation
from altyn.node.chain.intake import Intake
from altyn.node.chain.pipeline import Prepared
from altyn.node.chain.progress import SyncState
from altyn.node.chain.prune import Pruner
from altyn.node.chain.shared import Shared
from altyn.node.chain.tree import Entry, HeaderTree, line_to
from altyn.node.events import BlockConnected, BlockDisconnected, TipChanged
from altyn.node.storage.errors import FATAL, REINDEX, UNPRUNE, StoreError

log = logging.getLogger(__name__)

_PREPARED_AT_ONCE = 16
"""Blocks that a thread prepares before the chain looks what else there is to do."""
_LONGEST_RUN = 2.0
"""Seconds for which blocks that arrive are taken up before others of the writer's jobs, and listeners, get a turn."""


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


class Activation:
    """Moves the active chain to the best candidate. All but `bring` is to be called in the writer's task."""

    def __init__(
        self,
        shared: Shared,
        active: ActiveChain,
        intake: Intake,
        sync: SyncState,
        foundation: Foundation,
        pruner: Pruner | None,
    ) -> None:
        self.listeners: list[ChainListener] = []
        """They follow every block, in this order."""
        self._active = active
        self._intake = intake
        self._sync = sync
        self._foundation = foundation
        self._pruner = pruner
        self._blocks = shared.blocks
        self._branches = shared.branches
        self._candidates = shared.branches.candidates
        self._shared = shared
        self._flusher = shared.flusher
        self._events = shared.events
        self._clock = shared.clock
        self._writer = shared.writer
        self._offload = shared.offload
        self._checkpoint = shared.checkpoint
        self._pipeline = shared.pipeline(active.coins)
        self._arrivals = Arrivals()
        self._arrivals_called = False
        self._at_hand: dict[Entry, Block] = {}
        self._announced_tip = active.tip

    # Blocks that arrive

    async def bring(self, block: Block, *, requested: bool, least_work: int) -> Outcome:
        """Queue a block, and return what became of it when its turn was: see `Chain.add_block`."""
        self._writer.admit()
        answer = self._arrivals.put(block, requested=requested, least_work=least_work)
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

    async def _take_arrivals(self) -> None:
        started = self._clock.monotonic()

        def may_take() -> bool:
            return not self._writer.pending and self._clock.monotonic() - started < _LONGEST_RUN

        await self.reach_most_work(may_take)

    async def _take_in(self) -> None:
        """Check and store blocks that arrived."""
        arrivals = self._arrivals.next()
        try:
            tip = self._active.tip
            found = await self._intake.blocks(arrivals, tip, self._candidates.best(tip))
        except StoreError as error:  # ends the node; who brought the blocks must not wait for ever
            for arrival in arrivals:
                arrival.refuse(error)
            raise
        for arrival, stored in zip(arrivals, found, strict=True):
            if isinstance(stored, ValidationError):
                arrival.refuse(stored)
                continue
            self._arrivals.owe(arrival, stored.entry, is_new=stored.is_new)
            if self._foundation.background is not None:
                self._foundation.background.wake()
            # A block that was there already is read again: this copy may differ from it in its witnesses.
            if stored.is_new and stored.entry.chain_tx_count:
                self._at_hand[stored.entry] = arrival.block

    # Reaching the most work

    async def reach_most_work(self, may_take: Callable[[], bool] = lambda: False) -> None:
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
        self._candidates.drop_weaker(self._active.tip)
        self._sync.note()
        if self._active.has_moved:
            for listener in self.listeners:
                await listener.settled()
            self._active.has_moved = False
        old, self._announced_tip = self._announced_tip, self._active.tip
        if self._active.tip is not old:
            self._events.publish(TipChanged(old, self._active.tip))
        self._arrivals.answer_all(self._active.__contains__)

    async def _advance(self, may_take: Callable[[], bool]) -> None:
        pipeline = self._pipeline
        reorganises = False
        while True:
            head = pipeline.head or self._active.tip
            if pipeline.has_verdict:
                await self._commit_lowest()
            elif pipeline.has_room and self._arrivals and may_take():
                await self._take_in()
            elif (target := self._candidates.best(self._active.tip)) is not head and self._builds_on(target, head):
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
                if target is self._active.tip:
                    return
                reorganises = True
                await self._leave_for(target)

    @staticmethod
    def _builds_on(entry: Entry, other: Entry) -> bool:
        return entry.height > other.height and entry.ancestor(other.height) is other

    async def _leave_for(self, target: Entry) -> None:
        fork = HeaderTree.fork_point(self._active.tip, target)
        if not self.can_leave_for(fork.height):
            on_snapshot = self._foundation.background is not None
            why = f"below a snapshot: {REINDEX}" if on_snapshot else f"where blocks are pruned. {UNPRUNE}"
            raise StoreError(f"the chain with the most work leaves the active one {why}")
        self._checkpoint("reorganise-begin")
        log.info("leaving %s for %s, %d blocks back", self._active.tip, target, self._active.tip.height - fork.height)
        while self._active.tip is not fork:
            await self.disconnect_tip()

    def can_leave_for(self, height: int) -> bool:
        """Whether all blocks above `height` can be undone."""
        return self._foundation.can_leave_for(height) and (self._pruner is None or self._pruner.height <= height)

    async def _prepare(self, head: Entry, target: Entry) -> None:
        """Put blocks from behind `head` up to `target` into the pipeline.

        When one is invalid, say so after those before it have their verdict.
        """
        last = min(target.height, head.height + _PREPARED_AT_ONCE)
        try:
            await self._pipeline.prepare(line_to(target.ancestor(last), above=head), self._at_hand)
        except ValidationError as error:
            while self._pipeline:
                if not await self._commit_lowest():
                    return
            first_unprepared = target.ancestor(self._active.tip.height + 1)
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
        values = await self._shared.prepare_indexes(prepared)
        # From here to the end nothing awaits: whoever reads on the loop sees all of it or nothing.
        self._active.connect(entry, connection.coins)
        self._pipeline.committed(prepared)
        self._shared.connected(prepared, values)
        for listener in self.listeners:
            listener.block_connected(entry, block, connection.spent)
        self._events.publish(BlockConnected(entry, block, connection.spent))
        self._arrivals.answer_early(entry)
        await self._flusher.limit()
        await self.make_room()

    async def make_room(self) -> None:
        """Remove old block files if that is due."""
        if self._pruner is not None and self._pruner.is_due(self._active.tip):
            await self._pruner.make_room(self._active.tip, syncing=self._sync.is_initial_block_download)

    async def disconnect_tip(self) -> None:
        """Go back by one block. Raises ValueError at genesis, StoreError."""
        entry = self._active.tip
        if entry.parent is None:
            raise ValueError("genesis cannot be disconnected")
        block, change = await self._offload(self._prepare_disconnect, entry)
        self._checkpoint("disconnect")
        self._active.disconnect(change)
        self._candidates.left(entry, self._active.tip)
        for listener in self.listeners:
            listener.block_disconnected(entry, block)
        self._events.publish(BlockDisconnected(entry, block))
        await self._flusher.limit()

    def _prepare_disconnect(self, entry: Entry) -> tuple[Block, CoinChange]:
        try:
            block = self._blocks.read(entry)
            return block, disconnect_block(block, self._blocks.read_spent(entry))
        except StoreError as error:
            log.error("block %s cannot be undone: %s", entry, error)
            raise StoreError(f"{FATAL}Failed to disconnect block.") from error
