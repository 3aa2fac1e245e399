"""Compact blocks between a node and scripted peers: announced, asked for, put together, and abused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from builders import Drawing, block_on, coin, solve, spend
from scripted_node import ScriptedNode
from simulated_world import World, feed, first_blocks

from altyn.consensus.block import Block, Header
from altyn.consensus.transaction import Transaction
from altyn.node.chain import intake
from altyn.node.sync.compact import PartialBlock, Reconstruction, make_compact
from altyn.node.testnet.simulation import SimulatedNode
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.messages import (
    BlockTransactions,
    CompactBlock,
    GetBlockTransactions,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    Inventory,
    InventoryType,
    Message,
    Prefilled,
    SendCompact,
    Tx,
)

HEIGHT = 110


class CompactPeer(ScriptedNode):
    """Serves compact blocks too; `lies` are sent instead of the transactions of a block."""

    lies: tuple[Transaction, ...] | None = None

    def answer(self, message: Message) -> list[Message]:
        if isinstance(message, GetBlockTransactions):
            block = self._by_hash[message.block_hash]
            honest = tuple(block.transactions[index] for index in message.indexes)
            return [BlockTransactions(message.block_hash, honest if self.lies is None else self.lies)]
        return super().answer(message)

    def _data(self, item: Inventory) -> Message | None:
        if item.type == InventoryType.COMPACT_BLOCK and item.hash in self._by_hash:
            return make_compact(self._by_hash[item.hash], 1)
        return super()._data(item)

    def have(self, block: Block) -> None:
        """Take a block without telling anybody."""
        self._by_hash[block.hash] = block

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.peers[0].send(message)


async def with_node(world: World, drawing: Drawing, **settings: object) -> SimulatedNode:
    node = await world.network.add_node(**settings)
    await feed(node, first_blocks(drawing, HEIGHT))
    return node


async def meet(world: World, node: SimulatedNode, drawing: Drawing, *, dialled: bool = False) -> CompactPeer:
    """Connect a peer with the node's chain that speaks compact blocks."""
    script = CompactPeer(first_blocks(drawing, HEIGHT))
    await (world.be_called if dialled else world.call)(node, script)
    script.send(SendCompact(False, 2))
    await settle(world, script)
    return script


async def settle(world: World, script: CompactPeer) -> None:
    """Wait until the node has worked on all that the peer sent, or has ended the connection."""
    if script.peers:
        peer = script.peers[0]
        peer.ping()
        await world.until(lambda: bool(script.gone) or peer.ping_wait is None)


def payments(drawing: Drawing, count: int = 3) -> list[Transaction]:
    return [spend(coin(drawing[f"a{number}"])) for number in range(1, count + 1)]


def next_block(drawing: Drawing, count: int = 3, **changes: int) -> Block:
    fees = {"fees": 1000 * count} | changes
    return block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, payments(drawing, count), **fees)  # type: ignore[arg-type]


def inventory_told(script: CompactPeer) -> set[bytes]:
    return {item.hash for told in script.requests(Inv) for item in told.items}  # type: ignore[attr-defined]


async def fill_mempool(node: SimulatedNode, transactions: list[Transaction]) -> None:
    for tx in transactions:
        await node.node.acceptance.accept(tx)


def inventory(script: CompactPeer) -> list[Inventory]:
    return [item for request in script.requests(GetData) for item in request.items]  # type: ignore[attr-defined]


# --- receiving ---


async def test_a_block_of_known_transactions_needs_no_further_word(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    await fill_mempool(node, payments(drawing))
    script.wants_transactions = False
    block = next_block(drawing)
    script.send(make_compact(block, 5))
    await settle(world, script)
    assert node.tip == block.hash
    assert not script.requests(GetBlockTransactions)
    assert not inventory(script)


async def test_missing_transactions_are_asked_for(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    await fill_mempool(node, payments(drawing)[:1])
    block = next_block(drawing)
    script.have(block)
    script.send(make_compact(block, 5))
    await world.until(lambda: node.tip == block.hash)
    assert script.requests(GetBlockTransactions) == [GetBlockTransactions(block.hash, (2, 3))]
    assert not inventory(script)


async def test_a_compact_block_of_what_is_here_is_not_read(
    world: World, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await with_node(world, drawing)
    first, second = await meet(world, node, drawing), await meet(world, node, drawing)
    block = next_block(drawing)
    first.send(BlockMessage(block))
    await world.until(lambda: node.tip == block.hash)
    second.send(SendCompact(True, 2))
    monkeypatch.setattr(CompactBlock, "parse", None)
    second.send(make_compact(block, 5))
    await settle(world, second)
    assert not second.gone
    assert node.node.sync.follow.synced(1)[0] == HEIGHT + 1


async def test_refused_replaced_and_orphaned_transactions_help_to_put_a_block_together(
    world: World, drawing: Drawing
) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    replaced, refused = spend(coin(drawing["a1"]), sequence=0), spend(coin(drawing["a2"]), fee=0)
    unknown = spend(coin(drawing["a3"]))
    orphan = spend(coin(unknown))
    await fill_mempool(node, [replaced, spend(coin(drawing["a1"]), fee=5000, sequence=0)])
    script.send(Tx(refused), Tx(orphan))
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, [replaced, refused, unknown, orphan], fees=3000)
    script.have(block)
    script.send(make_compact(block, 5))
    await world.until(lambda: node.tip == block.hash)
    assert script.requests(GetBlockTransactions) == [GetBlockTransactions(block.hash, (3,))]


async def test_an_announced_block_on_the_tip_is_asked_for_in_compact_form(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    block = next_block(drawing)
    script.have(block)
    script.send(Headers((block.header,)))
    await world.until(lambda: node.tip == block.hash)
    assert inventory(script) == [Inventory(InventoryType.COMPACT_BLOCK, block.hash)]


async def test_without_a_mempool_whole_blocks_are_asked_for(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing, blocksonly=True)
    script = await meet(world, node, drawing)
    block = next_block(drawing)
    script.have(block)
    script.send(Headers((block.header,)))
    await world.until(lambda: node.tip == block.hash)
    assert inventory(script) == [Inventory(InventoryType.WITNESS_BLOCK, block.hash)]
    assert script.requests(SendCompact) == [SendCompact(False, 2)]


async def test_who_is_first_with_a_block_is_asked_to_send_the_next_ones_unasked(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    scripts = [await meet(world, node, drawing) for _ in range(4)]
    parent = drawing[f"a{HEIGHT}"].header
    for height, script in enumerate(scripts, HEIGHT + 1):
        block = block_on(parent, height)
        script.have(block)
        script.send(Headers((block.header,)))
        await world.until(lambda block=block: node.tip == block.hash)
        await settle(world, script)
        parent = block.header
    told = [[message.announce for message in script.requests(SendCompact)] for script in scripts]  # type: ignore[attr-defined]
    assert told == [[False, True, False], [False, True], [False, True], [False, True]]
    states = [node.node.sync.follow.high_bandwidth(peer) for peer in sorted(node.node.connections.peers)]
    assert states == [(False, False), (False, True), (False, True), (False, True)]


async def test_a_compact_block_far_ahead_counts_as_its_header(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    blocks = []
    parent = drawing[f"a{HEIGHT}"].header
    for height in range(HEIGHT + 1, HEIGHT + 6):
        blocks.append(block_on(parent, height))
        parent = blocks[-1].header
    script.silent = {GetData}
    script.send(Headers(tuple(block.header for block in blocks[:4])))
    await settle(world, script)
    script.send(make_compact(blocks[4], 1))
    await settle(world, script)
    assert inventory(script)[-1] == Inventory(InventoryType.WITNESS_BLOCK, blocks[4].hash)


async def test_a_compact_block_without_parent_makes_the_node_ask_for_headers(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    first = next_block(drawing)
    second = block_on(first.header, HEIGHT + 2)
    asked = len(script.requests(GetHeaders))
    script.silent = {GetHeaders}
    script.send(make_compact(second, 1))
    await settle(world, script)
    assert len(script.requests(GetHeaders)) == asked + 1
    assert not script.gone


# --- abuse ---


@pytest.mark.parametrize("count", [0, 2, 4])
async def test_a_wrong_number_of_transactions_ends_the_connection(world: World, drawing: Drawing, count: int) -> None:
    node = await with_node(world, drawing)
    script, honest = await meet(world, node, drawing), await meet(world, node, drawing)
    block = next_block(drawing)
    script.have(block)
    script.lies = tuple(payments(drawing, 4)[:count])
    script.send(make_compact(block, 5))
    await world.until(lambda: bool(script.gone))
    honest.have(block)
    honest.send(make_compact(block, 6))
    await world.until(lambda: node.tip == block.hash)
    assert not honest.gone


async def test_wrong_transactions_make_the_node_ask_for_the_whole_block(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    block = next_block(drawing)
    script.have(block)
    script.lies = tuple(payments(drawing, 6)[3:])
    script.send(make_compact(block, 5))
    await world.until(lambda: node.tip == block.hash)
    assert inventory(script) == [Inventory(InventoryType.WITNESS_BLOCK, block.hash)]
    assert not script.gone


async def test_colliding_short_ids_make_the_node_ask_for_the_whole_block(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    block = next_block(drawing)
    script.have(block)
    compact = make_compact(block, 5)
    script.send(CompactBlock(compact.header, 5, (compact.short_ids[0],) * 3, compact.prefilled))
    await world.until(lambda: node.tip == block.hash)
    assert not script.requests(GetBlockTransactions)
    assert inventory(script) == [Inventory(InventoryType.WITNESS_BLOCK, block.hash)]


async def test_transactions_nobody_asked_for_are_ignored(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    script.send(BlockTransactions(next_block(drawing).hash, tuple(payments(drawing))))
    await settle(world, script)
    assert not script.gone


def bad_compact(drawing: Drawing, kind: str) -> CompactBlock:
    block = next_block(drawing, fees=4000) if kind == "invalid block" else next_block(drawing)
    compact = make_compact(block, 5)
    match kind:
        case "hole":
            return CompactBlock(compact.header, 5, (), (Prefilled(1, block.transactions[0]),))
        case "no work":
            old = block.header
            tries = (Header(old.version, old.prev_hash, old.merkle_root, old.time, old.bits, n) for n in range(100))
            header = next(header for header in tries if header.hash[31] >= 0x80)
            return CompactBlock(header, 5, compact.short_ids, compact.prefilled)
        case "wrong bits":
            header = solve(block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, bits=0x207FFFFE)).header
            return CompactBlock(header, 5, compact.short_ids, compact.prefilled)
    return compact


@pytest.mark.parametrize("kind", ["hole", "no work", "wrong bits"])
async def test_a_compact_block_that_no_honest_peer_sends_ends_the_connection(
    world: World, drawing: Drawing, kind: str
) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    script.send(bad_compact(drawing, kind))
    await world.until(lambda: bool(script.gone))


async def test_an_invalid_block_in_compact_form_costs_no_peer(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    await fill_mempool(node, payments(drawing))
    compact = bad_compact(drawing, "invalid block")
    script.send(compact)
    await settle(world, script)
    entry = node.node.chain.tree.get(compact.header.hash)
    assert entry is not None
    assert entry.is_failed
    assert not script.gone
    block = next_block(drawing, 1)
    script.send(make_compact(block, 1))
    await settle(world, script)
    assert node.tip == block.hash


async def test_a_silent_announcer_does_not_keep_two_others_from_helping(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    scripts = [await meet(world, node, drawing) for _ in range(4)]
    parent = drawing[f"a{HEIGHT}"].header
    for height, script in enumerate(scripts[:3], HEIGHT + 1):  # they become those who announce unasked
        block = block_on(parent, height)
        script.have(block)
        script.send(Headers((block.header,)))
        await world.until(lambda block=block: node.tip == block.hash)
        await settle(world, script)
        parent = block.header
    block = block_on(parent, HEIGHT + 4, payments(drawing), fees=3000)
    for script in scripts:
        script.silent = {GetBlockTransactions}
        script.send(make_compact(block, 3))
        await settle(world, script)
    assert [len(script.requests(GetBlockTransactions)) for script in scripts] == [1, 1, 0, 0]  # the third place is kept
    outbound = await meet(world, node, drawing, dialled=True)
    outbound.have(block)
    await fill_mempool(node, payments(drawing))
    outbound.send(make_compact(block, 4))
    await world.until(lambda: node.tip == block.hash)
    assert node.node.sync.follow.in_flight(0) == []


async def test_nothing_is_asked_for_when_the_block_comes_while_it_is_put_together(
    world: World, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Reconstruction.begin

    async def slowly(reconstruction: Reconstruction, message: CompactBlock) -> PartialBlock:
        await asyncio.sleep(5)  # simulated seconds: a very large mempool
        return await begin(reconstruction, message)

    monkeypatch.setattr(Reconstruction, "begin", slowly)
    node = await with_node(world, drawing)
    first, other = [await meet(world, node, drawing) for _ in range(2)]
    block = next_block(drawing)
    first.send(make_compact(block, 5))
    await world.until(lambda: node.node.sync.follow.in_flight(0) == [HEIGHT + 1])
    other.send(BlockMessage(block))
    await world.until(lambda: node.tip == block.hash, within=3)
    await settle(world, first)
    assert not first.requests(GetBlockTransactions)
    assert not first.gone


# --- sending ---


async def test_a_peer_that_asks_for_it_gets_blocks_before_they_are_validated(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    fast, slow = await meet(world, node, drawing), await meet(world, node, drawing)
    fast.send(SendCompact(True, 2))
    for script in (fast, slow):
        script.announce()
        await settle(world, script)
    invalid = next_block(drawing, fees=9000)
    slow.send(BlockMessage(invalid))
    await world.until(lambda: bool(fast.requests(CompactBlock)))
    assert node.tip == drawing[f"a{HEIGHT}"].hash
    (compact,) = fast.requests(CompactBlock)
    assert compact.header.hash == invalid.hash  # type: ignore[attr-defined]
    assert not slow.requests(CompactBlock)


async def test_what_was_announced_is_given_in_pieces_before_it_is_stored(
    world: World, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(function: Callable[..., Any], *args: object) -> Any:
        if function.__name__ == "_write":
            await asyncio.sleep(5)  # simulated seconds: a slow disk
        return function(*args)

    node = await with_node(world, drawing)
    fast, slow = await meet(world, node, drawing), await meet(world, node, drawing)
    fast.send(SendCompact(True, 2))
    for script in (fast, slow):
        script.announce()
        await settle(world, script)
    monkeypatch.setattr(intake, "for_blocks", lambda *_: slowly)
    block = next_block(drawing)
    slow.send(BlockMessage(block))
    await world.until(lambda: bool(fast.requests(CompactBlock)))
    fast.send(GetBlockTransactions(block.hash, (1, 3)))
    await world.until(lambda: bool(fast.requests(BlockTransactions)), within=3)
    assert node.tip != block.hash
    wanted = block.transactions[1], block.transactions[3]
    assert fast.requests(BlockTransactions) == [BlockTransactions(block.hash, wanted)]
    fast.send(GetData((Inventory(InventoryType.WITNESS_BLOCK, block.hash),)))
    await world.until(lambda: fast.requests(BlockMessage) == [BlockMessage(block)])
    assert node.tip == block.hash


async def test_a_new_block_is_announced_once_to_who_wants_it_compact(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    script.send(SendCompact(True, 2))
    script.announce()
    await settle(world, script)
    assert node.node.sync.follow.high_bandwidth(0) == (True, False)
    tips = [await node.mine(), await node.mine()]
    await world.until(lambda: len(script.requests(CompactBlock)) == 2)
    await settle(world, script)
    assert [message.header.hash for message in script.requests(CompactBlock)] == tips  # type: ignore[attr-defined]
    assert not script.requests(Headers)
    script.send(SendCompact(False, 2))
    await settle(world, script)
    assert node.node.sync.follow.high_bandwidth(0) == (False, False)


async def test_a_compact_block_brings_along_what_the_peer_is_likely_to_lack(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    script.wants_transactions = False
    script.send(SendCompact(True, 2))
    script.announce()
    await settle(world, script)
    old, told, new = payments(drawing)
    unknown = spend(coin(drawing["a4"]))
    await fill_mempool(node, [old, told])
    await world.until(lambda: {old.wtxid, told.wtxid} <= inventory_told(script), within=300)
    script.send(GetData((Inventory(InventoryType.WTX, old.wtxid),)))
    await settle(world, script)
    await fill_mempool(node, [new])
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, [old, told, new, unknown], fees=4000)
    await node.node.chain.add_block(block)
    await world.until(lambda: bool(script.requests(CompactBlock)))
    (compact,) = script.requests(CompactBlock)
    assert [tx for _, tx in compact.prefilled] == [block.transactions[0], told, new, unknown]  # type: ignore[attr-defined]
    assert len(compact.short_ids) == 1  # type: ignore[attr-defined]


async def test_another_version_of_compact_blocks_is_ignored(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    script.send(SendCompact(True, 1))
    await settle(world, script)
    assert node.node.sync.follow.high_bandwidth(0) == (False, False)


async def test_blocks_near_the_tip_are_given_in_compact_form_and_in_pieces(world: World, drawing: Drawing) -> None:
    node = await with_node(world, drawing)
    script = await meet(world, node, drawing)
    for depth, kind in ((0, CompactBlock), (5, CompactBlock), (6, BlockMessage)):
        block = drawing[f"a{HEIGHT - depth}"]
        script.received.clear()
        script.send(GetData((Inventory(InventoryType.COMPACT_BLOCK, block.hash),)))
        await settle(world, script)
        (answer,) = script.requests(kind)
        assert (answer.header if isinstance(answer, CompactBlock) else answer.block.header) == block.header  # type: ignore[attr-defined]
    for depth, kind in ((0, BlockTransactions), (10, BlockTransactions), (11, BlockMessage)):
        block = drawing[f"a{HEIGHT - depth}"]
        script.received.clear()
        script.send(GetBlockTransactions(block.hash, (0,)))
        await settle(world, script)
        (piece,) = script.requests(kind)
        if isinstance(piece, BlockTransactions):
            assert piece == BlockTransactions(block.hash, (block.transactions[0],))
    script.send(GetBlockTransactions(drawing[f"a{HEIGHT}"].hash, (0, 1)))
    await world.until(lambda: bool(script.gone))
