"""Full nodes among themselves and with scripted peers, in simulated time."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from builders import Drawing, block_on, chain, coin, solve, spend
from scripted_node import ScriptedNode
from simulated_world import NOW, World, feed, first_blocks

from altyn.consensus.block import Block, Header
from altyn.consensus.transaction import Transaction, TxIn
from altyn.node.testnet.simulation import SimulatedNetwork
from altyn.p2p.kinds import Services
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.messages import (
    CFCheckpoint,
    CFHeaders,
    CFilter,
    FeeFilter,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    Inventory,
    InventoryType,
    Message,
    NotFound,
    SendHeaders,
    Tx,
)
from altyn.p2p.messages import Mempool as MempoolMessage

# --- among nodes of ours ---


async def test_a_new_node_fetches_the_whole_chain(network: SimulatedNetwork) -> None:
    alice, bob = await network.add_node(), await network.add_node()
    tip = await alice.mine(30)
    network.link(bob, alice)
    await network.until(lambda: bob.tip == tip, within=60)


async def test_nodes_agree_again_after_a_partition(network: SimulatedNetwork) -> None:
    alice, bob = await network.add_node(), await network.add_node()
    link = network.link(alice, bob, latency=0.2)
    await alice.mine(1)
    await network.agree(alice, bob, within=60)
    link.cut()
    await bob.mine(1)
    tip = await alice.mine(2)
    link.restore()
    await network.until(lambda: bob.tip == tip, within=60)


async def test_blocks_and_payments_travel_along_a_line_of_nodes(network: SimulatedNetwork, drawing: Drawing) -> None:
    nodes = [await network.add_node(quickrelay=True) for _ in range(4)]
    for one, other in pairwise(nodes):
        network.link(one, other)
    await feed(nodes[0], first_blocks(drawing, 110))
    await network.agree(*nodes, within=60)
    tx = spend(coin(drawing["a1"]))
    child = spend(coin(tx))
    await nodes[-1].node.acceptance.accept(tx)
    await nodes[-1].node.acceptance.accept(child)
    await network.until(lambda: all(child.txid in each.node.mempool for each in nodes), within=5)
    await nodes[0].mine()
    await network.agree(*nodes, within=5)
    assert all(len(each.node.mempool) == 0 for each in nodes)


async def test_payments_arrive_under_the_usual_delays_too(network: SimulatedNetwork, drawing: Drawing) -> None:
    nodes = [await network.add_node() for _ in range(3)]
    network.link(nodes[0], nodes[1])
    network.link(nodes[1], nodes[2])
    await feed(nodes[0], first_blocks(drawing, 110))
    await network.agree(*nodes, within=60)
    tx = spend(coin(drawing["a1"]))
    await nodes[0].node.acceptance.accept(tx)
    await network.until(lambda: tx.txid in nodes[2].node.mempool, within=90)


async def test_a_transaction_submitted_alone_reaches_the_first_peer_that_comes(
    network: SimulatedNetwork, drawing: Drawing
) -> None:
    alice, bob = await network.add_node(), await network.add_node()
    for node in (alice, bob):
        await feed(node, first_blocks(drawing, 110))
    tx = spend(coin(drawing["a1"]))
    await alice.node.acceptance.accept(tx)
    alice.node.sync.offer(tx)
    network.link(bob, alice)
    await network.until(lambda: tx.txid in bob.node.mempool, within=60)


async def test_ten_nodes_in_a_ring_follow_a_reorganisation(network: SimulatedNetwork) -> None:
    nodes = [await network.add_node() for _ in range(10)]
    for index, node in enumerate(nodes):
        network.link(node, nodes[index - 1])
    await nodes[0].mine(3)
    await network.agree(*nodes, within=120)
    west, east = nodes[:5], nodes[5:]
    network.links.isolate(*(node.host for node in west))
    await west[2].mine(4)
    await east[2].mine(10)
    await network.agree(*west, within=120)
    await network.agree(*east, within=120)
    assert west[0].tip != east[0].tip
    network.links.heal()
    assert await network.agree(*nodes, within=300) == east[0].tip
    assert nodes[0].node.chain.tip.height == 13


# --- headers and blocks ---


async def test_blocks_are_asked_of_several_peers_sixteen_at_a_time(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    blocks = first_blocks(drawing, 100)
    sources = [ScriptedNode(blocks), ScriptedNode(blocks)]
    for source in sources:
        source.silent = {GetData}
        await world.be_called(node, source)
        source.announce(100)
    await world.until(lambda: all(source.requests(GetData) for source in sources))
    asked = [[item.hash for request in source.requests(GetData) for item in request.items] for source in sources]  # type: ignore[attr-defined]
    assert [len(hashes) for hashes in asked] == [16, 16]
    assert set(asked[0]).isdisjoint(asked[1])
    for source in sources:
        source.silent = set()
        for peer in source.peers:
            for message in source.requests(GetData):
                for answer in source.answer(message):
                    peer.send(answer)
    await world.until(lambda: node.tip == blocks[-1].hash)


async def test_a_peer_that_owes_a_block_for_too_long_is_replaced(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    blocks = first_blocks(drawing, 30)
    mute, honest = ScriptedNode(blocks), ScriptedNode(blocks)
    mute.silent = {GetData}
    await world.be_called(node, mute)
    await world.until(lambda: bool(mute.requests(GetData)))
    await world.be_called(node, honest)
    await world.until(lambda: node.tip == blocks[-1].hash, within=1200)
    assert mute.gone
    assert not honest.gone


async def test_a_new_block_is_announced_by_header_where_that_was_asked_for(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    blocks = first_blocks(drawing, 110)
    await feed(node, blocks)
    plain, modern = ScriptedNode(blocks), ScriptedNode(blocks)
    for script in (plain, modern):
        await world.call(node, script)
        script.announce()
    modern.peers[0].send(SendHeaders())
    await world.until(lambda: plain.requests(SendHeaders) and modern.requests(SendHeaders))
    tip = await node.mine()
    headers = await world.heard(modern, Headers)
    assert isinstance(headers, Headers)
    assert [header.hash for header in headers.headers] == [tip]
    await world.until(
        lambda: Inventory(InventoryType.BLOCK, tip) in [i for inv in plain.requests(Inv) for i in inv.items]  # type: ignore[attr-defined]
    )
    assert not plain.requests(Headers)


async def test_an_announced_block_is_fetched_from_whoever_announced_it(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    await world.call(node, script)
    script.extend([drawing["a111"]])
    script.announce()
    await world.until(lambda: node.tip == drawing["a111"].hash, within=2)


async def test_headers_that_do_not_connect_make_the_node_ask(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 100))
    script = ScriptedNode(first_blocks(drawing, 120))
    script.silent = {GetHeaders}
    await world.call(node, script)
    await world.until(lambda: bool(script.requests(GetHeaders)))
    script.silent = set()
    script.peers[0].send(Headers(()))
    script.announce()
    await world.until(lambda: node.tip == drawing["a120"].hash)
    assert not script.gone


INVALID_BLOCKS = ["bad-cb-amount", "bad-txnmrklroot", "high-hash", "bad-diffbits", "prev-blk-not-found"]


def invalid_block(drawing: Drawing, reason: str) -> Block:
    tip = drawing["a110"].header
    good = block_on(tip, 111)
    match reason:
        case "bad-cb-amount":
            return block_on(tip, 111, fees=1)
        case "bad-txnmrklroot":
            return solve(Block(good.header, [*good.transactions, spend(coin(drawing["a1"]))]), fix_root=False)
        case "bad-diffbits":
            return block_on(tip, 111, bits=0x207FFFFE)
        case "prev-blk-not-found":
            return block_on(good.header, 112)
    nonce = next(nonce for nonce in range(100) if _hash_with(good, nonce)[31] >= 0x80)
    return Block(_header_with(good, nonce), good.transactions)


@pytest.mark.parametrize("reason", INVALID_BLOCKS)
async def test_a_peer_that_sends_an_invalid_block_is_dropped(
    world: World, drawing: Drawing, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    node = await world.network.add_node()
    blocks = first_blocks(drawing, 110)
    await feed(node, blocks)
    script = ScriptedNode(blocks)
    await world.call(node, script)
    script.peers[0].send(BlockMessage(invalid_block(drawing, reason)))
    await world.until(lambda: bool(script.gone))
    assert reason in caplog.text
    assert node.tip == blocks[-1].hash


async def test_a_pong_comes_after_everything_before_it_is_done(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    await world.call(node, script)
    peer = script.peers[0]
    tx = spend(coin(drawing["a1"]))
    peer.send(BlockMessage(drawing["a111"]))
    peer.send(Tx(tx))
    peer.ping()
    answered = peer.stats.min_ping
    await world.until(lambda: peer.ping_wait is None or peer.stats.min_ping != answered)
    assert node.tip == drawing["a111"].hash
    assert tx.txid in node.node.mempool


# --- transactions ---


def invalid_payment(drawing: Drawing) -> Transaction:
    """Spend P2WSH of OP_TRUE with the witness of another script."""
    good = spend(coin(drawing["a1"]))
    return Transaction(2, [TxIn(good.inputs[0].prevout, b"", 0, (b"\x00",))], good.outputs)


async def test_a_peer_that_sends_an_invalid_transaction_is_dropped(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    await world.call(node, script)
    script.peers[0].send(Tx(invalid_payment(drawing)))
    await world.until(lambda: bool(script.gone))
    assert len(node.node.mempool) == 0


async def test_a_transaction_is_asked_of_one_peer_and_then_of_the_next(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    tx = spend(coin(drawing["a1"]))
    scripts = [ScriptedNode(first_blocks(drawing, 110)) for _ in range(2)]
    for script in scripts:
        script.silent = {GetData}
        await world.call(node, script)
        wtx = script.peers[0].features.wtxid_relay
        assert wtx
        script.peers[0].send(Inv((Inventory(InventoryType.WTX, tx.wtxid),)))
    await world.until(lambda: any(script.requests(GetData) for script in scripts))
    assert sum(len(script.requests(GetData)) for script in scripts) == 1
    await world.until(lambda: all(script.requests(GetData) for script in scripts), within=120)


async def test_an_orphan_waits_for_its_parent(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    script.silent = {GetData}
    await world.call(node, script)
    parent = spend(coin(drawing["a1"]))
    child = spend(coin(parent))
    script.peers[0].send(Tx(child))
    request = await world.heard(script, GetData)
    assert isinstance(request, GetData)
    assert [item.hash for item in request.items] == [parent.txid]
    script.peers[0].send(Tx(parent))
    await world.until(lambda: child.txid in node.node.mempool)


async def test_a_fee_filter_is_sent_and_honoured(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    await world.call(node, script)
    theirs = await world.heard(script, FeeFilter)
    assert isinstance(theirs, FeeFilter)
    assert theirs.feerate == 1000
    cheap, dear = spend(coin(drawing["a1"]), fee=200), spend(coin(drawing["a2"]), fee=5000)
    script.peers[0].send(FeeFilter(20_000))
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    for tx in (cheap, dear):
        await node.node.acceptance.accept(tx)
    await world.until(lambda: bool(script.transactions))
    await world.network.until(lambda: script.transactions == [dear], within=1)


async def test_during_the_first_sync_transactions_are_neither_wanted_nor_taken(world: World) -> None:
    old = chain("g a1..a101")
    node = await world.network.add_node()
    blocks = first_blocks(old, 101)
    await feed(node, blocks)
    assert node.node.chain.is_initial_block_download
    script = ScriptedNode(blocks)
    await world.call(node, script)
    theirs = await world.heard(script, FeeFilter)
    assert isinstance(theirs, FeeFilter)
    assert theirs.feerate == 9_170_997
    script.peers[0].send(Tx(spend(coin(old["a1"]))))
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert len(node.node.mempool) == 0


async def test_a_node_for_blocks_only_drops_who_announces_transactions(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node(blocksonly=True)
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110))
    await world.call(node, script)
    script.peers[0].send(Inv((Inventory(InventoryType.WTX, bytes(32)),)))
    await world.until(lambda: bool(script.gone))


async def test_a_chain_comes_in_as_blocks_that_nobody_asked_for(world: World) -> None:
    """Without a header before them, more at once than are taken from beyond the tip: each stands on the one before."""
    blocks = chain("g a1..a400", start=NOW - 500 * 60).line("a1..a400")
    node = await world.network.add_node()
    script = ScriptedNode([world.network.network.genesis])
    await world.call(node, script)
    for block in blocks:
        script.peers[0].send(BlockMessage(block))
    await world.until(lambda: node.tip == blocks[-1].hash)
    assert not script.gone


async def test_headers_and_a_block_on_them_come_in_without_a_pause(world: World) -> None:
    blocks = chain("g a1..a250", start=NOW - 500 * 60).line("a1..a250")
    node = await world.network.add_node()
    script = ScriptedNode([world.network.network.genesis])
    script.silent = {GetHeaders, GetData}
    await world.call(node, script)
    for start in (0, 125):
        script.peers[0].send(Headers(tuple(block.header for block in blocks[start : start + 125])))
    script.peers[0].send(BlockMessage(blocks[-1]))
    await world.until(lambda: node.node.chain.tree.best_header.hash == blocks[-1].hash)
    await world.until(lambda: node.node.chain.tree.best_header.has_block)
    assert not script.gone


# --- answers ---


async def asked(world: World, drawing: Drawing, *messages: Message, **settings: object) -> ScriptedNode:
    """Send messages to a node with 110 blocks, wait until it has worked on them, and return what listened."""
    node = await world.network.add_node(**settings)
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110), services=Services.NONE)
    await world.call(node, script)
    peer = script.peers[0]
    for message in messages:
        peer.send(message)
    peer.ping()
    await world.until(lambda: bool(script.gone) or peer.ping_wait is None)
    return script


async def test_headers_are_served_after_the_fork(world: World, drawing: Drawing) -> None:
    locator = (b"\x07" * 32, drawing["a100"].hash)
    script = await asked(world, drawing, GetHeaders(70016, locator))
    (answer,) = script.requests(Headers)
    assert isinstance(answer, Headers)
    assert list(answer.headers) == [block.header for block in drawing.line("a101..a110")]


async def test_blocks_are_served_with_and_without_witnesses(world: World, drawing: Drawing) -> None:
    block = drawing["a5"]
    items = tuple(Inventory(kind, block.hash) for kind in (InventoryType.BLOCK, InventoryType.WITNESS_BLOCK))
    script = await asked(world, drawing, GetData(items))
    answers = script.requests(BlockMessage)
    assert [answer.block.hash for answer in answers] == [block.hash] * 2  # type: ignore[attr-defined]
    assert answers[1].block.raw == block.raw  # type: ignore[attr-defined]


async def test_nodes_that_encrypt_agree_in_simulated_time_and_every_time_alike(world: World) -> None:
    runs = []
    for _ in range(2):
        async with SimulatedNetwork.open(seed=5) as network:
            one, other = [await network.add_node(v2transport=True) for _ in range(2)]
            link = network.link(one, other)
            await one.mine(20)
            await network.agree(one, other, within=60)
            [peer] = other.node.connections.peers.values()
            runs.append((peer.transport_name, peer.session_id, link.carried_bytes))
    assert runs[0] == runs[1]
    assert runs[0][0] == "v2"


async def test_what_is_not_there_is_not_found(world: World, drawing: Drawing) -> None:
    item = Inventory(InventoryType.WTX, b"\x01" * 32)
    script = await asked(world, drawing, GetData((item,)))
    assert script.requests(NotFound) == [NotFound((item,))]


async def test_who_wants_no_transactions_announced_gets_no_answer_about_any(world: World, drawing: Drawing) -> None:
    item = Inventory(InventoryType.WTX, b"\x01" * 32)
    node = await world.network.add_node()
    script = ScriptedNode([drawing["g"]], relay=False)
    await world.call(node, script)
    script.peers[0].send(GetData((item,)))
    script.peers[0].ping()
    await world.until(lambda: script.peers[0].ping_wait is None)
    assert not script.requests(NotFound)


async def test_a_transaction_is_not_shown_before_it_might_have_been_announced(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    script = ScriptedNode(first_blocks(drawing, 110), services=Services.NONE)
    await world.call(node, script)
    tx = spend(coin(drawing["a1"]))
    request = GetData((Inventory(InventoryType.WTX, tx.wtxid),))
    script.peers[0].send(Tx(tx))  # it knows it, so nothing will be announced to it
    script.peers[0].send(request)
    await world.until(lambda: bool(script.requests(NotFound)))
    await asyncio.sleep(60)
    script.peers[0].send(request)
    await world.until(lambda: script.transactions == [tx])


async def test_a_block_on_an_invalid_one_is_not_given(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    await node.node.chain.invalidate(node.node.chain.tip.ancestor(108))
    script = ScriptedNode(first_blocks(drawing, 110), services=Services.NONE)
    await world.call(node, script)
    for name in ("a110", "a107"):
        script.peers[0].send(GetHeaders(70016, (), drawing[name].hash))
        script.peers[0].send(GetData((Inventory(InventoryType.WITNESS_BLOCK, drawing[name].hash),)))
    await world.until(lambda: bool(script.requests(BlockMessage)))
    assert script.requests(BlockMessage) == [BlockMessage(drawing["a107"])]
    assert script.requests(Headers) == [Headers((drawing["a107"].header,))]


async def test_a_transaction_may_be_announced_by_txid_and_asked_for_with_its_witness(
    world: World, drawing: Drawing
) -> None:
    item = Inventory(InventoryType.WITNESS_TX, b"\x01" * 32)
    script = await asked(world, drawing, Inv((item,)))
    await world.until(lambda: script.requests(GetData) == [GetData((item,))])


async def test_who_comes_later_is_not_told_what_was_submitted_here(world: World, drawing: Drawing) -> None:
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 110))
    first, later = [ScriptedNode(first_blocks(drawing, 110), services=Services.NONE) for _ in range(2)]
    tx = spend(coin(drawing["a1"]))
    await node.node.acceptance.accept(tx)
    node.node.sync.offer(tx)
    for script in (first, later):
        script.wants_transactions = False
        await world.call(node, script)
        await asyncio.sleep(60)
    assert first.requests(Inv) == [Inv((Inventory(InventoryType.WTX, tx.wtxid),))]
    assert not later.requests(Inv)


async def test_filters_are_served(world: World, drawing: Drawing) -> None:
    stop = drawing["a110"].hash
    honest = ScriptedNode(first_blocks(drawing, 110))
    requests = [GetCFHeaders(0, 5, stop), GetCFilters(0, 100, stop), GetCFCheckpoint(0, stop)]
    script = await asked(world, drawing, *requests)
    expected = [answer for request in requests for answer in honest.answer(request)]
    got = [message for message in script.received if isinstance(message, (CFHeaders, CFilter, CFCheckpoint))]
    assert got == expected


@pytest.mark.parametrize(
    "request_of",
    [
        lambda stop: GetCFilters(1, 0, stop),
        lambda stop: GetCFilters(0, 0, b"\x05" * 32),
        lambda stop: GetCFilters(0, 111, stop),
        lambda stop: GetCFHeaders(0, 4_000_000_000, stop),
    ],
    ids=["type", "block", "height", "height of headers"],
)
async def test_a_bad_request_for_filters_ends_the_connection(world: World, drawing: Drawing, request_of: Any) -> None:
    script = await asked(world, drawing, request_of(drawing["a110"].hash))
    assert script.gone


async def test_more_than_a_thousand_filters_are_too_many(world: World) -> None:
    drawing = chain("g a1..a1005", start=NOW - 1006 * 60)
    node = await world.network.add_node()
    await feed(node, first_blocks(drawing, 1005))
    script = ScriptedNode(first_blocks(drawing, 1005), services=Services.NONE)
    await world.call(node, script)
    peer = script.peers[0]
    peer.send(GetCFCheckpoint(0, drawing["a1005"].hash))
    peer.send(GetCFilters(0, 6, drawing["a1005"].hash))
    await world.until(lambda: len(script.requests(CFilter)) == 1000)
    (checkpoints,) = script.requests(CFCheckpoint)
    assert [checkpoints] == script.answer(GetCFCheckpoint(0, drawing["a1005"].hash))
    peer.send(GetCFilters(0, 5, drawing["a1005"].hash))
    await world.until(lambda: bool(script.gone))


async def test_filters_that_are_not_served_are_not_to_be_asked_for(world: World, drawing: Drawing) -> None:
    script = await asked(world, drawing, GetCFilters(0, 0, drawing["a110"].hash), peerblockfilters=False)
    assert script.gone


async def test_the_mempool_is_not_for_everybody(world: World, drawing: Drawing) -> None:
    script = await asked(world, drawing, MempoolMessage())
    assert script.gone


def _header_with(block: Block, nonce: int) -> Header:
    old = block.header
    return Header(old.version, old.prev_hash, old.merkle_root, old.time, old.bits, nonce)


def _hash_with(block: Block, nonce: int) -> bytes:
    return _header_with(block, nonce).hash
