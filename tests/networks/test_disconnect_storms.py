"""Peers that come, begin as much as they can, and hang up in the middle of it."""

from collections.abc import Collection, Iterator

from builders import Drawing, Spendable, block_on, coin, spend
from scripted_node import ScriptedNode
from simulated_world import World, feed, first_blocks
from wire import Caller, version

from altyn.consensus.transaction import OutPoint
from altyn.node.testnet.simulation import SimulatedNode
from altyn.p2p.addresses import Endpoint
from altyn.p2p.messages import (
    GetData,
    GetHeaders,
    Headers,
    Inv,
    Inventory,
    InventoryType,
    SendCompact,
    Tx,
    Verack,
    Version,
    WtxidRelay,
)

HEIGHT = 110
CALLERS = 20


async def storm(world: World, node: SimulatedNode, drawing: Drawing, number: int) -> None:
    """Have many peers announce, ask, leave orphans and owe us the next block, and go without a word."""
    peers = node.node.connections.peers
    before = len(peers)
    tip = drawing[f"a{HEIGHT}"]
    for caller_number in range(CALLERS):
        mark = bytes((number, caller_number))
        dialer = world.network.links.dialer(f"{60 + caller_number}.{number}.0.1")
        caller = Caller(await dialer(Endpoint(node.host, world.network.network.port)))
        await caller.send(version())
        await caller.expect(Version)
        await caller.send(WtxidRelay(), Verack(), SendCompact(True, 2))
        lost = Spendable(OutPoint(mark.ljust(36, b"\1")), coin(tip).output)
        await caller.send(
            Inv(tuple(Inventory(InventoryType.WTX, mark + number.to_bytes(30)) for number in range(200))),
            Tx(spend(lost)),
            Headers((block_on(tip.header, HEIGHT + 1, extra=mark).header,)),
            GetHeaders(70016, (drawing["g"].hash,)),
            GetData((Inventory(InventoryType.WITNESS_BLOCK, tip.hash),) * 20),
        )
        if caller_number % 2:
            await caller.sync()  # the other half goes while all of it is still on its way
        caller.transport.abort()
    await world.until(lambda: len(peers) == before)


def tables(of: object) -> Iterator[tuple[str, Collection[object]]]:
    """Yield the dictionaries and sets of what decides about peers, and of its parts, each with where it is."""
    waiting, seen = [("sync", of)], {id(of)}
    while waiting:
        path, each = waiting.pop()
        for name, value in vars(each).items():
            if isinstance(value, dict | set):
                yield f"{path}.{name}", value
            elif type(value).__module__.startswith("altyn.node.sync") and id(value) not in seen:
                seen.add(id(value))
                waiting += [(f"{path}.{name}", value)] if hasattr(value, "__dict__") else []


async def test_storms_of_peers_that_hang_up_leave_nothing_behind(world: World, drawing: Drawing) -> None:
    """Twice 20 peers: no table knows any of them afterwards, and a block of an honest peer comes in five seconds."""
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, HEIGHT))
    honest = ScriptedNode(first_blocks(drawing, HEIGHT))
    await world.call(node, honest)
    (stays,) = node.node.connections.peers
    for number in range(2):
        await storm(world, node, drawing, number)
    known = dict(tables(node.node.sync))
    assert any(stays in table for table in known.values())
    gone = set(range(stays + 1, stays + 1 + 2 * CALLERS))
    assert {path: gone & set(table) for path, table in known.items() if gone & set(table)} == {}
    assert len(node.node.sync.gossip._requests) == 0
    assert len(node.node.sync.gossip._judge._orphans) == 0
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1)
    honest.extend([block])
    honest.announce()
    await world.until(lambda: node.node.chain.tree.get(block.hash) is not None, within=5)
    assert not honest.gone
