"""Unspent outputs: what is read of them, and the layers of changes above the database."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Protocol

from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.layout import decode_coin

_FRESH_COST = 200
"""Bytes that a coin takes in the cache beside its own: outpoint, bytes object, its share of the dictionary."""
_CHANGED_COST = 165
"""Bytes of a coin remembered as spent."""


class CoinsView(Protocol):
    """Unspent outputs, to be read."""

    def get(self, outpoint: OutPoint) -> Coin | None:
        """Return the coin, or None if it is spent or never was."""
        ...

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        """Return those of `outpoints` that are unspent."""
        ...

    def __contains__(self, outpoint: object) -> bool: ...


class CoinLayer:
    """Changes that the database does not have yet, coins in the form of `layout.encode_coin`.

    `fresh` coins are in no layer below: once spent, nothing remains of them. `changed` ones, None if spent, hide what
    is below.
    """

    __slots__ = ("changed", "fresh", "size")

    def __init__(self) -> None:
        self.fresh: dict[bytes, bytes] = {}
        self.changed: dict[bytes, bytes | None] = {}
        self.size = 0

    def put(self, outpoint: bytes, data: bytes, *, may_overwrite: bool) -> None:
        if may_overwrite or outpoint in self.changed:
            self.remove(outpoint)
            if outpoint not in self.changed:
                self.size += _CHANGED_COST
            self.changed[outpoint] = data
            self.size += len(data)
        else:
            self.fresh[outpoint] = data
            self.size += len(data) + _FRESH_COST

    def remove(self, outpoint: bytes) -> None:
        data = self.fresh.pop(outpoint, None)
        if data is not None:
            self.size -= len(data) + _FRESH_COST
            return
        if outpoint in self.changed:
            self.size -= len(self.changed[outpoint] or b"")
        else:
            self.size += _CHANGED_COST
        self.changed[outpoint] = None

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        yield from self.fresh.items()
        yield from self.changed.items()

    def __bool__(self) -> bool:
        return bool(self.fresh or self.changed)


class CoinsCache:
    """The coins at the tip: an active layer, a frozen one while it is being written, and the database below.

    Reading is safe on any thread as long as nothing is applied meanwhile; freezing and thawing do not disturb it.
    """

    def __init__(self, store: CoinStore) -> None:
        self._store = store
        self._layers: tuple[CoinLayer, ...] = (CoinLayer(),)  # replaced as a whole, so that readers see one state

    @property
    def size(self) -> int:
        """Bytes of Python that the active layer takes."""
        return self._layers[0].size

    @property
    def is_frozen(self) -> bool:
        """Whether a layer is waiting to be written."""
        return len(self._layers) > 1

    def _find(self, outpoint: bytes) -> bytes | None:
        for layer in self._layers:
            data = layer.fresh.get(outpoint)
            if data is not None:
                return data
            if outpoint in layer.changed:
                return layer.changed[outpoint]
        return self._store.get(outpoint)

    def get(self, outpoint: OutPoint) -> Coin | None:
        data = self._find(outpoint)
        return None if data is None else decode_coin(data)

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        layers = [layer for layer in self._layers if layer]
        found: dict[OutPoint, Coin] = {}
        below: list[OutPoint] = []
        for outpoint in outpoints:
            for layer in layers:
                data = layer.fresh.get(outpoint)
                if data is None and outpoint in layer.changed:
                    data = layer.changed[outpoint]
                    if data is None:
                        break
                if data is not None:
                    found[outpoint] = decode_coin(data)
                    break
            else:
                below.append(outpoint)
        below.sort()  # neighbours lie in the same tables: their indexes are near at hand
        for outpoint, data in zip(below, self._store.many(below), strict=True):
            if data is not None:
                found[outpoint] = decode_coin(data)
        return found

    def __contains__(self, outpoint: object) -> bool:
        return isinstance(outpoint, bytes) and self._find(outpoint) is not None

    def apply(self, created: Mapping[OutPoint, bytes], removed: Iterable[OutPoint], overwrites: int = 0) -> None:
        """Change the active layer. The first `overwrites` of `created` may replace coins of equal outpoint below."""
        layer = self._layers[0]
        for outpoint in removed:
            layer.remove(outpoint)
        for number, (outpoint, data) in enumerate(created.items()):
            layer.put(outpoint, data, may_overwrite=number < overwrites)

    def freeze(self) -> CoinLayer:
        """Set the active layer aside to be written, begin an empty one, and return it."""
        if self.is_frozen:
            raise RuntimeError("there is a frozen layer already")
        frozen = self._layers[0]
        self._layers = (CoinLayer(), frozen)
        return frozen

    def thaw(self) -> None:
        """Drop the frozen layer: the database has it now."""
        self._layers = self._layers[:1]

    def move_to(self, store: CoinStore) -> "CoinsCache":
        """Stand on another database from now on; return a cache that goes on where this one stood."""
        left = CoinsCache(self._store)
        left._layers = self._layers
        self._store, self._layers = store, (CoinLayer(),)
        return left

    def stored(self) -> tuple[bytes | None, Generator[tuple[bytes, bytes], None, None]]:
        """Return the last flush: its block and its coins, whatever happens meanwhile; see `CoinStore.snapshot`."""
        return self._store.snapshot()

    def __iter__(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Go through all coins, in order of their outpoints. Nothing may be applied meanwhile."""
        above: dict[bytes, bytes | None] = {}
        for layer in reversed(self._layers):
            above.update(layer.changes())
        waiting = iter(sorted((outpoint, data) for outpoint, data in above.items() if data is not None))
        following = next(waiting, None)
        for outpoint, coin in self._store:
            while following is not None and following[0] < outpoint:
                yield OutPoint(following[0]), decode_coin(following[1] or b"")
                following = next(waiting, None)
            if outpoint not in above:
                yield outpoint, coin
        while following is not None:
            yield OutPoint(following[0]), decode_coin(following[1] or b"")
            following = next(waiting, None)
