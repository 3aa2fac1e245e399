"""Whom to ask for headers, and what a peer's chain looks like."""

from dataclasses import dataclass

import pytest
from builders import chain

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST, Network
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.sync.headers import CHAIN_SYNC_TIMEOUT, HeaderSync, PeerChain
from altyn.p2p.errors import Misbehaving

NOW = REGTEST.genesis.header.time + 10_000_000.0


@dataclass
class View:
    tree: HeaderTree
    tip: Entry
    network: Network = REGTEST


def grow(tree: HeaderTree, parent: Entry, count: int, time: float | None = None, salt: int = 0) -> list[Entry]:
    entries = []
    for _ in range(count):
        at = parent.time + 600 if time is None else int(time)
        parent = tree.add(Header(4, parent.hash, bytes([salt]) * 32, at, 0x207FFFFF, 0))
        entries.append(parent)
    return entries


@pytest.fixture
def view() -> View:
    tree = HeaderTree(REGTEST.genesis.header)
    return View(tree, tree.genesis)


@pytest.fixture
def sync(view: View) -> HeaderSync:
    return HeaderSync(view)


def add(
    sync: HeaderSync,
    peer: int,
    *,
    preferred: bool = True,
    guarded: bool = False,
    protectable: bool = True,
    keep: bool = False,
) -> PeerChain:
    return sync.add(
        peer, preferred=preferred, serves_blocks=True, guarded=guarded, protectable=guarded and protectable, keep=keep
    )


def test_the_first_sync_keeps_to_one_peer(sync: HeaderSync, view: View) -> None:
    add(sync, 1)
    add(sync, 2)
    assert sync.start(1, NOW, may_download=True) is view.tree.genesis
    assert sync.start(2, NOW, may_download=True) is None


def test_a_peer_with_nothing_more_to_give_makes_room_for_others(sync: HeaderSync) -> None:
    add(sync, 1)
    add(sync, 2)
    sync.start(1, NOW, may_download=True)
    sync.answered(1, 0, NOW)
    assert sync.start(2, NOW + 9, may_download=True) is None
    assert sync.start(2, NOW + 11, may_download=True) is not None


def test_near_the_present_everybody_is_asked(sync: HeaderSync, view: View) -> None:
    entries = grow(view.tree, view.tip, 3, time=NOW - 60)
    for peer in (1, 2, 3):
        add(sync, peer, preferred=False)
        assert sync.start(peer, NOW, may_download=False) is entries[-2]


def test_a_light_node_asks_several_at_once(view: View) -> None:
    sync = HeaderSync(view, at_once=2)
    for peer in (1, 2, 3):
        add(sync, peer)
        assert (sync.start(peer, NOW, may_download=True) is not None) is (peer < 3)


def test_a_request_is_not_repeated_while_it_is_unanswered(sync: HeaderSync) -> None:
    add(sync, 1)
    assert sync.ask(1, NOW) is not None
    assert sync.ask(1, NOW + 120) is None
    assert sync.ask(1, NOW + 121) is not None
    sync.answered(1, 5, NOW + 122)
    assert sync.ask(1, NOW + 122) is not None


def test_a_silent_header_peer_goes_when_there_are_others(sync: HeaderSync) -> None:
    add(sync, 1)
    sync.start(1, NOW, may_download=True)
    late = NOW + 15 * 60 + 100
    assert sync.overdue(1, late) is None
    add(sync, 2)
    assert sync.overdue(1, NOW + 15 * 60) is None
    assert sync.overdue(1, late) == "timeout downloading headers"


def test_a_trusted_header_peer_stays_but_is_no_longer_relied_on(sync: HeaderSync) -> None:
    add(sync, 1, keep=True)
    add(sync, 2)
    sync.start(1, NOW, may_download=True)
    assert sync.overdue(1, NOW + 20 * 60) is None
    assert sync.start(2, NOW + 20 * 60, may_download=True) is not None


def test_an_announced_block_is_asked_for_at_one_more_peer_only(sync: HeaderSync) -> None:
    for peer in (1, 2, 3):
        add(sync, peer, preferred=False)
    sync.start(1, NOW, may_download=True)
    block = b"\x01" * 32
    assert sync.announced_unknown(2, block, NOW) is not None
    assert sync.announced_unknown(3, block, NOW) is None
    assert sync.announced_unknown(3, b"\x02" * 32, NOW) is not None


def test_headers_must_be_linked(sync: HeaderSync) -> None:
    headers = [block.header for block in chain("g a1..a4").line("a1..a4")]
    sync.check(headers)
    with pytest.raises(Misbehaving, match="non-continuous"):
        sync.check([headers[0], headers[2]])
    with pytest.raises(Misbehaving, match="headers message size = 2001"):
        sync.check([headers[0]] * 2001)


def test_headers_must_have_the_work_that_they_claim(sync: HeaderSync, view: View) -> None:
    entries = grow(view.tree, view.tip, 20)
    with pytest.raises(Misbehaving, match="header with invalid proof of work"):
        sync.check([entry.header for entry in entries])


def test_an_outbound_peer_that_stays_behind_is_asked_once_more_and_then_dropped(sync: HeaderSync, view: View) -> None:
    entries = grow(view.tree, view.tip, 10, time=NOW - 60)
    view.tip = entries[-1]
    chain = add(sync, 1, guarded=True)
    sync.start(1, NOW, may_download=True)
    sync.answered(1, 1, NOW)
    chain.announced(entries[2].hash, view.tree)
    assert sync.consider_eviction(1, NOW) == (None, None)
    assert sync.consider_eviction(1, NOW + 1200) == (None, None)
    assert sync.consider_eviction(1, NOW + 1201) == (entries[-2], None)
    assert sync.consider_eviction(1, NOW + 1300) == (None, None)
    assert sync.consider_eviction(1, NOW + 1322) == (None, "outbound peer has old chain")


def test_an_outbound_peer_that_catches_up_stays(sync: HeaderSync, view: View) -> None:
    entries = grow(view.tree, view.tip, 10, time=NOW - 60)
    view.tip = entries[-1]
    chain = add(sync, 1, guarded=True)
    sync.start(1, NOW, may_download=True)
    sync.consider_eviction(1, NOW)
    chain.announced(entries[-1].hash, view.tree)
    assert sync.consider_eviction(1, NOW + 5000) == (None, None)
    sync.caught_up(1)
    view.tip = grow(view.tree, entries[-1], 1)[0]
    assert sync.consider_eviction(1, NOW + 5000) == (None, None)
    assert sync.consider_eviction(1, NOW + 9000) == (None, None)


def test_a_peer_for_blocks_only_is_never_protected(view: View, sync: HeaderSync) -> None:
    chain = add(sync, 1, guarded=True, protectable=False)
    sync.start(1, NOW, may_download=True)
    chain.announced(view.tip.hash, view.tree)
    sync.caught_up(1)
    sync.consider_eviction(1, NOW)
    view.tip = grow(view.tree, view.tip, 1)[0]
    sync.consider_eviction(1, NOW + 1)
    sync.consider_eviction(1, NOW + 1 + CHAIN_SYNC_TIMEOUT + 1)
    assert sync.consider_eviction(1, NOW + 9000)[1] == "outbound peer has old chain"


def test_a_block_announced_before_its_header_came_is_remembered(view: View) -> None:
    chain = PeerChain()
    header = Header(4, view.tip.hash, bytes(32), view.tip.time + 600, 0x207FFFFF, 0)
    chain.announced(header.hash, view.tree)
    assert chain.best_known is None
    entry = view.tree.add(header)
    chain.resolve(view.tree)
    assert chain.best_known is entry
    assert chain.has(view.tree.genesis)


def test_a_weaker_announcement_does_not_hide_a_stronger_one(view: View) -> None:
    entries = grow(view.tree, view.tip, 3)
    fork = grow(view.tree, view.tip, 1, salt=1)
    chain = PeerChain()
    chain.announced(entries[-1].hash, view.tree)
    chain.announced(fork[0].hash, view.tree)
    assert chain.best_known is entries[-1]
    assert not chain.has(fork[0])
    chain.best_sent = fork[0]
    assert chain.has(fork[0])
