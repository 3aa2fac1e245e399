"""How a node meets others, by its settings: full and light nodes alike."""

import errno
import logging
import os
import socket
from collections.abc import Callable

from altyn.node.events import Events
from altyn.node.lifetime import NodeError, Surroundings
from altyn.node.peer_memory import PeerMemory
from altyn.node.settings import Settings, read_endpoint
from altyn.node.sync.addresses import AddressGossip
from altyn.node.sync.extra_peers import ExtraPeers, PeerRecords
from altyn.node.sync.headers import HeaderView
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.local_addresses import LocalAddresses
from altyn.p2p.netgroups import is_routable, network_name
from altyn.p2p.outbound import Outbound, OutboundSettings, Slots

log = logging.getLogger(__name__)


def address_gossip(
    settings: Settings,
    surroundings: Surroundings,
    memory: PeerMemory,
    local: LocalAddresses,
    *,
    may_advertise: Callable[[], bool],
    services: int,
) -> AddressGossip:
    """Return what talks about addresses; `may_advertise` and `services` are those of `AddressGossip`."""
    reachable = settings.reachable
    return AddressGossip(
        memory.book,
        memory.bans,
        local,
        surroundings.clock,
        surroundings.random,
        is_reachable=lambda address: network_name(address) in reachable or not is_routable(address),
        may_advertise=may_advertise,
        services=services,
    )


def calls(
    settings: Settings,
    surroundings: Surroundings,
    connections: Connections,
    memory: PeerMemory,
    local: LocalAddresses,
) -> Outbound:
    """Return what opens the connections of our own."""
    return Outbound(
        outbound_settings(settings, connections.settings.required_services),
        connections,
        memory.book,
        surroundings.clock,
        surroundings.random,
        own_addresses=local.scores,
        anchors=memory.anchors,
        keep_anchors=memory.keep_anchors,
    )


async def keep_calling(
    settings: Settings,
    outbound: Outbound,
    connections: Connections,
    chain: HeaderView,
    records: PeerRecords,
    events: Events,
    clock: Clock,
) -> None:
    """Keep the slots of our own filled, unless the user says whom to connect to. Runs until cancelled."""
    if settings.outgoing is not None:
        return
    extra = ExtraPeers(chain, records, connections, outbound, Slots.of(settings.maxconnections), clock)
    unsubscribe = events.subscribe(extra.event)
    try:
        await outbound.run(extra.look)
    finally:
        unsubscribe()


def outbound_settings(settings: Settings, services: int) -> OutboundSettings:
    """Return how a node finds others by itself; `services` is what they must offer."""
    network = settings.network
    return OutboundSettings(
        chain=network.chain,
        port=network.port,
        slots=Slots.of(settings.maxconnections),
        services=services,
        reachable=settings.reachable,
        dns_seeds=network.dns_seeds if settings.asks_dns else (),
        force_dns=settings.forcednsseed,
        fixed_seeds=settings.fixedseeds,
        seed_nodes=tuple(read_endpoint("seednode", text, network.port) for text in settings.seednode),
        names_by_proxy=settings.proxies.ip is not None,
    )


async def listen(connections: Connections, settings: Settings) -> None:
    """Listen where the settings say. Raises NodeError when an address that was named, or every one, cannot be had."""
    connections.set_network_active(settings.networkactive)
    for (host, port), permissions, onion in settings.doors:
        try:
            endpoint = await connections.listen(host, port, permissions, onion=onion)
        except socket.gaierror:
            raise NodeError(f"Cannot resolve -bind address: '{host}'") from None
        except OSError as error:
            if settings.bind or settings.whitebind:
                taken = ". Altyn is probably already running."
                why = f" (bind returned error {os.strerror(error.errno or 0)} ({error.errno}))"
                raise NodeError(
                    f"Unable to bind to {Endpoint(host, port)} on this computer"
                    f"{taken if error.errno == errno.EADDRINUSE else why}\n"
                    "Error: Failed to listen on any port. Use -listen=0 if you want this."
                ) from None
            log.debug("not listening on %s: %s", Endpoint(host, port), error)
        else:
            log.info("listening for peers on %s", endpoint)
    if settings.doors and not connections.listening:
        raise NodeError(
            "Failed to listen on any port. Use -listen=0 if you want this.",
            hint=f"Port {settings.port} is taken, by another node perhaps: choose another with --port.",
        )


def dial(connections: Connections, settings: Settings) -> None:
    """Have connections kept to the peers that the settings name."""
    for text in settings.outgoing or ():
        connections.add_node(*read_endpoint("connect", text, settings.network.port))
    for text in settings.addnode:
        connections.add_node(*read_endpoint("addnode", text, settings.network.port), name=text)
