"""Streams of bytes between two peers: over TCP here, in memory in a simulation."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from altyn.p2p.addresses import Endpoint
from altyn.p2p.errors import Disconnect

READ_SIZE = 1 << 16
"""The most bytes that one read takes, and about the most that wait unread in this process."""
CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection (Core: -timeout)."""
_LINGER = 1.0
"""Seconds that the last bytes have to leave when we close."""


class Transport(Protocol):
    """An open stream. Errors of the stream end it with Disconnect."""

    @property
    def local(self) -> Endpoint: ...
    @property
    def remote(self) -> Endpoint: ...
    async def read(self) -> bytes:
        """Wait for bytes; return at most READ_SIZE of them, none when the other side has closed."""
        ...

    async def write(self, data: bytes) -> None:
        """Send `data`; return when the stream is ready for more."""
        ...

    async def close(self) -> None:
        """Close after what was written has left, or after a second. Raises nothing; may be called twice."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        ...


class Listening(Protocol):
    """A place where peers can knock."""

    @property
    def endpoint(self) -> Endpoint: ...
    async def close(self) -> None: ...


Dialer = Callable[[Endpoint], Awaitable[Transport]]
"""Opens a stream to an endpoint. Raises OSError (TimeoutError is one)."""
Listener = Callable[[Endpoint, Callable[[Transport], None]], Awaitable[Listening]]
"""Listens at an endpoint (port 0: any free one) and calls back with each stream that is opened. Raises OSError."""


class TcpTransport:
    """An asyncio stream. What the socket holds unread stays in the kernel: the sender feels it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, remote: Endpoint | None = None
    ) -> None:
        """`remote`: who is at the other end, where that is not whom the socket leads to, but a proxy."""
        self._reader, self._writer = reader, writer
        writer.transport.set_write_buffer_limits(high=READ_SIZE)
        self.local = _endpoint(writer.get_extra_info("sockname"))
        self.remote = remote or _endpoint(writer.get_extra_info("peername"))

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_SIZE)
        except OSError as error:
            raise Disconnect(f"socket recv error: {error}") from None

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Disconnect(f"socket send error: {error}") from None

    async def close(self) -> None:
        self._writer.close()
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait_for(self._writer.wait_closed(), _LINGER)
        finally:
            self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


async def dial_tcp(endpoint: Endpoint) -> Transport:
    """Connect within five seconds (a Dialer)."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=READ_SIZE // 2)
    except ValueError as error:  # no name of a host: an empty label (127.0.0..1), a NUL, half a surrogate pair
        raise OSError(f"not the name of a host: {error}") from None
    return TcpTransport(reader, writer)


class TcpListening:
    """A listening socket."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.endpoint = _endpoint(server.sockets[0].getsockname())

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


async def listen_tcp(endpoint: Endpoint, accepted: Callable[[Transport], None]) -> Listening:
    """Listen on one address (a Listener)."""

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted(TcpTransport(reader, writer))

    server = await asyncio.start_server(connected, endpoint.host, endpoint.port, limit=READ_SIZE // 2)
    return TcpListening(server)


def _endpoint(name: tuple[str, int] | None) -> Endpoint:
    # The name is missing when the other side hung up before we looked.
    return Endpoint(name[0], name[1]) if name else Endpoint("0.0.0.0", 0)
