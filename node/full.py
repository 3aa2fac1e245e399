"""The full node: where its parts meet."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from altyn.consensus import secp256k1
from altyn.consensus.encoding import EncodingError
from altyn.node.chain.caches import CachedSecp256k1, ScriptCache
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.import_file import import_file
from altyn.node.chain.indexes import FilterIndex
from altyn.node.chain.prune import MANUAL, PruneOptions
from altyn.node.chain.reindex import ConnectProgress, forget_for_reindex, rebuild_index
from altyn.node.chain.stores import Checkpoint, Stores
from altyn.node.chain.verify import ScriptVerifier, in_processes
from altyn.node.chores import Chores
from altyn.node.events import (
    BlockConnected,
    BlockFailed,
    Events,
    Progressed,
    SchedulerForwarded,
    SnapshotChanged,
    TipChanged,
)
from altyn.node.lifetime import (
    Surroundings,
    background,
    encryption,
    real_surroundings,
    script_checkers,
    worker_threads,
)
from altyn.node.meeting import address_gossip, calls, dial, keep_calling, listen
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import TransactionAdded, TransactionRemoved
from altyn.node.mempool.fees import FeeEstimator
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.packages import PackageAcceptance
from altyn.node.mempool.persist import FILE_NAME, MempoolFile
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.miner import Miner
from altyn.node.mining.search import load_backend
from altyn.node.mining.select import Room
from altyn.node.mining.source import ChainTemplates
from altyn.node.peer_memory import SAVE_INTERVAL, PeerMemory
from altyn.node.settings import Settings
from altyn.node.storage.blocks import MAX_FILE_SIZE, SMALL_FILE_SIZE
from altyn.node.storage.folder import DataFolder
from altyn.node.sync.blocks import is_near_tip
from altyn.node.sync.dispatch import Sync, SyncOptions
from altyn.node.sync.relay import TrickleTimes
from altyn.node.sync.transactions import RequestDelays
from altyn.node.version import user_agent
from altyn.node.warnings import Warnings
from altyn.node.writer import Writer
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.kinds import Services
from altyn.p2p.local_addresses import LocalAddresses, Score
from altyn.p2p.netgroups import address_of
from altyn.p2p.outbound import Slots
from altyn.p2p.peer import PeerSettings
from altyn.p2p.proxy import proxied_dialer
from altyn.p2p.upload import UploadTarget

log = logging.getLogger(__name__)

FEE_ESTIMATES = "fee_estimates.json"
FEES_INTERVAL = 3600.0
"""Seconds between two times that they are written, besides at the end."""

CACHE_BYTES = 16 << 20
"""What the signatures known to be valid may take, and the same for the scripts (Core: half of -maxsigcachesize)."""


class FullNode:
    """A validating node. Use `async with FullNode.open(settings) as node: await node.run()`."""

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        chain: Chain,
        writer: Writer,
        secp: secp256k1.Secp256k1,
        beat: float,
    ) -> None:
        """Put the parts together; use `open` instead."""
        clock, offload = surroundings.clock, surroundings.offload
        self.settings = settings
        self.network = settings.network
        self.clock = clock
        self.offload = offload
        self.secp = secp
        self.writer = writer
        self.chain = chain
        self.events: Events = chain.events
        self.filters: FilterIndex | None = chain.filters
        """None unless -blockfilterindex."""
        self.mempool = Mempool(policy_limits(settings), clock, self.events)
        signatures = CachedSecp256k1(secp, surroundings.random.randbytes(32), CACHE_BYTES)
        self.acceptance = Acceptance(chain, self.mempool, writer, offload, signatures, chain.verifier.cache)
        self.packages = PackageAcceptance(self.acceptance)
        self.mempool_file = MempoolFile(
            self.acceptance, offload, surroundings.random, masked=not settings.persistmempoolv1
        )
        chain.add_listener(ChainFollower(self.mempool, self.acceptance))
        room = Room(weight=settings.blockmaxweight, min_feerate=settings.blockmintxfee)
        self.templates = ChainTemplates(chain, self.mempool, writer, clock, secp, room)
        self.miner = Miner(self.templates, load_backend(), offload, clock)
        self.memory = PeerMemory(None if surroundings.in_memory else settings.folder, clock, surroundings.random)
        ellswift = encryption(settings.v2transport, secp)
        introduction = connection_settings(settings, encrypts=ellswift is not None)
        self.local_addresses = LocalAddresses(surroundings.random, discover=settings.discovers, port=settings.port)
        for address in settings.external_addresses:
            self.local_addresses.add(address, Score.MANUAL)
        addresses = address_gossip(
            settings,
            surroundings,
            self.memory,
            self.local_addresses,
            may_advertise=lambda: settings.listen and not chain.is_initial_block_download,
            services=introduction.services,
        )
        self.upload = UploadTarget(
            settings.maxuploadtarget, lambda: self.connections.total_bytes_sent, surroundings.clock.now()
        )
        self.sync = Sync(
            chain,
            self.mempool,
            self.acceptance,
            writer,
            clock,
            offload,
            surroundings.random,
            addresses,
            upload=self.upload,
            filters=self.filters,
            options=sync_options(settings, beat),
        )
        self.connections = Connections(
            introduction,
            self.sync,
            clock,
            start_height=lambda: chain.tip.height,
            limited_will_do=lambda: is_near_tip(chain.tip, settings.network, clock.now()),
            bans=self.memory.bans,
            dialer=proxied_dialer(
                settings.proxies, surroundings.random, names=settings.dns, direct=surroundings.dialer
            ),
            listener=surroundings.listener,
            rng=surroundings.random,
            ellswift=ellswift,
        )
        self._outbound = calls(settings, surroundings, self.connections, self.memory, self.local_addresses)
        self.fees = FeeEstimator(chain, self.mempool, clock)
        self.memory.files.load(FEE_ESTIMATES, self.fees.load)
        self.events.subscribe(self.fees.event, TransactionAdded, TransactionRemoved, BlockConnected)
        self._chores = Chores((SAVE_INTERVAL, self.memory.save), (FEES_INTERVAL, self._save_fees))
        self.events.subscribe(self._chores.event, SchedulerForwarded)
        self.events.subscribe(self._offer_blocks, SnapshotChanged)
        self.warnings = Warnings(chain, self.sync.clocks, self.events)
        self.events.subscribe(self.warnings.event, BlockFailed, TipChanged)
        if chain.background is not None:
            self._offer_blocks(SnapshotChanged(chain.background.base, is_proved=False))
        self._keeps_mempool = settings.persistmempool and not surroundings.in_memory
        self._told_to_stop = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        surroundings: Surroundings | None = None,
        events: Events | None = None,
        checkpoint: Checkpoint | None = None,
        beat: float = 0.1,
    ) -> AsyncIterator[Self]:
        """Open the stores, go forward to the most work, and serve peers while the body runs; then stop in order.

        What breaks the node in its background cancels the body and is raised here: StoreError, or our own bug. Raises
        SettingsError, NodeError, StoreError (FolderRefused) where it cannot start. `events` tell of the start too;
        `checkpoint`: see `Chain.open`; `beat`: see `SyncOptions`.
        """
        async with AsyncExitStack() as stack:
            if surroundings is None:
                threads = worker_threads(settings.par)
                surroundings = await stack.enter_async_context(real_surroundings(threads, settings.mocktime))
            secp = secp256k1.load(settings.secp256k1)
            writer, events = Writer(), events or Events()
            if surroundings.in_memory:
                stores = Stores.in_memory(settings.network, max_file_size=_file_size(settings))
            else:
                folder = stack.enter_context(DataFolder.open(settings.datadir, settings.network))
                stores = await _open_stores(folder, settings, surroundings, secp, events)
            cache = ScriptCache(surroundings.random.randbytes(32), CACHE_BYTES)
            processes = 0 if surroundings.in_memory else script_checkers(settings.par)
            if processes > 1:
                checkers = in_processes(processes, surroundings.offload, secp, cache)
                verifier = await stack.enter_async_context(checkers)
            else:  # a single process beside this one brings nothing
                verifier = ScriptVerifier(surroundings.offload, secp, cache=cache)
            done_connecting = events.subscribe(ConnectProgress())
            chain = await stack.enter_async_context(
                Chain.open(
                    settings.network,
                    stores,
                    surroundings.clock,
                    writer,
                    offload=surroundings.offload,
                    secp=secp,
                    events=events,
                    options=chain_options(settings),
                    checkpoint=checkpoint or _log_checkpoint,
                    verifier=verifier,
                )
            )
            done_connecting()
            node = cls(settings, surroundings, chain, writer, secp, beat)
            stack.callback(node.memory.save)
            log.info("chain %s at height %d, %s", settings.network.chain, chain.tip.height, chain.tip.hash[::-1].hex())
            async with background(
                writer.run(),
                chain.run(),
                node._chores.run(),
                node.sync.run(node.events),
                node.connections.run(),
                keep_calling(
                    settings, node._outbound, node.connections, chain, node.sync.follow, events, surroundings.clock
                ),
                node._import_files(),
            ):
                await node._meet_peers()
                node.events.subscribe(node._watch_height, TipChanged)
                yield node
            log.info("shutdown: peers are gone, writing the chain")
            node.fees.give_up_waiting()
            node._save_fees()
            await node._save_mempool()

    async def run(self) -> None:
        """Return when the node is told to stop."""
        await self._told_to_stop.wait()

    def stop(self) -> None:
        """Let `run` return; does nothing else, and returns at once."""
        self._told_to_stop.set()

    def _save_fees(self) -> None:
        self.memory.files.save(FEE_ESTIMATES, self.fees.as_json())

    async def _import_files(self) -> None:
        for name in self.settings.loadblock:
            await import_file(Path(name), self.chain, self.offload)
        path = self.settings.folder / FILE_NAME
        if self._keeps_mempool and path.exists():
            try:
                await self.mempool_file.load(path)
            except (OSError, EncodingError) as error:
                log.warning("Failed to deserialize mempool data on file: %s. Continuing anyway.", error)
        self.mempool.loaded = True

    async def _save_mempool(self) -> None:
        if self._keeps_mempool and self.mempool.loaded:
            try:
                await self.mempool_file.save(self.settings.folder / FILE_NAME)
            except OSError as error:
                log.warning("Failed to dump mempool: %s. Continuing anyway.", error)

    async def _meet_peers(self) -> None:
        await listen(self.connections, self.settings)
        for endpoint in self.connections.listening:
            address = address_of(endpoint)
            if address is not None:
                self.local_addresses.add(address, Score.BOUND)
        dial(self.connections, self.settings)

    def _offer_blocks(self, event: object) -> None:
        """Be a node of the last blocks only while those below a snapshot are not here (Core: NODE_NETWORK)."""
        if isinstance(event, SnapshotChanged) and not self.settings.prune:
            services = self.connections.settings.services & ~Services.NETWORK
            services |= Services.NETWORK if event.is_proved else 0
            self.connections.settings = dataclasses.replace(self.connections.settings, services=int(services))

    def _watch_height(self, event: object) -> None:
        height = self.settings.stopatheight
        if height and isinstance(event, TipChanged) and event.new.height >= height:
            log.info("height %d is reached: stopping", height)
            self.stop()


async def _open_stores(
    folder: DataFolder, settings: Settings, surroundings: Surroundings, secp: secp256k1.Secp256k1, events: Events
) -> Stores:
    """Open the stores of a folder, after `-reindex` or `-reindex-chainstate` has been done. Raises StoreError."""
    reads_files = forget_for_reindex(
        folder,
        reindex=settings.reindex,
        reindex_chainstate=settings.reindex_chainstate,
        pruned=bool(settings.prune),
    )
    stores = Stores.open(folder, max_file_size=_file_size(settings))
    if reads_files:
        log.info("initload thread start: reading the block files")
        loop, now = asyncio.get_running_loop(), surroundings.clock.now()

        def report(done: int, total: int) -> None:
            loop.call_soon_threadsafe(events.publish, Progressed("reading block files", done, total))

        try:
            await surroundings.offload(rebuild_index, stores, settings.network, secp, now, report)
        except BaseException:
            stores.close()
            raise
        folder.reindexed()
    return stores


def _file_size(settings: Settings) -> int:
    return SMALL_FILE_SIZE if settings.fastprune else MAX_FILE_SIZE


def policy_limits(settings: Settings) -> PolicyLimits:
    """Return the mempool's limits that the settings ask for."""
    return PolicyLimits(
        require_standard=not settings.acceptnonstdtxn,
        full_rbf=settings.mempoolfullrbf,
        min_relay_feerate=settings.minrelaytxfee,
        incremental_relay_feerate=settings.incrementalrelayfee,
        dust_relay_feerate=settings.dustrelayfee,
        max_datacarrier_bytes=settings.datacarriersize if settings.datacarrier else None,
        permit_bare_multisig=settings.permitbaremultisig,
        bytes_per_sigop=settings.bytespersigop,
        ancestor_count=settings.limitancestorcount,
        ancestor_size=settings.limitancestorsize * 1000,
        descendant_count=settings.limitdescendantcount,
        descendant_size=settings.limitdescendantsize * 1000,
        max_bytes=settings.maxmempool * 1_000_000,
        expiry=settings.mempoolexpiry * 3600,
    )


def chain_options(settings: Settings) -> ChainOptions:
    """Return how the settings want the chain kept."""
    return ChainOptions(
        cache_size=settings.dbcache << 20,
        filter_index=settings.blockfilterindex,
        transaction_index=settings.txindex,
        address_index=settings.addressindex,
        spender_index=settings.txospenderindex,
        coin_statistics_index=settings.coinstatsindex,
        max_tip_age=settings.maxtipage,
        prune=prune_options(settings),
    )


def prune_options(settings: Settings) -> PruneOptions | None:
    """Return when block files are to be removed; None for never."""
    if not settings.prune:
        return None
    target = MANUAL if settings.prune == 1 else settings.prune << 20
    options = PruneOptions(target, after=settings.network.prune_after_height)
    return dataclasses.replace(options, step=SMALL_FILE_SIZE // 4) if settings.fastprune else options


def sync_options(settings: Settings, beat: float) -> SyncOptions:
    """Return how the settings want blocks and transactions relayed, and filters served."""
    options = SyncOptions(
        settings.blocksonly,
        settings.peerblockfilters,
        beat=beat,
        extra_transactions=max(settings.blockreconstructionextratxn, 0),
    )
    if settings.quickrelay and settings.network.is_test_chain:
        return dataclasses.replace(options, trickle=TrickleTimes(0.1, 0.1), delays=RequestDelays(0.0, 0.0, 0.0))
    return options


def connection_settings(settings: Settings, *, encrypts: bool) -> ConnectionSettings:
    """Return what a full node says of itself to peers."""
    services = Services.WITNESS | Services.NETWORK_LIMITED
    if not settings.prune:
        services |= Services.NETWORK
    if settings.peerbloomfilters:
        services |= Services.BLOOM
    if settings.peerblockfilters:
        services |= Services.COMPACT_FILTERS
    if encrypts:
        services |= Services.P2P_V2
    return ConnectionSettings(
        magic=settings.network.magic,
        services=int(services),
        user_agent=user_agent(settings.uacomment),
        relay=not settings.blocksonly,
        required_services=int(Services.NETWORK | Services.WITNESS),
        max_inbound=Slots.of(settings.maxconnections).inbound,
        whitelist=settings.whitelisted,
        peer=PeerSettings(handshake_timeout=float(settings.peertimeout), drop_malformed=False),
    )


def _log_checkpoint(name: str) -> None:
    log.debug("checkpoint %s", name)
