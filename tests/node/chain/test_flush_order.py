"""What is written first must not point at what is written later: a machine may lose power in between."""

from collections.abc import Iterator
from contextlib import contextmanager

from altyn.consensus.networks import REGTEST
from altyn.node.chain.coins import CoinLayer
from altyn.node.chain.load import record_of
from altyn.node.chain.stores import Stores
from altyn.node.chain.tree import HeaderTree
from altyn.node.storage.blocks import BlockFiles
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.disk import MemoryDisk
from altyn.node.storage.headers import HeaderStore
from altyn.node.storage.kv import Batch, Memory


def test_files_are_synced_before_the_index_and_the_index_before_the_coins() -> None:
    order: list[str] = []

    class NotedDisk(MemoryDisk):
        def sync(self, name: str) -> None:
            order.append(f"sync {name}")

    class NotedMemory(Memory):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        @contextmanager
        def batch(self) -> Iterator[Batch]:
            with super().batch() as batch:
                yield batch
            order.append(self._name)

    files = BlockFiles(NotedDisk(), REGTEST.magic)
    stores = Stores(files, HeaderStore(NotedMemory("headers")), CoinStore(NotedMemory("coins")), lambda _: Memory())
    files.write_block(b"block")
    files.write_undo(0, b"undo", bytes(32))
    layer = CoinLayer()
    layer.put(bytes(36), b"coin", may_overwrite=False)
    genesis = HeaderTree(REGTEST.genesis.header).genesis
    steps: list[str] = []
    stores.write([record_of(genesis)], genesis.hash, layer, steps.append)
    assert sorted(order[:2]) == ["sync blk00000.dat", "sync rev00000.dat"]
    assert order[2:] == ["headers", "coins"]
    assert steps == ["flush-files", "flush-headers", "flush-coins"]
    order.clear()
    stores.write([], genesis.hash, CoinLayer(), steps.append)
    assert order == []
