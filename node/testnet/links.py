"""Streams in memory between simulated hosts, over links that have latency and bandwidth and can be cut.

A link behaves as TCP over it does: bytes come whole and in order, a writer waits when the reader does not read, and
what is under way when the link is cut arrives after it is restored.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

from altyn.p2p.addresses import Endpoint
from altyn.p2p.errors import Disconnect
from altyn.p2p.transport import CONNECT_TIMEOUT, READ_SIZE, Dialer, Listener, Listening, Transport

RETRANSMISSION = 0.2
"""Seconds that TCP waits before it sends again what was lost, at the least (Linux)."""
WINDOW = 1 << 18
"""Bytes under way or unread, one direction of one stream, above which its writer waits."""


class Link:
    """What lies between two hosts, for all streams between them."""

    def __init__(self, latency: float, bandwidth: float | None, loss: float, random: Random) -> None:
        """`latency` in seconds, one way; `bandwidth` in bytes per second for each stream, None: unbounded.

        `loss` is the chance that something written has to be sent again, which costs RETRANSMISSION seconds.
        """
        self.latency = latency
        self.bandwidth = bandwidth
        self.loss = loss
        self._random = random
        self.carried_bytes = 0
        """Bytes written to all streams, both ways."""
        self._up = asyncio.Event()
        self._up.set()
        self._pipes: dict[_Pipe, None] = {}  # a set with an order: runs must be repeatable

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    def cut(self) -> None:
        """Let nothing through until `restore`."""
        self._up.clear()

    def restore(self) -> None:
        """Let everything through again, beginning with what was under way."""
        self._up.set()
        for pipe in list(self._pipes):
            pipe.deliver()

    def delay(self) -> float:
        """Return how long something written now is under way, in seconds."""
        lost = 0
        while self.loss and self._random.random() < self.loss:
            lost += 1
        return self.latency + RETRANSMISSION * lost

    async def until_up(self) -> None:
        """Wait while the link is cut."""
        await self._up.wait()


class _Pipe:
    """One direction of a stream."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes | None]] = deque()  # arrival, in the loop's time; None: the end
        self._sent_until = 0.0
        self._arrived = bytearray()
        self._alarm: asyncio.TimerHandle | None = None
        self._bytes = 0
        self._ended = self._unread = False
        self._changed = asyncio.Event()
        link._pipes[self] = None

    async def write(self, data: bytes) -> None:
        self._link.carried_bytes += len(data)
        self._bytes += len(data)
        self._send(data, len(data))
        while self._bytes > WINDOW:
            await self._change()

    async def read(self) -> bytes:
        while not self._arrived and not self._ended:
            await self._change()
        data = bytes(self._arrived[:READ_SIZE])
        del self._arrived[:READ_SIZE]
        self._bytes -= len(data)
        self._announce()
        return data

    def end(self) -> None:
        """Send the end of the stream behind what is under way."""
        self._send(None, 0)

    def abandon(self) -> None:
        """Throw away what arrives from now on: the reader is gone. The writer hears of it by the other direction."""
        self._unread = self._ended = True
        self._bytes -= len(self._arrived)
        self._arrived.clear()
        self._announce()

    def deliver(self) -> None:
        """Hand over what has arrived by now, and set the alarm for what comes next."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._loop.time()
        while self._link.is_up and self._under_way and self._under_way[0][0] <= now:
            _, data = self._under_way.popleft()
            if data is None:
                self._ended = True
                self._link._pipes.pop(self, None)
            elif self._unread:
                self._bytes -= len(data)
            else:
                self._arrived += data
            self._announce()
        if self._link.is_up and self._under_way:
            self._alarm = self._loop.call_at(self._under_way[0][0], self.deliver)

    def _send(self, data: bytes | None, size: int) -> None:
        link, now = self._link, self._loop.time()
        self._sent_until = max(self._sent_until, now) + (size / link.bandwidth if link.bandwidth else 0.0)
        arrival = self._sent_until + link.delay()
        if self._under_way:
            arrival = max(arrival, self._under_way[-1][0])
        self._under_way.append((arrival, data))
        if len(self._under_way) == 1:
            self.deliver()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()


class LinkTransport:
    """One end of a stream (a Transport)."""

    def __init__(self, local: Endpoint, remote: Endpoint, incoming: _Pipe, outgoing: _Pipe) -> None:
        self.local, self.remote = local, remote
        self._incoming, self._outgoing = incoming, outgoing
        self._closed = False

    async def read(self) -> bytes:
        return await self._incoming.read()

    async def write(self, data: bytes) -> None:
        if self._closed:
            raise Disconnect("socket send error: closed")
        await self._outgoing.write(data)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.abandon()


class _LinkListening:
    def __init__(self, endpoint: Endpoint, doors: dict[Endpoint, Callable[[Transport], None]]) -> None:
        self.endpoint = endpoint
        self._doors = doors

    async def close(self) -> None:
        self._doors.pop(self.endpoint, None)


class Links:
    """All links of a simulated network. Hosts are named by any text, best by an address such as 10.0.0.1."""

    def __init__(
        self,
        *,
        latency: float = 0.05,
        bandwidth: float | None = None,
        loss: float = 0.0,
        random: Random | None = None,
    ) -> None:
        """Make links of this `latency`, `bandwidth` and `loss`, until somebody changes them; see `Link`."""
        self._latency, self._bandwidth, self._loss = latency, bandwidth, loss
        self._random = random or Random(0)
        self._links: dict[frozenset[str], Link] = {}
        self._doors: dict[Endpoint, Callable[[Transport], None]] = {}
        self._free_port = 49152
        self._isolated: frozenset[str] = frozenset()

    def between(self, one: str, other: str) -> Link:
        """Return the link between two hosts, which need not exist yet."""
        hosts = frozenset((one, other))
        if hosts not in self._links:
            link = self._links[hosts] = Link(self._latency, self._bandwidth, self._loss, self._random)
            if self._is_border(hosts):
                link.cut()
        return self._links[hosts]

    def isolate(self, *hosts: str) -> None:
        """Cut every link between these hosts and the others."""
        self._isolated = frozenset(hosts)
        for ends, link in self._links.items():
            if self._is_border(ends):
                link.cut()

    def heal(self) -> None:
        """Restore every link."""
        self._isolated = frozenset()
        for link in self._links.values():
            link.restore()

    def _is_border(self, ends: frozenset[str]) -> bool:
        return bool(ends & self._isolated) and not ends <= self._isolated

    def dialer(self, host: str) -> Dialer:
        """Return how `host` dials."""

        async def dial(endpoint: Endpoint) -> Transport:
            link = self.between(host, endpoint.host)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await link.until_up()
                await asyncio.sleep(2 * link.latency)
                await link.until_up()
            accepted = self._doors.get(endpoint)
            if accepted is None:
                raise ConnectionRefusedError(f"{endpoint} does not listen")
            self._free_port += 1
            local = Endpoint(host, self._free_port)
            there, back = _Pipe(link), _Pipe(link)
            accepted(LinkTransport(endpoint, local, there, back))
            return LinkTransport(local, endpoint, back, there)

        return dial

    def listener(self, host: str) -> Listener:
        """Return how `host` listens; the host of the endpoint it is given is replaced by its own."""

        async def listen(endpoint: Endpoint, accepted: Callable[[Transport], None]) -> Listening:
            here = Endpoint(host, endpoint.port)
            if here in self._doors:
                raise OSError(f"{here} is in use")
            self._doors[here] = accepted
            return _LinkListening(here, self._doors)

        return listen
