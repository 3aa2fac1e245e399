"""Whom to ask for a transaction, and when."""

from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from altyn.node.sync.transactions import RecentHashes, TransactionRequests

TX, OTHER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def requests() -> TransactionRequests:
    return TransactionRequests(Random(1))


def announce(
    requests: TransactionRequests, peer: int, at: float = 0, *, preferred: bool = True, tx: bytes = TX
) -> None:
    requests.announced(peer, tx, is_wtxid=True, preferred=preferred, ready_at=at)


def ready(requests: TransactionRequests, now: float) -> dict[int, list[bytes]]:
    found = {peer: [tx_hash for tx_hash, _ in requests.requestable(peer, now)] for peer in range(4)}
    return {peer: hashes for peer, hashes in found.items() if hashes}


def test_nothing_is_asked_before_its_delay_is_over(requests: TransactionRequests) -> None:
    announce(requests, 1, at=2)
    assert ready(requests, 1.9) == {}
    assert ready(requests, 2) == {1: [TX]}


def test_one_peer_at_a_time_is_asked(requests: TransactionRequests) -> None:
    announce(requests, 1)
    announce(requests, 2)
    (asked,) = ready(requests, 0)
    requests.requested(asked, TX, expires_at=60)
    assert ready(requests, 59) == {}
    assert ready(requests, 60) == {3 - asked: [TX]}


def test_a_preferred_peer_is_asked_first(requests: TransactionRequests) -> None:
    for peer in (1, 2):
        announce(requests, peer, preferred=False)
    announce(requests, 3)
    assert ready(requests, 0) == {3: [TX]}


def test_a_preferred_peer_that_comes_later_takes_over(requests: TransactionRequests) -> None:
    announce(requests, 1, preferred=False)
    assert ready(requests, 0) == {1: [TX]}
    announce(requests, 2, at=1)
    assert ready(requests, 1) == {2: [TX]}


def test_who_does_not_have_it_after_all_is_followed_by_the_next(requests: TransactionRequests) -> None:
    announce(requests, 1)
    announce(requests, 2)
    (asked,) = ready(requests, 0)
    requests.requested(asked, TX, expires_at=60)
    requests.received(asked, TX)
    assert ready(requests, 1) == {3 - asked: [TX]}
    assert requests.in_flight(asked) == 0


def test_who_leaves_is_followed_by_the_next(requests: TransactionRequests) -> None:
    announce(requests, 1)
    announce(requests, 2)
    (asked,) = ready(requests, 0)
    requests.requested(asked, TX, expires_at=60)
    requests.remove(asked)
    assert ready(requests, 1) == {3 - asked: [TX]}


def test_nobody_is_asked_twice(requests: TransactionRequests) -> None:
    announce(requests, 1)
    requests.requestable(1, 0)
    requests.requested(1, TX, expires_at=60)
    announce(requests, 1)
    assert ready(requests, 100) == {}
    assert len(requests) == 0


def test_what_is_forgotten_is_not_asked_for(requests: TransactionRequests) -> None:
    announce(requests, 1)
    announce(requests, 1, tx=OTHER)
    requests.forget(TX)
    assert ready(requests, 0) == {1: [OTHER]}
    assert requests.count(1) == 1


def test_requests_go_out_in_the_order_of_announcement(requests: TransactionRequests) -> None:
    hashes = [bytes([number]) * 32 for number in range(20, 0, -1)]
    for tx_hash in hashes:
        announce(requests, 1, tx=tx_hash)
    assert ready(requests, 0) == {1: hashes}


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, a transaction is asked of at most one peer, and the books agree."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = TransactionRequests(Random(5))
        self.now = 0.0
        self.owed: dict[bytes, tuple[int, float]] = {}

    peers = st.integers(0, 3)
    hashes = st.sampled_from([TX, OTHER, b"\x03" * 32])

    @rule(peer=peers, tx=hashes, preferred=st.booleans(), delay=st.sampled_from([0.0, 2.0]))
    def announce(self, peer: int, tx: bytes, preferred: bool, delay: float) -> None:
        announce(self.requests, peer, self.now + delay, preferred=preferred, tx=tx)

    @rule(peer=peers)
    def ask(self, peer: int) -> None:
        self.expire()
        for tx_hash, _ in self.requests.requestable(peer, self.now):
            assert tx_hash not in self.owed
            self.requests.requested(peer, tx_hash, self.now + 60)
            self.owed[tx_hash] = (peer, self.now + 60)

    @rule(peer=peers, tx=hashes)
    def answer(self, peer: int, tx: bytes) -> None:
        self.requests.received(peer, tx)
        if tx in self.owed and self.owed[tx][0] == peer:
            del self.owed[tx]

    @rule(tx=hashes)
    def forget(self, tx: bytes) -> None:
        self.requests.forget(tx)
        self.owed.pop(tx, None)

    @rule(peer=peers)
    def leave(self, peer: int) -> None:
        self.requests.remove(peer)
        self.owed = {tx: debt for tx, debt in self.owed.items() if debt[0] != peer}

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def expire(self) -> None:
        self.owed = {tx: debt for tx, debt in self.owed.items() if debt[1] > self.now}

    @invariant()
    def the_books_agree(self) -> None:
        self.requests.requestable(0, self.now)  # lets time pass inside
        self.expire()
        for peer in range(4):
            assert self.requests.in_flight(peer) == sum(debt[0] == peer for debt in self.owed.values())
        assert len(self.requests) == sum(self.requests.count(peer) for peer in range(4))


TestAnyOrder = AnyOrder.TestCase


def test_recent_hashes_are_remembered_and_bounded() -> None:
    recent = RecentHashes(100)
    items = [number.to_bytes(4, "big") for number in range(1000)]
    for item in items:
        recent.add(item)
    assert all(item in recent for item in items[-100:])
    assert len(recent) <= 200
    recent.clear()
    assert items[-1] not in recent


def test_what_is_announced_and_withdrawn_again_and_again_leaves_nothing_behind() -> None:
    requests = TransactionRequests(Random(1))
    for number in range(100_000):
        tx_hash = number.to_bytes(32, "little")
        requests.announced(1, tx_hash, is_wtxid=True, preferred=False, ready_at=2.0)
        requests.received(1, tx_hash)
    assert len(requests) == 0
    assert len(requests._timers) <= 10_001
