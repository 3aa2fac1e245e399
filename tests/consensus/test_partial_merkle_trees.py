"""Partial merkle trees and witness commitments."""

import pytest
from builders import block_on, coinbase
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.encoding import Cursor, EncodingError
from altyn.consensus.hashes import sha256, sha256d
from altyn.consensus.merkle import (
    PartialMerkleTree,
    make_witness_commitment,
    merkle_branch,
    merkle_root,
    merkle_root_and_mutation,
    root_from_branch,
    witness_commitment,
    witness_commitment_index,
    witness_merkle_root,
)
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import TxOut


def txids(count: int) -> list[bytes]:
    return [sha256(bytes([n & 0xFF, n >> 8])) for n in range(count)]


def test_roots_are_built_in_pairs_with_the_odd_one_doubled() -> None:
    one, two, three = txids(3)
    assert merkle_root([]) == bytes(32)
    assert merkle_root([one]) == one
    assert merkle_root([one, two]) == sha256d(one + two)
    assert merkle_root([one, two, three]) == sha256d(sha256d(one + two) + sha256d(three + three))


def test_a_doubled_tail_has_the_same_root_and_is_seen() -> None:
    one, two, three = txids(3)
    root, mutated = merkle_root_and_mutation([one, two, three, three])
    assert (root, mutated) == (merkle_root([one, two, three]), True)
    assert merkle_root_and_mutation([one, two, three, one])[1] is False
    assert merkle_root_and_mutation([*txids(6), *txids(6)[4:]]) == (merkle_root(txids(6)), True)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_a_branch_leads_to_the_root(count: int) -> None:
    leaves = txids(count)
    for index, leaf in enumerate(leaves):
        assert root_from_branch(leaf, merkle_branch(leaves, index), index) == merkle_root(leaves)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_partial_tree_proves_what_is_wanted(wanted: list[bool]) -> None:
    leaves = txids(len(wanted))
    tree = PartialMerkleTree.build(leaves, wanted)
    cursor = Cursor(tree.serialize())
    assert PartialMerkleTree.read(cursor) == tree
    cursor.finish()
    root, matches = tree.extract()
    assert root == merkle_root(leaves)
    assert matches == [(index, leaves[index]) for index, want in enumerate(wanted) if want]


def build(count: int, *wanted: int) -> PartialMerkleTree:
    return PartialMerkleTree.build(txids(count), [index in wanted for index in range(count)])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        pytest.param(build(7, 2)._replace(total=0), "that many", id="no transactions"),
        pytest.param(build(7, 2)._replace(total=16_667), "that many", id="too many transactions"),
        pytest.param(PartialMerkleTree(2, (bytes(32),) * 3, b"\xff\xff"), "more hashes", id="more hashes than leaves"),
        pytest.param(PartialMerkleTree(9, (bytes(32),) * 9, b"\xff"), "more hashes", id="more hashes than bits"),
        pytest.param(PartialMerkleTree(512, (bytes(32),) * 8, b"\xff"), "bits end early", id="bits end early"),
        pytest.param(build(7, 2)._replace(hashes=build(7, 2).hashes[:-1]), "hashes end early", id="hashes end early"),
        pytest.param(build(7, 2)._replace(hashes=(*build(7, 2).hashes, bytes(32))), "hashes left", id="hashes left"),
        pytest.param(build(7, 2)._replace(flags=build(7, 2).flags + b"\0"), "bits left", id="bits left"),
        pytest.param(PartialMerkleTree(2, (bytes(32), bytes(32)), b"\x07"), "equal siblings", id="equal siblings"),
    ],
)
def test_a_malformed_partial_tree_is_refused(tree: PartialMerkleTree, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        tree.extract()


def test_a_count_of_hashes_is_not_believed_before_they_are_there() -> None:
    with pytest.raises(EncodingError):
        PartialMerkleTree.read(Cursor((5).to_bytes(4, "little") + b"\xfe\xff\xff\xff\x01"))


def test_the_last_output_that_looks_like_a_commitment_is_it() -> None:
    first, last = make_witness_commitment(b"\1" * 32), make_witness_commitment(b"\2" * 32)
    outputs = [TxOut(0, first), TxOut(0, last + b"more"), TxOut(0, last[:-1]), TxOut(50, b"\x51")]
    block = block_on(REGTEST.genesis.header, 1, coinbase_tx=coinbase(1, outputs=outputs))
    assert witness_commitment_index(block) == 1
    assert witness_commitment(block) == sha256d(b"\2" * 32 + bytes(32)) == last[6:]


def test_a_block_may_commit_to_no_witness() -> None:
    block = block_on(REGTEST.genesis.header, 1)
    assert witness_commitment_index(block) is None
    assert witness_commitment(block) is None
    assert witness_merkle_root(block.transactions) == bytes(32)
