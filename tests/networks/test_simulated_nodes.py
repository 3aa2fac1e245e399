"""Full nodes among themselves, in simulated time."""

from collections.abc import AsyncIterator

import pytest

from altyn.node.testnet.simulation import SimulatedNetwork


@pytest.fixture
async def network() -> AsyncIterator[SimulatedNetwork]:
    async with SimulatedNetwork.open(seed=7) as made:
        yield made


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
