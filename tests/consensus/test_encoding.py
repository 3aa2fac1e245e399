"""Bytes that are not what they claim to be are refused: cut anywhere, too long, not in the one right form."""

import pytest

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import Cursor, EncodingError, compact_size, read_compact_size
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut

PREVOUT = OutPoint.make(b"\x11" * 32, 3)
LEGACY = Transaction(1, [TxIn(PREVOUT, b"\x51" * 300), TxIn(PREVOUT, b"")], [TxOut(5, b"\x6a" * 260), TxOut(6, b"")], 7)
SEGWIT = Transaction(2, [TxIn(PREVOUT, b"", 9, (b"", b"ab" * 150)), TxIn(PREVOUT, b"\x51")], [TxOut(5, b"\x51")], 7)
BLOCK = Block(REGTEST.genesis.header, [LEGACY, SEGWIT])


@pytest.mark.parametrize("number", [0, 0xFC, 0xFD, 0xFFFF, 0x10000, 0x02000000])
def test_compact_sizes_are_read_back(number: int) -> None:
    encoded = compact_size(number)
    assert read_compact_size(b"?" + encoded, 1) == (number, 1 + len(encoded))
    with pytest.raises(EncodingError, match="end of data"):
        read_compact_size(encoded[:-1], 0)


@pytest.mark.parametrize("encoded", ["fdfc00", "feffff0000", "ffffffffff00000000"])
def test_compact_sizes_have_one_form(encoded: str) -> None:
    with pytest.raises(EncodingError, match="non-canonical"):
        read_compact_size(bytes.fromhex(encoded), 0)


@pytest.mark.parametrize("number", [0x02000001, 0xFFFFFFFF, 0x100000000])
def test_compact_sizes_are_limited(number: int) -> None:
    with pytest.raises(EncodingError, match="size too large"):
        read_compact_size(compact_size(number), 0)


def test_a_cursor_stops_at_the_end() -> None:
    cursor = Cursor(b"\x01\x02\x03")
    for read in (cursor.u32, cursor.u64, lambda: cursor.read(4), lambda: cursor.read(-1)):
        with pytest.raises(EncodingError, match="end of data"):
            read()
    assert cursor.read(2) == b"\x01\x02"
    with pytest.raises(EncodingError, match="1 bytes left over"):
        cursor.finish()
    assert cursor.u8() == 3
    cursor.finish()


@pytest.mark.parametrize("tx", [LEGACY, SEGWIT], ids=["legacy", "segwit"])
def test_a_transaction_is_read_back_and_not_in_part(tx: Transaction) -> None:
    read = Transaction.parse(tx.raw)
    assert (read.version, read.inputs, read.outputs, read.lock_time) == (
        tx.version,
        tx.inputs,
        tx.outputs,
        tx.lock_time,
    )
    assert (read.txid, read.wtxid, read.raw) == (tx.txid, tx.wtxid, tx.raw)
    assert Transaction.parse_from(b"??" + tx.raw + b"?", 2) == (tx, 2 + len(tx.raw))
    with pytest.raises(EncodingError, match="1 bytes behind the transaction"):
        Transaction.parse(tx.raw + b"\0")
    for end in range(len(tx.raw)):
        with pytest.raises(EncodingError):
            Transaction.parse(tx.raw[:end])


def test_a_transaction_cut_short_says_so() -> None:
    with pytest.raises(EncodingError, match="end of data"):
        Transaction.parse(LEGACY.raw[:-1])


def test_witnesses_must_be_there_if_announced() -> None:
    bare = Transaction(2, [TxIn(PREVOUT)], [TxOut(5, b"\x51")])
    with pytest.raises(EncodingError, match="Superfluous witness record"):
        Transaction.parse(bare.raw[:4] + b"\0\1" + bare.raw[4:-4] + b"\0" + bare.raw[-4:])
    with pytest.raises(EncodingError, match="Unknown transaction optional data"):
        Transaction.parse(bare.raw[:4] + b"\0\2" + bare.raw[4:])


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_header_has_80_bytes(size: int) -> None:
    with pytest.raises(EncodingError, match="80 bytes"):
        Header.parse(bytes(size))


def test_a_block_is_read_back_and_not_in_part() -> None:
    assert Block.parse(BLOCK.raw).transactions == (LEGACY, SEGWIT)
    with pytest.raises(EncodingError, match="2 bytes behind the block"):
        Block.parse(BLOCK.raw + b"??")
    for end in range(0, len(BLOCK.raw), 7):
        with pytest.raises(EncodingError):
            Block.parse(BLOCK.raw[:end])


def test_a_count_that_no_data_backs_is_refused_at_once() -> None:
    with pytest.raises(EncodingError, match="end of data"):
        Block.parse(BLOCK.header.raw + compact_size(0x02000000))
