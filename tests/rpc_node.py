"""A full node in memory, and its RPC methods."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from altyn.consensus.block import Block
from altyn.node.full import FullNode
from altyn.node.lifetime import Surroundings
from altyn.node.load_settings import load
from altyn.node.logs import LogCategories
from altyn.node.offload import Inline
from altyn.node.rpc.control import Program
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.groups import full_groups
from altyn.node.rpc.json_text import dump_in_pieces, parse
from altyn.node.rpc.method import MethodTable
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.transport import Transport

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
RAW_TRUE = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"
"""Pays to the witness script OP_TRUE: anybody may spend it."""


async def nobody_there(endpoint: Endpoint) -> Transport:
    raise ConnectionRefusedError(f"nobody at {endpoint}")


@dataclass
class Rpc:
    """Calls the methods of a node as the server does, JSON included."""

    node: FullNode
    methods: MethodTable = field(default_factory=MethodTable)

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result as a client reads it. Raises RpcError, and whatever is a bug."""
        return parse(await dump_in_pieces(await self.methods.call(method, list(params))))


@asynccontextmanager
async def rpc_node(folder: Path, *options: str) -> AsyncIterator[Rpc]:
    """Run a node on regtest; nobody answers when it dials, nothing is on disk."""
    settings = load([f"-datadir={folder}", "-regtest", "-listen=0", *options])
    clock = SystemClock()
    surroundings = Surroundings(clock, Inline(), random.Random(1), dialer=nobody_there, in_memory=True)
    async with FullNode.open(settings, surroundings=surroundings) as node:
        rpc = Rpc(node)
        for group in full_groups(
            node, rpc.methods, clock, Program(lambda seconds: None, LogCategories(), folder / "debug.log")
        ):
            rpc.methods.add(group)
        yield rpc


async def refusal(rpc: Rpc, method: str, *params: Any) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await rpc.call(method, *params)
    return caught.value.code, caught.value.message


async def funded(rpc: Rpc) -> Block:
    """Mine until the first reward, which anybody may spend, is ripe; return its block."""
    first = (await rpc.call("generatetoaddress", 1, RAW_TRUE))[0]
    await rpc.call("generatetoaddress", 100, ADDRESS)
    return Block.parse(bytes.fromhex(await rpc.call("getblock", first, 0)))
