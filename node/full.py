"""The full node: where its parts meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from altyn.consensus.networks import Network
from altyn.node.chain.chain import Chain
from altyn.node.events import Events
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.miner import Miner
from altyn.node.settings import Settings
from altyn.node.storage.filters import FilterStore
from altyn.node.sync.dispatch import Sync
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections


class FullNode:
    """A validating node. Use `async with FullNode.open(settings) as node: await node.run()`."""

    settings: Settings
    network: Network
    clock: Clock
    events: Events
    writer: Writer
    chain: Chain
    mempool: Mempool
    miner: Miner
    filters: FilterStore | None
    """None unless -blockfilterindex."""
    connections: Connections
    sync: Sync

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Self]:
        """Open the stores and start the node; leaving the context stops it in order. Raises StoreError, FolderError."""
        raise NotImplementedError
        yield cls()

    async def run(self) -> None:
        """Return when the node was told to stop; raise what broke it."""

    def stop(self) -> None:
        """Ask the node to end; returns at once."""
