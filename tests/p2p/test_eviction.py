"""Whom to drop for a newcomer."""

from dataclasses import replace

from altyn.p2p.eviction import LOCAL, Candidate, choose_evicted


def candidates(count: int) -> list[Candidate]:
    """Peers of no merit but their age, each in a group of its own but for the last half; the last one came last."""
    return [
        Candidate(
            number,
            connected_at=1000.0 + number,
            min_ping=1.0 + number / 1000,
            last_block=0.0,
            last_transaction=0.0,
            is_useful=False,
            relays_transactions=True,
            filters=False,
            net_group=max(count // 2 - number, 0),
            network="ipv4",
        )
        for number in range(count)
    ]


def never_evicted(protected: range, peers: list[Candidate], rounds: int = 100) -> bool:
    """Whether these stay: evict so often, or until nobody can be, or one of them goes."""
    left = list(peers)
    for _ in range(rounds):
        evicted = choose_evicted(left)
        if evicted is None or evicted in protected:
            return evicted is None
        left = [one for one in left if one.id != evicted]
    return True


def test_few_peers_are_all_protected() -> None:
    assert choose_evicted([]) is None
    assert choose_evicted(candidates(16)) is None
    assert choose_evicted(candidates(40)) is not None


def test_the_youngest_of_the_most_crowded_group_goes() -> None:
    assert choose_evicted(candidates(60)) == 59


def test_each_kind_of_merit_protects() -> None:
    # The newest peers in one crowded group would go first, if they had not what protects them.
    peers = candidates(100)
    merits: list[tuple[range, dict[str, object]]] = [
        (range(96, 100), {"net_group": 1 << 60}),
        (range(92, 100), {"min_ping": 0.01}),
        (range(96, 100), {"last_transaction": 9e9}),
        (range(92, 100), {"relays_transactions": False, "is_useful": True, "last_block": 9e9}),
        (range(96, 100), {"last_block": 9e9}),
    ]
    for ids, merit in merits:
        changed = [replace(one, **merit) if one.id in ids else one for one in peers]  # type: ignore[arg-type]
        assert never_evicted(ids, changed), merit
        assert not never_evicted(ids, peers)


def test_half_of_the_rest_is_kept_for_its_uptime() -> None:
    assert never_evicted(range(14), candidates(60))


def test_disadvantaged_networks_get_half_of_what_uptime_protects() -> None:
    for network in ("onion", "i2p", "cjdns", LOCAL):
        peers = [replace(one, network=network, min_ping=2.0) if one.id >= 95 else one for one in candidates(100)]
        assert never_evicted(range(95, 100), peers, rounds=50), network
        assert not never_evicted(range(95, 100), candidates(100), rounds=50)


def test_the_discouraged_go_first() -> None:
    peers = [replace(one, is_discouraged=one.id == 60) for one in candidates(100)]
    assert choose_evicted(peers) == 60
