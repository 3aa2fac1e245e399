"""A peer that answers from a script: honest about the chain it was given, or lying where a test makes it lie."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from altyn.consensus.block import Block, Header
from altyn.consensus.filters import BASIC, build_filter, filter_hash, filter_header
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import OutPoint, Transaction
from altyn.node.lifetime import Surroundings, background
from altyn.p2p.connections import Connections, ConnectionSettings
from altyn.p2p.kinds import Services
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.messages import (
    CFCheckpoint,
    CFHeaders,
    CFilter,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    Inventory,
    InventoryType,
    Message,
    NotFound,
    Tx,
)
from altyn.p2p.peer import Peer

FULL = Services.NETWORK | Services.WITNESS | Services.COMPACT_FILTERS


def filters_of(blocks: Sequence[Block]) -> list[bytes]:
    """Return the basic filters of a chain that begins with genesis and spends only its own outputs."""
    outputs: dict[OutPoint, bytes] = {}
    filters = []
    for block in blocks:
        for tx in block.transactions:
            for index, output in enumerate(tx.outputs):
                outputs[tx.outpoint(index)] = output.script_pubkey
        spent = [outputs[txin.prevout] for tx in block.transactions[1:] for txin in tx.inputs]
        filters.append(build_filter(block, spent))
    return filters


class ScriptedNode:
    """Serves `blocks` (genesis first), `filters` and `headers`; a test changes these, or overrides `answer`."""

    def __init__(self, blocks: Sequence[Block], *, services: Services = FULL, relay: bool = True) -> None:
        self.blocks = list(blocks)
        self.headers: list[Header] = [block.header for block in blocks]
        self.filters = filters_of(blocks)
        """What `cfilter` gives."""
        self.claimed: list[bytes] | None = None
        """The filters that filter headers commit to, if not those in `filters`."""
        self.silent: set[type[Message]] = set()
        """Requests that are not answered."""
        self.received: list[Message] = []
        self.peers: list[Peer] = []
        self.gone: list[str] = []
        """Why connections ended, as seen from here."""
        self.wants_transactions = True
        self.transactions: list[Transaction] = []
        self._services, self._relay = services, relay
        self._by_hash = {block.hash: block for block in blocks}

    @asynccontextmanager
    async def serve(self, surroundings: Surroundings, *, call: str | None = None) -> AsyncIterator[None]:
        """Listen on the host of `surroundings`, or call the host `call`, while the body runs."""
        settings = ConnectionSettings(
            magic=REGTEST.magic, services=int(self._services), user_agent="/Scripted:1/", relay=self._relay
        )
        connections = Connections(
            settings,
            self,
            surroundings.clock,
            dialer=surroundings.dialer,
            listener=surroundings.listener,
            rng=surroundings.random,
        )
        async with background(connections.run()):
            await connections.listen("any", REGTEST.port)
            if call is not None:
                await connections.connect(call, REGTEST.port)
            yield

    def extend(self, blocks: Sequence[Block]) -> None:
        """Put honest blocks on top."""
        self.blocks += blocks
        self.headers += (block.header for block in blocks)
        self._by_hash |= {block.hash: block for block in blocks}
        self.filters = filters_of(self.blocks)

    def announce(self, count: int = 1) -> None:
        """Announce the last headers to all peers."""
        for peer in self.peers:
            peer.send(Headers(tuple(self.headers[-count:])))

    async def peer_connected(self, peer: Peer) -> None:
        self.peers.append(peer)

    def peer_disconnected(self, peer: Peer) -> None:
        self.peers.remove(peer)
        self.gone.append(str(peer.ended))

    def wants(self, peer: Peer, kind: type[Message], payload: bytes) -> bool:
        """Read everything."""
        return True

    async def message_received(self, peer: Peer, message: Message) -> None:
        self.received.append(message)
        if type(message) not in self.silent:
            for answer in self.answer(message):
                peer.send(answer)
        await asyncio.sleep(0)

    def requests(self, kind: type[Message]) -> list[Message]:
        """Return what was received of one kind."""
        return [message for message in self.received if isinstance(message, kind)]

    def answer(self, message: Message) -> list[Message]:
        """Return what an honest node would say, from what this one was given."""
        match message:
            case GetHeaders(locator=locator):
                known = {header.hash: height for height, header in enumerate(self.headers)}
                fork = next((known[block_hash] for block_hash in locator if block_hash in known), 0)
                return [Headers(tuple(self.headers[fork + 1 : fork + 2001]))]
            case GetCFHeaders(start_height=start, stop_hash=stop):
                chained = self._filter_headers()
                claimed = self.claimed or self.filters
                end = self._height(stop)
                hashes = tuple(filter_hash(data) for data in claimed[start : end + 1])
                return [CFHeaders(BASIC, stop, chained[start - 1] if start else bytes(32), hashes)]
            case GetCFCheckpoint(stop_hash=stop):
                chained = self._filter_headers()
                heights = range(1000, self._height(stop) + 1, 1000)
                return [CFCheckpoint(BASIC, stop, tuple(chained[height] for height in heights))]
            case GetCFilters(start_height=start, stop_hash=stop):
                heights = range(start, self._height(stop) + 1)
                return [CFilter(BASIC, self.headers[height].hash, self.filters[height]) for height in heights]
            case GetData(items=items):
                return [answer for item in items if (answer := self._data(item)) is not None]
            case Inv(items=items):
                wanted = tuple(item for item in items if item.type in (InventoryType.TX, InventoryType.WTX))
                return [GetData(wanted)] if wanted and self.wants_transactions else []
            case Tx(tx=tx):
                self.transactions.append(tx)
        return []

    def _data(self, item: Inventory) -> Message | None:
        if item.type == InventoryType.WITNESS_BLOCK and item.hash in self._by_hash:
            return BlockMessage(self._by_hash[item.hash])
        return NotFound((item,))

    def _height(self, block_hash: bytes) -> int:
        return [header.hash for header in self.headers].index(block_hash)

    def _filter_headers(self) -> list[bytes]:
        chained: list[bytes] = []
        previous = bytes(32)
        for data in self.claimed or self.filters:
            previous = filter_header(previous, data)
            chained.append(previous)
        return chained
