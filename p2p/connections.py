"""Who we are connected to: dials, listens, keeps slots, supervises."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from altyn.consensus.secp256k1 import Ellswift
from altyn.p2p.addresses import Endpoint, NetworkAddress
from altyn.p2p.bans import Bans
from altyn.p2p.clock import Timer
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.eviction import LOCAL, Candidate, choose_evicted
from altyn.p2p.framing.frame import Framing
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.framing.v2 import V2Framing
from altyn.p2p.handshake import Handshake
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.limits import MAX_UNSETTLED_BYTES_OF_ALL, PROTOCOL_VERSION
from altyn.p2p.messages import Version
from altyn.p2p.netgroups import address_of, is_local, keyed_number, net_group, network_name
from altyn.p2p.peer import Peer, PeerHandler, PeerSettings
from altyn.p2p.permissions import Door, Whitelisted, permissions_of
from altyn.p2p.queues import Budget
from altyn.p2p.subnets import Subnet
from altyn.p2p.transport import Dialer, Listener, Listening, Transport, dial_tcp, listen_tcp

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between attempts to reach a node that we are told to be connected to; doubled from one to the other."""
MAX_ADDED_NODES = 8
"""Added nodes that we are connected to at a time (Core: MAX_ADDNODE_CONNECTIONS)."""
_USEFUL = Services.NETWORK | Services.WITNESS


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What we say of ourselves, and how many may call. `magic`: the network's; `services`: bits of `Services`.

    `relay`: have transactions announced to us. `required_services`: those without which an automatic outbound peer is
    of no use. `max_inbound`: Core's 125 less its eleven outbound slots. `whitelist`: who may do more than others.
    """

    magic: bytes
    services: int
    user_agent: str
    relay: bool = True
    required_services: int = 0
    max_inbound: int = 114
    whitelist: tuple[Whitelisted, ...] = ()
    peer: PeerSettings = field(default_factory=PeerSettings)


class Connections:
    """The peers of a node. `run` serves them; all else may be called before and while it runs, on the event loop."""

    def __init__(
        self,
        settings: ConnectionSettings,
        handler: PeerHandler,
        clock: Timer,
        *,
        start_height: Callable[[], int] = lambda: 0,
        limited_will_do: Callable[[], bool] = lambda: False,
        bans: Bans | None = None,
        dialer: Dialer = dial_tcp,
        listener: Listener = listen_tcp,
        rng: random.Random | None = None,
        ellswift: Ellswift | None = None,
    ) -> None:
        """`start_height`: the height that our version messages give. `limited_will_do`: whether peers with only the
        last blocks (BIP159) have all that we lack. `rng` makes nonces and keys; left out, the system does. `ellswift`
        makes us speak v2 too, and try it first.
        """
        self.settings = settings
        self.peers: dict[int, Peer] = {}
        """All connections by id, the ones in their handshake included."""
        self.listening: list[Endpoint] = []
        """Where we listen."""
        self.added_nodes: dict[Endpoint, Peer | None] = {}
        """Nodes to stay connected to, with the connection if there is one."""
        self.added_names: dict[Endpoint, str] = {}
        """What those are called that somebody added by a name, which `getaddednodeinfo` lists."""
        self.network_active = True
        """Whether there may be connections; see `set_network_active`."""
        self.bans = bans or Bans()
        self.call_ended: Callable[[Peer], None] = lambda peer: None
        """Called when a connection that we made is over: the handler does not hear of feelers, or of who is no use."""
        self._handler, self._clock = handler, clock
        self._start_height, self._limited_will_do = start_height, limited_will_do
        self._dialer, self._listener = dialer, listener
        self._rng = rng or random.SystemRandom()
        self._ellswift = ellswift
        self._group_key = self._rng.randbytes(32)
        self._ids = itertools.count()
        self._listenings: list[Listening] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped = False
        self._waiting: list[Coroutine[Any, Any, None]] = []
        self._keepers: dict[Endpoint, asyncio.Event] = {}
        self._added_slots = asyncio.Semaphore(MAX_ADDED_NODES)
        self._activated = asyncio.Event()
        self._activated.set()
        self._past_sent = self._past_received = 0
        self._budget = Budget(MAX_UNSETTLED_BYTES_OF_ALL)

    async def run(self) -> None:
        """Serve all connections until cancelled, then stop listening and close them. Runs once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for work in self._waiting:
                    tasks.create_task(work)
                self._waiting.clear()
                try:
                    await asyncio.Event().wait()
                finally:
                    self._stopped = True
                    for listening in self._listenings:
                        await listening.close()
                    self.listening.clear()
        finally:
            for peer in self.peers.values():  # whose task was cancelled before it began
                peer.abort()

    async def listen(
        self, host: str, port: int, permissions: Permission = Permission.NONE, *, onion: bool = False
    ) -> Endpoint:
        """Accept connections at an address; return it, with the port chosen if `port` is 0. Raises OSError.

        `permissions`: what those who come that way may do. `onion`: it is Tor that passes them on.
        """
        door = Door(Endpoint(host, port), permissions, onion)
        listening = await self._listener(door.endpoint, lambda transport: self._accept(transport, door))
        self._listenings.append(listening)
        self.listening.append(listening.endpoint)
        return listening.endpoint

    @property
    def speaks_v2(self) -> bool:
        """Whether we can encrypt (BIP324)."""
        return self._ellswift is not None

    async def connect(self, host: str, port: int, kind: PeerKind = PeerKind.MANUAL, *, v2: bool | None = None) -> Peer:
        """Dial once and return the peer, whose handshake goes on: await its `ready`, or hear of it by the handler.

        `v2`: try that transport first; left out, when we speak it. A peer that hangs up on it is dialled again with v1,
        as another peer. Raises OSError when nobody answers, and Disconnect while the network is switched off.
        """
        if not self._open:
            raise Disconnect("network is switched off")
        transport = await self._dialer(Endpoint(host, port))
        if not self._open:
            transport.abort()
            raise Disconnect("network is switched off")
        permissions = Permission.NONE
        if kind is PeerKind.MANUAL:
            address = address_of(transport.remote) or NetworkAddress.unspecified()
            permissions = permissions_of(address, self.settings.whitelist, inbound=False)
        peer = self._start(transport, kind, permissions, v2=v2)
        peer.dialled = Endpoint(host, port)
        return peer

    def add_node(self, host: str, port: int, *, v2: bool | None = None, name: str = "") -> bool:
        """Stay connected to a node: dial it again, ever less often, when it is away. False if it is added already.

        `v2`: as for `connect`. `name` is what the user calls it.
        """
        endpoint = Endpoint(host, port)
        if endpoint in self.added_nodes:
            return False
        self.added_nodes[endpoint] = None
        if name:
            self.added_names[endpoint] = name
        removed = self._keepers[endpoint] = asyncio.Event()
        self._spawn(self._keep(endpoint, removed, v2))
        return True

    def remove_node(self, host: str, port: int) -> bool:
        """Stop dialling a node that was added; a connection to it stays. False if it was not added."""
        endpoint = Endpoint(host, port)
        if self.added_nodes.pop(endpoint, self) is self:
            return False
        self.added_names.pop(endpoint, None)
        self._keepers.pop(endpoint).set()
        return True

    def disconnect(self, peer: int | Endpoint | Subnet, reason: str = "disconnected by request") -> bool:
        """End connections, by id, by address or those with a whole range. False if there is none."""
        found = [one for one in self.peers.values() if _is_meant(one, peer)]
        for one in found:
            one.disconnect(reason)
        return bool(found)

    def set_network_active(self, active: bool) -> None:
        """Switch all connections off and refuse new ones, or allow them again."""
        self.network_active = active
        if active:
            self._activated.set()
        else:
            self._activated.clear()
            for peer in self.peers.values():
                peer.disconnect("network is switched off")

    def ping_all(self) -> None:
        """Ping every peer now."""
        for peer in self.peers.values():
            peer.ping()

    @property
    def total_bytes_sent(self) -> int:
        """Bytes sent to all peers that there were."""
        return self._past_sent + sum(peer.stats.bytes_sent for peer in self.peers.values())

    @property
    def total_bytes_received(self) -> int:
        """Bytes received from all peers that there were."""
        return self._past_received + sum(peer.stats.bytes_received for peer in self.peers.values())

    def _accept(self, transport: Transport, door: Door) -> None:
        address = address_of(transport.remote) or NetworkAddress.unspecified()
        permissions = door.permissions | permissions_of(address, self.settings.whitelist, inbound=True)
        discouraged = self.bans.is_discouraged(address) and not door.onion
        refusal = self._refusal(address, permissions, discouraged)
        if refusal:
            log.debug("connection from %s dropped (%s)", transport.remote, refusal)
            transport.abort()
            return
        peer = self._start(transport, PeerKind.INBOUND, permissions)
        peer.is_onion, peer.is_discouraged = door.onion, discouraged

    def _refusal(self, address: NetworkAddress, permissions: Permission, discouraged: bool) -> str:
        """Return why somebody may not connect to us, "" if they may. Makes room for them if need be."""
        if not self._open:
            return "network is off"
        if Permission.NO_BAN not in permissions and self.bans.is_banned(address, int(self._clock.now())):
            return "banned"
        inbound = [peer for peer in self.peers.values() if peer.inbound and not peer.is_ending]
        if discouraged and Permission.NO_BAN not in permissions and len(inbound) + 1 >= self.settings.max_inbound:
            return "discouraged"
        if len(inbound) < self.settings.max_inbound:
            return ""
        evicted = choose_evicted(
            [self._candidate(peer) for peer in inbound if Permission.NO_BAN not in peer.permissions]
        )
        if evicted is None:
            return "full"
        self.peers[evicted].disconnect("evicted for a newcomer")
        return ""

    def _candidate(self, peer: Peer) -> Candidate:
        stats, features = peer.stats, peer.introduction
        address = address_of(peer.address) or NetworkAddress.unspecified()
        return Candidate(
            peer.id,
            connected_at=peer.connected_at,
            min_ping=float("inf") if stats.min_ping is None else stats.min_ping,
            last_block=stats.last_block,
            last_transaction=stats.last_transaction,
            is_useful=features is not None and features.services & _USEFUL == _USEFUL,
            relays_transactions=features is not None and features.relay,
            filters=peer.filters,
            net_group=keyed_number(self._group_key, net_group(address)),
            network="onion" if peer.is_onion else LOCAL if is_local(address) else network_name(address),
            is_discouraged=peer.is_discouraged,
        )

    @property
    def _open(self) -> bool:
        return self.network_active and not self._stopped

    def _start(self, transport: Transport, kind: PeerKind, permissions: Permission, *, v2: bool | None = None) -> Peer:
        nonce = self._rng.getrandbits(64) or 1
        handshake = Handshake(
            kind,
            lambda: self._introduction(transport.remote, kind, nonce, permissions),
            self._clock.now,
            required_services=lambda offered: self._required_services(kind, offered),
            is_own_nonce=self._is_own_nonce,
        )
        peer = Peer(
            next(self._ids),
            kind,
            transport,
            self._framing(initiating=kind is not PeerKind.INBOUND, v2=v2),
            handshake,
            handler=self._handler,
            clock=self._clock,
            settings=self.settings.peer,
            rng=self._rng,
            permissions=permissions,
            nonce=nonce,
            budget=self._budget,
        )
        self.peers[peer.id] = peer
        self._spawn(self._supervise(peer))
        return peer

    def _required_services(self, kind: PeerKind, offered: int) -> int:
        """Return what a peer that we called must offer, given what it does offer (Core: GetDesirableServiceFlags)."""
        required = self.settings.required_services
        if offered & Services.NETWORK_LIMITED and self._limited_will_do():
            required = required & ~Services.NETWORK | Services.NETWORK_LIMITED
        if kind is PeerKind.ADDR_FETCH:
            required &= _USEFUL | Services.NETWORK_LIMITED  # it knows of others, who may offer the rest
        return required

    def _framing(self, *, initiating: bool, v2: bool | None) -> Framing:
        if self._ellswift is None or v2 is False:
            return V1Framing(self.settings.magic)
        return V2Framing(self._ellswift, self.settings.magic, self._rng.randbytes, initiating=initiating)

    async def _supervise(self, peer: Peer) -> None:
        try:
            await self._serve(peer)
            if peer.may_speak_v1 and self._open:
                log.debug("retrying with v1 transport protocol for %s", peer)
                await self.connect(*(peer.dialled or peer.address), peer.kind, v2=False)
        except (OSError, Disconnect) as error:
            log.debug("no connection to %s: %s", peer.address, error)
        finally:
            peer.gone.set()

    async def _serve(self, peer: Peer) -> None:
        try:
            await peer.run()
            # strangers come and go as often as they like, which must not fill the log; who misbehaves is discouraged
            routine = peer.inbound and not isinstance(peer.ended, Misbehaving)
            log.log(logging.DEBUG if routine else logging.INFO, "%s, disconnecting %s", peer.ended, peer)
        except Exception:  # our bug, reached by a peer: lose the peer, keep the node; tests fail on this record
            log.exception("bug while serving %s", peer)
        finally:
            del self.peers[peer.id]
            self._past_sent += peer.stats.bytes_sent
            self._past_received += peer.stats.bytes_received
            if isinstance(peer.ended, Misbehaving):
                self._discourage(peer)
            if not peer.inbound:
                self.call_ended(peer)

    def _discourage(self, peer: Peer) -> None:
        """Remember where a peer was that misbehaved, unless that is here (Core: MaybeDiscourageAndDisconnect)."""
        address = address_of(peer.address)
        if address is None or is_local(address) or peer.is_onion:
            log.info("Warning: disconnecting but not discouraging local peer %d!", peer.id)
        else:
            self.bans.discourage(address)
            self.disconnect(Subnet.single(address), "another peer at its address misbehaved")

    async def _keep(self, endpoint: Endpoint, removed: asyncio.Event, v2: bool | None) -> None:
        """Dial an added node again and again. A connection that got through its handshake makes us patient anew."""
        pause = FIRST_RETRY
        while not removed.is_set():
            await self._activated.wait()
            async with self._added_slots:
                while (peer := await self._stay_connected(endpoint, v2)) is not None and self._called(endpoint):
                    continue  # again, with v1
                if peer is not None and peer.ready.is_set():
                    pause = FIRST_RETRY
            try:
                async with asyncio.timeout(pause):
                    await removed.wait()
            except TimeoutError:
                pause = min(2 * pause, LAST_RETRY)

    async def _stay_connected(self, endpoint: Endpoint, v2: bool | None) -> Peer | None:
        """Connect to an added node, wait until that is over, and return the peer; None if there was none."""
        peer = self._called(endpoint)
        try:
            peer = peer or await self.connect(*endpoint, v2=v2)
        except (OSError, Disconnect) as error:
            log.debug("no connection to %s: %s", endpoint, error)
            return None
        if endpoint in self.added_nodes:
            self.added_nodes[endpoint] = peer
        await peer.gone.wait()
        if endpoint in self.added_nodes:
            self.added_nodes[endpoint] = None
        return peer

    def _called(self, endpoint: Endpoint) -> Peer | None:
        """Return a connection that we made to an address."""
        return next(
            (peer for peer in self.peers.values() if endpoint in (peer.address, peer.dialled) and not peer.inbound),
            None,
        )

    def _introduction(self, receiver: Endpoint, kind: PeerKind, nonce: int, permissions: Permission) -> Version:
        services = self.settings.services
        if Permission.BLOOM_FILTER in permissions:
            services |= Services.BLOOM
        return Version(
            version=PROTOCOL_VERSION,
            services=services,
            time=int(self._clock.now()),
            receiver=(0, NetworkAddress.from_endpoint(receiver)),
            sender=(services, NetworkAddress.unspecified()),
            nonce=nonce,
            user_agent=self.settings.user_agent,
            start_height=self._start_height(),
            relay=(self.settings.relay or Permission.RELAY in permissions) and kind.relays_transactions,
        )

    def _is_own_nonce(self, nonce: int) -> bool:
        return any(peer.nonce == nonce for peer in self.peers.values() if not peer.inbound and not peer.ready.is_set())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            self._waiting.append(work)
        else:
            self._tasks.create_task(work)


def _is_meant(peer: Peer, whom: int | Endpoint | Subnet) -> bool:
    if isinstance(whom, Subnet):
        address = address_of(peer.address)
        return address is not None and whom.holds(address)
    return whom == (peer.id if isinstance(whom, int) else peer.address)
