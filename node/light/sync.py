"""The light node's side of every conversation."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from random import Random

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.transactions import check_transaction
from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.chain.tree import Entry
from altyn.node.events import TipChanged
from altyn.node.light.broadcast import Broadcast
from altyn.node.light.errors import LightError
from altyn.node.light.filters import FilterChain
from altyn.node.light.headers import HeaderChain
from altyn.node.light.peers import LightPeer
from altyn.node.offload import Offload
from altyn.node.sync.addresses import AddressGossip
from altyn.node.sync.blame import punishment
from altyn.node.sync.header_gate import HeaderGate
from altyn.node.sync.headers import MAX_HEADERS, HeaderSync
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Misbehaving
from altyn.p2p.kinds import PeerKind
from altyn.p2p.limits import PROTOCOL_VERSION
from altyn.p2p.messages import (
    Addr,
    AddrV2,
    GetAddr,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    Message,
    NotFound,
    SendHeaders,
)
from altyn.p2p.peer import Peer

log = logging.getLogger(__name__)

BEAT = 0.5
"""Seconds between two looks at the clock."""
HEADER_PEERS = 3
"""Peers whose headers are fetched at once during the first sync: a mute or slow one is not waited for."""
TAKE_TIMEOUT = 15.0
"""Seconds until some peer must have asked for an offered transaction: a full node waits two, for a better source."""


class LightSync:
    """The PeerHandler of a light node, and what can be asked of its peers."""

    def __init__(
        self,
        chain: HeaderChain,
        filters: FilterChain,
        addresses: AddressGossip,
        clock: Clock,
        offload: Offload,
        random: Random,
        *,
        remove_node: Callable[[str, int], object],
        beat: float = BEAT,
    ) -> None:
        """`remove_node` is told the address of a peer that lied, so that it is not dialled again."""
        self._chain = chain
        self._filters = filters
        self.addresses = addresses
        self._clock = clock
        self._offload = offload
        self._remove_node = remove_node
        self._beat = beat
        self._headers = HeaderSync(chain, at_once=HEADER_PEERS)
        self._gate = HeaderGate(chain, self._headers, random)
        self._broadcast = Broadcast()
        self.peers: dict[int, LightPeer] = {}

    async def run(self) -> None:
        """Send what falls due, until cancelled."""
        unsubscribe = self._chain.events.subscribe(self._event)
        try:
            while True:
                for light in tuple(self.peers.values()):
                    self._send(light)
                await asyncio.sleep(self._beat)
        finally:
            unsubscribe()

    async def block(self, entry: Entry) -> Block:
        """Fetch a block from one peer after the other, and check it. Raises LightError."""
        shown = entry.hash[::-1].hex()
        peers = [light for light in self.peers.values() if light.serves_blocks and light.peer.is_ready]
        for light in sorted(peers, key=lambda light: light.common(entry) is not entry):  # who surely has it first
            try:
                block = await light.block(entry)
            except LightError as error:
                log.info("block %s: %s", shown, error)
                continue
            await self._filters.check_block(entry, block)
            return block
        raise LightError(f"no connected peer gave block {shown}")

    async def broadcast(self, tx: Transaction) -> None:
        """Offer a transaction to all peers; return once one has taken it. Raises ValidationError, LightError.

        Taken is not accepted: a peer that refuses it says nothing.
        """
        check_transaction(tx)
        offer = self._broadcast.add(tx)
        peers = [light.peer for light in self.peers.values() if light.peer.is_ready and light.takes_transactions]
        for peer in peers:
            self._broadcast.announce(offer, peer)
        if not peers and not offer.taken.is_set():
            raise LightError("no peer is connected; the transaction is offered to the next one")
        try:
            async with asyncio.timeout(TAKE_TIMEOUT):
                await offer.taken.wait()
        except TimeoutError:
            raise LightError("no peer asked for the transaction: they have it already, or refused it before") from None

    def in_flight(self, peer_id: int) -> Collection[object]:
        """Return what the peer was asked for and has not given."""
        return self.peers[peer_id].unanswered if peer_id in self.peers else ()

    def is_protected(self, peer_id: int) -> bool:
        """Whether an outbound peer is never dropped for falling behind."""
        return self._headers.is_protected(peer_id)

    def last_announcement(self, peer_id: int) -> float:
        """Return when the peer last announced a block better than our tip, and before others; 0 for never."""
        return self.peers[peer_id].announced_at if peer_id in self.peers else 0.0

    def best_known(self, peer_id: int) -> int:
        """Return the height of the best header that the peer is known to have, -1 if unknown (RPC: getpeerinfo)."""
        best = self.peers[peer_id].chain.best_known if peer_id in self.peers else None
        return best.height if best else -1

    def presynced(self, peer_id: int) -> int:
        """Return how many headers were looked at and not kept, -1 outside such a sync (RPC: getpeerinfo)."""
        return self._gate.presynced(peer_id)

    # --- PeerHandler ---

    async def peer_connected(self, peer: Peer) -> None:
        """Begin the conversation."""
        gives_headers = peer.kind is not PeerKind.ADDR_FETCH
        chain = self._headers.add(
            peer.id,
            preferred=gives_headers,
            serves_blocks=gives_headers,
            guarded=peer.kind.brings_blocks,
            protectable=peer.kind is PeerKind.OUTBOUND_FULL_RELAY,
            keep=False,
        )
        light = LightPeer(peer, chain, self._chain.network, self._offload, self._banish)
        self.peers[peer.id] = light
        self.addresses.add(peer)
        log.info("%s %s connected: %s", peer, peer.address, peer.features.user_agent)
        if gives_headers and not light.serves_filters:
            log.warning("%s %s serves no compact filters; used for headers only", peer, peer.address)
        peer.send(SendHeaders())
        if light.takes_transactions:
            self._broadcast.announce_all(peer)
        self._send(light)
        if gives_headers and light.serves_filters:
            self._filters.add(light)

    def wants(self, peer: Peer, kind: type[Message], payload: bytes) -> bool:
        """Read everything."""
        return True

    async def message_received(self, peer: Peer, message: Message) -> None:
        """Handle a message. Raises Disconnect."""
        light = self.peers[peer.id]
        match message:
            case Headers(headers=headers):
                try:
                    await self._add_headers(light, headers)
                except Misbehaving as lie:
                    self._banish(peer, lie.reason)
            case Addr() | AddrV2():
                self.addresses.received(peer, message)
            case GetAddr():
                self.addresses.asked(peer)
            case Inv(items=items):
                for item in items:
                    if item.type == InventoryType.BLOCK:
                        self._block_announced(light, item.hash)
            case GetData(items=items):
                missing = tuple(item for item in items if not self._broadcast.requested(peer, item))
                if missing:
                    peer.send(NotFound(missing))
            case _:
                light.answered(message)

    def peer_disconnected(self, peer: Peer) -> None:
        """End the conversation."""
        light = self.peers.pop(peer.id, None)
        if light is not None:
            light.left()
            self.addresses.remove(peer)
            self._headers.remove(peer.id)
            self._gate.remove(peer.id)
            self._filters.remove(peer.id)

    def _banish(self, peer: Peer, reason: str) -> None:
        """End the connection to a liar for good. Other nodes forgive those that their operator named; a light node has
        nothing to go by but what peers say, so it does not call them again.
        """
        log.warning("%s %s lied and is dropped: %s", peer, peer.address, reason)
        self._remove_node(peer.address.host, peer.address.port)
        if peer.kind is PeerKind.MANUAL:
            peer.disconnect(reason)
        else:
            peer.punish(reason)

    # --- headers ---

    def _event(self, event: object) -> None:
        if isinstance(event, TipChanged):
            self._filters.wake()

    def _send(self, light: LightPeer) -> None:
        peer = light.peer
        if not peer.is_ready and peer.ended is not None:
            return
        now = self._clock.now()
        self.addresses.send(peer, now)
        light.chain.resolve(self._chain.tree)
        self._ask_headers(peer, self._headers.start(peer.id, now, may_download=True))
        reason = self._headers.overdue(peer.id, now)
        start, late = self._headers.consider_eviction(peer.id, now)
        self._ask_headers(peer, start)
        if reason or late:
            peer.disconnect(reason or late or "")

    def _ask_headers(self, peer: Peer, start: Entry | None) -> None:
        if start is not None:
            self._get_headers(peer, self._chain.tree.locator(start))

    @staticmethod
    def _get_headers(peer: Peer, locator: tuple[bytes, ...] | None) -> None:
        if locator is not None:
            peer.send(GetHeaders(PROTOCOL_VERSION, locator))

    def _block_announced(self, light: LightPeer, block_hash: bytes) -> None:
        light.chain.announced(block_hash, self._chain.tree)
        if self._chain.tree.get(block_hash) is None:
            now = self._clock.now()
            self._ask_headers(light.peer, self._headers.announced_unknown(light.id, block_hash, now))
        else:
            self._filters.wake()

    async def _add_headers(self, light: LightPeer, headers: Sequence[Header]) -> None:
        peer = light.peer
        if not headers:
            self._gate.ended(peer.id, self._clock.now())
            return
        self._headers.check(headers)
        taken = self._gate.take(peer.id, headers, self._clock.now())
        self._get_headers(peer, taken.locator)
        if not taken.headers:
            return
        tip, is_new = self._chain.tip, self._chain.tree.get(taken.headers[-1].hash) is None
        try:
            last = await self._chain.add_headers(taken.headers)
        except ValidationError as error:
            reason = punishment(error, inbound=peer.inbound)
            if reason is not None:
                raise Misbehaving(f"invalid header received: {reason}") from None
            return
        if peer.id not in self.peers:
            return  # left meanwhile
        now, is_full = self._clock.now(), len(headers) == MAX_HEADERS
        if is_new and last.chain_work > tip.chain_work:
            light.announced_at = now
        self._get_headers(peer, self._gate.kept(peer.id, last, now, may_have_more=is_full))
        self._filters.wake()
