"""A parent that pays too little and the child that pays for both, sent one by one (Core: 1p1c relay)."""

from collections.abc import AsyncIterator

import pytest
from builders import chain, coin, spend
from wire import Caller, version

from altyn.consensus.transaction import Transaction
from altyn.node.testnet.simulation import SimulatedNetwork, SimulatedNode
from altyn.p2p.addresses import Endpoint
from altyn.p2p.messages import GetData, Inv, Inventory, InventoryType, Tx, Verack, Version, WtxidRelay

NOW = 1_700_000_000
DRAWING = chain("g a1..a110", start=NOW - 111 * 60)


class World:
    """A node with money in its chain, and who calls it."""

    def __init__(self, network: SimulatedNetwork, node: SimulatedNode) -> None:
        self.network = network
        self.mempool = node.node.mempool
        self._node = node
        self._hosts = 0

    async def call(self) -> Caller:
        """Have a new peer call, which has said what it had to."""
        self._hosts += 1
        dialer = self.network.links.dialer(f"50.{self._hosts}.0.1")
        caller = Caller(await dialer(Endpoint(self._node.host, self.network.network.port)))
        await caller.send(version())
        await caller.expect(Version)
        await caller.send(WtxidRelay())
        await caller.send(Verack())
        await caller.sync()
        return caller

    def has(self, *transactions: Transaction) -> bool:
        return all(tx.txid in self.mempool for tx in transactions)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with SimulatedNetwork.open(seed=5) as network:
        node = await network.add_node()
        monkeypatch.setattr(node.node.mempool, "min_feerate", lambda: 5_000)  # as if it had been full lately
        for block in DRAWING.line("a1..a110"):
            await node.node.chain.add_block(block)
        yield World(network, node)


def family(number: int = 1, *, parent_fee: int = 200, child_fee: int = 5_000) -> tuple[Transaction, Transaction]:
    parent = spend(coin(DRAWING[f"a{number}"]), fee=parent_fee)
    return parent, spend(coin(parent), fee=child_fee)


async def give(caller: Caller, *transactions: Transaction) -> None:
    for tx in transactions:
        await caller.send(Tx(tx))
    await caller.sync()


async def asked_for(caller: Caller, tx: Transaction) -> list[bytes]:
    """Give a transaction, and return the hashes of what the node asks for then."""
    await caller.send(Tx(tx))
    return [item.hash for item in (await caller.expect(GetData)).items]


async def test_a_child_pays_for_the_parent_that_is_asked_for(world: World) -> None:
    caller = await world.call()
    parent, child = family()
    assert await asked_for(caller, child) == [parent.txid]
    await give(caller, parent)
    assert world.has(parent, child)


async def test_a_parent_refused_before_is_asked_for_again_when_its_child_comes(world: World) -> None:
    caller = await world.call()
    parent, child = family()
    await give(caller, parent)
    assert not world.has(parent)
    assert await asked_for(caller, child) == [parent.txid]
    await give(caller, parent)
    assert world.has(parent, child)


async def test_what_pays_too_little_is_not_asked_for_without_a_child(world: World) -> None:
    caller = await world.call()
    parent, _ = family()
    other = spend(coin(DRAWING["a2"]))
    await give(caller, parent)
    await caller.send(Inv(tuple(Inventory(InventoryType.WTX, tx.wtxid) for tx in (parent, other))))
    assert [item.hash for item in (await caller.expect(GetData)).items] == [other.wtxid]


async def test_a_child_that_pays_too_little_for_both_lets_nobody_in(world: World) -> None:
    caller = await world.call()
    parent, child = family(child_fee=100)
    await give(caller, child, parent)
    assert not world.has(parent)
    assert not world.has(child)
    better = spend(coin(parent), fee=9_000)
    await give(caller, better, parent)
    assert world.has(parent, better)


async def test_a_false_child_of_another_peer_does_not_stand_in_the_way(world: World) -> None:
    liar, honest = await world.call(), await world.call()
    parent, child = family()
    false = spend(coin(parent), fee=200)
    await give(liar, false)
    await give(honest, child, parent)
    assert world.has(parent, child)


async def test_grandchildren_follow(world: World) -> None:
    caller = await world.call()
    parent, child = family()
    grandchild = spend(coin(child))
    await give(caller, grandchild, child, parent)
    assert world.has(parent, child, grandchild)


async def test_an_orphan_of_two_that_pay_too_little_is_not_kept(world: World) -> None:
    caller = await world.call()
    first, second = family(1)[0], family(2)[0]
    child = spend([coin(first), coin(second)], fee=20_000)
    await give(caller, first, second, child, first)
    assert len(world.mempool) == 0


async def test_a_flood_of_orphans_drives_out_itself(world: World) -> None:
    flooder, honest = await world.call(), await world.call()
    parent, child = family()
    await give(honest, child)
    for number in range(2, 100):
        for fee in (1, 2, 3):
            await flooder.send(Tx(family(number, child_fee=fee)[1]))
    await flooder.sync()
    await give(honest, parent)
    assert world.has(parent, child)
