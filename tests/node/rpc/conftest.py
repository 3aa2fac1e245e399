"""A node whose methods are called."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rpc_node import Rpc, rpc_node


@pytest.fixture
async def rpc(tmp_path: Path) -> AsyncIterator[Rpc]:
    """A full node in memory, with all indexes."""
    async with rpc_node(tmp_path, "-blockfilterindex", "-txindex") as node:
        yield node
