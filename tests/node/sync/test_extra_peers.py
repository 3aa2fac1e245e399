"""Outbound peers beyond the slots: when one more is called, and which one goes."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from altyn.node.events import SchedulerForwarded, TipChanged
from altyn.node.sync.extra_peers import ExtraPeers
from altyn.p2p.addresses import Endpoint
from altyn.p2p.kinds import PeerKind
from altyn.p2p.outbound import Slots
from altyn.p2p.peer import PeerStats

NOW = 1_700_000_000.0
FULL, BLOCK = PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY


@dataclass
class World:
    """What the rule looks at, set by hand."""

    now: float = NOW
    peers: dict[int, Any] = field(default_factory=dict)
    announced: dict[int, float] = field(default_factory=dict)
    protected: set[int] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    gone: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbound: Any = SimpleNamespace(wants_another=False, is_synced=False)
        chain: Any = SimpleNamespace(network=SimpleNamespace(target_spacing=600), is_initial_block_download=False)
        follow: Any = SimpleNamespace(
            in_flight=lambda peer_id: [1] if peer_id in self.busy else [],
            is_protected=lambda peer_id: peer_id in self.protected,
            last_announcement=lambda peer_id: self.announced.get(peer_id, 0.0),
        )
        connections: Any = SimpleNamespace(peers=self.peers)
        clock: Any = SimpleNamespace(now=lambda: self.now)
        self.extra = ExtraPeers(chain, follow, connections, self.outbound, Slots(2, 2, 0), clock)

    def add(self, kind: PeerKind, host: str = "8.8.8.8", *, since: float = NOW - 100, last_block: float = 0.0) -> int:
        number = len(self.peers)
        self.peers[number] = SimpleNamespace(
            id=number,
            kind=kind,
            address=Endpoint(host, 1),
            connected_at=since,
            is_ending=False,
            stats=PeerStats(last_block=last_block),
            disconnect=lambda reason: self.gone.append(number),
        )
        return number


def test_full_slots_lose_nobody() -> None:
    world = World()
    for kind in (FULL, FULL, BLOCK, BLOCK):
        world.add(kind)
    world.extra.look(NOW)
    assert world.gone == []


def test_the_peer_goes_that_announced_nothing_for_longest_the_youngest_of_equals() -> None:
    world = World()
    for _ in range(3):
        world.add(FULL)
    world.announced = {0: 5.0, 1: 0.0, 2: 0.0}
    world.outbound.wants_another = True
    world.extra.look(NOW)
    assert world.gone == [2]
    assert not world.outbound.wants_another


def test_the_protected_the_busy_the_new_and_the_last_of_a_network_stay() -> None:
    for change in ("protected", "busy", "new", "network"):
        world = World()
        world.add(FULL)
        world.add(FULL)
        last = world.add(
            FULL, "2a00:1450::1" if change == "network" else "8.8.8.8", since=NOW - (5 if change == "new" else 99)
        )
        world.announced = {0: 5.0, 1: 6.0}
        if change in {"protected", "busy"}:
            getattr(world, change).add(last)
        world.extra.look(NOW)
        assert last not in world.gone, change


def test_a_block_relay_newcomer_stays_only_if_it_gave_us_a_block_later_than_the_one_before_it() -> None:
    for last_block, gone in ((0.0, 2), (9.0, 1)):
        world = World()
        for block in (1.0, 5.0, last_block):
            world.add(BLOCK, last_block=block)
        world.extra.look(NOW)
        assert world.gone == [gone]


def test_half_an_hour_without_a_block_calls_for_one_more() -> None:
    world = World()
    world.extra.look(NOW)
    assert not world.outbound.wants_another
    assert world.outbound.is_synced
    world.extra.look(NOW + 1700)
    assert not world.outbound.wants_another
    world.extra.look(NOW + 2300)
    assert world.outbound.wants_another
    world.now = NOW + 2400
    world.extra.event(TipChanged(None, None))  # type: ignore[arg-type]  # not looked at
    world.extra.look(NOW + 3000)
    assert not world.outbound.wants_another


def test_a_block_that_is_on_its_way_is_waited_for() -> None:
    world = World()
    world.busy.add(world.add(FULL))
    world.extra.look(NOW + 9999)
    assert not world.outbound.wants_another


def test_a_forwarded_scheduler_looks_at_once() -> None:
    world = World()
    world.extra.look(NOW + 1799)
    for _ in range(3):
        world.add(FULL)
    world.extra.look(NOW + 1801)
    assert (world.gone, world.outbound.wants_another) == ([], False)
    world.extra.event(SchedulerForwarded(45))
    world.extra.look(NOW + 1801)
    assert (world.gone, world.outbound.wants_another) == ([2], False)
    world.extra.event(SchedulerForwarded(600))
    world.extra.look(NOW + 1801)
    assert world.outbound.wants_another
