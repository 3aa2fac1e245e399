"""Bloom filters and the hash under them, with the examples that BIP37's implementations share."""

import pytest
from builders import ANYONE, chain, coin, spend

from altyn.consensus.bloom import BloomFilter, Update, murmur3
from altyn.consensus.script.templates import multisig, p2pk, p2pkh, p2wpkh
from altyn.consensus.transaction import Transaction, TxIn, TxOut

KEY = bytes([2]) + bytes(range(32))


@pytest.mark.parametrize(
    ("expected", "seed", "data"),
    [
        (0x00000000, 0x00000000, ""),
        (0x6A396F08, 0xFBA4C795, ""),
        (0x81F16F39, 0xFFFFFFFF, ""),
        (0x514E28B7, 0x00000000, "00"),
        (0xEA3F0B17, 0xFBA4C795, "00"),
        (0xFD6CF10D, 0x00000000, "ff"),
        (0x16C6B7AB, 0x00000000, "0011"),
        (0x8EB51C3D, 0x00000000, "001122"),
        (0xB4471BF8, 0x00000000, "00112233"),
        (0xE2301FA8, 0x00000000, "0011223344"),
        (0xFC2E4A15, 0x00000000, "001122334455"),
        (0xB074502C, 0x00000000, "00112233445566"),
        (0x8034D2A0, 0x00000000, "0011223344556677"),
        (0xB4698DEF, 0x00000000, "001122334455667788"),
    ],
)
def test_the_hash_is_murmur3(expected: int, seed: int, data: str) -> None:
    assert murmur3(bytes.fromhex(data), seed) == expected


@pytest.mark.parametrize(("tweak", "bits"), [(0, "614e9b"), (2147483649, "ce4299")])
def test_three_items_give_the_known_bits(tweak: int, bits: str) -> None:
    items = [
        bytes.fromhex(text)
        for text in (
            "99108ad8ed9bb6274d3980bab5a85c048f0950c8",
            "b5a2c786d9ef4658287ced5914b37a1b4aa32eee",
            "b9300670b4c5366e95b2699e8b18bc75e5f729c5",
        )
    ]
    bloom = BloomFilter(bytes(3), 5, tweak, Update.ALL)
    for item in items:
        bloom.add(item)
        assert item in bloom
    assert bytes.fromhex("19108ad8ed9bb6274d3980bab5a85c048f0950c8") not in bloom
    assert bloom.data.hex() == bits


def test_an_empty_filter_matches_everything() -> None:
    bloom = BloomFilter(b"", 5, 0)
    bloom.add(b"x")
    assert b"y" in bloom
    assert bloom.matches(Transaction(2, [], []))


@pytest.mark.parametrize(("size", "functions", "too_large"), [(36_000, 50, False), (36_001, 1, True), (1, 51, True)])
def test_what_would_cost_too_much_is_too_large(size: int, functions: int, too_large: bool) -> None:
    assert BloomFilter.is_too_large(size, functions) is too_large


def a_filter(*items: bytes, update: int = Update.NONE) -> BloomFilter:
    bloom = BloomFilter(bytes(1000), 10, 7, update)
    for item in items:
        bloom.add(item)
    return bloom


def test_a_transaction_matches_by_txid_output_input_and_pushes() -> None:
    funding = chain("g a1")["a1"]
    tx = spend(coin(funding), to=[TxOut(1, p2pkh(bytes(20)))])
    signed = Transaction(2, [TxIn(tx.inputs[0].prevout, b"\x21" + KEY, 0)], tx.outputs)
    assert a_filter(tx.txid).matches(tx)
    assert a_filter(bytes(20)).matches(tx)
    assert a_filter(bytes(tx.inputs[0].prevout)).matches(tx)
    assert a_filter(KEY).matches(signed)
    assert not a_filter(KEY).matches(tx)
    cut_short = Transaction(2, tx.inputs, [TxOut(1, b"\x01\x07\x4c")])
    assert a_filter(b"\x07").matches(cut_short)


@pytest.mark.parametrize(
    ("update", "script", "is_put_in"),
    [
        (Update.NONE, p2pk(KEY), False),
        (Update.ALL, p2pk(KEY), True),
        (Update.ALL, p2wpkh(bytes(20)), True),
        (Update.PUBLIC_KEYS_ONLY, p2pk(KEY), True),
        (Update.PUBLIC_KEYS_ONLY, multisig(1, [KEY]), True),
        (Update.PUBLIC_KEYS_ONLY, p2wpkh(bytes(20)), False),
    ],
)
def test_a_matched_output_is_put_in_as_the_flags_say(update: int, script: bytes, is_put_in: bool) -> None:
    tx = spend(coin(chain("g a1")["a1"]), to=[TxOut(1, ANYONE), TxOut(1, script)])
    bloom = a_filter(KEY, bytes(20), update=update)
    assert bloom.matches(tx)
    assert (bytes(tx.outpoint(1)) in bloom) is is_put_in
    assert bytes(tx.outpoint(0)) not in bloom
