"""Which headers are kept, and what a peer is asked for next."""

import dataclasses
from dataclasses import dataclass
from random import Random

import pytest

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import work
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.sync.header_gate import HeaderGate, Taken
from altyn.node.sync.headers import MAX_HEADERS, HeaderSync
from altyn.p2p.errors import Disconnect

NOW = REGTEST.genesis.header.time + 1_000_000.0
NEEDED = 3_000
"""Blocks whose work a chain must have."""


@dataclass
class View:
    """A chain whose tip is its best header."""

    tree: HeaderTree
    network: Network
    is_initial_block_download: bool = True

    @property
    def tip(self) -> Entry:
        return self.tree.best_header

    def is_active(self, entry: Entry) -> bool:
        return entry.height <= self.tip.height and self.tip.ancestor(entry.height) is entry


class Gate(HeaderGate):
    """With peers 1 and 2, which were asked for headers."""

    def __init__(self) -> None:
        network = dataclasses.replace(REGTEST, minimum_chain_work=NEEDED * work(REGTEST.genesis.header.bits))
        self.view = View(HeaderTree(REGTEST.genesis.header), network)
        self.sync = HeaderSync(self.view, at_once=2)
        super().__init__(self.view, self.sync, Random(1))
        for peer in (1, 2):
            self.sync.add(peer, preferred=True, serves_blocks=True, guarded=True, protectable=True, keep=False)
            self.sync.start(peer, NOW, may_download=True)

    def give(self, peer: int, headers: list[Header], *, trusted: bool = False) -> tuple[bytes, ...] | None:
        """Have a peer send headers; keep what the gate lets in; return the locator of the next request."""
        taken = self.take(peer, headers, NOW, trusted=trusted)
        if not taken.headers:
            return taken.locator
        for header in taken.headers:
            last = self.view.tree.get(header.hash) or self.view.tree.add(header)
        return self.kept(peer, last, NOW, may_have_more=len(headers) == MAX_HEADERS) or taken.locator


def grow(count: int, parent: Header = REGTEST.genesis.header) -> list[Header]:
    headers = []
    for _ in range(count):
        parent = Header(4, parent.hash, bytes(32), parent.time + 60, parent.bits, 0)
        headers.append(parent)
    return headers


CHAIN = grow(NEEDED + 4_500)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def pieces(peer: int, gate: Gate) -> list[int]:
    """Have an honest peer answer until nothing is asked for; return the heights that each answer began at."""
    known = {header.hash: height for height, header in enumerate(CHAIN, start=1)}
    locator, began = gate.give(peer, CHAIN[:MAX_HEADERS]), [1]
    while locator is not None:
        start = next((known[each] for each in locator if each in known), 0)
        began.append(start + 1)
        locator = gate.give(peer, CHAIN[start : start + MAX_HEADERS])
    return began


def test_a_chain_is_looked_at_until_its_work_is_enough_and_then_fetched_again(gate: Gate) -> None:
    assert pieces(1, gate) == [1, 2_001, 1, 2_001, 4_001, 6_001]
    assert gate.view.tip.hash == CHAIN[-1].hash
    assert gate.presynced(1) == -1


def test_who_is_slower_with_the_same_chain_goes_on_at_its_end(gate: Gate) -> None:
    gate.give(2, CHAIN[:MAX_HEADERS])
    assert gate.presynced(2) == 2_000
    pieces(1, gate)
    locator = gate.give(2, CHAIN[2_000:4_000])
    assert locator is not None
    assert locator[0] == CHAIN[-1].hash
    assert gate.presynced(2) == -1


def test_a_short_chain_without_work_is_let_go(gate: Gate) -> None:
    assert gate.take(1, CHAIN[:10], NOW) == Taken()
    assert gate.presynced(1) == -1


def test_the_trusted_need_no_work(gate: Gate) -> None:
    assert gate.take(1, CHAIN[:10], NOW, trusted=True).headers == CHAIN[:10]


def test_headers_that_hang_in_the_air_make_us_ask_for_what_lies_between(gate: Gate) -> None:
    gate.sync.answered(1, 0, NOW)
    assert gate.take(1, CHAIN[50:60], NOW) == Taken((), (REGTEST.genesis.hash,))


def test_no_more_headers_end_the_look_at_a_chain(gate: Gate) -> None:
    gate.give(1, CHAIN[:MAX_HEADERS])
    gate.ended(1, NOW)
    assert gate.presynced(1) == -1


def test_who_leaves_is_forgotten(gate: Gate) -> None:
    gate.give(1, CHAIN[:MAX_HEADERS])
    gate.remove(1)
    assert gate.presynced(1) == -1


def test_a_slot_is_not_kept_for_a_chain_without_work_during_the_first_sync(gate: Gate) -> None:
    with pytest.raises(Disconnect, match="insufficient work"):
        gate.give(1, CHAIN[:10], trusted=True)
    gate.view.is_initial_block_download = False
    gate.give(2, CHAIN[:10], trusted=True)
