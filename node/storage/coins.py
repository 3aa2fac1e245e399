"""Unspent outputs on disk, at one tip."""

from collections.abc import Generator, Iterable, Iterator

from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.storage.kv import KeyValue
from altyn.node.storage.layout import BEST_BLOCK, COIN, SNAPSHOT, decode_coin


class CoinStore:
    """Coins in the form of `layout.encode_coin`, and the hash of the block they stand at."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    @property
    def best_block(self) -> bytes | None:
        """The hash of the block the coins stand at; None before the first write."""
        return self._kv.get(BEST_BLOCK)

    def get(self, outpoint: bytes) -> bytes | None:
        """Return a coin's value form, or None."""
        return self._kv.get(COIN + outpoint)

    def many(self, outpoints: Iterable[bytes]) -> list[bytes | None]:
        """Return what `get` does for each of `outpoints`."""
        return self._kv.many([COIN + outpoint for outpoint in outpoints])

    @property
    def base(self) -> bytes | None:
        """The hash of the block whose snapshot these coins began with; None if they did not, or it is not whole."""
        value = self._kv.get(SNAPSHOT)
        return value[:32] if value else None

    @property
    def is_proved(self) -> bool:
        """Whether the snapshot that the coins began with is known to be true."""
        value = self._kv.get(SNAPSHOT)
        return value is not None and value[32:] == b"\x01"

    def put(self, coins: Iterable[tuple[bytes, bytes]]) -> None:
        """Put coins of a snapshot that is being loaded."""
        with self._kv.batch() as batch:
            for outpoint, data in coins:
                batch.put(COIN + outpoint, data)

    def loaded(self, base: bytes) -> None:
        """Note that all coins of the snapshot made at the block `base` are here."""
        with self._kv.batch() as batch:
            batch.put(BEST_BLOCK, base)
            batch.put(SNAPSHOT, base + b"\0")

    def proved(self) -> None:
        """Note that the snapshot is true."""
        with self._kv.batch() as batch:
            batch.put(SNAPSHOT, (self.base or b"") + b"\x01")

    def disproved(self) -> None:
        """Note that the coins are worth nothing."""
        with self._kv.batch() as batch:
            batch.delete(SNAPSHOT)

    def write(self, best_block: bytes, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put coins, or remove those given as None, and move to `best_block`, all at once."""
        with self._kv.batch() as batch:
            for outpoint, data in changes:
                if data is None:
                    batch.delete(COIN + outpoint)
                else:
                    batch.put(COIN + outpoint, data)
            batch.put(BEST_BLOCK, best_block)

    def snapshot(self) -> tuple[bytes | None, Generator[tuple[bytes, bytes], None, None]]:
        """Return the best block and all coins as they are now, by outpoint in the database's order, in value form.

        What is written meanwhile does not show. Close the iterator (a generator) before the store.
        """
        rows = self._kv.scan(b"")  # one pass is one state, and the best block comes before the coins
        first = next(rows, None)
        best_block = first[1] if first is not None and first[0] == BEST_BLOCK else None
        return best_block, _coins_in(rows)

    def rows(self) -> Generator[tuple[bytes, bytes], None, None]:
        """Go through all coins as they are now, by outpoint in the database's order, in value form.

        Close the iterator before the store.
        """
        return _coins_in(self._kv.scan(COIN))

    def __iter__(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Go through all coins in order of their outpoints."""
        for key, data in self._kv.scan(COIN):
            yield OutPoint(key[1:]), decode_coin(data)

    def close(self) -> None:
        self._kv.close()


def _coins_in(rows: Iterator[tuple[bytes, bytes]]) -> Generator[tuple[bytes, bytes], None, None]:
    for key, data in rows:
        if key[:1] == COIN:
            yield key[1:], data
