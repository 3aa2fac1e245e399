"""Most tests here run in simulated time; those of real sockets or threads keep the real loop."""

import asyncio
from collections.abc import Callable

import pytest

from altyn.node.testnet.clock import SimulatedLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    real = item.path.name in {"test_tcp.py", "test_proxy.py", "test_large_messages.py"}
    return {"real": asyncio.new_event_loop} if real else {"simulated": SimulatedLoop}
