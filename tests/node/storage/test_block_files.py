"""Block and undo files: Core's own are read, ours are like them."""

import json
from pathlib import Path

import pytest

from altyn.consensus.block import Block
from altyn.consensus.hashes import sha256d
from altyn.consensus.networks import MAINNET, REGTEST
from altyn.node.storage.blocks import BlockFiles, FilePosition
from altyn.node.storage.disk import Disk, FolderDisk, MemoryDisk
from altyn.node.storage.errors import StoreError

MAGIC = REGTEST.magic


@pytest.fixture(params=["folder", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return FolderDisk(tmp_path / "blocks") if request.param == "folder" else MemoryDisk()


def record(number: int, size: int = 200) -> bytes:
    return bytes([number]) * size


def test_what_is_written_is_read_again(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC)
    one, two = files.write_block(record(1)), files.write_block(record(2))
    assert one == (0, 8)
    assert two == (0, 8 + 200 + 8)
    undo = files.write_undo(0, b"spent", bytes(32))
    files.sync()
    again = BlockFiles(disk, MAGIC)
    assert again.read_block(one) == record(1)
    assert again.read_block(two) == record(2)
    assert again.read_part(two, 10, 5) == record(2)[:5]
    assert again.read_undo(undo, bytes(32)) == b"spent"
    assert disk.read("blk00000.dat", 0, 8) == MAGIC + (200).to_bytes(4, "little")
    assert disk.read("rev00000.dat", 8 + 5, 32) == sha256d(bytes(32) + b"spent")


def test_a_full_file_is_followed_by_another(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC, max_file_size=500)
    places = [files.write_block(record(number)) for number in range(5)]
    assert [place.file for place in places] == [0, 0, 1, 1, 2]
    assert files.read_block(places[3]) == record(3)
    assert BlockFiles(disk, MAGIC, max_file_size=500).write_block(record(9)).file == 2


def test_a_key_in_xor_dat_is_applied_both_ways(disk: Disk) -> None:
    disk.write("xor.dat", 0, bytes(range(1, 9)))
    files = BlockFiles(disk, MAGIC)
    place = files.write_block(record(0, 203))
    undo = files.write_undo(0, record(0, 11), bytes(32))
    assert files.read_block(place) == record(0, 203)
    assert files.read_undo(undo, bytes(32)) == record(0, 11)
    assert files.read_part(place, 3, 7) == record(0, 7)
    assert disk.read("blk00000.dat", 8, 203) == (bytes(range(1, 9)) * 26)[:203]


def test_a_damaged_record_is_named(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC)
    place = files.write_block(record(1))
    undo = files.write_undo(0, b"spent", bytes(32))
    with pytest.raises(StoreError, match=r"rev00000.dat in the blocks folder is damaged at byte 8"):
        files.read_undo(undo, b"\1" * 32)
    with pytest.raises(StoreError, match="damaged"):
        files.read_block(FilePosition(0, place.offset + 1))
    with pytest.raises(StoreError, match="damaged"):
        files.read_block(FilePosition(0, 0))
    disk.write("rev00000.dat", 9, b"X")
    with pytest.raises(StoreError, match="damaged"):
        files.read_undo(undo, bytes(32))
    disk.truncate("blk00000.dat", 207)
    with pytest.raises(StoreError, match="damaged"):
        files.read_block(place)
    with pytest.raises(StoreError, match=r"blk00007.dat: No such file"):
        files.read_block(FilePosition(7, 8))


def test_recovery_hands_out_what_the_index_lacks_and_cuts_the_rest(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC)
    places = [files.write_block(record(number)) for number in range(4)]
    undos = [files.write_undo(0, record(number, 20), bytes(32)) for number in range(3)]
    disk.truncate("blk00000.dat", disk.size("blk00000.dat") - 1)
    again = BlockFiles(disk, MAGIC)
    known = {0: (places[0].offset + 200, undos[1].offset)}
    assert list(again.recover(known)) == [(places[1], record(1)), (places[2], record(2))]
    assert disk.size("blk00000.dat") == places[2].offset + 200
    assert disk.size("rev00000.dat") == undos[1].offset + 20 + 32
    assert again.write_block(record(5)) == places[3]
    assert again.write_undo(0, record(5, 20), bytes(32)) == undos[2]
    assert again.read_undo(undos[1], bytes(32)) == record(1, 20)


def test_zeros_behind_the_records_are_no_records(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC)
    place = files.write_block(record(1))
    disk.write("blk00000.dat", 208, bytes(1 << 16))
    again = BlockFiles(disk, MAGIC)
    assert list(again.recover({})) == [(place, record(1))]
    assert disk.size("blk00000.dat") == 208


def test_a_key_of_the_wrong_size_is_refused(disk: Disk) -> None:
    disk.write("xor.dat", 0, b"short")
    with pytest.raises(StoreError, match=r"xor.dat"):
        BlockFiles(disk, MAGIC)


def test_our_files_hold_blocks_as_core_writes_them(tmp_path: Path) -> None:
    files = BlockFiles(FolderDisk(tmp_path), MAINNET.magic)
    files.write_block(MAINNET.genesis.raw)
    raw = (tmp_path / "blk00000.dat").read_bytes()
    assert raw == bytes.fromhex("f9beb4d91d010000") + MAINNET.genesis.raw
    assert Block.parse(raw[8:]).hash == MAINNET.genesis.hash
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["blk00000.dat"]'


def test_files_are_removed_with_their_undo_data_if_there_is_any(disk: Disk) -> None:
    files = BlockFiles(disk, MAGIC, max_file_size=200)
    blocks = [files.write_block(bytes(150)) for _ in range(3)]
    files.write_undo(1, b"undo", bytes(32))
    whole = files.usage
    assert [each.file for each in blocks] == [0, 1, 2]
    assert files.finished() == [0, 1]
    files = BlockFiles(disk, MAGIC, max_file_size=200)
    assert len(list(files.recover({0: (158, 0), 1: (158, 8)}))) == 1
    assert files.usage == whole
    removed = files.size(0) + files.size(1)
    files.remove([0, 1, 7])
    assert disk.names() == ["blk00002.dat"]
    assert files.usage == whole - removed
    assert files.write_block(bytes(10)).file == 8  # numbers are not used twice
