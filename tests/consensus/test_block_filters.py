"""Compact filters: what goes in, what is found, what is refused."""

import random

import pytest
from builders import block_on, coinbase
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.encoding import EncodingError, compact_size
from altyn.consensus.filters import (
    build_filter,
    decode_filter,
    encode_filter,
    filter_hash,
    filter_header,
    match_any,
    matching,
)
from altyn.consensus.hashes import sha256d
from altyn.consensus.networks import REGTEST
from altyn.consensus.siphash import SipHashItems
from altyn.consensus.transaction import TxOut

KEY = bytes(range(32))


def scripts(count: int, seed: int = 1) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(generator.choice((22, 23, 25, 34, 67))) for _ in range(count)]


@given(st.sets(st.binary(min_size=1, max_size=80), max_size=60))
def test_every_element_is_found(elements: set[bytes]) -> None:
    data = encode_filter(KEY, elements)
    assert len(decode_filter(data)) == len(elements)
    assert all(match_any(data, KEY, [element]) for element in elements)


def test_other_scripts_are_not_found() -> None:
    data = encode_filter(KEY, scripts(2000))
    assert not match_any(data, KEY, scripts(300, seed=2))
    assert not match_any(data, bytes(32), scripts(300))


def test_matching_tells_the_found_from_the_others() -> None:
    inside, outside = scripts(100), scripts(100, seed=2)
    assert matching(encode_filter(KEY, inside), KEY, [*outside, *inside]) == set(inside)
    assert matching(b"\0", KEY, inside) == set()
    with pytest.raises(EncodingError):
        matching(b"\x05", KEY, inside)


def test_prepared_scripts_search_many_filters() -> None:
    wanted = SipHashItems(scripts(50))
    assert match_any(encode_filter(KEY, scripts(1)), KEY, wanted)
    assert not match_any(encode_filter(KEY, scripts(40, seed=3)), KEY, wanted)


def test_an_empty_filter_is_one_zero_and_matches_nothing() -> None:
    assert encode_filter(KEY, []) == b"\0"
    assert not match_any(b"\0", KEY, [b"\x51"])


def test_nothing_wanted_is_never_found() -> None:
    assert not match_any(encode_filter(KEY, scripts(5)), KEY, [])


def test_a_filter_holds_outputs_and_spent_scripts_but_no_data_carriers() -> None:
    outputs = [TxOut(0, b"\x51\x01"), TxOut(0, b""), TxOut(0, b"\x6a\x01\x02"), TxOut(0, b"\x51\x01")]
    block = block_on(REGTEST.genesis.header, 1, coinbase_tx=coinbase(1, outputs=outputs))
    data = build_filter(block, [b"\x52", b"", b"\x52"])
    assert data == encode_filter(block.hash, [b"\x51\x01", b"\x52"])


def test_filter_headers_chain_the_hashes() -> None:
    data = encode_filter(KEY, scripts(3))
    assert filter_hash(data) == sha256d(data)
    assert filter_header(KEY, data) == sha256d(sha256d(data) + KEY)


def test_a_filter_that_ends_early_is_refused() -> None:
    data = encode_filter(KEY, scripts(100))
    with pytest.raises(EncodingError, match="ends early"):
        decode_filter(data[:-1])
    with pytest.raises(EncodingError, match="ends early"):
        decode_filter(compact_size(101) + data[1:])
    with pytest.raises(EncodingError, match="ends early"):
        decode_filter(compact_size(1_000_000) + data[1:])


def test_bytes_behind_a_filter_are_refused() -> None:
    with pytest.raises(EncodingError, match="behind"):
        decode_filter(encode_filter(KEY, scripts(100)) + b"\0")
    with pytest.raises(EncodingError, match="behind"):
        decode_filter(b"\0\0")


def test_a_filter_of_ones_without_end_is_refused_in_time() -> None:
    with pytest.raises(EncodingError, match="ends early"):
        decode_filter(compact_size(2) + b"\xff" * 1_000_000)
