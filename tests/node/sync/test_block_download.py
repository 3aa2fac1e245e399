"""Which block to ask of whom, when a peer stalls, and when it is too late."""

from dataclasses import dataclass

import pytest

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST, Network
from altyn.node.chain.tree import FAILED, HAVE_BLOCK, Entry, HeaderTree
from altyn.node.sync.blocks import (
    BLOCK_DOWNLOAD_WINDOW,
    MAX_BLOCKS_IN_TRANSIT_PER_PEER,
    BlockDownload,
    is_near_tip,
)
from altyn.node.sync.headers import PeerChain

NOW = REGTEST.genesis.header.time + 10_000_000.0


@dataclass
class View:
    """A chain whose blocks are stored by saying so."""

    tree: HeaderTree
    tip: Entry
    network: Network = REGTEST
    background: "View | None" = None
    base: Entry | None = None

    def is_active(self, entry: Entry) -> bool:
        return entry.height <= self.tip.height and self.tip.ancestor(entry.height) is entry

    def store(self, entry: Entry) -> None:
        entry.status |= HAVE_BLOCK
        if entry.parent is not None and entry.parent.chain_tx_count:
            entry.chain_tx_count = entry.parent.chain_tx_count + 1


def grow(tree: HeaderTree, parent: Entry, count: int, salt: int = 0) -> list[Entry]:
    entries = []
    for _ in range(count):
        header = Header(4, parent.hash, bytes([salt]) * 32, parent.time + 600, 0x207FFFFF, 0)
        parent = tree.add(header)
        entries.append(parent)
    return entries


@pytest.fixture
def view() -> View:
    tree = HeaderTree(REGTEST.genesis.header)
    tree.genesis.status |= HAVE_BLOCK
    tree.genesis.chain_tx_count = 1
    return View(tree, tree.genesis)


@pytest.fixture
def download(view: View) -> BlockDownload:
    return BlockDownload(view)


def add_peer(download: BlockDownload, number: int, best: Entry, *, witness: bool = True, limited: bool = False) -> None:
    chain = PeerChain()
    chain.best_known = best
    download.add(number, chain, witness=witness, limited=limited)


def test_all_is_in_common_with_a_peer_at_the_tip(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 3)
    chain = PeerChain()
    chain.best_known = view.tip = entries[-1]
    download.add(1, chain, witness=True, limited=False)
    assert download.choose(1, NOW) == []
    assert chain.last_common is entries[-1]


def test_each_block_is_asked_of_one_peer(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 40)
    for peer in (1, 2, 3):
        add_peer(download, peer, entries[-1])
    chosen = [download.choose(peer, NOW) for peer in (1, 2, 3)]
    assert [len(some) for some in chosen] == [16, 16, 8]
    assert [entry for some in chosen for entry in some] == entries


def test_a_peer_owes_at_most_sixteen_blocks(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 40)
    add_peer(download, 1, entries[-1])
    assert len(download.choose(1, NOW)) == MAX_BLOCKS_IN_TRANSIT_PER_PEER
    assert download.choose(1, NOW) == []


def test_more_is_asked_for_in_one_go_when_half_of_it_has_come(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 40)
    add_peer(download, 1, entries[-1])
    first = download.choose(1, NOW)
    for entry in first[:7]:
        assert download.arrived(1, entry.hash, NOW)
    assert download.choose(1, NOW) == []
    download.arrived(1, first[7].hash, NOW)
    assert download.choose(1, NOW) == entries[16:24]


def test_a_block_that_has_arrived_is_not_asked_again_until_it_is_judged(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 1)
    add_peer(download, 1, entries[-1])
    add_peer(download, 2, entries[-1])
    download.choose(1, NOW)
    download.arrived(1, entries[0].hash, NOW)
    assert download.choose(2, NOW) == []
    download.judged(entries[0].hash)  # and was not stored: damaged on the way
    assert download.choose(2, NOW) == entries


def test_a_block_that_nobody_asked_for_is_known_as_such(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 2)
    add_peer(download, 1, entries[-1])
    assert not download.arrived(1, entries[0].hash, NOW)


def test_somebody_elses_block_keeps_the_request_to_him(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 1)
    add_peer(download, 1, entries[-1])
    add_peer(download, 2, entries[-1])
    download.choose(1, NOW)
    assert download.arrived(2, entries[0].hash, NOW)
    download.judged(entries[0].hash)
    assert download.in_flight(1) == entries
    assert download.is_requested(entries[0].hash)


def test_what_a_leaver_owed_is_asked_of_others(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 3)
    add_peer(download, 1, entries[-1])
    add_peer(download, 2, entries[-1])
    download.choose(1, NOW)
    assert download.choose(2, NOW) == []
    download.remove(1)
    assert download.choose(2, NOW) == entries


def test_a_peer_with_less_work_has_nothing_to_offer(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 5)
    for entry in entries:
        view.store(entry)
    view.tip = entries[-1]
    fork = grow(view.tree, entries[0], 3, salt=1)
    add_peer(download, 1, fork[-1])
    assert download.choose(1, NOW) == []


def test_a_stronger_fork_is_asked_for_from_the_fork_on(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 5)
    for entry in entries:
        view.store(entry)
    view.tip = entries[-1]
    fork = grow(view.tree, entries[1], 6, salt=1)
    add_peer(download, 1, fork[-1])
    assert download.choose(1, NOW) == fork


def test_an_invalid_branch_is_not_fetched(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 5)
    add_peer(download, 1, entries[-1])
    entries[2].status |= FAILED
    assert download.choose(1, NOW) == entries[:2]


def test_blocks_with_witnesses_are_not_asked_of_peers_without(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 5)
    add_peer(download, 1, entries[-1], witness=False)
    assert download.choose(1, NOW) == []


def test_a_pruned_peer_is_asked_for_late_blocks_only(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 300)
    add_peer(download, 1, entries[-1], limited=True)
    chosen = download.choose(1, NOW)
    assert chosen[0].height == 300 - 285


def test_who_holds_back_the_window_is_dropped(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, BLOCK_DOWNLOAD_WINDOW + 100)
    add_peer(download, 1, entries[-1])
    add_peer(download, 2, entries[-1])
    (first, *_) = download.choose(1, NOW)
    while chosen := download.choose(2, NOW):
        for entry in chosen:
            download.arrived(2, entry.hash, NOW)
            view.store(entry)
            download.judged(entry.hash)
    assert first.height == 1
    assert download.overdue(1, NOW + 1.9) is None
    assert download.overdue(1, NOW + 2.1) == "stalling block download"
    assert download.stalling_timeout == 4
    assert download.overdue(2, NOW + 100) is None
    download.connected()
    assert download.stalling_timeout == pytest.approx(3.4)


def test_a_block_may_take_one_interval_and_longer_when_others_are_busy(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 32)
    add_peer(download, 1, entries[-1])
    download.choose(1, NOW)
    assert download.overdue(1, NOW + 600) is None
    reason = download.overdue(1, NOW + 601)
    assert reason is not None
    assert entries[0].hash[::-1].hex() in reason
    add_peer(download, 2, entries[-1])
    download.choose(2, NOW)
    assert download.overdue(1, NOW + 601) is None
    assert download.overdue(1, NOW + 901) is not None


def test_each_delivery_gives_the_next_block_its_full_time(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 3)
    add_peer(download, 1, entries[-1])
    download.choose(1, NOW)
    download.arrived(1, entries[0].hash, NOW + 500)
    assert download.overdue(1, NOW + 1000) is None
    assert download.overdue(1, NOW + 1101) is not None


def test_announced_blocks_are_fetched_at_once_when_the_tip_is_recent(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 3)
    add_peer(download, 1, entries[-1])
    recent = view.tip.time + 60.0
    assert download.choose_announced(1, entries[-1], recent + 20 * 600) == []
    assert download.choose_announced(1, entries[-1], recent) == entries
    assert download.choose_announced(1, entries[-1], recent) == []


def test_a_very_long_fork_is_left_to_the_window(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 20)
    add_peer(download, 1, entries[-1])
    assert download.choose_announced(1, entries[-1], view.tip.time + 60.0) == []


def test_blocks_below_a_snapshot_are_asked_for_when_the_tip_is_served(view: View, download: BlockDownload) -> None:
    entries = grow(view.tree, view.tip, 60)
    fork = grow(view.tree, entries[2], 70, salt=1)
    view.background = View(view.tree, entries[4], base=entries[49])
    view.tip = entries[49]
    view.tip.chain_tx_count = 50
    add_peer(download, 1, entries[-1])
    assert download.choose(1, NOW) == [*entries[50:], *entries[5:11]]
    add_peer(download, 2, entries[-1])
    view.store(entries[12])
    assert download.choose(2, NOW) == [*entries[11:12], *entries[13:28]]
    add_peer(download, 3, entries[-1], limited=True)
    add_peer(download, 4, fork[-1])
    assert entries[28] not in download.choose(3, NOW)
    assert not set(download.choose(4, NOW)) & set(entries)
    view.background = View(view.tree, entries[49], base=entries[49])
    add_peer(download, 5, entries[-1])
    assert download.choose(5, NOW) == []


@pytest.mark.parametrize(("seconds", "near"), [(24 * 3600 - 1, True), (24 * 3600, False), (-7200, True)])
def test_pruned_peers_will_do_for_a_day(view: View, seconds: int, near: bool) -> None:
    assert is_near_tip(view.tip, REGTEST, view.tip.time + seconds) is near
