"""Some nodes of one kind as real processes on this machine, connected with each other, and an observer beside each."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from nodes import Node, starting

from altyn.consensus.networks import REGTEST
from altyn.node.lifetime import background
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.messages import CompactBlock, Headers, Inv, InventoryType, Message
from altyn.p2p.peer import Peer
from altyn.p2p.transport import TcpTransport, Transport

OBSERVER = "127.0.0.2"
"""Where observers call from: nodes tell them at once, and each other as they always do."""
_OPTIONS = (
    "-listen=1", "-connect=0", "-listenonion=0", "-dnsseed=0", "-fixedseeds=0", "-printtoconsole=0",
    f"-whitelist=noban@{OBSERVER}",
)  # fmt: skip


@contextlib.contextmanager
def running(program: Sequence[str], count: int) -> Iterator[list[Node]]:
    """Run `count` nodes, each connected to its neighbours on a ring and to one further on, until the body ends."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(starting(program, *_OPTIONS)) for _ in range(count)]
        for node in nodes:
            node.wait()
        for number, node in enumerate(nodes):
            for step in (1, 3):
                node.call("addnode", str(nodes[(number + step) % count].endpoint), "onetry")
        yield nodes


@dataclass(slots=True)
class Sightings:
    """When each node told of each transaction (by wtxid) and block: seconds of the monotonic clock, by node."""

    transactions: dict[bytes, dict[int, float]] = field(default_factory=dict)
    blocks: dict[bytes, dict[int, float]] = field(default_factory=dict)


class _Observer:
    """Listens to one node."""

    def __init__(self, number: int, sightings: Sightings) -> None:
        self._number = number
        self._sightings = sightings

    async def peer_connected(self, peer: Peer) -> None:
        """Nothing is to be said."""

    def peer_disconnected(self, peer: Peer) -> None:
        """The node ends."""

    def wants(self, peer: Peer, kind: type[Message], payload: bytes) -> bool:
        """Read everything."""
        return True

    async def message_received(self, peer: Peer, message: Message) -> None:
        now = time.monotonic()
        match message:
            case Inv(items=items):
                for item in items:
                    is_block = item.type in (InventoryType.BLOCK, InventoryType.WITNESS_BLOCK)
                    self._note(self._sightings.blocks if is_block else self._sightings.transactions, item.hash, now)
            case Headers(headers=headers):
                for header in headers:
                    self._note(self._sightings.blocks, header.hash, now)
            case CompactBlock(header=header):
                self._note(self._sightings.blocks, header.hash, now)

    def _note(self, table: dict[bytes, dict[int, float]], item: bytes, now: float) -> None:
        table.setdefault(item, {}).setdefault(self._number, now)


@contextlib.asynccontextmanager
async def observing(nodes: Sequence[Node]) -> AsyncIterator[Sightings]:
    """Have an observer connected to each node while the body runs."""
    sightings = Sightings()
    settings = ConnectionSettings(magic=REGTEST.magic, services=0, user_agent="/observer/")
    async with contextlib.AsyncExitStack() as stack:
        for number, node in enumerate(nodes):
            connections = Connections(settings, _Observer(number, sightings), SystemClock(), dialer=_dial)
            await stack.enter_async_context(background(connections.run()))
            peer = await connections.connect(*node.endpoint)
            await peer.ready.wait()
        yield sightings


async def _dial(endpoint: Endpoint) -> Transport:
    return TcpTransport(*await asyncio.open_connection(endpoint.host, endpoint.port, local_addr=(OBSERVER, 0)))
