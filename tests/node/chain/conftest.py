"""Chains to try things on: in memory, or in a folder that can be opened again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import builders
import pytest

from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain, ChainOptions
from altyn.node.chain.stores import Stores
from altyn.node.events import Events
from altyn.node.offload import Threads
from altyn.node.storage.folder import DataFolder
from altyn.node.writer import Writer


class SetClock:
    """A clock that stands where it was put: a month after regtest's genesis, unless moved."""

    def __init__(self, now: float = REGTEST.genesis.header.time + 3600 * 24 * 30) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture(scope="session")
def secp() -> Any:
    return load()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


OpenChain = Callable[..., AbstractAsyncContextManager[Chain]]


@pytest.fixture
def open_chain(clock: SetClock, secp: Any) -> OpenChain:
    """Open a chain in memory, or in the folder given, with its writer and background tasks running."""

    @asynccontextmanager
    async def opened(
        folder: Path | None = None,
        *,
        network: Network = REGTEST,
        stores: Stores | None = None,
        background: bool = True,
        **options: Any,
    ) -> AsyncIterator[Chain]:
        threads = Threads(2)
        owner = DataFolder.open(folder, network) if folder else None
        if stores is None:
            stores = Stores.open(owner) if owner else Stores.in_memory(network)
        writer = Writer()
        try:
            async with Chain.open(
                network,
                stores,
                clock,
                writer,
                offload=threads,
                secp=secp,
                events=Events(),
                checkpoint=options.pop("checkpoint", None),
                options=ChainOptions(**options),
            ) as chain:
                running = [asyncio.create_task(writer.run())]
                if background:
                    running.append(asyncio.create_task(chain.run()))
                try:
                    yield chain
                finally:
                    for task in running:
                        task.cancel()
                    for result in await asyncio.gather(*running, return_exceptions=True):
                        if isinstance(result, Exception):
                            raise result
        finally:
            threads.close()
            if owner:
                owner.close()

    return opened


@pytest.fixture
def add_all() -> Callable[..., Awaitable[None]]:
    """Give blocks to a chain, one after the other."""

    async def add(chain: Chain, blocks: list[builders.Block]) -> None:
        for block in blocks:
            await chain.add_block(block)

    return add
