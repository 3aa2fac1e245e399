"""The order rules of the handshake, on the pure machine."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.p2p import messages
from altyn.p2p.errors import Disconnect
from altyn.p2p.handshake import Handshake, Stage
from altyn.p2p.kinds import PeerKind
from altyn.p2p.messages import (
    MESSAGES,
    Message,
    SendAddrV2,
    SendCompact,
    SendHeaders,
    Verack,
    Version,
    WtxidRelay,
)

OURS = Version(70016, 9, 1000, nonce=11, user_agent="/ours/")


def handshake(kind: PeerKind = PeerKind.INBOUND, **fields: Any) -> Handshake:
    return Handshake(kind, lambda: OURS, lambda: 1000.0, **fields)


def theirs(**fields: Any) -> Version:
    return Version(**{"version": 70016, "services": 9, "time": 1000, "nonce": 22, "user_agent": "/theirs/"} | fields)


def feed(machine: Handshake, *inputs: Message) -> list[Message]:
    """Feed what is expected; drop the rest unread, as a peer does."""
    return [answer for one in inputs if machine.expects(type(one)) for answer in machine.feed(one)]


def test_who_is_called_answers_with_version_features_and_verack() -> None:
    machine = handshake()
    assert machine.start() == []
    assert feed(machine, theirs()) == [OURS, WtxidRelay(), SendAddrV2(), Verack()]
    assert machine.stage is Stage.AWAITING_VERACK
    assert feed(machine, Verack()) == []
    assert machine.stage is Stage.DONE


def test_who_calls_speaks_first_and_does_not_repeat_itself() -> None:
    machine = handshake(PeerKind.MANUAL)
    assert machine.start() == [OURS]
    assert feed(machine, theirs()) == [WtxidRelay(), SendAddrV2(), Verack()]


@pytest.mark.parametrize(("version", "features"), [(70015, []), (70016, [WtxidRelay(), SendAddrV2()])])
def test_features_are_offered_from_version_70016_on(version: int, features: list[Message]) -> None:
    assert feed(handshake(), theirs(version=version)) == [OURS, *features, Verack()]


@pytest.mark.parametrize(
    "order", list(permutations([WtxidRelay(), SendAddrV2(), SendHeaders(), SendCompact(False, 2)]))
)
def test_features_count_in_any_order_between_version_and_verack(order: tuple[Message, ...]) -> None:
    machine = handshake()
    feed(machine, theirs(), *order, Verack())
    assert machine.features.wtxid_relay
    assert machine.features.send_addr_v2
    assert set(machine.early.values()) == {SendHeaders(), SendCompact(False, 2)}


@pytest.mark.parametrize("order", list(permutations([Verack(), WtxidRelay(), SendAddrV2(), SendHeaders()])))
def test_nothing_counts_before_the_version(order: tuple[Message, ...]) -> None:
    machine = handshake()
    assert feed(machine, *order) == []
    assert machine.stage is Stage.AWAITING_VERSION
    feed(machine, theirs(), Verack())
    assert not machine.features.wtxid_relay
    assert not machine.features.send_addr_v2
    assert not machine.early


@pytest.mark.parametrize("late", [WtxidRelay(), SendAddrV2()])
def test_a_feature_after_verack_ends_the_connection(late: Message) -> None:
    machine = handshake()
    feed(machine, theirs(), Verack())
    with pytest.raises(Disconnect, match=f"{late.command} received after verack"):
        feed(machine, late)


def test_wtxidrelay_of_an_old_peer_is_ignored() -> None:
    machine = handshake()
    feed(machine, theirs(version=70015), WtxidRelay(), Verack())
    assert not machine.features.wtxid_relay
    assert machine.features.common_version == 70015


def test_a_second_version_is_ignored() -> None:
    machine = handshake()
    feed(machine, theirs(user_agent="/first/"))
    assert feed(machine, theirs(user_agent="/second/")) == []
    feed(machine, Verack(), theirs(user_agent="/third/"))
    assert machine.features.user_agent == "/first/"


@pytest.mark.parametrize(("version", "accepted"), [(31799, False), (31800, True), (-1, False)])
def test_peers_of_obsolete_versions_are_not_served(version: int, accepted: bool) -> None:
    machine = handshake()
    if accepted:
        feed(machine, theirs(version=version))
    else:
        with pytest.raises(Disconnect, match="obsolete version"):
            feed(machine, theirs(version=version))


def test_a_newer_version_is_spoken_to_in_ours() -> None:
    machine = handshake()
    feed(machine, theirs(version=80000))
    assert (machine.features.version, machine.features.common_version) == (80000, 70016)


def test_our_own_nonce_is_known_to_who_is_called_only() -> None:
    with pytest.raises(Disconnect, match="connected to self"):
        feed(handshake(is_own_nonce=lambda nonce: nonce == 22), theirs())
    feed(handshake(PeerKind.MANUAL, is_own_nonce=lambda nonce: nonce == 22), theirs())


@pytest.mark.parametrize("kind", PeerKind)
def test_only_automatic_outbound_peers_must_offer_services(kind: PeerKind) -> None:
    machine = handshake(kind, required_services=lambda offered: 9)
    if kind in (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY, PeerKind.ADDR_FETCH):
        with pytest.raises(Disconnect, match="expected services"):
            feed(machine, theirs(services=1))
    elif kind is not PeerKind.FEELER:
        feed(machine, theirs(services=1))


def test_a_feeler_ends_once_the_peer_has_introduced_itself() -> None:
    with pytest.raises(Disconnect, match="feeler connection completed"):
        feed(handshake(PeerKind.FEELER), theirs())


def test_the_user_agent_is_cleaned_and_times_are_compared() -> None:
    machine = handshake()
    feed(machine, theirs(user_agent="/a<b>\n;c(d:1)/\xe9", time=1005), Verack())
    assert machine.features.user_agent == "/ab;c(d:1)/"
    assert machine.features.time_offset == 5


@given(st.lists(st.sampled_from(sorted(MESSAGES)), max_size=12))
def test_any_order_of_messages_ends_in_a_known_stage_or_a_disconnect(commands: list[str]) -> None:
    machine = handshake()
    made: dict[str, Message] = {
        "version": theirs(),
        "sendcmpct": SendCompact(False, 2),
        "verack": Verack(),
        "wtxidrelay": WtxidRelay(),
        "sendaddrv2": SendAddrV2(),
        "sendheaders": SendHeaders(),
    }
    answers: list[Message] = []
    try:
        for command in commands:
            if machine.expects(MESSAGES[command]):
                answers += machine.feed(made[command])
    except Disconnect:
        assert "verack" in commands
    introduced = "version" in commands
    assert (machine.stage is Stage.AWAITING_VERSION) != introduced
    assert answers == ([OURS, WtxidRelay(), SendAddrV2(), Verack()] if introduced else [])


def test_features_are_not_there_before_the_version() -> None:
    with pytest.raises(RuntimeError):
        _ = handshake().features


def test_messages_of_later_stages_are_not_even_read() -> None:
    machine = handshake()
    assert [kind for kind in MESSAGES.values() if machine.expects(kind)] == [messages.Version]
