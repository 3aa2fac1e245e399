"""Addresses of other nodes that we have heard of (`new`) or been connected to (`tried`) (Core: addrman).

Who floods us with addresses gets few places: where in a table an address may stand follows from a secret key, from the
group that it is in and, in `new`, from the group that it came from. So one source reaches 64 of 1,024 buckets of `new`,
and all addresses of one group 8 of 256 buckets of `tried`. Times are seconds since 1970.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from altyn.p2p.addresses import ADDRESS_SIZES, NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.netgroups import address_key, is_routable, keyed_number, net_group

NEW_BUCKETS, TRIED_BUCKETS, BUCKET_SIZE = 1024, 256, 64
NEW_BUCKETS_PER_SOURCE, TRIED_BUCKETS_PER_GROUP = 64, 8
MAX_REFERENCES = 8
"""Places in `new` that one address may have."""
HORIZON, IN_THE_FUTURE = 30 * 86400.0, 600.0
"""An address that nobody has seen for so long, or that comes from the future, is terrible."""
RETRIES, MAX_FAILURES, MIN_FAIL = 3, 10, 7 * 86400.0
"""So many failures make an address terrible: before its first success, or since one that is `MIN_FAIL` ago."""
JUST_TRIED, RECENTLY_TRIED = 60.0, 600.0
MAX_COLLISIONS, REPLACEMENT, TEST_WINDOW = 10, 4 * 3600.0, 40 * 60.0
"""Who wants a place in `tried` that is taken waits until the owner has been tested by a feeler, up to `TEST_WINDOW`."""
GOSSIP_UPDATE, ONLINE_UPDATE, ONLINE = 86400.0, 3600.0, 86400.0
CONNECTED_UPDATE = 20 * 60.0


class Place(NamedTuple):
    bucket: int
    position: int


@dataclass(slots=True, eq=False)
class Known:
    """What is known of an address; `source` told us first. `places`: where it stands, one place if it is tried."""

    address: NetworkAddress
    source: NetworkAddress
    services: int
    time: float
    last_success: float = 0.0
    last_try: float = 0.0
    last_counted_try: float = 0.0
    attempts: int = 0
    is_tried: bool = False
    places: set[Place] = field(default_factory=set)

    def is_terrible(self, now: float) -> bool:
        """Whether it is not worth keeping, or telling anybody of (Core: IsTerrible)."""
        if now - self.last_try <= JUST_TRIED:
            return False
        if self.time > now + IN_THE_FUTURE or now - self.time > HORIZON:
            return True
        if not self.last_success:
            return self.attempts >= RETRIES
        return now - self.last_success > MIN_FAIL and self.attempts >= MAX_FAILURES

    def chance(self, now: float) -> float:
        """How much it deserves to be dialled, from 0 to 1 (Core: GetChance)."""
        return (0.01 if now - self.last_try < RECENTLY_TRIED else 1.0) * 0.66 ** min(self.attempts, 8)


Table = dict[int, dict[int, Known]]
"""Known addresses by bucket and position; no bucket is empty."""


class AddressBook:
    """The two tables. Pure: time and chance are passed in; at most 65,536 + 16,384 places of 770 bytes, 63 MB."""

    def __init__(self, rng: random.Random, key: bytes = b"") -> None:
        """`key`: 32 secret bytes; drawn from `rng` if there is none yet."""
        self._rng = rng
        self.key = key or rng.randbytes(32)
        self._known: dict[bytes, Known] = {}
        self._new: Table = {}
        self._tried: Table = {}
        self._collisions: dict[bytes, None] = {}
        self._last_good = 1.0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, address: NetworkAddress) -> Known | None:
        """Return what is known of an address."""
        return self._known.get(address_key(address))

    # --- what is learnt ---

    def add(
        self, addresses: Iterable[TimedAddress], source: NetworkAddress, now: float, *, penalty: float = 0.0
    ) -> int:
        """Take up what `source` told us; return how many were new. `penalty`: seconds by which to think them older."""
        return sum([self._add(address, source, now, penalty) for address in addresses])

    def good(self, address: NetworkAddress, now: float, *, test_before_evict: bool = True) -> bool:
        """Note that we were connected: the address moves to `tried`. False if it does not, or not yet."""
        known = self.find(address)
        self._last_good = now
        if known is None:
            return False
        known.last_success = known.last_try = now
        known.attempts = 0
        if known.is_tried:
            return False
        if test_before_evict and self._at(self._tried, self._tried_place(known)) is not None:
            if len(self._collisions) < MAX_COLLISIONS:
                self._collisions[address_key(address)] = None
            return False
        self._make_tried(known)
        return True

    def attempted(self, address: NetworkAddress, now: float, *, count_failure: bool) -> None:
        """Note that we dial. Without `count_failure` our own connection may be what fails."""
        known = self.find(address)
        if known is not None:
            known.last_try = now
            if count_failure and known.last_counted_try < self._last_good:
                known.last_counted_try = now
                known.attempts += 1

    def was_connected(self, address: NetworkAddress, now: float) -> None:
        """Note that a connection ended that was good: the address was there until now, roughly."""
        known = self.find(address)
        if known is not None and now - known.time > CONNECTED_UPDATE:
            known.time = now

    def set_services(self, address: NetworkAddress, services: int) -> None:
        """Note what a peer itself said that it offers."""
        known = self.find(address)
        if known is not None:
            known.services = services

    # --- what is asked ---

    def select(self, now: float, *, new_only: bool = False) -> Known | None:
        """Choose whom to dial: from either table evenly, those rather that were not tried lately and did not fail."""
        tables = [table for table in (self._new, () if new_only else self._tried) if table]
        if not tables:
            return None
        table = self._rng.choice(tables)
        assert isinstance(table, dict)
        buckets = list(table.values())
        factor = 1.0
        while True:
            bucket = self._rng.choice(buckets)
            start = self._rng.randrange(BUCKET_SIZE)
            known = bucket[min(bucket, key=lambda position: (position - start) % BUCKET_SIZE)]
            if self._rng.random() < factor * known.chance(now):
                return known
            factor *= 1.2

    def select_collision(self) -> Known | None:
        """Choose an address of `tried` whose place another one waits for: a feeler should see whether it is there."""
        if not self._collisions:
            return None
        newcomer = self._known.get(self._rng.choice(list(self._collisions)))
        return None if newcomer is None else self._at(self._tried, self._tried_place(newcomer))

    def resolve_collisions(self, now: float) -> None:
        """Decide about those who wait for a place, as far as it is known by now who stands there."""
        for key in list(self._collisions):
            newcomer = self._known.get(key)
            owner = None if newcomer is None else self._at(self._tried, self._tried_place(newcomer))
            if newcomer is None or (owner is not None and now - owner.last_success < REPLACEMENT):
                del self._collisions[key]  # the owner was connected, and stays
            elif (
                owner is None
                or JUST_TRIED < now - owner.last_try < REPLACEMENT
                or (now - owner.last_try >= REPLACEMENT and now - newcomer.last_success > TEST_WINDOW)
            ):
                self.good(newcomer.address, now, test_before_evict=False)
                del self._collisions[key]

    def sample(self, now: float, most: int = 0, percent: int = 0, network: int | None = None) -> list[TimedAddress]:
        """Return addresses worth telling others of, in random order; `most`, `percent` of all (0: no limit)."""
        count = len(self._known) * percent // 100 if percent else len(self._known)
        count = min(count, most) if most else count
        chosen: list[TimedAddress] = []
        for known in self._rng.sample(list(self._known.values()), len(self._known)):
            if len(chosen) == count:
                break
            if network in (None, known.address.network) and not known.is_terrible(now):
                chosen.append(TimedAddress(int(known.time), known.services, known.address))
        return chosen

    def counts(self) -> tuple[Counter[int], Counter[int]]:
        """Return how many addresses of each network are new and tried."""
        tried = Counter(known.address.network for known in self._known.values() if known.is_tried)
        return Counter(known.address.network for known in self._known.values()) - tried, tried

    def rows(self, *, tried: bool) -> Iterator[tuple[Place, Known]]:
        """Yield a table in order."""
        table = self._tried if tried else self._new
        for bucket in sorted(table):
            for position in sorted(table[bucket]):
                yield Place(bucket, position), table[bucket][position]

    # --- the file ---

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file; waiting collisions are tried again some time."""
        return {
            "key": self.key.hex(),
            "known": [
                [
                    *_packed(known.address), *_packed(known.source), known.services, int(known.time),
                    int(known.last_success), int(known.last_try), known.attempts, int(known.is_tried),
                    *(number for place in known.places for number in place),
                ]
                for known in self._known.values()
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], rng: random.Random) -> "AddressBook":
        """Read what `as_json` gave. Raises ValueError, KeyError or TypeError."""
        book = cls(rng, bytes.fromhex(saved["key"]))
        if len(book.key) != 32:
            raise ValueError("the key has not 32 bytes")
        for network, host, port, source_network, source, source_port, *rest in saved["known"]:
            services, time, success, tried, attempts, is_tried, *places = map(int, rest)
            known = Known(
                NetworkAddress(network, bytes.fromhex(host), port),
                NetworkAddress(source_network, bytes.fromhex(source), source_port),
                services, float(time), float(success), float(tried), attempts=attempts, is_tried=bool(is_tried),
            )  # fmt: skip
            table, buckets = (book._tried, TRIED_BUCKETS) if is_tried else (book._new, NEW_BUCKETS)
            for bucket, position in zip(places[::2], places[1::2], strict=True):
                place = Place(bucket, position)
                if bucket not in range(buckets) or position not in range(BUCKET_SIZE) or book._at(table, place):
                    raise ValueError(f"{place} is taken, or no place")
                book._put(table, place, known)
            if ADDRESS_SIZES.get(NetworkId(network)) != len(known.address.host) or not places:
                raise ValueError(f"{host} is no address")
            book._known[address_key(known.address)] = known
        return book

    # --- the tables ---

    def _add(self, timed: TimedAddress, source: NetworkAddress, now: float, penalty: float) -> bool:
        address = timed.address
        if not is_routable(address):
            return False
        if address[:2] == source[:2]:
            penalty = 0.0  # it speaks of itself
        known = self.find(address)
        seen = max(0.0, timed.time - penalty)
        if known is not None:
            update = ONLINE_UPDATE if now - timed.time < ONLINE else GOSSIP_UPDATE
            was_older = timed.time > known.time
            if known.time < timed.time - update - penalty:
                known.time = seen
            known.services |= timed.services
            if not was_older or known.is_tried or len(known.places) >= MAX_REFERENCES:
                return False
            if self._rng.randrange(1 << len(known.places)):
                return False  # each further place is half as probable
        else:
            known = Known(address, source, timed.services, seen)
        place = self._new_place(known, self._new_bucket(address, source))
        owner = self._at(self._new, place)
        if owner is known:
            return False
        is_known = bool(known.places)
        if owner is not None:
            if not (owner.is_terrible(now) or (len(owner.places) > 1 and not is_known)):
                return False
            self._remove(self._new, place)
        self._put(self._new, place, known)
        self._known[address_key(address)] = known
        return not is_known

    def _make_tried(self, known: Known) -> None:
        for place in list(known.places):
            self._remove(self._new, place, forget=False)
        place = self._tried_place(known)
        owner = self._at(self._tried, place)
        if owner is not None:  # back into `new` with it, whoever stands there
            self._remove(self._tried, place, forget=False)
            owner.is_tried = False
            back = self._new_place(owner, self._new_bucket(owner.address, owner.source))
            if self._at(self._new, back) is not None:
                self._remove(self._new, back)
            self._put(self._new, back, owner)
        known.is_tried = True
        self._put(self._tried, place, known)

    @staticmethod
    def _at(table: Table, place: Place) -> Known | None:
        return table.get(place.bucket, {}).get(place.position)

    @staticmethod
    def _put(table: Table, place: Place, known: Known) -> None:
        table.setdefault(place.bucket, {})[place.position] = known
        known.places.add(place)

    def _remove(self, table: Table, place: Place, *, forget: bool = True) -> None:
        """Empty a place; with `forget`, an address without any is known no more."""
        known = table[place.bucket].pop(place.position)
        if not table[place.bucket]:
            del table[place.bucket]
        known.places.discard(place)
        if forget and not known.places:
            del self._known[address_key(known.address)]

    def _tried_place(self, known: Known) -> Place:
        key, group = address_key(known.address), net_group(known.address)
        share = self._number(b"tried", key) % TRIED_BUCKETS_PER_GROUP
        bucket = self._number(b"tried bucket", group, bytes((share,))) % TRIED_BUCKETS
        return Place(bucket, self._number(b"tried position", bucket.to_bytes(2, "big"), key) % BUCKET_SIZE)

    def _new_bucket(self, address: NetworkAddress, source: NetworkAddress) -> int:
        group = net_group(source)
        share = self._number(b"new", net_group(address), group) % NEW_BUCKETS_PER_SOURCE
        return self._number(b"new bucket", group, bytes((share,))) % NEW_BUCKETS

    def _new_place(self, known: Known, bucket: int) -> Place:
        key = address_key(known.address)
        return Place(bucket, self._number(b"new position", bucket.to_bytes(2, "big"), key) % BUCKET_SIZE)

    def _number(self, *parts: bytes) -> int:
        return keyed_number(self.key, *parts)


def _packed(address: NetworkAddress) -> tuple[int, str, int]:
    return int(address.network), address.host.hex(), address.port
