"""Blocks withheld, repeated, unwanted and damaged, against a node in simulated time; an honest peer is followed."""

import pytest
from builders import SPACING, Drawing, block_on, chain, coin, spend
from scripted_node import ScriptedNode
from simulated_world import NOW, World, feed, first_blocks

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction, TxIn
from altyn.node.sync.blocks import BLOCK_DOWNLOAD_WINDOW
from altyn.node.testnet.simulation import SimulatedNode
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.messages import GetData, Headers, Message

HEIGHT = 110


async def settle(world: World, script: ScriptedNode, *messages: Message) -> None:
    """Send messages and wait until they were worked on, or the connection ended."""
    peer = script.peers[0]
    for message in messages:
        peer.send(message)
    peer.ping()
    await world.until(lambda: bool(script.gone) or peer.ping_wait is None)


async def with_peers(world: World, drawing: Drawing) -> tuple[SimulatedNode, ScriptedNode, ScriptedNode]:
    """Start a node, a hostile peer and an honest one, all with the same chain."""
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, HEIGHT))
    hostile, honest = ScriptedNode(first_blocks(drawing, HEIGHT)), ScriptedNode(first_blocks(drawing, HEIGHT))
    for script in (hostile, honest):
        await world.call(node, script)
        await settle(world, script)
    return node, hostile, honest


async def follows(world: World, node: SimulatedNode, honest: ScriptedNode, block: Block) -> None:
    """See that the node takes a block of the honest peer within five seconds."""
    honest.extend([block])
    honest.announce()
    await world.until(lambda: node.tip == block.hash, within=5)
    assert not honest.gone


async def test_a_peer_that_holds_back_the_window_costs_seconds_and_then_its_place(world: World) -> None:
    count = BLOCK_DOWNLOAD_WINDOW + 80
    drawing = chain(f"g a1..a{count}", start=NOW - (count + 2_000) * SPACING)
    blocks = [drawing["g"], *drawing.line(f"a1..a{count}")]
    node = await world.network.add_node(blockfilterindex=False, peerblockfilters=False)
    hostile, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    hostile.silent = {GetData}
    await world.be_called(node, hostile)
    await world.until(lambda: bool(hostile.requests(GetData)))
    began = node.node.clock.now()
    await world.be_called(node, honest)
    await world.until(lambda: node.tip == blocks[-1].hash, within=60)
    assert hostile.gone
    assert not honest.gone
    assert node.node.clock.now() - began < 30  # two seconds of patience, and the way of a thousand blocks


async def test_the_same_block_again_and_again_is_stored_once(world: World, drawing: Drawing) -> None:
    """200 copies: what is on disk grows by one block, and the honest peer's next block is there within five seconds."""
    node, hostile, honest = await with_peers(world, drawing)
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1)
    before = node.node.chain.size_on_disk
    await settle(world, hostile, *[BlockMessage(block)] * 200)
    assert 0 < node.node.chain.size_on_disk - before <= 2 * len(block.raw)
    await follows(world, node, honest, block_on(block.header, HEIGHT + 2))


async def test_blocks_that_nobody_asked_for_and_that_cannot_win_are_not_stored(world: World, drawing: Drawing) -> None:
    """200 branches of old blocks, valid each: none is stored."""
    node, hostile, honest = await with_peers(world, drawing)
    before = node.node.chain.size_on_disk
    branches = [
        block_on(drawing[f"a{number % 100 + 1}"].header, number % 100 + 2, extra=b"x%d" % number)
        for number in range(200)
    ]
    await settle(world, hostile, *map(BlockMessage, branches))
    assert node.node.chain.size_on_disk == before
    await follows(world, node, honest, block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1))


def damaged(block: Block, how: str) -> Block:
    transactions = list(block.transactions)
    match how:
        case "witness stripped":
            old = transactions[1]
            bare = [TxIn(txin.prevout, txin.script_sig, txin.sequence) for txin in old.inputs]
            transactions[1] = Transaction(old.version, bare, old.outputs, old.lock_time)
        case "all witnesses stripped":
            return Block.parse(
                block.header.raw + bytes([len(transactions)]) + b"".join(tx.stripped for tx in transactions)
            )
        case "last one doubled":
            transactions.append(transactions[-1])
        case "one left out":
            transactions.pop()
    return Block(block.header, transactions)


@pytest.mark.parametrize("how", ["witness stripped", "all witnesses stripped", "last one doubled", "one left out"])
async def test_a_damaged_copy_ends_the_connection_and_the_block_is_taken_from_another(
    world: World, drawing: Drawing, how: str
) -> None:
    node, hostile, honest = await with_peers(world, drawing)
    payments = [spend(coin(drawing[f"a{number}"])) for number in (1, 2)]
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, payments, fees=2000)
    hostile.silent = {GetData}
    await settle(world, hostile, Headers((block.header,)))
    assert hostile.requests(GetData)
    await settle(world, hostile, BlockMessage(damaged(block, how)))
    await world.until(lambda: bool(hostile.gone))
    entry = node.node.chain.tree.get(block.hash)
    assert entry is not None
    assert not entry.is_failed
    await follows(world, node, honest, block)
