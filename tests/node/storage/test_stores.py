"""The stores: what is written is what is read, and the tip moves with it."""

from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.storage.blocks import FilePosition
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.filters import FilterRecord, FilterStore
from altyn.node.storage.headers import HeaderRecord, HeaderStore
from altyn.node.storage.kv import Memory
from altyn.node.storage.layout import decode_coin, encode_coin
from altyn.node.storage.rows import RowStore

COINS = {
    OutPoint.make(bytes([number]) * 32, number): Coin(
        TxOut(number * 10**8, bytes([0x51] * number)), number, number == 1
    )
    for number in range(4)
}


def test_coins_are_kept_in_order_with_their_tip() -> None:
    store = CoinStore(Memory())
    assert store.best_block is None
    store.write(b"\1" * 32, [(outpoint, encode_coin(coin)) for outpoint, coin in COINS.items()])
    assert store.best_block == b"\1" * 32
    assert dict(store) == COINS
    first = next(iter(COINS))
    store.write(b"\2" * 32, [(first, None)])
    assert store.get(first) is None
    assert len(dict(store)) == 3
    assert store.best_block == b"\2" * 32


def test_the_form_of_a_coin_keeps_all_of_it() -> None:
    for coin in COINS.values():
        assert decode_coin(encode_coin(coin)) == coin


def test_headers_are_read_by_height() -> None:
    store = HeaderStore(Memory())
    header = REGTEST.genesis.header
    records = [
        HeaderRecord(header, 300, 0xFF, 7, FilePosition(3, 99), 1000, FilePosition(3, 8)),
        HeaderRecord(header, 2, 0, 0, None, 0, None),
    ]
    store.write(records)
    assert list(store) == records[::-1]


def test_filters_are_found_by_block() -> None:
    store = FilterStore(Memory())
    record = FilterRecord(b"\7" * 32, b"filter")
    store.write(b"\1" * 32, [(5, b"\1" * 32, record)])
    assert store.get(5, b"\1" * 32) == record
    assert store.get(5, b"\2" * 32) is None
    assert store.best_block == b"\1" * 32


def test_rows_are_found_by_group_and_by_key() -> None:
    store = RowStore(Memory())
    store.write(b"\1" * 32, {b"ga\2": b"two", b"ga\1": b"one", b"gb\1": b"other"})
    assert list(store.find(b"ga")) == [(b"\1", b"one"), (b"\2", b"two")]
    assert store.get(b"gb\1") == b"other"
    assert store.get(b"gb") is None
    assert store.best_block == b"\1" * 32
