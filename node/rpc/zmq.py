"""ZMQ notifications with bitcoind's topics and bodies: what happens to chain and mempool, as it happens."""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Self

import zmq

from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.events import BlockConnected, BlockDisconnected, TipChanged
from altyn.node.mempool.entry import RemovalReason, TransactionAdded, TransactionRemoved
from altyn.node.rpc.method import Json, method

log = logging.getLogger(__name__)

TOPICS = ("hashblock", "hashtx", "rawblock", "rawtx", "sequence")
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class Publication(NamedTuple):
    """A topic, the address that it is published at, and how many messages wait for a slow subscriber at most."""

    topic: str
    address: str
    high_water_mark: int


class _Publisher:
    """One publication; it numbers its messages, so that a subscriber sees when one is missing."""

    def __init__(self, socket: "zmq.Socket[bytes]", topic: str) -> None:
        self._socket = socket
        self._topic = topic.encode()
        self._sequence = 0

    def send(self, body: bytes) -> None:
        """Publish without waiting: a subscriber that lets too much pile up loses messages, nobody else does."""
        self._socket.send_multipart((self._topic, body, _U32.pack(self._sequence)), zmq.NOBLOCK)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF


class Publishers:
    """The publications of a node; give `note` to its events."""

    def __init__(self, chain: Chain, sockets: Sequence[tuple[Publication, "zmq.Socket[bytes]"]]) -> None:
        """Use `open` instead."""
        self._chain = chain
        self._by_topic: dict[str, list[_Publisher]] = {topic: [] for topic in TOPICS}
        for publication, socket in sockets:
            self._by_topic[publication.topic].append(_Publisher(socket, publication.topic))
        self._work = chain.tip.chain_work
        self._connected = False
        self._shown: Entry | None = None
        self._on: dict[type, Callable[..., None]] = {
            TransactionAdded: self._transaction_added,
            TransactionRemoved: self._transaction_removed,
            BlockConnected: self._block_connected,
            BlockDisconnected: self._block_disconnected,
            TipChanged: self._tip_changed,
        }

    @classmethod
    @contextmanager
    def open(cls, chain: Chain, publications: Sequence[Publication]) -> Iterator[Self]:
        """Bind an address for each publication; those that share one share its socket. Raises zmq.ZMQError."""
        with ExitStack() as stack:
            sockets: dict[str, zmq.Socket[bytes]] = {}
            context = stack.enter_context(zmq.Context())
            for publication in publications:
                if publication.address in sockets:
                    continue
                socket = sockets[publication.address] = stack.enter_context(context.socket(zmq.PUB))
                socket.set(zmq.SNDHWM, publication.high_water_mark)
                socket.set(zmq.TCP_KEEPALIVE, 1)
                socket.set(zmq.IPV6, 1)
                socket.set(zmq.LINGER, 0)
                socket.bind(publication.address)
                log.info("publishing on %s", publication.address)
            yield cls(chain, [(each, sockets[each.address]) for each in publications])

    def note(self, event: object) -> None:
        """Publish what an event means."""
        publish = self._on.get(type(event))
        if publish is not None:
            publish(event)

    def _send(self, topic: str, make: Callable[[], bytes]) -> None:
        publishers = self._by_topic[topic]
        if publishers:
            body = make()
            for publisher in publishers:
                publisher.send(body)

    def _sequence(self, hash32: bytes, label: bytes, number: bytes = b"") -> None:
        self._send("sequence", lambda: hash32[::-1] + label + number)

    def _transaction(self, raw: bytes, txid: bytes) -> None:
        self._send("hashtx", lambda: txid[::-1])
        self._send("rawtx", lambda: raw)

    def _transaction_added(self, event: TransactionAdded) -> None:
        tx = event.entry.tx
        self._transaction(tx.raw, tx.txid)
        self._sequence(tx.txid, b"A", _U64.pack(event.sequence))

    def _transaction_removed(self, event: TransactionRemoved) -> None:
        if event.reason is not RemovalReason.BLOCK:  # the block says it
            self._sequence(event.entry.txid, b"R", _U64.pack(event.sequence))

    def _block_connected(self, event: BlockConnected) -> None:
        for tx in event.block.transactions:
            self._transaction(tx.raw, tx.txid)
        self._sequence(event.entry.hash, b"C")
        self._connected = True
        if event.entry.chain_work > self._work:  # on the way to more work than before, a block is no tip (Core)
            self._block(event.entry, event.block.raw)

    def _block_disconnected(self, event: BlockDisconnected) -> None:
        for tx in event.block.transactions:
            self._transaction(tx.raw, tx.txid)
        self._sequence(event.entry.hash, b"D")

    def _tip_changed(self, event: TipChanged) -> None:
        if self._connected and self._shown is not event.new:  # a branch of less work, after an invalidation
            self._block(event.new, None)
        self._connected = False
        self._work = event.new.chain_work

    def _block(self, entry: Entry, raw: bytes | None) -> None:
        if self._chain.is_initial_block_download:
            return
        self._shown, self._work = entry, entry.chain_work
        self._send("hashblock", lambda: entry.hash[::-1])
        self._send("rawblock", lambda: self._chain.read_block_bytes(entry) if raw is None else raw)


class ZmqMethods:
    """What is published."""

    def __init__(self, publications: Sequence[Publication]) -> None:
        self._publications = publications

    @method(
        "Zmq",
        result="""
        [
          {
            "type" : "str",       (string) Type of notification
            "address" : "str",    (string) Address of the publisher
            "hwm" : n             (numeric) Outbound message high water mark
          }, ...
        ]""",
    )
    def getzmqnotifications(self) -> Json:
        """Returns information about the active ZeroMQ notifications."""
        return [
            {"type": f"pub{each.topic}", "address": each.address, "hwm": each.high_water_mark}
            for each in self._publications
        ]
