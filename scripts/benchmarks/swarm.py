"""Some nodes of one kind as real processes on this machine, connected with each other, and an observer beside each."""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from altyn.consensus.networks import REGTEST
from altyn.node.lifetime import background
from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.messages import CompactBlock, Headers, Inv, InventoryType, Message
from altyn.p2p.peer import Peer
from altyn.p2p.transport import TcpTransport, Transport

OBSERVER = "127.0.0.2"
"""Where observers call from: nodes tell them at once, and each other as they always do."""
_PATIENCE = 60.0
_OPTIONS = (
    "-regtest", "-listen=1", "-connect=0", "-listenonion=0", "-dnsseed=0", "-fixedseeds=0", "-printtoconsole=0",
    f"-whitelist=noban@{OBSERVER}",
)  # fmt: skip


@dataclass(slots=True)
class Node:
    """A running node."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    client: RpcClient

    def call(self, method: str, *params: Any) -> Any:
        """Call it. Raises RpcFailure, Unreachable."""
        return self.client.call(method, params)

    @property
    def memory(self) -> int:
        """Bytes that it holds now, its helpers not counted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def running(program: Sequence[str], count: int) -> Iterator[list[Node]]:
    """Run `count` nodes, each connected to its neighbours on a ring and to one further on, until the body ends."""
    with tempfile.TemporaryDirectory(prefix="altyn-swarm-") as folder, contextlib.ExitStack() as stack:
        nodes = []
        for number in range(count):
            home = Path(folder) / str(number)
            home.mkdir()
            nodes.append(stack.enter_context(_running(program, home)))
        for node in nodes:
            _wait(node)
        for number, node in enumerate(nodes):
            for step in (1, 3):
                node.call("addnode", str(nodes[(number + step) % count].endpoint), "onetry")
        yield nodes


def altynd() -> list[str]:
    """Return the command of our own node."""
    return [sys.executable, "-m", "altyn.node.cli.altynd"]


@contextlib.contextmanager
def _running(program: Sequence[str], home: Path) -> Iterator[Node]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, rpc_port = one.getsockname()[1], other.getsockname()[1]
    places = [f"-datadir={home}", f"-port={port}", f"-bind=127.0.0.1:{port}", f"-rpcport={rpc_port}"]
    process = subprocess.Popen([*program, *_OPTIONS, *places], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = RpcClient(f"http://127.0.0.1:{rpc_port}", cookie_file=home / "regtest" / ".cookie", timeout=_PATIENCE)
    try:
        with client:
            yield Node(process, Endpoint("127.0.0.1", port), client)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(node: Node) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            node.call("getblockcount")
        except (Unreachable, RpcFailure, OSError):
            if node.process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


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
