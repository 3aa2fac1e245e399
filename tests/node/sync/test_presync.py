"""Low-work header chains are looked at twice and stored once."""

from random import Random

import pytest

from altyn.consensus.block import Header
from altyn.consensus.networks import MAINNET, REGTEST, Network
from altyn.consensus.pow import work
from altyn.node.chain.tree import HeaderTree
from altyn.node.sync.presync import Phase, Presync

BITS = REGTEST.genesis.header.bits
PERIOD, BUFFER = 5, 60
NOW = REGTEST.genesis.header.time + 100_000.0


def grow(count: int, parent: Header = REGTEST.genesis.header, salt: int = 0, bits: int = BITS) -> list[Header]:
    """Make linked headers, without proof of work."""
    headers = []
    for _ in range(count):
        parent = Header(4, parent.hash, bytes([salt]) * 32, parent.time + 1, bits, 0)
        headers.append(parent)
    return headers


def presync(needed: int, *, network: Network = REGTEST, now: float = NOW, seed: int = 1) -> Presync:
    """Sync that is content with the work of `needed` blocks on genesis."""
    start = HeaderTree(network.genesis.header).genesis
    least = start.chain_work + needed * work(network.genesis.header.bits)
    return Presync(network, start, least, now, Random(seed), period=PERIOD, buffer=BUFFER)


def feed(sync: Presync, headers: list[Header], size: int = 50) -> list[Header]:
    """Send messages of `size` as long as the sync wants more; return what it gives out."""
    known = {header.hash: index for index, header in enumerate(headers)}
    found: list[Header] = []
    while sync.phase is not Phase.FINAL:
        at = known.get(sync.last_hash, -1) + 1
        step = sync.take(headers[at : at + size], is_full=at + size <= len(headers))
        found += step.headers
        assert step.more is (sync.phase is not Phase.FINAL)
        if not step.success:
            break
    return found


def test_a_chain_that_turns_out_to_have_enough_work_comes_out_whole() -> None:
    headers = grow(300)
    sync = presync(300)
    assert feed(sync, headers) == headers
    assert sync.height == 300


def test_nothing_is_kept_of_a_chain_with_too_little_work() -> None:
    sync = presync(1_000)
    assert feed(sync, grow(999)) == []
    assert sync.height == 999


def test_what_comes_behind_enough_work_is_taken_without_commitments() -> None:
    headers = grow(320)
    sync = presync(300)
    first = headers[:300]
    for start in range(0, 300, 50):
        sync.take(first[start : start + 50], is_full=True)
    assert sync.phase is Phase.REDOWNLOAD
    assert feed(sync, headers) == headers[:300]  # messages of 50: it is content after the sixth


@pytest.mark.parametrize("at", [0, 100, 200])
def test_another_chain_in_the_second_pass_is_noticed_before_much_of_it_is_stored(at: int) -> None:
    """With a commitment every five headers, sixty strange headers pass with a chance of one in 4,096."""
    headers = grow(300)
    others = headers[:at] + grow(300 - at, headers[at - 1] if at else REGTEST.genesis.header, salt=1)
    for seed in range(20):
        sync = presync(300, seed=seed)
        for start in range(0, 300, 50):
            sync.take(headers[start : start + 50], is_full=True)
        assert sync.phase is Phase.REDOWNLOAD
        found = feed(sync, others)
        assert found == headers[: len(found)]


def test_headers_that_do_not_go_on_from_the_last_end_it() -> None:
    headers = grow(100)
    sync = presync(1_000)
    assert sync.take(headers[:50], is_full=True).more
    assert not sync.take(headers[51:], is_full=True).success
    assert sync.phase is Phase.FINAL


def test_a_peer_that_does_not_send_all_again_gets_no_further() -> None:
    headers = grow(100)
    sync = presync(100)
    sync.take(headers, is_full=True)
    assert sync.phase is Phase.REDOWNLOAD
    step = sync.take(headers[:40], is_full=False)
    assert (step.success, step.headers, step.more) == (True, (), False)
    assert sync.phase is Phase.FINAL


def test_more_headers_than_time_allows_end_it() -> None:
    genesis = REGTEST.genesis.header
    sync = presync(10**9, now=genesis.time - 7200 + 10.0)  # ten seconds: sixty blocks, twelve commitments
    assert sync.take(grow(60), is_full=True).success
    longer = presync(10**9, now=genesis.time - 7200 + 10.0)
    assert not longer.take(grow(70), is_full=True).success


def test_difficulty_must_not_grow_faster_than_the_rules_allow() -> None:
    genesis = MAINNET.genesis.header
    easy, hard = grow(1, genesis, bits=genesis.bits), grow(1, genesis, bits=0x1C00FFFF)
    assert presync(10**6, network=MAINNET).take(easy, is_full=True).success
    assert not presync(10**6, network=MAINNET).take(hard, is_full=True).success


def test_a_hundred_thousand_headers_are_held_in_twenty_one_bytes() -> None:
    start = HeaderTree(REGTEST.genesis.header).genesis
    sync = Presync(REGTEST, start, 10**12, NOW + 10**6, Random(1))
    message = grow(2000)
    for _ in range(50):
        sync.take(message, is_full=True)
        message = grow(2000, message[-1])
    assert sync.height == 100_000
    assert sync.memory <= 21


def test_the_second_pass_holds_back_no_more_than_its_buffer() -> None:
    headers = grow(1_000)
    sync = presync(1_000)
    for start in range(0, 1_000, 50):
        sync.take(headers[start : start + 50], is_full=True)
    most = 0
    given = 0
    for start in range(0, 1_000, 50):
        given += len(sync.take(headers[start : start + 50], is_full=True).headers)
        most = max(most, sync.memory)
        assert given in (max(0, start + 50 - BUFFER), 1_000)
    assert most <= 120 * BUFFER + 1_000 // PERIOD
    assert given == 1_000
