"""Somebody who asks a node for large answers all the time: what they cost its event loop shows in `bench ibd`."""

import asyncio
from pathlib import Path

from altyn.node.full import FullNode
from altyn.node.logs import LogCategories
from altyn.node.rpc.control import Program
from altyn.node.rpc.groups import full_groups
from altyn.node.rpc.json_text import dump_in_pieces
from altyn.node.rpc.method import MethodTable
from altyn.p2p.clock import SystemClock

_PAUSE = 0.02
"""Seconds between two large answers."""


async def ask(node: FullNode) -> None:
    """Have large answers made, one after the other, as the RPC server makes them."""
    methods = MethodTable()
    for group in full_groups(node, methods, SystemClock(), Program(lambda _: None, LogCategories(), Path())):
        methods.add(group)
    while True:
        await asyncio.sleep(_PAUSE)
        await dump_in_pieces(await methods.call("getblock", [node.chain.tip.hash[::-1].hex(), 2]))
        await dump_in_pieces(await methods.call("getblock", [node.chain.tip.hash[::-1].hex(), 0]))
