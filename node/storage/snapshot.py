"""Files of all unspent outputs at one block, as Core writes and reads them (Core: SnapshotMetadata, WriteUTXOSnapshot).

Magic (5), version (2), network magic (4), block hash (32), number of coins (8); then, for each transaction, its txid
(32), a count, and as many coins: index, height * 2 + is_coinbase, amount and script, the last two compressed as in undo
data.
Coins are given and taken as outpoint and value form (`layout.encode_coin`).
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Self

from altyn.consensus.encoding import Cursor, EncodingError, compact_size
from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.transaction import Coin, TxOut
from altyn.node.storage.layout import decode_coin, encode_coin
from altyn.node.storage.undo import (
    compress_amount,
    compress_script,
    decompress_amount,
    read_script,
    read_varint,
    write_varint,
)

MAGIC = b"utxo\xff"
VERSION = 2
_HEAD = struct.Struct("<5sH4s32sQ")
_PIECE = 1 << 20
_LARGEST_COIN = 10_100
"""Bytes that a coin, with what stands before it, takes at most: what is longer could never be spent."""


class SnapshotError(Exception):
    """A snapshot that cannot be used, in Core's words."""


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """What a file of coins says of itself."""

    magic: bytes
    """The network's."""
    block_hash: bytes
    coins: int

    def encode(self) -> bytes:
        return _HEAD.pack(MAGIC, VERSION, self.magic, self.block_hash, self.coins)

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """Read the head of a file. Raises SnapshotError."""
        data = file.read(_HEAD.size)
        if len(data) < _HEAD.size:
            raise SnapshotError("AutoFile::read: end of file")
        magic, version, network_magic, block_hash, coins = _HEAD.unpack(data)
        if magic != MAGIC:
            raise SnapshotError(
                "Invalid UTXO set snapshot magic bytes. Please check if this is indeed a snapshot file or if you are "
                "using an outdated snapshot format."
            )
        if version != VERSION:
            raise SnapshotError(f"Version of snapshot {version} does not match any of the supported versions.")
        return cls(network_magic, block_hash, coins)


class SnapshotWriter:
    """A file being written: nothing stands at `path` before `finish`; blocking. Raises OSError."""

    def __init__(self, path: Path) -> None:
        """Begin the file beside its place, over what a crash may have left there."""
        self._path = path
        self._temporary = path.with_name(path.name + ".incomplete")
        self._file = self._temporary.open("wb")
        self._file.write(bytes(_HEAD.size))
        self.coins = 0

    def through(self, coins: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield `coins`, in the order of their outpoints, and write those of each transaction when it is passed."""
        for txid, group in groupby(coins, lambda coin: coin[0][:32]):
            found = list(group)
            self._file.write(_encode_group(txid, found))
            self.coins += len(found)
            yield from found

    def finish(self, magic: bytes, block_hash: bytes) -> None:
        """Write the head, make all durable and put the file into its place."""
        self._file.seek(0)
        self._file.write(SnapshotHead(magic, block_hash, self.coins).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)

    def close(self) -> None:
        """Remove what was not finished."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _encode_group(txid: bytes, coins: list[tuple[bytes, bytes]]) -> bytes:
    # Core's database orders indexes as variable-length numbers, and so is the order in its files.
    by_index = {int.from_bytes(outpoint[32:], "little"): data for outpoint, data in coins}
    parts = [txid, compact_size(len(coins))]
    for index in sorted(by_index, key=write_varint):
        data = by_index[index]
        (value, script), height, is_coinbase = decode_coin(data)
        parts += [
            compact_size(index),
            write_varint(height << 1 | is_coinbase),
            write_varint(compress_amount(value)),
            compress_script(script),
        ]
    return b"".join(parts)


def read_coins(file: BinaryIO, head: SnapshotHead, height: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the coins of a file whose head was read, at most as many as that says; blocking. Raises SnapshotError.

    `height` is the block's: no coin may be younger. The file may come from anybody, so memory is bounded.
    """
    source = _Refilled(file)
    done = 0
    while done < head.coins:
        try:
            cursor = source.cursor()
            txid = cursor.read(32)
            count = cursor.compact_size()
            if not 0 < count <= head.coins - done:  # with none each, a file could keep a thread for hours
                raise SnapshotError("Mismatch in coins count in snapshot metadata and actual snapshot data")
            for _ in range(count):
                cursor = source.cursor()
                index = cursor.compact_size()
                code = read_varint(cursor)
                value = decompress_amount(read_varint(cursor))
                script = read_script(cursor)
                if code >> 1 > height or index >= 0xFFFFFFFF:
                    raise SnapshotError(f"Bad snapshot data after deserializing {done} coins")
                if value > MAX_MONEY:
                    raise SnapshotError(f"Bad snapshot data after deserializing {done} coins - bad tx out value")
                yield (
                    txid + index.to_bytes(4, "little"),
                    encode_coin(Coin(TxOut(value, script), code >> 1, bool(code & 1))),
                )
                done += 1
        except EncodingError as error:
            raise SnapshotError(
                f"Bad snapshot format or truncated snapshot after deserializing {done} coins"
            ) from error
    if source.cursor().remaining:
        raise SnapshotError(f"Bad snapshot - coins left over after deserializing {done} coins")


class _Refilled:
    """A window on a file that always holds one more coin, if the file does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._cursor = Cursor(b"")

    def cursor(self) -> Cursor:
        """Return the place to read on from."""
        cursor = self._cursor
        if cursor.remaining < _LARGEST_COIN:
            more = self._file.read(_PIECE)
            if more:
                self._cursor = cursor = Cursor(cursor.data[cursor.position :] + more)
        return cursor
