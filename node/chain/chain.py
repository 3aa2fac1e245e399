"""The active chain: the branch with the most work, and the coins that it leaves unspent."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from altyn.consensus.block import Block, Header
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Coin
from altyn.node.chain.coins import CoinsView
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import Events


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """How a chain behaves; sizes in bytes, times in seconds."""

    cache_size: int = 150 << 20
    flush_interval: float = 300.0
    filter_index: bool = False
    transaction_index: bool = False
    max_tip_age: int = 24 * 3600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a block that was valid as far as it was looked at."""

    entry: Entry
    is_new: bool
    """Stored now; False for one that was there, or was not wanted (Core: new_block)."""
    is_active: bool
    """Part of the active chain now."""


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
    """The header tree, the active chain and its coins; changed only through its coroutines, in the writer's task."""

    network: Network
    tree: HeaderTree
    tip: Entry
    coins: CoinsView
    events: Events

    def add_listener(self, listener: ChainListener) -> None: ...
    def active(self, height: int) -> Entry | None:
        """Return the entry of the active chain at `height`; None above the tip or below 0."""

    def is_active(self, entry: Entry) -> bool: ...
    def next_active(self, entry: Entry) -> Entry | None: ...
    def find_fork(self, locator: Sequence[bytes]) -> Entry:
        """Return the last entry of the active chain that `locator` knows; genesis if none."""

    async def add_headers(self, headers: Sequence[Header], *, min_work_checked: bool = True) -> Entry:
        """Check headers, parents first, and put them into the tree; return the last one's entry. Raises ValidationError."""

    async def add_block(self, block: Block, *, requested: bool = True, min_work_checked: bool = True) -> Outcome:
        """Check and store a block and reach the most-work chain. Raises ValidationError if this block is invalid."""

    async def test_block(self, block: Block, *, check_pow: bool = True, check_merkle: bool = True) -> None:
        """Check a block on the tip without changing anything (a proposal, a template). Raises ValidationError."""

    def read_block_bytes(self, entry: Entry) -> bytes:
        """Read a stored block; blocking. Raises BlockNotStored, StoreError."""

    def read_block(self, entry: Entry) -> Block: ...
    def read_spent(self, entry: Entry) -> list[list[Coin]]:
        """Read the coins each transaction spent, an empty list for the coinbase; blocking."""

    async def invalidate(self, entry: Entry) -> None: ...
    async def reconsider(self, entry: Entry) -> None: ...
    async def flush(self) -> None: ...
    @property
    def is_initial_block_download(self) -> bool: ...
    @property
    def verification_progress(self) -> float: ...
