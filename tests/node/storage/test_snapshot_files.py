"""Files of coins: what is written is read again, and what is not right is refused in Core's words."""

import io
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.encoding import compact_size
from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.storage.layout import encode_coin
from altyn.node.storage.snapshot import SnapshotError, SnapshotHead, SnapshotWriter, read_coins
from altyn.node.storage.undo import compress_amount, write_varint

MAGIC = b"abcd"
BLOCK = bytes(range(32))
Coins = dict[bytes, bytes]

outpoints = st.builds(OutPoint.make, st.sampled_from([bytes([n]) * 32 for n in range(3)]), st.integers(0, 70_000))
coins = st.builds(
    Coin,
    st.builds(TxOut, st.integers(0, MAX_MONEY), st.binary(max_size=80) | st.just(b"\x6a" * 10_000)),
    st.integers(0, 500),
    st.booleans(),
)


def written(folder: Path, found: Iterable[tuple[bytes, bytes]]) -> bytes:
    path = folder / "coins"
    writer = SnapshotWriter(path)
    passed = list(writer.through(iter(found)))
    writer.finish(MAGIC, BLOCK)
    writer.close()
    assert passed == list(found)
    assert [each.name for each in folder.iterdir()] == ["coins"]
    return path.read_bytes()


def read(data: bytes, height: int = 500) -> Coins:
    file = io.BytesIO(data)
    return dict(read_coins(file, SnapshotHead.read(file), height))


@given(st.dictionaries(outpoints, coins, max_size=30))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, found: dict[OutPoint, Coin]) -> None:
    values = {bytes(outpoint): encode_coin(coin) for outpoint, coin in sorted(found.items())}
    data = written(tmp_path_factory.mktemp("snapshot"), list(values.items()))
    assert SnapshotHead.read(io.BytesIO(data)) == SnapshotHead(MAGIC, BLOCK, len(found))
    assert read(data) == values


def test_indexes_are_in_the_order_of_cores_database(tmp_path: Path) -> None:
    indexes = [0, 1, 127, 128, 16_511, 16_512, 65_536]
    made = sorted((OutPoint.make(bytes(32), index), encode_coin(Coin(TxOut(1, b""), 1, False))) for index in indexes)
    data = written(tmp_path, made)
    order = [int.from_bytes(outpoint[32:], "little") for outpoint in read(data)]
    assert order == [0, 1, 127, 128, 16_512, 65_536, 16_511]


def test_nothing_stands_there_before_it_is_whole(tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path / "coins")
    list(writer.through(iter([(bytes(36), encode_coin(Coin(TxOut(1, b""), 1, False)))])))
    assert not (tmp_path / "coins").exists()
    writer.close()
    assert not list(tmp_path.iterdir())


def file_of(*groups: bytes, count: int = 1) -> bytes:
    return SnapshotHead(MAGIC, BLOCK, count).encode() + b"".join(groups)


def group(count: int = 1, index: int = 0, code: int = 2, value: int = 5, script: bytes = b"\x06") -> bytes:
    coin = compact_size(index) + write_varint(code) + write_varint(compress_amount(value)) + script
    return bytes(32) + compact_size(count) + coin


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (file_of(group())[:50], "AutoFile::read: end of file"),
        (b"nope" + file_of(group())[4:], "Invalid UTXO set snapshot magic bytes. Please check"),
        (file_of(group())[:5] + b"\x01\0" + file_of(group())[7:], "Version of snapshot 1 does not match any of the"),
        (file_of(count=1), "Bad snapshot format or truncated snapshot after deserializing 0 coins"),
        (file_of(group(), count=2), "Bad snapshot format or truncated snapshot after deserializing 1 coins"),
        (file_of(group(count=2), count=3), "Bad snapshot format or truncated snapshot after deserializing 1 coins"),
        (file_of(group(count=2)), "Mismatch in coins count in snapshot metadata and actual snapshot data"),
        (file_of(bytes(33) * 5, group()), "Mismatch in coins count in snapshot metadata and actual snapshot data"),
        (file_of(group(), b"\0"), "Bad snapshot - coins left over after deserializing 1 coins"),
        (file_of(group(code=2 * 501)), "Bad snapshot data after deserializing 0 coins"),
        (file_of(group(value=MAX_MONEY + 1)), "Bad snapshot data after deserializing 0 coins - bad tx out value"),
        (file_of(group(script=write_varint(1 << 40))), "Bad snapshot format or truncated snapshot after deserializ"),
        (file_of(group(script=b"\x04" + b"\xff" * 32)), "Bad snapshot format or truncated snapshot after deserializ"),
    ],
)
def test_what_is_not_right_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        read(data)
    assert str(caught.value).startswith(why)


def test_memory_is_bounded_whatever_a_file_claims() -> None:
    class Endless(io.RawIOBase):
        """Gives what it has, then zeros, and counts them."""

        given = 0
        first = file_of(group(script=write_varint(1 << 62)), count=1 << 62)

        def read(self, size: int = -1, /) -> bytes:
            assert 0 <= size <= 1 << 20
            found, self.first = self.first[:size], self.first[size:]
            self.given += size
            return found or bytes(size)

    file = Endless()
    with pytest.raises(SnapshotError, match="truncated"):
        list(read_coins(file, SnapshotHead.read(file), 500))
    assert file.given <= 3 << 20
