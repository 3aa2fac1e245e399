"""Blocks on their way to the tip: each prepared on those before it while their scripts are still being checked.

Nothing of a block here is seen by anybody: coins and tip change when the chain takes it out, in order, after all its
checks have passed. Its undo data is in the files by then, where nothing points to it before.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.coins import CoinsView
from altyn.node.chain.connect import CoinChange, Connection, connect_block
from altyn.node.chain.tree import Entry
from altyn.node.chain.verify import ScriptVerifier, Search
from altyn.node.offload import Offload, for_blocks
from altyn.node.storage.blocks import FilePosition
from altyn.node.storage.layout import decode_coin

_MOST_CHECKS = 2_000
"""Checks under way at which no further block is prepared: some hundredths of a second of two processors."""
_CHECKS_AT_ONCE = 400
"""Checks of blocks that are prepared in one go: a hundredth of a second, and so long do processors have work."""
_MOST_BLOCKS = 64
_FEW_SIGOPS = 400
"""Cost of signature operations up to which the scripts of a small block that comes alone need no thread either."""


class PendingCoins:
    """Coins as the blocks in the pipeline will leave them, over those of the tip.

    Read and changed by one thread at a time. Blocks may be committed below it meanwhile: their changes stand here
    too, and hide those below.
    """

    def __init__(self, below: CoinsView) -> None:
        self._below = below
        self._changes: dict[bytes, tuple[int, bytes | None]] = {}  # number of the block; the coin, None if spent

    def get(self, outpoint: OutPoint) -> Coin | None:
        return self.many([outpoint]).get(outpoint)

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        changes = self._changes
        if not changes:
            return self._below.many(outpoints)
        found = {}
        rest = []
        for outpoint in outpoints:
            change = changes.get(outpoint)
            if change is None:
                rest.append(outpoint)
            elif change[1] is not None:
                found[outpoint] = decode_coin(change[1])
        found.update(self._below.many(rest))
        return found

    def __contains__(self, outpoint: object) -> bool:
        return isinstance(outpoint, OutPoint) and self.get(outpoint) is not None

    def add(self, number: int, change: CoinChange) -> None:
        """Take up what a block does; later blocks have higher numbers."""
        changes = self._changes
        gone = number, None
        for outpoint in change.removed:
            changes[outpoint] = gone
        for outpoint, data in change.created.items():
            changes[outpoint] = number, data

    def drop(self, number: int, change: CoinChange) -> None:
        """Forget what a block did, now that the layer below has it; not what later ones did to the same coins."""
        changes = self._changes
        for outpoints in (change.removed, change.created):
            for outpoint in outpoints:
                if changes[outpoint][0] == number:
                    del changes[outpoint]

    def clear(self) -> None:
        self._changes.clear()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A block that is valid if its scripts are."""

    entry: Entry
    block: Block
    connection: Connection
    undo: FilePosition
    search: Search
    verdict: asyncio.Future[None]


class Pipeline:
    """The prepared blocks, lowest first. Belongs to the writer's task."""

    def __init__(
        self,
        coins: CoinsView,
        network: Network,
        blocks: StoredBlocks,
        offload: Offload,
        verifier: ScriptVerifier,
        is_assumed_valid: Callable[[Entry], bool],
    ) -> None:
        """`coins` are those of the tip. Scripts of blocks that are assumed valid are not checked."""
        self._coins = PendingCoins(coins)
        self._network = network
        self._blocks = blocks
        self._offload = offload
        self._verifier = verifier
        self._is_assumed_valid = is_assumed_valid
        self._queue: deque[Prepared] = deque()
        self._committed: list[tuple[int, CoinChange]] = []  # to be dropped by the thread that prepares the next
        self._checks = 0
        self._is_filling = True
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def head(self) -> Entry | None:
        """The highest of the blocks."""
        return self._queue[-1].entry if self._queue else None

    @property
    def has_room(self) -> bool:
        """Whether more blocks should be prepared: until there is much to do, then not before half of that is done."""
        if len(self._queue) < 2:
            return True
        self._is_filling = self._checks < (_MOST_CHECKS if self._is_filling else _MOST_CHECKS // 2)
        return self._is_filling and len(self._queue) < _MOST_BLOCKS

    @property
    def has_verdict(self) -> bool:
        """Whether the lowest block can be taken out without waiting."""
        return bool(self._queue) and self._queue[0].verdict.done()

    async def prepare(self, entries: Sequence[Entry], at_hand: MutableMapping[Entry, Block]) -> None:
        """Put in blocks: the first of `entries` builds on the head, or on the tip; some others may be left for later.

        They are taken out of `at_hand`, or read. Raises ValidationError for the first that is invalid; those before it
        are in the pipeline then.
        """
        made: list[tuple[Entry, Block, Connection, FilePosition, Search]] = []
        known = entries[0] in at_hand
        run = for_blocks(self._offload, *(entry.block_size for entry in entries)) if known else self._offload
        try:
            await run(self._connect, entries, at_hand, made)
        finally:
            for entry, block, connection, undo, search in made:
                is_small = run is not self._offload and connection.sigop_cost <= _FEW_SIGOPS and search.is_counted
                verdict = self._judge(search, at_once=is_small)
                self._queue.append(Prepared(entry, block, connection, undo, search, verdict))
                self._checks += len(connection.checks)

    def _judge(self, search: Search, *, at_once: bool) -> asyncio.Future[None]:
        """Begin to look for a check that fails, or do it `at_once`; `take` or `abandon` awaits the verdict."""
        if search.chunks and not at_once:
            task = asyncio.create_task(self._verifier.run(search))
            task.add_done_callback(lambda _: self.wake())
            return task
        verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        search.run()
        try:
            search.conclude()
        except ValidationError as error:
            verdict.set_exception(error)
        else:
            verdict.set_result(None)
        return verdict

    def _connect(
        self,
        entries: Iterable[Entry],
        at_hand: MutableMapping[Entry, Block],
        made: list[tuple[Entry, Block, Connection, FilePosition, Search]],
    ) -> None:
        for number, change in self._committed:
            self._coins.drop(number, change)
        self._committed.clear()
        room = _CHECKS_AT_ONCE
        for entry in entries:
            block = at_hand.pop(entry, None) or self._blocks.read(entry)
            with_scripts = not self._is_assumed_valid(entry)
            connection = connect_block(block, entry, self._coins, self._network, with_scripts=with_scripts)
            self._coins.add(entry.height, connection.coins)
            undo = entry.undo_position or self._blocks.write_undo(entry, connection.undo)
            made.append((entry, block, connection, undo, self._verifier.search(connection.checks)))
            room -= len(connection.checks)
            if room <= 0:
                break

    async def take(self) -> Prepared:
        """Wait for the verdict over the lowest block and take it out. Raises ValidationError if it is invalid."""
        first = self._queue[0]
        await first.verdict
        self._queue.popleft()
        self._checks -= len(first.connection.checks)
        return first

    @property
    def lowest(self) -> Entry:
        """The entry that `take` is about. Raises IndexError without one."""
        return self._queue[0].entry

    def committed(self, prepared: Prepared) -> None:
        """Note that the tip's coins have the changes of a block that was taken out."""
        if self._queue:
            self._committed.append((prepared.entry.height, prepared.connection.coins))
        else:
            self._committed.clear()
            self._coins.clear()

    async def abandon(self) -> None:
        """Throw out all blocks and wait until no thread is at them."""
        for prepared in self._queue:
            prepared.search.abandon()
            prepared.verdict.cancel()
        await asyncio.gather(*(prepared.verdict for prepared in self._queue), return_exceptions=True)
        self._queue.clear()
        self._committed.clear()
        self._coins.clear()
        self._checks = 0

    async def change(self) -> None:
        """Wait for a verdict over the lowest block, or for `wake`."""
        self._waiter = asyncio.get_running_loop().create_future()
        if not self.has_verdict:
            await self._waiter

    def wake(self) -> None:
        """Let `change` return: there is something new to do."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
