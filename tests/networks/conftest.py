"""Tests in this folder run in simulated time: nothing in them waits."""

import asyncio
from collections.abc import Callable

import pytest

from altyn.node.testnet.clock import SimulatedLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"simulated": SimulatedLoop}
