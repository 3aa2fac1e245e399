"""The light node: where its parts meet."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from altyn.consensus import secp256k1
from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction
from altyn.node.chain.tree import Entry
from altyn.node.chores import Chores
from altyn.node.events import Events
from altyn.node.lifetime import NodeError, Surroundings, background, encryption, real_surroundings
from altyn.node.light.filters import FilterChain
from altyn.node.light.headers import HeaderChain
from altyn.node.light.store import FilterHeaderStore
from altyn.node.light.sync import BEAT, LightSync
from altyn.node.meeting import address_gossip, calls, dial, keep_calling
from altyn.node.peer_memory import SAVE_INTERVAL, PeerMemory
from altyn.node.settings import Settings
from altyn.node.storage.filters import FilterStore
from altyn.node.storage.folder import DataFolder
from altyn.node.storage.headers import HeaderStore
from altyn.node.storage.kv import KeyValue, LevelDb, Memory
from altyn.node.version import user_agent
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.kinds import Services
from altyn.p2p.local_addresses import LocalAddresses
from altyn.p2p.peer import PeerSettings
from altyn.p2p.proxy import proxied_dialer
from altyn.p2p.seeds import real_names

log = logging.getLogger(__name__)

FILTER_TIMEOUT = 30.0
"""Seconds to wait for the filter of a block whose header is here already."""
_STORAGE_THREADS = 2


class LightNode:
    """A node that keeps headers and filters, and fetches single blocks from peers.

    Use `async with LightNode.open(settings) as node: await node.run()`.
    """

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        headers: KeyValue,
        filters: KeyValue,
        beat: float,
    ) -> None:
        """Put the parts together; use `open` instead."""
        clock, offload = surroundings.clock, surroundings.offload
        self.settings = settings
        self.network = settings.network
        self.clock = clock
        self.offload = offload
        self.events = Events()
        self.chain = HeaderChain(
            settings.network, HeaderStore(headers), clock, self.events, offload, max_tip_age=settings.maxtipage
        )
        self.filters = FilterChain(self.chain, FilterHeaderStore(filters), FilterStore(filters), offload)
        """`filters.checked` filters matched the agreed header chain, which reaches up to `filters.header_height`."""
        self.memory = PeerMemory(None if surroundings.in_memory else settings.folder, clock, surroundings.random)
        nowhere = LocalAddresses(surroundings.random, discover=False, port=0)  # nobody calls a light node
        addresses = address_gossip(
            settings, surroundings, self.memory, nowhere, may_advertise=lambda: False, services=int(Services.NONE)
        )
        self.sync = LightSync(
            self.chain,
            self.filters,
            addresses,
            clock,
            offload,
            surroundings.random,
            remove_node=self._forget_node,
            beat=beat,
        )
        self.connections = Connections(
            ConnectionSettings(
                magic=settings.network.magic,
                services=int(Services.NONE),
                user_agent=user_agent(settings.uacomment),
                relay=False,
                required_services=int(Services.NETWORK | Services.WITNESS | Services.COMPACT_FILTERS),
                max_inbound=0,
                peer=PeerSettings(handshake_timeout=float(settings.peertimeout)),
            ),
            self.sync,
            clock,
            start_height=lambda: self.chain.tip.height,
            bans=self.memory.bans,
            dialer=proxied_dialer(
                settings.proxies, surroundings.random, names=settings.dns, direct=surroundings.dialer
            ),
            listener=surroundings.listener,
            rng=surroundings.random,
            ellswift=encryption(settings.v2transport, secp256k1.load(settings.secp256k1)),
        )
        self._outbound = calls(settings, surroundings, self.connections, self.memory, nowhere)
        self._told_to_stop = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, surroundings: Surroundings | None = None, beat: float = BEAT
    ) -> AsyncIterator[Self]:
        """Open the stores and follow the chain of peers while the body runs; then stop in order.

        What breaks the node in its background cancels the body and is raised here: StoreError, or our own bug. Raises
        SettingsError, NodeError, StoreError (FolderRefused) where it cannot start. `beat`: seconds between two looks
        at the clock.
        """
        async with AsyncExitStack() as stack:
            if surroundings is None:
                surroundings = await stack.enter_async_context(real_surroundings(_STORAGE_THREADS, settings.mocktime))
            headers: KeyValue
            filters: KeyValue
            if surroundings.in_memory:
                headers, filters = Memory(), Memory()
            else:
                folder = stack.enter_context(DataFolder.open(settings.datadir, settings.network))
                if (folder.blocks / "blk00000.dat").exists():
                    raise NodeError(
                        f"{folder.path} belongs to a full node: choose another data directory for the light node"
                    )
                headers = LevelDb(folder.block_index)
                stack.callback(headers.close)
                filters = LevelDb(folder.index("filters"))
                stack.callback(filters.close)
            node = cls(settings, surroundings, headers, filters, beat)
            stack.callback(node.memory.save)
            chores = Chores((SAVE_INTERVAL, node.memory.save))
            node.events.subscribe(chores.event)
            tip = node.chain.tip
            log.info("chain %s: headers to %d, %s", settings.network.chain, tip.height, tip.hash[::-1].hex())
            async with background(
                chores.run(),
                node.sync.run(),
                node.filters.run(),
                node.connections.run(),
                keep_calling(
                    settings, node._outbound, node.connections, node.chain, node.sync, node.events, surroundings.clock
                ),
            ):
                node.connections.set_network_active(settings.networkactive)
                named = (*(settings.outgoing or ()), *settings.addnode, *settings.seednode)
                if not (named or real_names(settings.network.dns_seeds) or len(node.memory.book)):
                    log.warning("no peer is named: a light node needs -connect or -addnode, best of several full nodes")
                dial(node.connections, settings)
                yield node

    def _forget_node(self, host: str, port: int) -> None:
        self.connections.remove_node(host, port)

    async def run(self) -> None:
        """Return when the node is told to stop."""
        await self._told_to_stop.wait()

    def stop(self) -> None:
        """Let `run` return; does nothing else, and returns at once."""
        self._told_to_stop.set()

    async def block(self, entry: Entry) -> Block:
        """Fetch the block of `entry` from a peer and check it. Raises LightError when nobody gives it."""
        if entry.parent is None:
            return self.network.genesis
        return await self.sync.block(entry)

    async def block_filter(self, entry: Entry) -> tuple[bytes, bytes]:
        """Return the agreed basic filter of `entry` and its filter header. Raises LightError when nobody gives it."""
        return await self.filters.get(entry, FILTER_TIMEOUT)

    async def broadcast(self, tx: Transaction) -> None:
        """Offer `tx` to the peers; return once one took it, which is not to say that it accepts it.

        Raises ValidationError for a transaction that no block could hold, LightError when there is no taker.
        """
        await self.sync.broadcast(tx)
