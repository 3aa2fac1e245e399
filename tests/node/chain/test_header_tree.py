"""The tree of headers."""

import random

import builders
import pytest

from altyn.consensus.block import Header
from altyn.consensus.networks import REGTEST
from altyn.node.chain.tree import Entry, HeaderTree

GENESIS = REGTEST.genesis.header


def grow(tree: HeaderTree, parent: Entry, length: int, mark: int = 0) -> list[Entry]:
    """Add headers without proof of work: the tree does not look at it."""
    made = []
    for _ in range(length):
        header = Header(1, parent.hash, bytes([mark]) * 32, parent.time + 1 + parent.height % 3, GENESIS.bits, 0)
        parent = tree.add(header)
        made.append(parent)
    return made


def test_ancestors_and_forks_are_found_from_anywhere() -> None:
    tree = HeaderTree(GENESIS)
    line = [tree.genesis, *grow(tree, tree.genesis, 1000)]
    branch = grow(tree, line[700], 250, mark=1)
    chance = random.Random(5)
    for _ in range(500):
        entry = line[chance.randrange(len(line))]
        height = chance.randint(0, entry.height)
        assert entry.ancestor(height) is line[height]
        other = branch[chance.randrange(len(branch))]
        assert tree.fork_point(entry, other) is line[min(entry.height, 700)]
    assert tree.fork_point(line[5], line[5]) is line[5]
    with pytest.raises(IndexError):
        line[5].ancestor(6)
    with pytest.raises(IndexError):
        line[5].ancestor(-1)


def test_the_locator_thins_out_towards_genesis() -> None:
    tree = HeaderTree(GENESIS)
    line = [tree.genesis, *grow(tree, tree.genesis, 100)]
    heights = [tree.get(one).height for one in tree.locator(line[100])]  # type: ignore[union-attr]
    assert heights == [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89, 87, 83, 75, 59, 27, 0]
    assert tree.locator(tree.genesis) == (GENESIS.hash,)


def test_failure_spreads_to_what_builds_on_it_and_is_forgotten_with_it() -> None:
    tree = HeaderTree(GENESIS)
    line = grow(tree, tree.genesis, 10)
    branch = grow(tree, line[4], 3, mark=1)
    changed = tree.mark_failed(line[5])
    assert set(changed) == set(line[5:])
    assert tree.best_header is branch[-1]
    later = grow(tree, line[9], 1)
    assert later[0].is_failed
    tree.mark_failed(line[2])
    assert branch[0].is_failed
    assert tree.best_header is line[1]
    tree.forget_failure(line[7])
    assert not any(entry.is_failed for entry in tree)
    assert tree.best_header is later[0]


def test_forgetting_one_branch_does_not_forgive_another() -> None:
    tree = HeaderTree(GENESIS)
    line = grow(tree, tree.genesis, 4)
    branch = grow(tree, line[1], 4, mark=1)
    tree.mark_failed(branch[1])
    tree.mark_failed(line[1])
    tree.forget_failure(line[3])
    assert [entry.is_failed for entry in branch] == [False, True, True, True]
    assert tree.best_header is line[3]


def test_tips_are_what_nothing_builds_on() -> None:
    tree = HeaderTree(GENESIS)
    assert tree.tips() == [tree.genesis]
    line = grow(tree, tree.genesis, 5)
    branch = grow(tree, line[1], 1, mark=1)
    assert tree.tips() == [line[4], branch[0]]
    assert set(tree.descendants(line[1])) == {*line[2:], branch[0]}


def test_the_median_time_is_of_eleven_headers() -> None:
    drawing = builders.chain("g a1..a12")
    tree = HeaderTree(GENESIS)
    entries = [tree.add(block.header) for block in drawing.line("a1..a12")]
    assert entries[-1].median_time_past == drawing["a7"].header.time
    assert tree.genesis.median_time_past == GENESIS.time


def test_a_header_without_its_parent_has_no_place() -> None:
    drawing = builders.chain("g a1..a2")
    with pytest.raises(KeyError):
        HeaderTree(GENESIS).add(drawing["a2"].header)
