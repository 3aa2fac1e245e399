"""Tens of whole nodes on slow links that lose things and are cut, in simulated time."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest
from builders import block_on, chain, coin, spend
from simulated_world import NOW, feed

from altyn.node.testnet.clock import SimulatedLoop
from altyn.node.testnet.simulation import SimulatedNetwork, SimulatedNode

LATENCY_MOST, BANDWIDTH, LOSS = 0.15, 1_000_000, 0.01
"""Seconds one way, bytes a second, and the share of writes that has to be sent again."""
BLOCK_MESSAGES = "cmpctblock", "headers", "inv", "getdata", "block", "getblocktxn", "blocktxn"
WITHIN = 2.0
"""Simulated seconds in which a block has to reach 95 % of the nodes."""
MOST_BYTES = 1_500
"""That a node sends for a block, all its peers together."""
START = NOW - 20 * 60


def sent(nodes: Iterable[SimulatedNode]) -> Counter[str]:
    """Count the bytes that all nodes sent, by command."""
    total: Counter[str] = Counter()
    for node in nodes:
        for peer in node.node.connections.peers.values():
            total.update(peer.stats.bytes_sent_by_command)
    return total


async def grown(network: SimulatedNetwork, count: int) -> list[SimulatedNode]:
    """Start nodes with a chain of a few blocks, and connect them at random."""
    blocks = [network.network.genesis, *chain("g a1..a5", start=START).line("a1..a5")]
    nodes = [await network.add_node(blockfilterindex=False, peerblockfilters=False) for _ in range(count)]
    await feed(nodes[0], blocks)
    network.link_at_random(nodes, each=4)
    await network.agree(*nodes, within=120)
    return nodes


async def partitioned(seed: int, count: int) -> tuple[list[tuple[float, str, bytes]], int]:
    """Mine, cut the network in two, mine on both sides, and heal it: all reach one tip, and have no invalid block.

    Return what happened, and how many bytes a node sent to tell others of a block.
    """
    async with SimulatedNetwork.open(seed=seed, bandwidth=BANDWIDTH, loss=LOSS) as network:
        nodes = await grown(network, count)
        rng = network.random
        before = sent(nodes)
        tips = []
        for _ in range(4):  # now and then the first to tell of a block becomes one that tells by compact blocks
            tips.append(await rng.choice(nodes).mine())
            await network.agree(*nodes, within=60)
        cost = sent(nodes) - before
        for tip in tips:
            arrivals = sorted(network.spread(tip))
            assert len(arrivals) == count
            assert arrivals[int(0.95 * (count - 1))] <= WITHIN
        west = rng.sample(nodes, count // 2)
        east = [node for node in nodes if node not in west]
        network.links.isolate(*(node.host for node in west))
        await west[0].mine(2)
        best = await east[0].mine(4)
        await network.until(lambda: sum(node.tip == best for node in east) > len(east) // 2, within=120)
        network.links.heal()
        assert await network.agree(*nodes, within=300) == best
        for node in nodes:
            tree = node.node.chain.tree
            assert not any(entry.is_failed for entry in tree)
            assert tree.get(best) is not None
        bytes_sent = sum(cost[name] for name in BLOCK_MESSAGES)
        return network.trace, bytes_sent // (len(tips) * count)


async def test_fifty_nodes_agree_after_a_partition_and_blocks_travel_fast() -> None:
    _, cost = await partitioned(1, 50)
    assert cost <= MOST_BYTES


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_two_hundred_nodes_agree_after_a_partition_and_blocks_travel_fast() -> None:
    _, cost = await partitioned(2, 200)
    assert cost <= MOST_BYTES


def test_equal_seeds_give_equal_events() -> None:
    traces = []
    for seed in (5, 5, 6):
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            traces.append(runner.run(partitioned(seed, 10))[0])
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


@pytest.mark.parametrize("compact", [True, False])
async def test_compact_blocks_cost_a_fraction_of_whole_ones(compact: bool) -> None:
    """A block of 40 payments along a ring of six nodes that all have them: some 1 kB a hop, not 6 kB."""
    drawing = chain("g a1..a140", start=NOW - 141 * 60)
    payments = [spend(coin(drawing[f"a{number}"])) for number in range(1, 41)]
    async with SimulatedNetwork.open(seed=3, bandwidth=BANDWIDTH) as network:
        nodes = [await network.add_node(blocksonly=not compact, quickrelay=True) for _ in range(6)]
        for node in nodes:
            await feed(node, [drawing["g"], *drawing.line("a1..a140")])
            for tx in payments:
                await node.node.acceptance.accept(tx)
        for index, node in enumerate(nodes):
            network.link(node, nodes[index - 1])
        await network.until(lambda: all(len(node.node.connections.peers) == 2 for node in nodes), within=60)
        before = sent(nodes)
        block = block_on(drawing["a140"].header, 141, payments, fees=40_000)
        await nodes[0].node.chain.add_block(block)
        await network.agree(*nodes, within=60)
        cost = sent(nodes) - before
        size = sum(cost[name] for name in ("cmpctblock", "block", "getblocktxn", "blocktxn")) // 5
        assert size <= 1_000 if compact else size >= len(block.raw)
