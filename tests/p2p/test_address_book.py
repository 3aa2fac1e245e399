"""Addresses of other nodes: what is kept, what goes, what is chosen, and what an attacker gets."""

import json
import random
import time
import tracemalloc

import pytest

from altyn.p2p.address_book import (
    BUCKET_SIZE,
    MAX_COLLISIONS,
    MAX_REFERENCES,
    NEW_BUCKETS_PER_SOURCE,
    TRIED_BUCKETS_PER_GROUP,
    AddressBook,
    Known,
)
from altyn.p2p.addresses import NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.netgroups import net_group, parse_address
from altyn.p2p.rolling_filter import RollingFilter

NOW = 1_700_000_000.0
DAY = 86400.0


def book(seed: int = 1) -> AddressBook:
    return AddressBook(random.Random(seed))


def at(text: str, port: int = 8333) -> NetworkAddress:
    return parse_address(text, port)


def timed(address: NetworkAddress, age: float = 0.0, services: int = 9) -> TimedAddress:
    return TimedAddress(int(NOW - age), services, address)


def spread(number: int) -> NetworkAddress:
    """The address of that number, in a group of its own as far as there are groups."""
    number = 0x10000000 + number * 0x9E3779B1 % 0x50000000  # 16.0.0.0 to 95.255.255.255, all routable
    return NetworkAddress(NetworkId.IPV4, number.to_bytes(4, "big"), 8333)


def learn(addresses: AddressBook, *targets: NetworkAddress, source: NetworkAddress | None = None) -> int:
    return addresses.add([timed(target) for target in targets], source or targets[0], NOW)


def test_only_routable_addresses_are_kept_and_once() -> None:
    addresses = book()
    assert learn(addresses, at("8.8.8.8"), at("10.0.0.1"), at("127.0.0.1"), at("8.8.8.8"), at("8.8.8.8", 1)) == 2
    assert len(addresses) == 2
    assert addresses.find(at("10.0.0.1")) is None


def test_an_address_gets_further_places_from_further_sources_but_no_more_than_eight() -> None:
    addresses, target = book(), at("8.8.8.8")
    for number in range(20_000):
        addresses.add([TimedAddress(int(NOW) + number, 9, target)], spread(number), NOW + number)
    known = addresses.find(target)
    assert known is not None
    assert 2 <= len(known.places) <= MAX_REFERENCES
    assert len(addresses) == 1


def test_gossip_makes_an_address_younger_by_and_by_and_adds_services() -> None:
    addresses, target, source = book(), at("8.8.8.8"), at("9.9.9.9")
    addresses.add([timed(target, 20 * DAY, services=1)], source, NOW, penalty=7200)
    known = addresses.find(target)
    assert known is not None
    assert known.time == NOW - 20 * DAY - 7200
    addresses.add([timed(target, 19.5 * DAY, services=8)], source, NOW, penalty=7200)
    assert (known.time, known.services) == (NOW - 20 * DAY - 7200, 9)  # within a day: not worth it
    addresses.add([timed(target, 10 * DAY)], source, NOW, penalty=7200)
    assert known.time == NOW - 10 * DAY - 7200
    addresses.add([timed(target)], target, NOW, penalty=7200)
    assert known.time == NOW  # of itself it speaks without penalty


@pytest.mark.parametrize(
    ("terrible", "fields"),
    [
        (False, {}),
        (True, {"time": NOW - 31 * DAY}),
        (True, {"time": NOW + 601}),
        (True, {"attempts": 3}),
        (False, {"attempts": 2}),
        (False, {"attempts": 3, "last_success": NOW - DAY}),
        (True, {"attempts": 10, "last_success": NOW - 8 * DAY}),
        (False, {"attempts": 10, "last_success": NOW - 6 * DAY}),
        (False, {"attempts": 3, "last_try": NOW - 59}),
    ],
)
def test_what_is_terrible(terrible: bool, fields: dict[str, float]) -> None:
    known = Known(at("8.8.8.8"), at("8.8.8.8"), 9, NOW)
    for name, value in fields.items():
        setattr(known, name, value)
    assert known.is_terrible(NOW) is terrible


def test_chances_fall_with_failures_and_just_after_a_try() -> None:
    known = Known(at("8.8.8.8"), at("8.8.8.8"), 9, NOW)
    assert known.chance(NOW) == 1.0
    known.attempts = 2
    assert known.chance(NOW) == pytest.approx(0.66**2)
    known.attempts, known.last_try = 50, NOW - 60
    assert known.chance(NOW) == pytest.approx(0.01 * 0.66**8)


def test_failures_count_once_between_two_successes_of_ours() -> None:
    addresses, one, other = book(), at("8.8.8.8"), at("9.9.9.9")
    learn(addresses, one)
    learn(addresses, other)
    known = addresses.find(one)
    assert known is not None
    addresses.good(other, NOW)
    for seconds in range(3):
        addresses.attempted(one, NOW + 1 + seconds, count_failure=True)
    assert known.attempts == 1
    addresses.attempted(one, NOW + 9, count_failure=False)
    assert (known.attempts, known.last_try) == (1, NOW + 9)
    addresses.good(other, NOW + 10)
    addresses.attempted(one, NOW + 11, count_failure=True)
    assert known.attempts == 2


def test_a_connection_moves_an_address_to_tried_for_good() -> None:
    addresses, target = book(), at("8.8.8.8")
    learn(addresses, target)
    assert addresses.good(target, NOW)
    assert not addresses.good(target, NOW + 1)
    assert not addresses.good(at("9.9.9.9"), NOW)
    assert addresses.select(NOW, new_only=True) is None
    chosen = addresses.select(NOW)
    assert chosen is not None
    assert chosen.is_tried
    assert [len(list(addresses.rows(tried=tried))) for tried in (False, True)] == [0, 1]
    assert addresses.counts()[1][NetworkId.IPV4] == 1


def collide(addresses: AddressBook) -> tuple[Known, Known]:
    """Fill `tried` from one group until somebody waits for the place of another; return owner and newcomer."""
    for number in range(10_000):
        target = NetworkAddress(NetworkId.IPV4, b"\x08\x08" + number.to_bytes(2, "big"), 8333)
        if learn(addresses, target, source=spread(number)) and not addresses.good(target, NOW):
            owner, newcomer = addresses.select_collision(), addresses.find(target)
            assert owner is not None
            assert newcomer is not None
            return owner, newcomer
    raise AssertionError("no collision")


@pytest.mark.parametrize(
    ("evicted", "success", "tried", "now"),
    [
        (False, NOW + 100, NOW + 100, NOW + 200),  # the feeler found the owner
        (True, NOW - DAY, NOW + 100, NOW + 200),  # it did not
        (None, NOW - DAY, NOW + 100, NOW + 130),  # it may still be dialling
        (None, NOW - DAY, NOW - DAY, NOW + 200),  # nobody has tested yet
        (True, NOW - DAY, NOW - DAY, NOW + 41 * 60),  # nobody has tested for too long
    ],
)
def test_a_place_in_tried_changes_hands_only_after_a_test(
    evicted: bool | None, success: float, tried: float, now: float
) -> None:
    addresses = book()
    owner, newcomer = collide(addresses)
    owner.last_success, owner.last_try = success, tried
    addresses.resolve_collisions(now)
    assert newcomer.is_tried is (evicted is True)
    assert owner.is_tried is (evicted is not True)
    assert (addresses.select_collision() is owner) is (evicted is None)
    assert addresses.find(owner.address) is owner  # back in `new` at the worst


def test_few_wait_for_places_at_a_time() -> None:
    addresses = book()
    for number in range(3_000):
        target = NetworkAddress(NetworkId.IPV4, b"\x08\x08" + number.to_bytes(2, "big"), 8333)
        learn(addresses, target, source=spread(number))
        addresses.good(target, NOW)
    assert len(addresses._collisions) == MAX_COLLISIONS


def test_selection_prefers_what_is_likely_to_answer() -> None:
    addresses = book()
    good, bad = at("8.8.8.8"), at("9.9.9.9")
    learn(addresses, good)
    learn(addresses, bad)
    known = addresses.find(bad)
    assert known is not None
    known.attempts = 8
    chosen = [addresses.select(NOW) for _ in range(500)]
    share = sum(one is not None and one.address == good for one in chosen) / 500
    assert share > 0.7


def test_what_is_told_to_others_is_a_sample_without_the_terrible() -> None:
    addresses = book()
    for number in range(2_000):
        learn(addresses, spread(number))
    onion = at("pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion")
    learn(addresses, onion)
    old = spread(5000)
    addresses.add([timed(old, 29 * DAY)], old, NOW)
    assert len(addresses.sample(NOW, 1000, 23)) == len(addresses) * 23 // 100
    assert len(addresses.sample(NOW, 100, 23)) == 100
    assert [one.address for one in addresses.sample(NOW, network=NetworkId.TORV3)] == [onion]
    assert len(addresses.sample(NOW)) == len(addresses)
    assert old not in [one.address for one in addresses.sample(NOW + 2 * DAY)]


def test_everything_survives_a_restart() -> None:
    addresses = book()
    for number in range(500):
        learn(addresses, spread(number), source=spread(number // 50))
    for number in range(0, 500, 5):
        addresses.good(spread(number), NOW)
    again = AddressBook.from_json(json.loads(json.dumps(addresses.as_json())), random.Random(2))
    assert again.key == addresses.key
    for tried in (False, True):
        assert [(place, one.address, one.source, one.time, one.attempts) for place, one in again.rows(tried=tried)] == [
            (place, one.address, one.source, one.time, one.attempts) for place, one in addresses.rows(tried=tried)
        ]
    for number in range(500, 600):  # the tables are still in order
        learn(again, spread(number))
        again.good(spread(number), NOW)


@pytest.mark.parametrize(
    "damage",
    [
        {"key": "00"},
        {"key": "0"},
        {"known": [[1]]},
        {"known": [[1, "08080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 0, 1024, 0]]},
        {"known": [[1, "08080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 1, 256, 0]]},
        {"known": [[1, "080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 0, 1, 0]]},
        {"known": [[9, "08080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 0, 1, 0]]},
        {"known": [[1, "08080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 0]]},
        {"known": [[1, "08080808", 1, 1, "08080808", 1, 9, 0, 0, 0, 0, 0, 1, 0]] * 2},
    ],
)
def test_a_damaged_file_is_noticed(damage: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        AddressBook.from_json({"key": "00" * 32, "known": []} | damage, random.Random(1))


# --- attacks ---


def test_one_source_that_floods_gets_a_sixteenth_of_new() -> None:
    """From one /16 come 30,000 addresses of all the world: at most 64 of the 1,024 buckets, 4,096 places."""
    addresses = book()
    source = at("66.66.1.1")
    addresses.add([timed(spread(number)) for number in range(30_000)], source, NOW, penalty=7200)
    places = sum(1 for _ in addresses.rows(tried=False))
    buckets = {place.bucket for place, _ in addresses.rows(tried=False)}
    assert len(buckets) <= NEW_BUCKETS_PER_SOURCE
    assert places == len(addresses) <= NEW_BUCKETS_PER_SOURCE * BUCKET_SIZE


def test_one_group_of_addresses_gets_a_thirty_second_of_tried() -> None:
    """An attacker who answers at all 65,536 addresses of a /16: at most 8 of the 256 buckets, 512 places."""
    addresses = book()
    for number in range(0, 65_536, 16):
        target = NetworkAddress(NetworkId.IPV4, b"\x42\x42" + number.to_bytes(2, "big"), 8333)
        learn(addresses, target, source=spread(number))
        addresses.good(target, NOW, test_before_evict=False)
    assert len({place.bucket for place, _ in addresses.rows(tried=True)}) <= TRIED_BUCKETS_PER_GROUP


def test_an_eclipse_from_a_few_networks_leaves_most_choices_honest() -> None:
    """400 honest tried nodes; an attacker with 4 networks floods 40,000 addresses, and answers at 4,000 of them.

    The honest keep all their places in `tried`, until a feeler finds them gone; fewer than four in ten choices fall on
    the attacker (measured: 23 %), and of those from `tried` fewer than one in ten, though almost all of `new` is his.
    """
    addresses = book()
    honest = [spread(number) for number in range(400)]
    for address in honest:
        learn(addresses, address)
        addresses.good(address, NOW - 3600)
    tried = {known.address for _, known in addresses.rows(tried=True)}
    evil = [bytes((66, 60 + network)) for network in range(4)]
    for number in range(40_000):
        network = evil[number % 4]
        target = NetworkAddress(NetworkId.IPV4, network + (number // 4).to_bytes(2, "big"), 8333)
        learn(addresses, target, source=NetworkAddress(NetworkId.IPV4, network + b"\1\1", 8333))
        if number % 10 == 0:
            addresses.good(target, NOW)
    assert tried <= {known.address for _, known in addresses.rows(tried=True)}
    groups = {net_group(NetworkAddress(NetworkId.IPV4, network + b"\1\1", 0)) for network in evil}
    chosen = [addresses.select(NOW) for _ in range(2_000)]
    of_attacker = sum(one is not None and net_group(one.address) in groups for one in chosen)
    of_tried = [one for one in chosen if one is not None and one.is_tried]
    assert of_attacker < 2_000 * 0.4
    assert sum(net_group(one.address) in groups for one in of_tried) < len(of_tried) * 0.1


def test_a_flood_costs_bounded_memory_and_time() -> None:
    """10,000 addresses from 100 sources: under 1 ms each, and under 1,000 bytes for each that is kept."""
    addresses = book()
    tracemalloc.start()
    try:
        started = time.process_time()
        for source in range(100):
            many = [timed(spread(source * 1000 + number)) for number in range(100)]
            addresses.add(many, spread(source * 77), NOW, penalty=7200)
        taken = time.process_time() - started
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 10.0
    assert size < 1000 * len(addresses)


def test_what_was_told_is_remembered_in_a_few_kilobytes() -> None:
    """16 kB a peer: 2,500 of the last things for sure, and one in a thousand others by mistake at the most."""
    told = RollingFilter(b"key")
    for number in range(10_000):
        told.add(number.to_bytes(4, "big"))
    assert all(number.to_bytes(4, "big") in told for number in range(7_500, 10_000))
    assert sum(number.to_bytes(4, "big") in told for number in range(20_000, 30_000)) <= 10
    assert sum(number.to_bytes(4, "big") in told for number in range(5_000)) <= 10
    told.clear()
    assert (9_999).to_bytes(4, "big") not in told
