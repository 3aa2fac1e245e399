"""What is announced to whom, and when."""

from dataclasses import dataclass
from random import Random

import pytest

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.sync.headers import PeerChain
from altyn.node.sync.relay import (
    FEE_SCALE,
    LAST_TOLD,
    MAX_FEE_FILTER,
    FeeFilterSender,
    TransactionRelay,
    TrickleTimes,
    choose_block_announcement,
)

TXIDS = [bytes([number]) * 32 for number in range(1, 200)]


def wtxid_of(txid: bytes) -> bytes:
    return txid[::-1][:31] + b"w"


@dataclass
class Entered:
    fee: int = 1000
    vsize: int = 100


def look_up(txid: bytes) -> Entered:
    return Entered()


@pytest.fixture
def relay() -> TransactionRelay:
    return TransactionRelay(Random(2))


def add(relay: TransactionRelay, peer: int, *, inbound: bool = True, at_once: bool = False, wants: bool = True) -> None:
    relay.add(peer, inbound=inbound, by_wtxid=True, at_once=at_once, wants=wants)
    relay.due(peer, 0.0, look_up)  # starts its timer


def time_until_told(relay: TransactionRelay, peer: int, now: float = 0.0) -> float:
    waited = 0.0
    while not relay.due(peer, now + waited, look_up):
        waited += 0.1
        assert waited < 200
    return waited


def test_announcements_wait_for_a_random_time_of_the_right_mean() -> None:
    relay = TransactionRelay(Random(4), TrickleTimes(inbound=5, outbound=2))
    means = {}
    for peer, inbound in ((1, True), (2, False)):
        add(relay, peer, inbound=inbound)
        now, total = 0.0, 0.0
        for number in range(300):
            txid = number.to_bytes(32, "big")
            relay.announce(txid, wtxid_of(txid))
            waited = time_until_told(relay, peer, now)
            now += waited
            total += waited
        means[peer] = total / 300
    assert means[1] == pytest.approx(5, rel=0.25)
    assert means[2] == pytest.approx(2, rel=0.25)


def test_inbound_peers_share_one_timer(relay: TransactionRelay) -> None:
    for peer in (1, 2, 3):
        add(relay, peer)
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert len({time_until_told(relay, peer) for peer in (1, 2, 3)}) == 1


def test_a_trusted_peer_does_not_wait(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert relay.due(1, 0.0, look_up) == [(wtxid_of(TXIDS[0]), True)]


def test_nothing_is_told_twice_or_to_who_knows_it(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    add(relay, 2, at_once=True)
    relay.knows(2, wtxid_of(TXIDS[0]))
    for _ in range(2):
        relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert len(relay.due(1, 0.0, look_up)) == 1
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert relay.due(1, 0.0, look_up) == []
    assert relay.due(2, 0.0, look_up) == []


def test_a_peer_may_lack_what_it_was_not_told_of_or_did_not_ask_for_newest_first(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    for txid in TXIDS[:4]:
        relay.announce(txid, wtxid_of(txid))
    relay.due(1, 0.0, look_up)
    for txid in TXIDS[4:6]:
        relay.announce(txid, wtxid_of(txid))
    assert list(relay.untold(1)) == [*TXIDS[5:3:-1], *TXIDS[3::-1]]
    relay.knows(1, wtxid_of(TXIDS[2]))
    assert list(relay.untold(1)) == [*TXIDS[5:3:-1], TXIDS[3], TXIDS[1], TXIDS[0]]
    assert list(relay.untold(2)) == []


def test_only_the_last_announcements_are_remembered_until_the_peer_asks(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    for txid in TXIDS[: LAST_TOLD + 10]:
        relay.announce(txid, wtxid_of(txid))
    while relay.due(1, 0.0, look_up):
        pass
    assert list(relay.untold(1)) == TXIDS[LAST_TOLD + 9 : 9 : -1]


def test_who_does_not_want_transactions_is_told_of_none(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True, wants=False)
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert relay.due(1, 0.0, look_up) == []
    assert relay.listeners == 0


def test_a_fee_filter_holds_back_what_pays_less(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    relay.set_fee_filter(1, 10_001)
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert relay.due(1, 0.0, look_up) == []
    relay.set_fee_filter(1, 10_000)
    relay.announce(TXIDS[1], wtxid_of(TXIDS[1]))
    assert len(relay.due(1, 0.0, look_up)) == 1


def test_an_absurd_fee_filter_is_ignored(relay: TransactionRelay) -> None:
    add(relay, 1)
    relay.set_fee_filter(1, 21_000_000 * 10**8 + 1)
    relay.set_fee_filter(1, -1)
    assert relay.fee_filter(1) == 0


def test_what_left_the_mempool_is_not_announced(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    relay.announce(TXIDS[0], wtxid_of(TXIDS[0]))
    assert relay.due(1, 0.0, lambda txid: None) == []


def test_a_flood_is_announced_in_portions_parents_first(relay: TransactionRelay) -> None:
    add(relay, 1, at_once=True)
    for txid in TXIDS:
        relay.announce(txid, wtxid_of(txid))
    portions = []
    while portion := relay.due(1, 0.0, look_up):
        portions.append(portion)
    assert [len(portion) for portion in portions] == [70, 70, 59]
    assert [tx_hash for portion in portions for tx_hash, _ in portion] == [wtxid_of(txid) for txid in TXIDS]


def test_a_transaction_is_given_only_once_it_was_announced(relay: TransactionRelay) -> None:
    add(relay, 1)
    entered = 1
    assert not relay.may_be_asked(1, entered)
    waited = 0.0
    while relay.due(1, waited, look_up, sequence=2) == [] and not relay.may_be_asked(1, entered):
        waited += 0.1
        assert waited < 200
    assert waited > 0.1  # that there was nothing to announce to it does not matter, but the time does
    assert not relay.may_be_asked(1, entered + 1)
    assert relay.may_be_asked(1, 0)  # what a reorganisation returned was known before


def test_the_scale_of_fee_filters_ends_where_cores_does() -> None:
    assert MAX_FEE_FILTER == 9_170_997
    assert FEE_SCALE[:3] == (0.0, 500.0, pytest.approx(550))


def test_a_fee_filter_is_never_below_what_is_relayed_and_lifted_after_the_first_sync() -> None:
    sender = FeeFilterSender(Random(1), 1000)
    assert sender.due(1.0, None) == MAX_FEE_FILTER
    assert sender.due(2.0, None) is None
    assert sender.due(3.0, 0) == 1000
    assert sender.due(4.0, 0) is None


def test_a_fee_filter_that_is_far_off_is_corrected_within_minutes() -> None:
    sender = FeeFilterSender(Random(2), 1000)  # whose next regular time is half an hour away
    sender.due(1.0, 0)
    assert [seconds for seconds in range(2, 400) if sender.due(float(seconds), 0) is not None] == []
    told = [seconds for seconds in range(400, 800) if sender.due(float(seconds), 100_000) is not None]
    assert told[0] <= 702


# --- blocks ---


def grow(tree: HeaderTree, parent: Entry, count: int) -> list[Entry]:
    entries = []
    for _ in range(count):
        parent = tree.add(Header(4, parent.hash, bytes(32), parent.time + 600, 0x207FFFFF, 0))
        entries.append(parent)
    return entries


@pytest.fixture
def entries() -> list[Entry]:
    tree = HeaderTree(REGTEST.genesis.header)
    return [tree.genesis, *grow(tree, tree.genesis, 20)]


def announcement(
    waiting: list[Entry], known: Entry | None, *, headers: bool = True, inactive: Entry | None = None
) -> tuple[list[Header], Entry | None]:
    peer = PeerChain()
    peer.best_known = known
    return choose_block_announcement(waiting, peer, lambda entry: entry is not inactive, prefers_headers=headers)


def test_headers_go_out_from_the_first_that_is_unknown(entries: list[Entry]) -> None:
    headers, by_inv = announcement(entries[3:6], entries[3])
    assert headers == [entries[4].header, entries[5].header]
    assert by_inv is None


def test_headers_that_would_not_connect_become_an_inv(entries: list[Entry]) -> None:
    assert announcement(entries[3:6], entries[1]) == ([], entries[5])
    assert announcement(entries[3:6], None) == ([], entries[5])


def test_who_did_not_ask_for_headers_gets_an_inv_of_the_newest(entries: list[Entry]) -> None:
    assert announcement(entries[3:6], entries[2], headers=False) == ([], entries[5])


def test_more_than_eight_blocks_become_an_inv(entries: list[Entry]) -> None:
    assert len(announcement(entries[1:9], entries[0])[0]) == 8
    assert announcement(entries[1:10], entries[0]) == ([], entries[9])


def test_a_chain_that_was_left_meanwhile_becomes_an_inv(entries: list[Entry]) -> None:
    assert announcement(entries[3:6], entries[2], inactive=entries[4]) == ([], entries[5])


def test_who_has_the_block_is_told_nothing(entries: list[Entry]) -> None:
    for headers in (True, False):
        assert announcement(entries[3:6], entries[5], headers=headers) == ([], None)
