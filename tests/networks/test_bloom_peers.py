"""Peers that filter by bloom filters, and the mempool message, in simulated time."""

import asyncio

import pytest
from builders import Drawing, block_on, coin, spend
from scripted_node import ScriptedNode
from simulated_world import World, feed, first_blocks

from altyn.consensus.bloom import BloomFilter
from altyn.consensus.merkle import PartialMerkleTree
from altyn.node.events import SchedulerForwarded
from altyn.node.sync.transactions import RecentHashes
from altyn.p2p.kinds import Permission, Services
from altyn.p2p.messages import (
    FilterAdd,
    FilterClear,
    FilterLoad,
    GetData,
    Inv,
    Inventory,
    InventoryType,
    MerkleBlock,
    Message,
    Tx,
)
from altyn.p2p.messages import Mempool as MempoolMessage
from altyn.p2p.netgroups import address_of

HEIGHT = 110


async def meet(world: World, drawing: Drawing, **settings: object) -> tuple[object, ScriptedNode]:
    node = await world.network.add_node(**settings)
    await feed(node, first_blocks(drawing, HEIGHT))
    script = ScriptedNode(first_blocks(drawing, HEIGHT), services=Services.NONE)
    script.wants_transactions = False
    await world.call(node, script)
    await say(world, script)
    return node, script


async def say(world: World, script: ScriptedNode, *messages: Message) -> None:
    """Send messages and wait until they were worked on."""
    peer = script.peers[0]
    for message in messages:
        peer.send(message)
    peer.ping()
    await world.until(lambda: bool(script.gone) or peer.ping_wait is None)


def loaded(*items: bytes, flags: int = 0) -> FilterLoad:
    bloom = BloomFilter(bytes(500), 10, 5)
    for item in items:
        bloom.add(item)
    return FilterLoad(bloom.data, 10, 5, flags)


async def test_a_filtered_block_brings_its_proof_and_what_matches(world: World, drawing: Drawing) -> None:
    node, script = await meet(world, drawing, peerbloomfilters=True)
    assert script.peers[0].features.services & Services.BLOOM
    payments = [spend(coin(drawing[f"a{number}"])) for number in range(1, 6)]
    block = block_on(drawing[f"a{HEIGHT}"].header, HEIGHT + 1, payments, fees=5000)
    await node.node.chain.add_block(block)  # type: ignore[attr-defined]
    request = GetData((Inventory(InventoryType.FILTERED_BLOCK, block.hash),))
    await say(world, script, request)
    assert not script.requests(MerkleBlock)  # without a filter there is no answer
    await say(world, script, loaded(payments[1].txid), FilterAdd(payments[3].txid), request)
    (proof,) = script.requests(MerkleBlock)
    assert isinstance(proof, MerkleBlock)
    root, found = PartialMerkleTree(proof.transaction_count, proof.hashes, proof.flags).extract()
    assert root == block.header.merkle_root
    assert [txid for _, txid in found] == [payments[1].txid, payments[3].txid]
    sent = [message.tx for message in script.requests(Tx)]  # type: ignore[attr-defined]
    assert [tx.txid for tx in sent] == [payments[1].txid, payments[3].txid]
    assert not any(tx.has_witness for tx in sent)


async def test_only_what_matches_is_announced(world: World, drawing: Drawing) -> None:
    node, script = await meet(world, drawing, peerbloomfilters=True)
    wanted, other = (spend(coin(drawing[f"a{number}"])) for number in (1, 2))
    await say(world, script, loaded(wanted.txid))
    for tx in (other, wanted):
        await node.node.acceptance.accept(tx)  # type: ignore[attr-defined]
    await world.until(lambda: bool(script.requests(Inv)))
    assert script.requests(Inv) == [Inv((Inventory(InventoryType.WTX, wanted.wtxid),))]
    await say(world, script, FilterClear())
    last = spend(coin(drawing["a3"]))
    await node.node.acceptance.accept(last)  # type: ignore[attr-defined]
    await world.until(lambda: len(script.requests(Inv)) == 2)


@pytest.mark.parametrize(
    "message",
    [loaded(b"x"), FilterLoad(bytes(36_001), 1, 0, 0), FilterAdd(b"x"), FilterClear()],
    ids=["load", "too large", "add", "clear"],
)
async def test_filters_are_not_to_be_set_where_they_are_not_offered(
    world: World, drawing: Drawing, message: Message
) -> None:
    node, script = await meet(world, drawing)
    connections = node.node.connections  # type: ignore[attr-defined]
    address = address_of(next(iter(connections.peers.values())).address)
    await say(world, script, message)
    assert script.gone
    assert not connections.bans.is_discouraged(address)


@pytest.mark.parametrize("command", ["filterload", "filteradd"])
async def test_what_cannot_be_read_ends_the_connection_only_where_filters_are_not_offered(
    world: World, drawing: Drawing, command: str
) -> None:
    for offered in (True, False):
        _, script = await meet(world, drawing, peerbloomfilters=offered)
        script.peers[0].send_raw(command, b"\xff")
        await say(world, script)
        assert bool(script.gone) is not offered


@pytest.mark.parametrize(
    "messages",
    [
        (FilterAdd(b"x"),),
        (FilterLoad(bytes(5), 51, 0, 0),),
        (FilterLoad(bytes(36_001), 1, 0, 0),),
        (loaded(b"x"), FilterAdd(bytes(521))),
        (loaded(b"x"), FilterClear(), FilterAdd(b"x")),
    ],
    ids=["nothing to add to", "too many functions", "too large", "too much added", "cleared"],
)
async def test_misuse_of_filters_ends_the_connection(
    world: World, drawing: Drawing, messages: tuple[Message, ...]
) -> None:
    _, script = await meet(world, drawing, peerbloomfilters=True)
    await say(world, script, *messages)
    assert script.gone


async def test_the_mempool_is_announced_to_who_may_ask(world: World, drawing: Drawing) -> None:
    node, script = await meet(world, drawing, whitelist=("mempool,bloomfilter@10.9.0.0/16",))
    assert Permission.BLOOM_FILTER in next(iter(node.node.connections.peers.values())).permissions  # type: ignore[attr-defined]
    assert script.peers[0].features.services & Services.BLOOM
    payments = [spend(coin(drawing[f"a{number}"])) for number in range(1, 4)]
    for tx in payments:
        await node.node.acceptance.accept(tx)  # type: ignore[attr-defined]
    await world.until(lambda: bool(script.requests(Inv)))
    script.received.clear()
    await say(world, script, loaded(payments[0].txid), MempoolMessage())
    await world.until(lambda: bool(script.requests(Inv)))
    assert script.requests(Inv) == [Inv((Inventory(InventoryType.WTX, payments[0].wtxid),))]


async def test_who_loads_a_filter_is_known_to_cost_more_when_slots_are_short(world: World, drawing: Drawing) -> None:
    node, script = await meet(world, drawing, peerbloomfilters=True)
    connections = node.node.connections  # type: ignore[attr-defined]
    (peer,) = connections.peers.values()
    seen = []
    for message in (loaded(b"x"), FilterClear()):
        await say(world, script, message)
        seen.append(connections._candidate(peer).filters)
    assert seen == [True, False]


@pytest.mark.parametrize("seconds", [0, 15 * 60], ids=["by itself", "told to"])
async def test_what_nobody_took_is_announced_again(world: World, drawing: Drawing, seconds: int) -> None:
    node, script = await meet(world, drawing, peerbloomfilters=True)
    await say(world, script, FilterClear())  # it wants transactions now
    parent = spend(coin(drawing["a1"]))
    full = node.node  # type: ignore[attr-defined]
    await full.acceptance.accept(parent)
    await world.until(lambda: bool(script.requests(Inv)))
    (peer,) = full.connections.peers.values()
    full.sync.gossip._relay._peers[peer.id].known = RecentHashes(1)  # as after thousands of others
    full.mempool.unbroadcast.add(parent.txid)
    script.received.clear()
    await asyncio.sleep(8 * 60)  # of simulated time
    assert not script.requests(Inv)
    if seconds:
        full.events.publish(SchedulerForwarded(seconds))
    await world.until(lambda: bool(script.requests(Inv)), within=60 if seconds else 8 * 60)
    assert script.requests(Inv) == [Inv((Inventory(InventoryType.WTX, parent.wtxid),))]
