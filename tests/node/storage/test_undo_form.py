"""Core's compression of amounts, scripts and numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.encoding import Cursor, EncodingError
from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.networks import MAINNET
from altyn.consensus.transaction import Coin, TxOut
from altyn.node.storage.undo import (
    compress_amount,
    compress_script,
    decode_undo,
    decompress_amount,
    encode_undo,
    read_script,
    read_varint,
    write_varint,
)

GENESIS_KEY = MAINNET.genesis.transactions[0].outputs[0].script_pubkey[1:66]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0, "00"), (1, "01"), (127, "7f"), (128, "8000"), (255, "807f"), (256, "8100"), (16383, "fe7f")),
        *((16384, "ff00"), (16511, "ff7f"), (65535, "82fe7f"), (1 << 32, "8efefeff00")),
    ],
)
def test_numbers_are_written_as_core_writes_them(number: int, text: str) -> None:
    assert write_varint(number).hex() == text
    assert read_varint(Cursor(bytes.fromhex(text))) == number


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_are_read_again(number: int) -> None:
    cursor = Cursor(write_varint(number))
    assert read_varint(cursor) == number
    cursor.finish()


def test_a_number_that_never_ends_is_refused() -> None:
    with pytest.raises(EncodingError):
        read_varint(Cursor(b"\xff" * 20))


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, 0), (1, 1), (1_000_000, 7), (100_000_000, 9), (50 * 100_000_000, 0x32), (MAX_MONEY, 0x1406F40)],
)
def test_amounts_are_compressed_as_core_does(value: int, code: int) -> None:
    assert compress_amount(value) == code
    assert decompress_amount(code) == value


@given(st.integers(0, MAX_MONEY) | st.integers(0, 21_000_000).map(lambda coins: coins * 100_000_000))
def test_amounts_are_read_again(value: int) -> None:
    assert decompress_amount(compress_amount(value)) == value


@pytest.mark.parametrize(
    ("script", "size"),
    [
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 21),
        (b"\xa9\x14" + bytes(20) + b"\x87", 21),
        (b"\x21\x02" + GENESIS_KEY[1:33] + b"\xac", 33),
        (b"\x21\x03" + GENESIS_KEY[1:33] + b"\xac", 33),
        (b"\x41" + GENESIS_KEY + b"\xac", 33),
        (b"\x41\x04" + bytes(64) + b"\xac", 68),  # no point of the curve: kept whole
        (b"\x41\x06" + GENESIS_KEY[1:] + b"\xac", 68),  # hybrid: kept whole
        (b"\x00\x14" + bytes(20), 23),
        (b"", 1),
        (bytes(200), 202),
    ],
)
def test_scripts_are_compressed_and_restored(script: bytes, size: int) -> None:
    packed = compress_script(script)
    assert len(packed) == size
    cursor = Cursor(packed)
    assert read_script(cursor) == script
    cursor.finish()


def test_a_compressed_key_off_the_curve_is_refused() -> None:
    with pytest.raises(EncodingError, match="not on the curve"):
        read_script(Cursor(b"\x04" + (5).to_bytes(32)))


@given(
    st.lists(
        st.lists(
            st.builds(
                Coin,
                st.builds(TxOut, st.integers(0, MAX_MONEY), st.binary(max_size=80)),
                st.integers(0, 10_000_000),
                st.booleans(),
            )
        )
    )
)
def test_undo_data_is_read_again(spent: list[list[Coin]]) -> None:
    assert decode_undo(encode_undo(spent)) == spent


def test_undo_data_cut_short_is_refused() -> None:
    data = encode_undo([[Coin(TxOut(5, b"\x51"), 1, True)]])
    for end in range(len(data)):
        with pytest.raises(EncodingError):
            decode_undo(data[:end])
    with pytest.raises(EncodingError):
        decode_undo(data + b"\0")
