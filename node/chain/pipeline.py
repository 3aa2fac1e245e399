"""Blocks on their way to the tip: each prepared on those before it while their scripts are still being checked.

Nothing of a block here is seen by anybody: coins, tip and undo data change when the chain takes it out, in order, after
all its checks have passed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from altyn.consensus.block import Block
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.coins import CoinsView
from altyn.node.chain.connect import CoinChange, Connection, connect_block
from altyn.node.chain.tree import Entry
from altyn.node.chain.verify import ScriptVerifier, Search
from altyn.node.offload import Offload
from altyn.node.storage.layout import decode_coin

_MOST_CHECKS = 2_000
"""Checks under way at which no further block is prepared: a tenth of a second of two processors."""
_MOST_BLOCKS = 32


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
    search: Search
    verdict: asyncio.Task[None]


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
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def head(self) -> Entry | None:
        """The highest of the blocks."""
        return self._queue[-1].entry if self._queue else None

    @property
    def has_room(self) -> bool:
        return not self._queue or (self._checks < _MOST_CHECKS and len(self._queue) < _MOST_BLOCKS)

    @property
    def has_verdict(self) -> bool:
        """Whether the lowest block can be taken out without waiting."""
        return bool(self._queue) and self._queue[0].verdict.done()

    async def prepare(self, entry: Entry, block: Block | None) -> None:
        """Put in the block of `entry`, read unless it is given, which builds on the head, or on the tip.

        Raises ValidationError; the pipeline is as before then.
        """
        with_scripts = not self._is_assumed_valid(entry)
        whole, connection = await self._offload(self._connect, entry, block, with_scripts)
        search = self._verifier.search(connection.checks)
        verdict = asyncio.create_task(self._verifier.run(search))  # awaited by `take`, or by `abandon`
        verdict.add_done_callback(lambda _: self.wake())
        self._queue.append(Prepared(entry, whole, connection, search, verdict))
        self._checks += len(connection.checks)

    def _connect(self, entry: Entry, block: Block | None, with_scripts: bool) -> tuple[Block, Connection]:
        block = block or self._blocks.read(entry)
        for number, change in self._committed:
            self._coins.drop(number, change)
        self._committed.clear()
        connection = connect_block(block, entry, self._coins, self._network, with_scripts=with_scripts)
        self._coins.add(entry.height, connection.coins)
        return block, connection

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
