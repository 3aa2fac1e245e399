"""A node under test and somebody to talk to it byte by byte, in memory or over TCP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from altyn.consensus.secp256k1 import Ellswift
from altyn.node.testnet.clock import SimulatedClock
from altyn.node.testnet.links import Links
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import Timer
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.framing.frame import Frame
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.messages import Message, Ping, Pong, Verack, Version
from altyn.p2p.peer import Peer, PeerSettings, Settlement
from altyn.p2p.transport import Transport

MAGIC = b"\xfa\xbf\xb5\xda"
NODE, CALLER = "10.0.0.1", "10.0.0.2"
PORT = 18444
M = TypeVar("M", bound=Message)


class Recorder:
    """A handler that keeps what it is given; `answer` may do more."""

    def __init__(self, answer: Callable[[Peer, Message], Settlement | None] | None = None) -> None:
        self.connected: list[Peer] = []
        self.messages: list[Message] = []
        self.disconnected: list[Peer] = []
        self.answer = answer

    async def peer_connected(self, peer: Peer) -> None:
        self.connected.append(peer)

    def wants(self, peer: Peer, kind: type[Message], payload: bytes) -> bool:
        """Read everything."""
        return True

    async def message_received(self, peer: Peer, message: Message) -> Settlement | None:
        self.messages.append(message)
        return self.answer(peer, message) if self.answer else None

    def peer_disconnected(self, peer: Peer) -> None:
        self.disconnected.append(peer)


class Caller:
    """One end of a stream that speaks v1, and says exactly what it is told."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.framing = V1Framing(MAGIC)
        self.frames: list[Frame] = []
        self.heard: list[str] = []

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.send_raw(message.command, message.payload())

    async def send_raw(self, command: str, payload: bytes) -> None:
        await self.transport.write(self.framing.frame(command, payload))

    async def next_frame(self) -> Frame | None:
        while not self.frames:
            data = await self.transport.read()
            if not data:
                return None
            self.frames += self.framing.feed(data)
        frame = self.frames.pop(0)
        self.heard.append(frame.command)
        return frame

    async def expect(self, kind: type[M]) -> M:
        """Skip to the next message of a kind."""
        while (frame := await self.next_frame()) is not None:
            if frame.command == kind.command:
                return kind.parse(frame.payload)
        raise AssertionError(f"the stream ended without {kind.command}; heard {self.heard}")

    async def until_closed(self, within: float = 5.0) -> list[str]:
        """Read on until the other side hangs up; return the commands heard since the beginning."""
        async with asyncio.timeout(within):
            while await self.next_frame() is not None:
                pass
        return self.heard

    async def handshake(self, **fields: Any) -> Version:
        """Introduce ourselves as the one who called, and return the other's version."""
        await self.send(version(**fields))
        theirs = await self.expect(Version)
        await self.expect(Verack)
        await self.send(Verack())
        return theirs

    async def sync(self, nonce: int = 7) -> None:
        """Return when all that was sent has been worked on."""
        await self.send(Ping(nonce))
        while (await self.expect(Pong)).nonce != nonce:
            pass


def version(**fields: Any) -> Version:
    """A version message of a modern full node."""
    values: dict[str, Any] = {"version": 70016, "services": 9, "time": 1_700_000_000, "nonce": 1, "user_agent": "/t/"}
    return Version(**values | fields)


def settings(peer: PeerSettings | None = None, **fields: Any) -> ConnectionSettings:
    values: dict[str, Any] = {"magic": MAGIC, "services": 9, "user_agent": "/Altyn:0/"}
    return ConnectionSettings(**values | {"peer": peer or PeerSettings()} | fields)


class Node:
    """Connections in a simulated network, running."""

    def __init__(
        self,
        links: Links,
        host: str,
        handler: Recorder,
        clock: Timer,
        ellswift: Ellswift | None,
        limited_will_do: Callable[[], bool] = lambda: False,
        **fields: Any,
    ) -> None:
        self.links, self.host, self.handler = links, host, handler
        self.connections = Connections(
            settings(**fields),
            handler,
            clock,
            dialer=links.dialer(host),
            listener=links.listener(host),
            ellswift=ellswift,
            limited_will_do=limited_will_do,
        )

    async def call(self, host: str = CALLER) -> Caller:
        """Open a stream to this node."""
        return Caller(await self.links.dialer(host)(Endpoint(self.host, PORT)))

    async def peer(self) -> Peer:
        """Wait for the first peer's handshake."""
        await until(lambda: self.handler.connected)
        return self.handler.connected[0]


@contextlib.asynccontextmanager
async def running(*connections: Connections) -> AsyncIterator[None]:
    """Run connections while the block lasts."""
    tasks = [asyncio.create_task(one.run()) for one in connections]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def node(
    answer: Callable[[Peer, Message], Settlement | None] | None = None,
    *,
    links: Links | None = None,
    host: str = NODE,
    clock: Timer | None = None,
    ellswift: Ellswift | None = None,
    **fields: Any,
) -> AsyncIterator[Node]:
    """A listening node, which speaks v2 if it is given `ellswift`; `fields` go into its settings."""
    made = Node(links or Links(), host, Recorder(answer), clock or SimulatedClock(), ellswift, **fields)
    await made.connections.listen("0.0.0.0", PORT)
    async with running(made.connections):
        yield made


async def until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Wait for a condition, looking every 10 ms. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, not only one that is announced
            await asyncio.sleep(0.01)
