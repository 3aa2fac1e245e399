"""Gossip of addresses: what to believe of what peers tell, whom to tell further, what to answer `getaddr` with."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from altyn.p2p.address_book import AddressBook
from altyn.p2p.addresses import NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.bans import Bans
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.limits import MAX_ADDR_TO_SEND
from altyn.p2p.local_addresses import LocalAddresses
from altyn.p2p.messages import Addr, AddrV2, GetAddr
from altyn.p2p.netgroups import NETWORK_NAMES, address_key, address_of, is_routable, is_valid, keyed_number
from altyn.p2p.peer import Peer
from altyn.p2p.rolling_filter import RollingFilter

log = logging.getLogger(__name__)

TOKENS_PER_SECOND, MAX_TOKENS = 0.1, 1000.0
"""Addresses of a peer that are looked at in the long run, and at once; an answer to `getaddr` counts extra."""
MAX_PERCENT = 23
"""Of the address book that one `getaddr` shows."""
CACHE_SECONDS, CACHE_SPREAD = 21 * 3600.0, 6 * 3600.0
"""For how long all peers on one of our addresses get the same answer, so that nobody learns more by asking often."""
GOSSIP_PENALTY = 2 * 3600.0
MAX_RELAYED, FRESH = 10, 600.0
"""Addresses in a message that may be news to tell on, and how many seconds old they are at most."""
RELAY_ROTATION = 86400
"""Seconds after which an address is told to other peers than before."""
AVERAGE_SELF_ANNOUNCEMENT, AVERAGE_SENDING = 86400.0, 30.0
FETCH_TIMEOUT = 10 * AVERAGE_SENDING
"""Seconds that a connection made for addresses alone lasts."""
_USEFUL = Services.NETWORK | Services.NETWORK_LIMITED
_NONSENSE_BEFORE, _NONSENSE_AGE = 100_000_000, 5 * 86400


class AddressCounts(NamedTuple):
    """What `getpeerinfo` shows of a peer."""

    enabled: bool = False
    processed: int = 0
    rate_limited: int = 0


class _Peer:
    __slots__ = (
        "asked", "enabled", "known", "next_own", "next_send", "peer", "processed", "rate_limited", "to_send", "tokens",
        "tokens_at", "was_asked",
    )  # fmt: skip

    def __init__(self, peer: Peer, now: float) -> None:
        self.peer = peer
        self.enabled = False
        self.asked = self.was_asked = False
        self.tokens, self.tokens_at = 1.0, now
        self.processed = self.rate_limited = 0
        self.known: RollingFilter | None = None
        self.to_send: list[TimedAddress] = []
        self.next_send = self.next_own = 0.0

    def takes(self, address: NetworkAddress) -> bool:
        """Whether the peer understands such an address (Core: IsAddrCompatible)."""
        ip = (NetworkId.IPV4, NetworkId.IPV6)
        return self.enabled and is_valid(address) and (self.peer.features.send_addr_v2 or address.network in ip)


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    addresses: Sequence[TimedAddress]


class AddressGossip:
    """The part of a full node that talks about addresses. Memory per peer: 16 kB and 1,000 addresses."""

    def __init__(
        self,
        book: AddressBook,
        bans: Bans,
        local: LocalAddresses,
        clock: Clock,
        random: Random,
        *,
        is_reachable: Callable[[NetworkAddress], bool],
        may_advertise: Callable[[], bool],
        services: int,
    ) -> None:
        """`is_reachable`: whether we could dial it. `may_advertise`: whether we listen, and are of use to others."""
        self.book = book
        self._bans, self._local, self._clock, self._random = bans, local, clock, random
        self._is_reachable, self._may_advertise, self._services = is_reachable, may_advertise, services
        self._key = random.randbytes(32)
        self._peers: dict[int, _Peer] = {}
        self._answers: dict[bytes, _Answer] = {}

    def add(self, peer: Peer) -> None:
        """Take up a peer. One that we called is asked for addresses, unless it is there for blocks only."""
        now = self._clock.now()
        state = self._peers[peer.id] = _Peer(peer, now)
        address = address_of(peer.address)
        self._local.seen(peer.features.receiver)
        if peer.inbound:
            return
        if address is not None:
            self.book.set_services(address, peer.features.services)
            self.book.good(address, now)
        if peer.kind is PeerKind.BLOCK_RELAY_ONLY:
            return
        self._enable(state)
        peer.send(GetAddr())
        state.asked = True
        state.tokens += MAX_ADDR_TO_SEND

    def remove(self, peer: Peer) -> None:
        """Forget a peer that left; one that was of use was there until now."""
        self._peers.pop(peer.id, None)
        address = address_of(peer.address)
        if address is not None and not peer.inbound and peer.kind is not PeerKind.BLOCK_RELAY_ONLY:
            self.book.was_connected(address, self._clock.now())

    def counts(self, peer_id: int) -> AddressCounts:
        """Return how much was heard of a peer (RPC: getpeerinfo)."""
        state = self._peers.get(peer_id)
        return AddressCounts(state.enabled, state.processed, state.rate_limited) if state else AddressCounts()

    def asked(self, peer: Peer) -> None:
        """Answer `getaddr`, once, and only to those who called us: nobody learns from us whom we know by calling."""
        state = self._peers[peer.id]
        if not peer.inbound:
            log.debug('Ignoring "getaddr" from outbound connection. %s', peer)
            return
        self._enable(state)
        if state.was_asked:
            log.debug('Ignoring repeated "getaddr". %s', peer)
            return
        state.was_asked = True
        state.to_send.clear()
        for address in self._answer(peer):
            self._push(state, address)

    def received(self, peer: Peer, message: Addr | AddrV2) -> None:
        """Take up what a peer tells, at the rate it is allowed. Raises Disconnect when that was all we wanted of it."""
        state, now = self._peers[peer.id], self._clock.now()
        if peer.kind is PeerKind.BLOCK_RELAY_ONLY:
            log.debug("ignoring %s message from %s", message.command, peer)
            return
        self._enable(state)
        if state.tokens < MAX_TOKENS:
            state.tokens = min(state.tokens + max(now - state.tokens_at, 0.0) * TOKENS_PER_SECOND, MAX_TOKENS)
        state.tokens_at = now
        limited = Permission.ADDR not in peer.permissions
        kept: list[TimedAddress] = []
        before = state.processed, state.rate_limited
        for timed in self._random.sample(message.addresses, len(message.addresses)):
            if state.tokens >= 1.0:
                state.tokens -= 1.0
            elif limited:
                state.rate_limited += 1
                continue
            if not timed.services & _USEFUL:
                continue
            if timed.time <= _NONSENSE_BEFORE or timed.time > now + FRESH:
                timed = timed._replace(time=int(now) - _NONSENSE_AGE)
            self._note(state, timed.address)
            if self._bans.is_discouraged(timed.address) or self._bans.is_banned(timed.address, int(now)):
                continue  # nothing but that the peer knows of it
            state.processed += 1
            reachable = self._is_reachable(timed.address)
            is_news = timed.time > now - FRESH and not state.asked and len(message.addresses) <= MAX_RELAYED
            if is_news and is_routable(timed.address):
                self._relay(peer, timed, reachable, now)
            if reachable:
                kept.append(timed)
        source = address_of(peer.address) or NetworkAddress.unspecified()
        self.book.add(kept, source, now, penalty=GOSSIP_PENALTY)
        log.debug(
            "Received addr: %d addresses (%d processed, %d rate-limited) from %s",
            len(message.addresses),
            state.processed - before[0],
            state.rate_limited - before[1],
            peer,
        )
        if len(message.addresses) < MAX_ADDR_TO_SEND:
            state.asked = False
        if peer.kind is PeerKind.ADDR_FETCH and len(message.addresses) > 1:
            raise Disconnect("addrfetch connection completed")

    def send(self, peer: Peer, now: float) -> None:
        """Send what is due to a peer: our own address once a day, and news every half minute, at random times.

        Raises Disconnect where a peer called for its addresses has not given any for five minutes.
        """
        if peer.kind is PeerKind.ADDR_FETCH and now - peer.connected_at > FETCH_TIMEOUT:
            raise Disconnect("addrfetch connection timeout")
        state = self._peers[peer.id]
        if not state.enabled:
            return
        if state.next_own < now and self._may_advertise():
            if state.next_own and state.known is not None:
                state.known.clear()  # it may have forgotten us since
            own = self._local.for_peer(peer)
            if own is not None:
                log.debug("Advertising address %s to %s", own, peer)
                self._push(state, TimedAddress(int(now), self._services, own))
            state.next_own = now + self._random.expovariate(1 / AVERAGE_SELF_ANNOUNCEMENT)
        if now <= state.next_send:
            return
        state.next_send = now + self._random.expovariate(1 / AVERAGE_SENDING)
        known = state.known
        fresh = [
            timed
            for timed in state.to_send[:MAX_ADDR_TO_SEND]
            if known is None or address_key(timed.address) not in known
        ]
        state.to_send.clear()
        for timed in fresh:
            self._note(state, timed.address)
        if fresh:
            peer.send(AddrV2(tuple(fresh)) if peer.features.send_addr_v2 else Addr(tuple(fresh)))

    # --- details ---

    def _enable(self, state: _Peer) -> None:
        if not state.enabled:
            state.enabled = True
            state.known = RollingFilter(self._key)

    def _note(self, state: _Peer, address: NetworkAddress) -> None:
        if state.known is not None:
            state.known.add(address_key(address))

    def _push(self, state: _Peer, timed: TimedAddress) -> None:
        if not state.takes(timed.address) or (state.known is not None and address_key(timed.address) in state.known):
            return
        if len(state.to_send) < MAX_ADDR_TO_SEND:
            state.to_send.append(timed)
        else:
            state.to_send[self._random.randrange(MAX_ADDR_TO_SEND)] = timed

    def _relay(self, origin: Peer, timed: TimedAddress, reachable: bool, now: float) -> None:
        """Tell two peers, the same ones all day; of what we cannot reach ourselves, one or two (Core: RelayAddress)."""
        address = timed.address
        if not reachable and address.network not in NETWORK_NAMES:
            return
        key = address_key(address)
        day = int(now + keyed_number(self._key, b"phase", key) % RELAY_ROTATION) // RELAY_ROTATION
        draw = (b"relay", key, day.to_bytes(8, "big"))
        count = 2 if reachable or keyed_number(self._key, *draw) & 1 else 1
        candidates = [state for state in self._peers.values() if state.peer is not origin and state.takes(address)]
        candidates.sort(
            key=lambda state: keyed_number(self._key, *draw, state.peer.id.to_bytes(8, "big")), reverse=True
        )
        for state in candidates[:count]:
            self._push(state, timed)

    def _answer(self, peer: Peer) -> Sequence[TimedAddress]:
        now = self._clock.now()
        if Permission.ADDR in peer.permissions:
            return self.known_addresses(MAX_ADDR_TO_SEND, MAX_PERCENT)
        where = address_of(peer.bound_address) or NetworkAddress.unspecified()
        network = bytes((peer.is_onion,)) + address_key(where if not peer.is_onion else where._replace(port=0))
        answer = self._answers.get(network)
        if answer is None or answer.until < now:
            until = now + CACHE_SECONDS + self._random.uniform(0.0, CACHE_SPREAD)
            answer = self._answers[network] = _Answer(until, self.known_addresses(MAX_ADDR_TO_SEND, MAX_PERCENT))
        return answer.addresses

    def known_addresses(self, most: int, percent: int, network: int | None = None) -> list[TimedAddress]:
        """Return addresses to tell others of, none of them banned or discouraged."""
        now = self._clock.now()
        return [
            timed
            for timed in self.book.sample(now, most, percent, network)
            if not self._bans.is_discouraged(timed.address) and not self._bans.is_banned(timed.address, int(now))
        ]
