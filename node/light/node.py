"""The light node: where its parts meet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from altyn.consensus.block import Block
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Transaction
from altyn.node.chain.tree import Entry
from altyn.node.events import Events
from altyn.node.light.headers import HeaderChain
from altyn.node.light.filters import FilterChain
from altyn.node.settings import Settings
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections


class LightNode:
    """A node that keeps headers and filters, and fetches single blocks from peers.

    Use `async with LightNode.open(settings) as node: await node.run()`.
    """

    settings: Settings
    network: Network
    clock: Clock
    events: Events
    chain: HeaderChain
    """Has `network`, `tree`, `tip`, `active(height)`, `is_active(entry)`, `is_initial_block_download` as the full chain."""
    filters: FilterChain
    """Agreed filter headers, checked filters; `filters.height`, `filters.checked` (filters whose hash matched)."""
    connections: Connections

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

    async def block(self, entry: Entry) -> Block:
        """Fetch the block of `entry` from a peer, checked against its header. Raises LightError when nobody gives it."""
        raise NotImplementedError

    async def block_filter(self, entry: Entry) -> tuple[bytes, bytes]:
        """Return the agreed basic filter of `entry` and its filter header. Raises LightError when nobody gives it."""
        raise NotImplementedError

    async def broadcast(self, tx: Transaction) -> None:
        """Offer `tx` to the connected peers; return once one took it. Raises LightError when there is no peer."""
        raise NotImplementedError
