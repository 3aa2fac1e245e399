"""One connection: a handshake, a bounded outbox and a stream of messages, each handled after the one before it."""

import asyncio
import inspect
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from altyn.consensus.encoding import EncodingError
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import Timer
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.framing.frame import Frame, Framing
from altyn.p2p.handshake import Features, Handshake, Stage
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.limits import (
    MAX_QUEUED,
    MAX_UNSETTLED,
    MAX_UNSETTLED_BYTES,
    MAX_UNSETTLED_BYTES_OF_ALL,
    MESSAGES_AT_ONCE,
    PING_INTERVAL,
    PING_NONCE_VERSION,
    READ_AHEAD,
    READ_AT_ONCE,
    SEND_BUFFER,
    SILENCE_LIMIT,
)
from altyn.p2p.messages import (
    MESSAGES,
    Block,
    BlockTransactions,
    CompactBlock,
    FilterAdd,
    FilterClear,
    FilterLoad,
    Headers,
    Message,
    Ping,
    Pong,
    SendTxReconciliation,
    Tx,
    Verack,
    Version,
)
from altyn.p2p.queues import Budget, Inbox, Outbox, Outgoing
from altyn.p2p.transport import Transport

log = logging.getLogger(__name__)

OTHER = "*other*"
"""The command under which bytes are counted that belong to no known one (Core: NET_MESSAGE_TYPE_OTHER)."""
PIPELINED: tuple[type[Message], ...] = (Block, Headers)
"""Messages that are handed on while earlier ones are not settled; every other one waits."""
HEAVY: tuple[type[Message], ...] = (Tx, CompactBlock, BlockTransactions)
"""Messages that, large ones, take many times their bytes in memory, and are done with soon whatever peers do."""
_FOR_BLOOM_FILTERS: tuple[type[Message], ...] = (FilterLoad, FilterAdd, FilterClear)
_HANDSHAKE_ONLY: tuple[type[Message], ...] = (Version, Verack, SendTxReconciliation)
_A_MOMENT = 0.001
"""Seconds: time is over when more than that has passed (Core), which counts where a mock time stands still."""
_LAST_WORDS = 1 << 16
"""Bytes of the outbox that are still sent when a connection ends."""

Settlement = Awaitable[None]
"""Work on a message that goes on behind its peer's back; see `PeerHandler.message_received`."""


class PeerHandler(Protocol):
    """What is done with peers and their messages. Calls of one peer come one at a time, in order.

    Each may raise Disconnect or Misbehaving, which ends this peer. Anything else raised is our own bug: it is logged
    with its traceback and costs the peer only; what must stop the node belongs in the node's own tasks.
    """

    async def peer_connected(self, peer: "Peer") -> None:
        """The handshake is done, `peer.features` is there. No message is handled before this returns."""
        ...

    def wants(self, peer: "Peer", kind: type[Message], payload: bytes) -> bool:
        """Whether to read a message, and then handle it: not if a look at its first bytes was enough."""
        ...

    async def message_received(self, peer: "Peer", message: Message) -> Settlement | None:
        """Handle a message; return None when its effects are there.

        Or return an awaitable that ends when they are: `block` and `headers` that follow are handed on meanwhile,
        everything else (so also the pong to a ping) waits for it. The peer awaits it, in order of arrival, and it may
        raise what this may. `version`, `verack`, `ping`, `pong` and unknown messages never come here.
        """
        ...

    def peer_disconnected(self, peer: "Peer") -> None:
        """The connection is over, `peer.ended` says why. Called for exactly the peers that were connected."""
        ...


@dataclass(slots=True)
class PeerStats:
    """Counters of a connection, as `getpeerinfo` shows them. Times in seconds since 1970 (0: never), sizes in bytes.

    `last_block` and `last_transaction` are for whoever accepts them to set.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_sent_by_command: Counter[str] = field(default_factory=Counter)
    bytes_received_by_command: Counter[str] = field(default_factory=Counter)
    last_send: float = 0.0
    last_receive: float = 0.0
    last_block: float = 0.0
    last_transaction: float = 0.0
    ping_time: float | None = None
    min_ping: float | None = None


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How patient we are. `handshake_timeout` is Core's -peertimeout, in seconds; for as long no timeout is looked at.

    `drop_malformed`: end the connection over a message that cannot be read. A full node only ignores it, as Core does.
    """

    handshake_timeout: float = 60.0
    drop_malformed: bool = True
    send_buffer: int = SEND_BUFFER
    max_queued: int = MAX_QUEUED


class Peer:
    """One connection to another node. `run` serves it to its end; everything else may be called from anywhere."""

    def __init__(
        self,
        peer_id: int,
        kind: PeerKind,
        transport: Transport,
        framing: Framing,
        handshake: Handshake,
        *,
        handler: PeerHandler,
        clock: Timer,
        settings: PeerSettings,
        rng: random.Random,
        permissions: Permission = Permission.NONE,
        nonce: int = 0,
        budget: Budget | None = None,
    ) -> None:
        """`nonce` is that of our version message. `budget` bounds what all peers have in work, if there are others."""
        self.id = peer_id
        self.kind = kind
        self.permissions = permissions
        self.nonce = nonce
        self.connected_at = clock.now()
        self.stats = PeerStats()
        self.ready = asyncio.Event()
        """Set when the handshake is done."""
        self.gone = asyncio.Event()
        """Set when the connection is over and cleared away."""
        self.ended: Disconnect | None = None
        """Why the connection ended."""
        self.dialled: Endpoint | None = None
        """Whom we called: the address, or the name that it was resolved from."""
        self.is_onion = False
        """Whether Tor passed an inbound connection on: its address says nothing then."""
        self.is_discouraged = False
        """Whether somebody at an inbound peer's address misbehaved before: it is the first to go."""
        self.filters = False
        """Whether it has set a bloom filter (BIP37), for whoever keeps that to set; it costs us more then."""
        self._features: Features | None = None
        self._transport, self._framing, self._handshake = transport, framing, handshake
        self._handler, self._clock, self._settings, self._rng = handler, clock, settings, rng
        self._can_send = asyncio.Event()
        self._inbox = Inbox(READ_AHEAD)
        self._outbox = Outbox(soft=settings.send_buffer, hard=settings.max_queued)
        self._budget = budget or Budget(MAX_UNSETTLED_BYTES_OF_ALL)
        self._unsettled: dict[int, int] = {}  # number of the settlement -> bytes of its message
        self._next_settlement = 0
        self._settled_one = asyncio.Event()
        self._told = asyncio.Event()
        self._told_why: Disconnect | None = None
        self._ping_nonce = 0
        self._ping_started = 0.0
        self._ping_answered = asyncio.Event()

    @property
    def address(self) -> Endpoint:
        """Where the peer is, as the socket knows it."""
        return self._transport.remote

    @property
    def bound_address(self) -> Endpoint:
        """Our end of the socket."""
        return self._transport.local

    @property
    def inbound(self) -> bool:
        return self.kind is PeerKind.INBOUND

    @property
    def transport_name(self) -> str:
        """How messages are framed: v1, v2, or detecting."""
        return self._framing.name

    @property
    def session_id(self) -> str:
        """The id of an encrypted session, for comparing it at both ends; else empty."""
        return self._framing.session_id

    @property
    def may_speak_v1(self) -> bool:
        """Whether the peer ended the connection without an answer to our v2 key (Core: ShouldReconnectV1)."""
        return self._told_why is None and self._framing.unanswered

    @property
    def features(self) -> Features:
        """What the peer said in the handshake. Only once `ready` is set."""
        if self._features is None:
            raise RuntimeError(f"{self} has not finished its handshake")
        return self._features

    @property
    def introduction(self) -> Features | None:
        """What the peer has said so far; None before its version message."""
        return None if self._handshake.stage is Stage.AWAITING_VERSION else self._handshake.features

    @property
    def offered(self) -> int:
        """The services that we told the peer of: bits of `Services`."""
        return self._handshake.offered

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is done and the connection not about to end."""
        return self.ready.is_set() and self._told_why is None and self.ended is None

    @property
    def is_ending(self) -> bool:
        """Whether the connection is about to end."""
        return self._told_why is not None or self.ended is not None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self._outbox.queued_bytes

    def send(self, message: Message) -> None:
        """Queue `message` without waiting; a peer that lets `max_queued` bytes pile up is disconnected."""
        self.send_raw(message.command, message.payload())

    def send_raw(self, command: str, payload: bytes) -> None:
        """Queue a payload under any command of up to twelve characters."""
        if self._told_why is None and not self._outbox.put(Outgoing(command, payload)):
            self.disconnect("reads too slowly")

    async def drained(self) -> None:
        """Wait until what is queued fits the send buffer: who sends much waits here between pieces."""
        await self._outbox.drained()

    def disconnect(self, reason: str) -> None:
        """End the connection soon. Does nothing when it is about to end."""
        self._tell(Disconnect(reason))

    def punish(self, reason: str) -> None:
        """End the connection for misbehaviour found after the fact, unless the peer may misbehave."""
        if not self._forgives(Misbehaving(reason)):
            self._tell(Misbehaving(reason))

    def abort(self) -> None:
        """Cut the connection, without a word."""
        self._transport.abort()

    def ping(self) -> None:
        """Send a ping now; one that is still out is forgotten (the `ping` RPC does this to every peer)."""
        if self._features is None or self._features.common_version < PING_NONCE_VERSION:
            return
        self._ping_nonce = self._rng.getrandbits(64) or 1
        self._ping_started = self._clock.now()
        self.send(Ping(self._ping_nonce))

    @property
    def ping_wait(self) -> float | None:
        """Seconds since the ping that is still unanswered, None if there is none."""
        return self._clock.now() - self._ping_started if self._ping_nonce else None

    async def run(self) -> None:
        """Serve the connection to its end; `ended` says why then. Raises only what is our own fault."""
        try:
            for message in self._handshake.start():
                self.send(message)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fill_inbox())
                tasks.create_task(self._empty_inbox(tasks))
                tasks.create_task(self._drain_outbox())
                tasks.create_task(self._keep_alive())
                tasks.create_task(self._watch_for_silence())
                tasks.create_task(self._until_told())
        except* Disconnect as group:
            self.ended = self._told_why or _first(group)
        finally:
            self.ended = self.ended or Disconnect("shutting down")
            try:
                if self._told_why is not None:
                    await self._send_last_words()
                await self._transport.close()
            finally:
                if self._features is not None:
                    self._handler.peer_disconnected(self)

    def __str__(self) -> str:
        return f"peer={self.id}"

    async def _fill_inbox(self) -> None:
        """Read ahead a bounded number of bytes, so that two peers who send each other much cannot block each other."""
        await self._agree_on_keys()
        while data := await self._transport.read():
            self.stats.bytes_received += len(data)
            self.stats.last_receive = self._clock.now()
            self._put_into_inbox(data)
            if not self._can_send.is_set():
                await self._agree_on_keys()
            await self._inbox.room()
        self._inbox.put(None)

    def _put_into_inbox(self, data: bytes) -> None:
        for frame in self._framing.feed(data):
            self._inbox.put(frame)

    async def _empty_inbox(self, tasks: asyncio.TaskGroup) -> None:
        messages = size = 0  # since others last had a turn
        while (frame := await self._inbox.get()) is not None:
            if self._told_why is not None:
                raise self._told_why
            messages, size = messages + 1, size + len(frame.payload)
            if messages >= MESSAGES_AT_ONCE or size >= READ_AT_ONCE:
                await asyncio.sleep(0)  # most messages make nobody wait: without this a flood of them would starve all
                messages = size = 0
            try:
                await self._handle(frame, tasks)
            except Misbehaving as fault:
                if not self._forgives(fault):
                    raise
            del frame  # a large one is not to lie in memory while we wait for the next
        await self._settled()
        raise Disconnect("socket closed")

    async def _handle(self, frame: Frame, tasks: asyncio.TaskGroup) -> None:
        kind = MESSAGES.get(frame.command)
        self.stats.bytes_received_by_command[frame.command if kind else OTHER] += frame.size
        log.debug("received: %s (%d bytes) %s", frame.command, len(frame.payload), self)
        if kind is None:
            log.debug("ignoring %s from %s", frame.fault or f"unknown message {frame.command}", self)
        elif self._handshake.expects(kind):
            message = await self._read(kind, frame)
            if message is not None:
                await self._shake_hands(message)
        elif self._features is None or kind in _HANDSHAKE_ONLY:
            log.debug("ignoring %s at this time from %s", frame.command, self)
        elif kind is Ping and self._features.common_version < PING_NONCE_VERSION:
            log.debug("ignoring a ping without nonce from %s", self)
        elif kind is Pong:
            message = await self._read(kind, frame)
            if isinstance(message, Pong):
                self._pong(message)
        else:
            await self._dispatch(kind, frame, tasks)

    async def _read(self, kind: type[Message], frame: Frame) -> Message | None:
        """Parse a message, a large one on a thread: nobody else has to wait, however many parts it is made of."""
        payload = frame.payload
        try:
            return kind.parse(payload) if len(payload) <= READ_AT_ONCE else await asyncio.to_thread(kind.parse, payload)
        except EncodingError as error:
            text = f"ProcessMessages({frame.command}, {len(payload)} bytes): Exception '{error}' caught"
        if self._settings.drop_malformed:
            raise Disconnect(text)
        log.debug("%s, %s", text, self)
        return None

    async def _shake_hands(self, message: Message) -> None:
        for answer in self._handshake.feed(message):
            self.send(answer)
        if self._features is None and self._handshake.stage is Stage.DONE:
            self._features = self._handshake.features
            await self._handler.peer_connected(self)
            self.ready.set()
            for early in self._handshake.early.values():
                await self._handler.message_received(self, early)

    async def _dispatch(self, kind: type[Message], frame: Frame, tasks: asyncio.TaskGroup) -> None:
        """Hand a message on once it is its turn, and once all peers together have room in memory for a large one."""
        if kind not in PIPELINED:
            await self._settled()
        if kind in _FOR_BLOOM_FILTERS and not self.offered & Services.BLOOM:  # whether it can be read or not (Core)
            raise Disconnect(f"{kind.command} received despite not offering bloom services")
        await self._outbox.drained()
        taken = frame.size if kind in PIPELINED or (kind in HEAVY and len(frame.payload) > READ_AT_ONCE) else 0
        await self._budget.take(taken)
        settlement: Settlement | None = None
        try:
            message = await self._read(kind, frame) if self._handler.wants(self, kind, frame.payload) else None
            if isinstance(message, Ping):
                self.send(Pong(message.nonce))
            elif message is not None:
                settlement = await self._handler.message_received(self, message)
        finally:
            if settlement is None:
                self._budget.give(taken)
        if settlement is not None:
            message = None  # it lives as long as the settlement needs it
            await self._settle_later(settlement, frame.size, tasks, taken=taken)

    async def _settle_later(self, settlement: Settlement, size: int, tasks: asyncio.TaskGroup, *, taken: int) -> None:
        """Await `settlement` behind the peer's back, and give back what it has `taken` of the budget at its end."""
        number = self._next_settlement = self._next_settlement + 1
        self._unsettled[number] = size
        task = tasks.create_task(self._settle(number, settlement))
        if taken:
            task.add_done_callback(lambda _: self._budget.give(taken))
        if inspect.iscoroutine(settlement):  # cancelled before it began, it would complain
            task.add_done_callback(lambda _: settlement.close())
        await asyncio.sleep(0)  # it starts before anything that comes after it
        await self._settled(MAX_UNSETTLED - 1, MAX_UNSETTLED_BYTES)

    async def _settle(self, number: int, settlement: Settlement) -> None:
        try:
            await settlement
        except Misbehaving as fault:
            if not self._forgives(fault):
                raise
        finally:
            del self._unsettled[number]
            self._settled_one.set()

    async def _settled(self, most: int = 0, most_bytes: int = 0) -> None:
        """Wait until at most so much is unsettled."""
        while len(self._unsettled) > most or sum(self._unsettled.values()) > most_bytes:
            self._settled_one.clear()
            await self._settled_one.wait()

    def _pong(self, pong: Pong) -> None:
        """Core's reading of an answer: only the right nonce counts; a short or zero one ends the wait all the same."""
        now = self._clock.now()
        if pong.nonce is not None and pong.nonce == self._ping_nonce != 0:
            stats, passed = self.stats, now - self._ping_started
            if passed >= 0:
                stats.ping_time = passed
                stats.min_ping = passed if stats.min_ping is None else min(stats.min_ping, passed)
        elif pong.nonce:
            log.debug("pong without its ping from %s", self)
            return
        self._ping_nonce = 0
        self._ping_answered.set()

    async def _agree_on_keys(self) -> None:
        """Send what the framing has to say; let messages follow when it is ready for them."""
        if unsent := self._framing.take_unsent():
            await self._send_bytes(unsent)
        if self._framing.can_send:
            self._can_send.set()

    async def _drain_outbox(self) -> None:
        await self._can_send.wait()
        while True:
            await self._write(await self._outbox.get())

    async def _write(self, outgoing: Outgoing) -> None:
        framed = self._framing.frame(outgoing.command, outgoing.payload)
        known = outgoing.command if outgoing.command in MESSAGES else OTHER
        self.stats.bytes_sent_by_command[known] += len(framed)
        log.debug("sending %s (%d bytes) %s", outgoing.command, len(outgoing.payload), self)
        await self._send_bytes(framed)

    async def _send_bytes(self, data: bytes) -> None:
        self.stats.bytes_sent += len(data)
        await self._transport.write(data)
        self.stats.last_send = self._clock.now()

    async def _send_last_words(self) -> None:
        """Send what we had said before we hung up, if it is short and the peer reads."""
        rest = self._outbox.take_rest()
        if not self._can_send.is_set() or sum(len(outgoing.payload) for outgoing in rest) > _LAST_WORDS:
            return
        try:
            async with asyncio.timeout(1.0):
                for outgoing in rest:
                    await self._write(outgoing)
        except (Disconnect, TimeoutError) as error:
            log.debug("our last words were not heard (%s) by %s", error, self)

    async def _keep_alive(self) -> None:
        """Ping once the handshake is done, and then again and again."""
        await self.ready.wait()
        if self.features.common_version < PING_NONCE_VERSION:
            return
        while True:
            await self._clock.sleep_until(self._ping_started + PING_INTERVAL + _A_MOMENT)
            if self._ping_nonce:
                self._ping_answered.clear()
                await self._ping_answered.wait()
            elif self._clock.now() > self._ping_started + PING_INTERVAL:
                self.ping()

    async def _watch_for_silence(self) -> None:
        """Look first when the time for the handshake is over, whether it took that long or not, as Core does."""
        while True:
            when, reason = self._patience()
            if self._clock.now() > when:
                raise Disconnect(reason)
            await self._clock.sleep_until(when + _A_MOMENT)

    def _patience(self) -> tuple[float, str]:
        """When it is over, as things stand, and the reason then (Core: InactivityCheck)."""
        stats, seconds = self.stats, self._settings.handshake_timeout
        first = self.connected_at + seconds
        if not stats.last_receive or not stats.last_send:
            heard, said = int(stats.last_receive != 0), int(stats.last_send != 0)
            return first, f"socket no message in first {seconds:.0f} seconds, {heard} {said}"
        if self._features is None:
            return first, f"{'V2' if self.transport_name == 'detecting' else 'version'} handshake timeout"
        limits = [
            (stats.last_send + SILENCE_LIMIT, "socket sending timeout"),
            (stats.last_receive + SILENCE_LIMIT, "socket receive timeout"),
        ]
        if self._ping_nonce:
            limits.append((self._ping_started + SILENCE_LIMIT, "ping timeout"))
        return min(limits)

    async def _until_told(self) -> NoReturn:
        await self._told.wait()
        raise self._told_why or Disconnect("told to")

    def _tell(self, why: Disconnect) -> None:
        if self._told_why is None:
            self._told_why = why
            self._told.set()

    def _forgives(self, fault: Misbehaving) -> bool:
        """Whether the peer may misbehave (Core: MaybeDiscourageAndDisconnect)."""
        log.debug("Misbehaving: %s: %s", self, fault)
        if Permission.NO_BAN in self.permissions:
            log.info("Warning: not punishing noban peer %d! %s", self.id, fault)
            return True
        if self.kind is PeerKind.MANUAL:
            log.info("Warning: not punishing manually connected peer %d! %s", self.id, fault)
            return True
        return False


def _first(group: BaseExceptionGroup[Disconnect]) -> Disconnect:
    """The reason that counts among several ends at once: misbehaviour before all others."""
    ends = list(_leaves(group))
    return next((end for end in ends if isinstance(end, Misbehaving)), ends[0])


def _leaves(group: BaseExceptionGroup[Disconnect]) -> Iterator[Disconnect]:
    for end in group.exceptions:
        if isinstance(end, BaseExceptionGroup):
            yield from _leaves(end)
        else:
            yield end
