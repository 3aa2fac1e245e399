"""SipHash of many items at once against the plain one."""

import random

from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.hashes import siphash24
from altyn.consensus.siphash import SipHashItems

WORDS = st.integers(0, (1 << 64) - 1)


@given(WORDS, WORDS, st.lists(st.binary(max_size=40), max_size=40))
def test_many_at_once_hash_as_one_by_one(k0: int, k1: int, items: list[bytes]) -> None:
    prepared = SipHashItems(items)
    assert sorted(prepared.items) == sorted(items)
    assert len(prepared) == len(items)
    assert prepared.hashes(k0, k1) == [siphash24(k0, k1, item) for item in prepared.items]


def test_extreme_words_do_not_leak_into_their_neighbours() -> None:
    items = [b"\xff" * 40, bytes(40)] * 10
    ones = (1 << 64) - 1
    prepared = SipHashItems(items)
    assert prepared.hashes(ones, ones) == [siphash24(ones, ones, item) for item in prepared.items]


def test_more_items_than_fit_one_integer() -> None:
    generator = random.Random(7)
    prepared = SipHashItems(generator.randbytes(300 if n % 1000 == 0 else 22) for n in range(4500))
    assert prepared.hashes(1, 2) == [siphash24(1, 2, item) for item in prepared.items]
