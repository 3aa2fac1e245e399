"""Tests in this folder run in simulated time: nothing in them waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from builders import Drawing, chain
from simulated_world import NOW, World

from altyn.node.testnet.clock import SimulatedLoop
from altyn.node.testnet.simulation import SimulatedNetwork


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"simulated": SimulatedLoop}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedNetwork.open(seed=7) as network, AsyncExitStack() as stack:
        yield World(network, stack)


@pytest.fixture
def network(world: World) -> SimulatedNetwork:
    return world.network


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return chain("g a1..a120", start=NOW - 121 * 60)
