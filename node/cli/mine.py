"""`altyn mine`: search blocks for any node, on this machine's processors."""

import asyncio
from pathlib import Path
from typing import Any

import click

from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import NETWORKS
from altyn.consensus.script.addresses import AddressError, decode_address
from altyn.node.lifetime import background
from altyn.node.mining.miner import Miner
from altyn.node.mining.remote import RemoteTemplates
from altyn.node.mining.search import NONCES, load_backend
from altyn.node.offload import Threads
from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.node.rpc.errors import METHOD_NOT_FOUND
from altyn.p2p.clock import SystemClock

_LOOK = 1.0
"""Seconds between two looks whether somebody else found a block."""


class RemoteNode:
    """A node's RPC, called on a thread."""

    def __init__(self, url: str, cookie_file: Path | None, threads: Threads) -> None:
        self._url, self._cookie_file, self._threads = url, cookie_file, threads

    async def call(self, method: str, params: list[Any]) -> Any:
        """Return the result. Raises RpcFailure, Unreachable."""
        return await self._threads(RpcClient(self._url, cookie_file=self._cookie_file).call, method, params)


async def mine_blocks(url: str, cookie_file: Path | None, address: str, count: int) -> None:
    """Mine `count` blocks for `address` on the node at `url`, 0 for no end.

    Raises RpcFailure, Unreachable, ValidationError, AddressError.
    """
    threads = Threads(2)
    try:
        node = RemoteNode(url, cookie_file, threads)
        network = NETWORKS[(await node.call("getblockchaininfo", []))["chain"]]
        script_pubkey = decode_address(address, network)
        source = RemoteTemplates(network, node.call)
        miner = Miner(source, load_backend(), threads, SystemClock())
        found = 0
        async with background(_keep_current(source)):
            while not count or found < count:
                for block_hash in await miner.generate(1, script_pubkey, NONCES):
                    found += 1
                    click.echo(f"found block {block_hash[::-1].hex()}")
    finally:
        threads.close()


async def _keep_current(source: RemoteTemplates) -> None:
    while True:
        await asyncio.sleep(_LOOK)
        await source.refresh()


def run(url: str, cookie_file: Path | None, address: str, count: int) -> None:
    """Mine until done; turn what goes wrong into one line."""
    try:
        asyncio.run(mine_blocks(url, cookie_file, address, count))
    except RpcFailure as error:
        if error.code == METHOD_NOT_FOUND:
            raise click.ClickException(f"the node at {url} gives no templates: mine on a full node") from error
        raise click.ClickException(str(error)) from error
    except (Unreachable, ValidationError) as error:
        raise click.ClickException(str(error)) from error
    except AddressError as error:
        raise click.ClickException(f"{address} is no address of this network: {error}") from error
    except KeyError as error:
        raise click.ClickException(f"the node's chain is unknown here: {error}") from error
