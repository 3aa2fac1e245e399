"""Outbound peers beyond the slots: when to look for one more, which to let go (Core: EvictExtraOutboundPeers)."""

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from altyn.node.events import SchedulerForwarded, TipChanged
from altyn.node.sync.headers import HeaderView
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.kinds import PeerKind
from altyn.p2p.netgroups import address_of, network_name
from altyn.p2p.outbound import Outbound, Slots
from altyn.p2p.peer import Peer

log = logging.getLogger(__name__)

CHECK_INTERVAL, STALE_CHECK_INTERVAL, MIN_CONNECT_TIME = 45.0, 600.0, 30.0
STALE_SPACINGS = 3
"""Times the target spacing without a block, after which our tip may be stale: nobody tells us, perhaps on purpose."""


class PeerRecords(Protocol):
    """What is known of peers' merits; full and light nodes both do."""

    def in_flight(self, peer_id: int) -> Collection[object]:
        """Return what the peer owes us of blocks."""
        ...

    def is_protected(self, peer_id: int) -> bool:
        """Whether an outbound peer is never dropped for falling behind."""
        ...

    def last_announcement(self, peer_id: int) -> float:
        """Return when the peer last announced a block better than our tip, and before others; 0 for never."""
        ...


class ExtraPeers:
    """Calls for one more peer when the tip may be stale, and lets the worst one go; `look` is to be called often."""

    def __init__(
        self,
        chain: HeaderView,
        records: PeerRecords,
        connections: Connections,
        outbound: Outbound,
        slots: Slots,
        clock: Clock,
    ) -> None:
        self._chain, self._records, self._connections = chain, records, connections
        self._outbound, self._slots, self._clock = outbound, slots, clock
        self._last_tip = clock.now()
        self._next_check = self._next_stale_check = 0.0

    def look(self, now: float) -> None:
        """Do what is due at `now`."""
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            self._let_go(PeerKind.BLOCK_RELAY_ONLY, self._slots.block_relay, now)
            if self._let_go(PeerKind.OUTBOUND_FULL_RELAY, self._slots.full_relay, now):
                self._outbound.wants_another = False
        if now >= self._next_stale_check:
            self._next_stale_check = now + STALE_CHECK_INTERVAL
            stale = self._may_be_stale(now)
            if stale and not self._outbound.wants_another:
                log.info("Potential stale tip detected, will try using extra outbound peer")
            self._outbound.wants_another = stale
        self._outbound.is_synced |= not self._chain.is_initial_block_download

    def event(self, event: object) -> None:
        """Follow the node's events."""
        if isinstance(event, TipChanged):
            self._last_tip = self._clock.now()
        elif isinstance(event, SchedulerForwarded):
            self._next_check -= event.seconds
            self._next_stale_check -= event.seconds

    def _may_be_stale(self, now: float) -> bool:
        late = now - self._last_tip > STALE_SPACINGS * self._chain.network.target_spacing
        return late and not any(self._records.in_flight(peer_id) for peer_id in self._connections.peers)

    def _let_go(self, kind: PeerKind, slots: int, now: float) -> bool:
        """Let the least useful peer of a kind go, if there are more than slots; it gets half a minute first."""
        peers = [peer for peer in self._connections.peers.values() if peer.kind is kind and not peer.is_ending]
        if len(peers) <= slots:
            return False
        chosen = self._worst_block_relay(peers) if kind is PeerKind.BLOCK_RELAY_ONLY else self._worst_full_relay(peers)
        if chosen is None or now - chosen.connected_at < MIN_CONNECT_TIME or self._records.in_flight(chosen.id):
            return False
        chosen.disconnect("one outbound peer more than slots")
        return True

    @staticmethod
    def _worst_block_relay(peers: Sequence[Peer]) -> Peer | None:
        """Of the two youngest, the one that did not give us a block more lately: so good newcomers replace others."""
        if len(peers) < 2:
            return peers[0] if peers else None
        older, youngest = sorted(peers, key=lambda peer: peer.id)[-2:]
        return older if youngest.stats.last_block > older.stats.last_block else youngest

    def _worst_full_relay(self, peers: Sequence[Peer]) -> Peer | None:
        """The one that has announced no block for longest; not the last of a network, not a protected one."""
        networks = [_network(peer) for peer in peers]
        loose = [
            peer
            for peer in peers
            if not self._records.is_protected(peer.id)
            and (len(set(networks)) == 1 or networks.count(_network(peer)) > 1)
        ]
        return min(loose, key=lambda peer: (self._records.last_announcement(peer.id), -peer.id), default=None)


def _network(peer: Peer) -> str:
    address = address_of(peer.address)
    return "" if address is None else network_name(address)
