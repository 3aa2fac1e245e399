"""Peers that ask for, or announce, as much as they may: nobody else waits until they have had their fill."""

import asyncio
from typing import Any

import pytest
from builders import Drawing
from scripted_node import ScriptedNode
from simulated_world import World, feed, first_blocks
from turns import expect_steps_below

from altyn.node.offload import Inline
from altyn.p2p.limits import MAX_INV_SIZE
from altyn.p2p.messages import Block, GetData, Inv, Inventory, InventoryType

LIST = tuple(Inventory(InventoryType.WTX, number.to_bytes(32)) for number in range(MAX_INV_SIZE))
GREEDY = 20


@pytest.mark.parametrize("kind", [Inv, GetData])
async def test_fifty_thousand_items_are_looked_at_while_others_go_on(
    world: World, drawing: Drawing, kind: type[Inv | GetData]
) -> None:
    """In one go they take 100 to 250 milliseconds; in steps, 5 each, and making the longest answer 25."""
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 5))
    script = ScriptedNode(first_blocks(drawing, 5))
    await world.call(node, script)
    await world.until(lambda: all(peer.is_ready for peer in node.node.connections.peers.values()))
    (peer,) = node.node.connections.peers.values()
    await expect_steps_below(0.06, lambda: node.node.sync.message_received(peer, kind(LIST)))
    assert not script.gone


class Counting(Inline):
    """Threads that take their time, and count who is on them."""

    running = most = 0

    async def __call__(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.5)
        self.running -= 1
        return function(*args, **kwargs)


async def test_peers_that_ask_for_blocks_together_have_one_thread(world: World, drawing: Drawing) -> None:
    """Else a new block would be checked when all of them are served: twenty old blocks, on threads of two."""
    node = await world.network.add_node()
    blocks = first_blocks(drawing, 20)
    await feed(node, blocks)
    offload = node.node.sync._server._offload = Counting()
    scripts = [ScriptedNode(blocks) for _ in range(GREEDY)]
    for script in scripts:
        await world.call(node, script)
        script.peers[0].send(GetData((Inventory(InventoryType.BLOCK, blocks[1].hash),)))
    await world.until(lambda: all(script.requests(Block) for script in scripts))
    assert offload.most == 1
