"""LevelDB and the dictionary behave alike; damage does not pass for data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from altyn.node.storage.errors import StoreError
from altyn.node.storage.kv import KeyValue, LevelDb, Memory


@pytest.fixture(params=["leveldb", "memory"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValue]:
    store: KeyValue = LevelDb(tmp_path / "db") if request.param == "leveldb" else Memory()
    yield store
    store.close()


def test_a_batch_is_written_whole(kv: KeyValue) -> None:
    with kv.batch() as batch:
        batch.put(b"a1", b"one")
        batch.put(b"a2", b"two")
        batch.put(b"b1", b"three")
        assert kv.get(b"a1") is None
    with kv.batch() as batch:
        batch.delete(b"a1")
        batch.delete(b"never")
    assert kv.get(b"a1") is None
    assert kv.get(b"a2") == b"two"
    assert kv.many([b"b1", b"a1", b"a2"]) == [b"three", None, b"two"]
    assert list(kv.scan(b"a")) == [(b"a2", b"two")]
    assert list(kv.scan(b"")) == [(b"a2", b"two"), (b"b1", b"three")]


def test_a_batch_that_fails_writes_nothing(kv: KeyValue) -> None:
    class Failure(Exception):
        pass

    def fail() -> None:
        with kv.batch() as batch:
            batch.put(b"a", b"one")
            raise Failure

    with pytest.raises(Failure):
        fail()
    assert kv.get(b"a") is None


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    store = LevelDb(tmp_path)
    with store.batch() as batch:
        batch.put(b"k", b"v")
    store.close()
    store = LevelDb(tmp_path)
    assert store.get(b"k") == b"v"
    store.close()


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    store = LevelDb(tmp_path, write_buffer_size=1 << 16)
    for start in range(0, 4000, 500):
        with store.batch() as batch:
            for number in range(start, start + 500):
                batch.put(b"%06d" % number, b"%06d" % number * 20)
    store.close()
    table = max(tmp_path.glob("*.ldb"), key=lambda path: path.stat().st_size)
    raw = bytearray(table.read_bytes())
    for position in range(1000, len(raw) // 2, 500):
        raw[position] ^= 0x10
    table.write_bytes(raw)

    def read_all() -> None:
        damaged = LevelDb(tmp_path)
        try:
            for number in range(4000):
                assert damaged.get(b"%06d" % number) in (b"%06d" % number * 20, None)
            assert len(list(damaged.scan(b""))) == 4000
        finally:
            damaged.close()

    with pytest.raises(StoreError, match="is damaged"):
        read_all()


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("nonsense\n")
    with pytest.raises(StoreError, match=str(tmp_path)):
        LevelDb(tmp_path)
