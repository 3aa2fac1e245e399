"""The connections that a node opens by itself: to whom, of which kind, when (Core: ThreadOpenConnections)."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from altyn.p2p.address_book import AddressBook, Known
from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.errors import Disconnect
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.netgroups import address_of, endpoint_of, is_valid, net_group, network_name
from altyn.p2p.peer import Peer
from altyn.p2p.seeds import Resolve, fixed_seeds, real_names, resolve_by_dns, seeded, source_of

log = logging.getLogger(__name__)

MAX_FULL_RELAY, MAX_BLOCK_RELAY, MAX_FEELERS = 8, 2, 1
FEELER_INTERVAL, EXTRA_BLOCK_RELAY_INTERVAL = 120.0, 300.0
"""Seconds, on average, between two tests of an address, and between two looks at one more block-relay peer."""
ROUND, IDLE_ROUND = 0.5, 5.0
"""Seconds between two rounds, the latter after one that wanted a connection and knew nobody to call."""
MAX_TRIES, TRIES_BEFORE_RECENT, TRIES_BEFORE_BAD_PORTS = 100, 30, 50
RECENT_TRY, LEAST_PAUSE = 600.0, 60.0
"""Seconds since the last try of an address: enough for another one, and what there must be if there is no other."""
DNS_AT_ONCE, ENOUGH_TO_SKIP_DNS = 3, 2
DNS_PATIENCE, DNS_PATIENCE_IF_RICH, RICH = 11.0, 300.0, 1000
"""Seconds in which addresses that we know may lead somewhere before DNS is asked; longer if there are many."""
NEXT_SEED_NODE, FIXED_SEEDS_PATIENCE = 10.0, 60.0
_BAD_PORTS = """
1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137
139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720
1723 2049 3659 4045 5060 5061 6000 6566 6665 6666 6667 6668 6669 6697 10080 27017
"""
BAD_PORTS = frozenset(map(int, _BAD_PORTS.split()))
"""Ports of other services, whose operators would take us for an attack."""
_ALL_NETWORKS_ARE_IP = (NetworkId.IPV4, NetworkId.IPV6)


class Slots(NamedTuple):
    """How many connections of each kind there may be."""

    full_relay: int
    block_relay: int
    inbound: int

    @classmethod
    def of(cls, most: int) -> Self:
        """Share `-maxconnections` out: our own first, what is left for those who call (Core)."""
        full = min(MAX_FULL_RELAY, max(most, 0))
        block = min(MAX_BLOCK_RELAY, max(most, 0) - full)
        return cls(full, block, max(most - full - block - MAX_FEELERS, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """`chain` and `port`: the network's. `services`: those that a node must offer. `reachable`: names of networks."""

    chain: str
    port: int
    slots: Slots
    services: int
    reachable: Collection[str]
    dns_seeds: Sequence[str] = ()
    force_dns: bool = False
    fixed_seeds: bool = False
    seed_nodes: Sequence[Endpoint] = ()
    names_by_proxy: bool = False
    """Names are for the proxy to look up: a DNS seed is then called as a node, whoever answers."""


@dataclass(slots=True)
class _Due:
    """When things fall due, seconds of the node's clock."""

    feeler: float
    block_relay: float
    seed_node: float
    fixed_seeds: float = field(default=0.0)


class Outbound:
    """Keeps the slots filled. `run` does it; the rest may be called on the event loop."""

    def __init__(
        self,
        settings: OutboundSettings,
        connections: Connections,
        book: AddressBook,
        clock: Clock,
        rng: random.Random,
        *,
        own_addresses: Collection[NetworkAddress] = (),
        anchors: Sequence[NetworkAddress] = (),
        keep_anchors: Callable[[Sequence[NetworkAddress]], None] = lambda anchors: None,
        resolve: Resolve = resolve_by_dns,
    ) -> None:
        """`own_addresses` are not dialled. `anchors`: block-relay peers of the last run, dialled first; `keep_anchors`
        is given those of this run at its end.
        """
        self._settings, self._connections, self._book = settings, connections, book
        self._clock, self._rng, self._resolve = clock, rng, resolve
        self._own_addresses, self._keep_anchors = own_addresses, keep_anchors
        self._anchors = deque(anchors[:MAX_BLOCK_RELAY])
        self._fetches: deque[Endpoint] = deque()
        self._seed_nodes = list(settings.seed_nodes)
        self._rng.shuffle(self._seed_nodes)
        self.wants_another = False
        """Whether to open one more full-relay connection than there are slots: our tip may be stale."""
        self.is_synced = False
        """Whether we have followed the chain to its tip: from then on we look at one more block-relay peer at times."""
        self._due = _Due(0.0, 0.0, 0.0)
        connections.call_ended = self._ended

    async def run(self, each_round: Callable[[float], None] = lambda now: None) -> None:
        """Open connections until cancelled; `each_round` is called with the time before each look."""
        now = self._clock.now()
        self._due = _Due(
            now + self._rng.expovariate(1 / FEELER_INTERVAL),
            now + self._rng.expovariate(1 / EXTRA_BLOCK_RELAY_INTERVAL),
            now if not len(self._book) else now + NEXT_SEED_NODE,
            now + (FIXED_SEEDS_PATIENCE if self._settings.dns_seeds or self._seed_nodes else 0.0),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask_dns())
                while True:
                    each_round(self._clock.now())
                    idle = not self._connections.network_active or not await self.round()
                    await asyncio.sleep(IDLE_ROUND if idle else ROUND)
        finally:
            peers = [peer for peer in self._of(PeerKind.BLOCK_RELAY_ONLY) if peer.is_ready]
            addresses = (address_of(peer.address) for peer in peers)
            self._keep_anchors([address for address in addresses if address is not None][:MAX_BLOCK_RELAY])

    async def round(self) -> bool:
        """Open what is due now, at most one connection of the kinds that last. False if there is nobody to call."""
        now = self._clock.now()
        self._use_seeds(now)
        if self._fetches:
            await self._dial(self._fetches.popleft(), PeerKind.ADDR_FETCH)
        kind = self._due_kind(now)
        if kind is None:
            return True
        self._book.resolve_collisions(now)
        address = self._next_anchor(kind) or self._choose(kind, now)
        if address is None:
            return bool(self._fetches)
        # Where we have hardly any connection ourselves, that nobody answers says nothing of them.
        count_failure = len(self._groups()) >= min(MAX_BLOCK_RELAY, max(sum(self._settings.slots) - 1, 0))
        self._book.attempted(address, now, count_failure=count_failure)
        await self._dial(endpoint_of(address), kind)
        return True

    # --- which kind, and whom ---

    def _due_kind(self, now: float) -> PeerKind | None:
        slots, due = self._settings.slots, self._due
        full, block = self._of(PeerKind.OUTBOUND_FULL_RELAY), self._of(PeerKind.BLOCK_RELAY_ONLY)
        if self._anchors and len(block) < slots.block_relay:
            return PeerKind.BLOCK_RELAY_ONLY
        if len(full) < slots.full_relay:
            return PeerKind.OUTBOUND_FULL_RELAY
        if len(block) < slots.block_relay:
            return PeerKind.BLOCK_RELAY_ONLY
        if self.wants_another and len(full) == slots.full_relay:
            return PeerKind.OUTBOUND_FULL_RELAY
        if self.is_synced and now > due.block_relay and slots.block_relay:
            due.block_relay = now + self._rng.expovariate(1 / EXTRA_BLOCK_RELAY_INTERVAL)
            return PeerKind.BLOCK_RELAY_ONLY
        if now > due.feeler and not self._of(PeerKind.FEELER):
            due.feeler = now + self._rng.expovariate(1 / FEELER_INTERVAL)
            return PeerKind.FEELER
        return None

    def _of(self, kind: PeerKind) -> list[Peer]:
        return [peer for peer in self._connections.peers.values() if peer.kind is kind]

    def _groups(self) -> set[bytes]:
        """Return the groups of the outbound peers that last; each new one has to be in another."""
        lasting = (PeerKind.MANUAL, PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY)
        addresses = [address_of(peer.address) for peer in self._connections.peers.values() if peer.kind in lasting]
        return {net_group(one) for one in addresses if one is not None and one.network in _ALL_NETWORKS_ARE_IP}

    def _next_anchor(self, kind: PeerKind) -> NetworkAddress | None:
        groups = self._groups()
        while kind is PeerKind.BLOCK_RELAY_ONLY and self._anchors:
            anchor = self._anchors.popleft()
            if self._is_suitable(anchor) and net_group(anchor) not in groups:
                log.info("trying to make an anchor connection to %s", anchor)
                return anchor
        return None

    def _choose(self, kind: PeerKind, now: float) -> NetworkAddress | None:
        groups = self._groups()
        for tries in range(MAX_TRIES):
            known = self._candidate(kind, now)
            if known is None:
                return None
            address = known.address
            if kind is not PeerKind.FEELER and net_group(address) in groups:
                continue
            if not self._is_suitable(address):
                continue
            since = now - known.last_try
            if since < (RECENT_TRY if tries < TRIES_BEFORE_RECENT else LEAST_PAUSE):
                continue
            needed = int(Services.NETWORK) if kind is PeerKind.FEELER else self._settings.services
            if needed & ~known.services:
                continue
            if address.port in BAD_PORTS and tries < TRIES_BEFORE_BAD_PORTS:
                continue
            return address
        return None

    def _candidate(self, kind: PeerKind, now: float) -> Known | None:
        if kind is not PeerKind.FEELER:
            return self._book.select(now)
        return self._book.select_collision() or self._book.select(now, new_only=True)

    def _is_suitable(self, address: NetworkAddress) -> bool:
        """Whether an address may be dialled: not ours, not banned, not connected, and with a way to it."""
        bans, now = self._connections.bans, int(self._clock.now())
        return (
            is_valid(address)
            and network_name(address) in self._settings.reachable
            and address not in self._own_addresses
            and not bans.is_discouraged(address)
            and not bans.is_banned(address, now)
            and not any(peer.address.host == address.text for peer in self._connections.peers.values())
        )

    async def _dial(self, endpoint: Endpoint, kind: PeerKind) -> None:
        try:
            await self._connections.connect(*endpoint, kind)
        except (OSError, Disconnect) as error:
            log.debug("no connection to %s: %s", endpoint, error)

    def _ended(self, peer: Peer) -> None:
        """Note what a peer said that it offers; that a feeler heard it says that a node is there."""
        address, said = address_of(peer.address), peer.introduction
        if address is not None and said is not None:
            self._book.set_services(address, said.services)
            if peer.kind is PeerKind.FEELER:
                self._book.good(address, self._clock.now())

    # --- where to begin ---

    def _use_seeds(self, now: float) -> None:
        settings, connected = self._settings, len(self._of(PeerKind.OUTBOUND_FULL_RELAY))
        if self._seed_nodes and now >= self._due.seed_node and connected < ENOUGH_TO_SKIP_DNS:
            self._due.seed_node = now + NEXT_SEED_NODE
            self._fetches.append(self._seed_nodes.pop())
            log.info("asking seed node %s for addresses", self._fetches[-1])
        if settings.fixed_seeds and now >= self._due.fixed_seeds and not len(self._book):
            self._due.fixed_seeds = float("inf")
            seeds = fixed_seeds(settings.chain, settings.services, now, self._rng)
            usable = [seed for seed in seeds if network_name(seed.address) in settings.reachable]
            added = self._book.add(usable, source_of("fixedseeds"), now)
            log.info("Added %d fixed seeds from reachable networks.", added)

    async def _ask_dns(self) -> None:
        """Ask DNS seeds, a few at a time, as long as too few connections come of what we know."""
        settings = self._settings
        seeds = real_names(settings.dns_seeds)
        self._rng.shuffle(seeds)
        while seeds:
            some, seeds = (seeds, []) if settings.force_dns else (seeds[:DNS_AT_ONCE], seeds[DNS_AT_ONCE:])
            if len(self._book) and not settings.force_dns:
                await asyncio.sleep(DNS_PATIENCE_IF_RICH if len(self._book) >= RICH else DNS_PATIENCE)
                ready = sum(peer.is_ready for peer in self._of(PeerKind.OUTBOUND_FULL_RELAY))
                if ready >= ENOUGH_TO_SKIP_DNS:
                    log.info("P2P peers available. Skipped DNS seeding.")
                    return
            for seed in some:
                await self._ask_seed(seed)

    async def _ask_seed(self, seed: str) -> None:
        settings = self._settings
        if settings.names_by_proxy:
            self._fetches.append(Endpoint(seed, settings.port))
            return
        try:
            hosts = await self._resolve(f"x{settings.services:x}.{seed}")
        except OSError as error:
            log.debug("seed %s: %s", seed, error)
            return
        now = self._clock.now()
        added = self._book.add(seeded(hosts, settings.port, settings.services, now, self._rng), source_of(seed), now)
        log.info("%d addresses found from DNS seed %s", added, seed)
