"""Server-sent events: what happens to chain and mempool, for browsers and scripts (`-eventstream`)."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from itertools import islice

from altyn.node.events import BlockConnected, BlockDisconnected, Events, TipChanged
from altyn.node.mempool.double_spends import DoubleSpendSeen
from altyn.node.mempool.entry import TransactionAdded, TransactionRemoved
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.json_text import dump
from altyn.node.rpc.method import Json

MOST_CLIENTS = 100
MOST_WAITING = 20_000
"""Events that are kept: a client further behind is dropped, and may come again. A block takes
some thousand transactions out of the mempool at once."""
_AT_ONCE = 100
_HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that a client that is gone is noticed."""


def describe(event: object) -> tuple[str, Json] | None:
    """Return the name of an event and what is told of it, None for one that is not told."""
    match event:
        case BlockConnected(entry=entry, block=block):
            return "block", {
                "hash": display(entry.hash),
                "height": entry.height,
                "transactions": len(block.transactions),
            }
        case BlockDisconnected(entry=entry):
            return "blockdisconnected", {"hash": display(entry.hash), "height": entry.height}
        case TipChanged(new=new):
            return "tip", {"hash": display(new.hash), "height": new.height}
        case TransactionAdded(entry=entry):
            return "transaction", {
                "txid": display(entry.txid),
                "wtxid": display(entry.wtxid),
                "vsize": entry.vsize,
                "fee": Amount(entry.fee),
            }
        case TransactionRemoved(entry=entry, reason=reason):
            return "removed", {"txid": display(entry.txid), "reason": reason.value}
        case DoubleSpendSeen(double_spend=attempt):
            return "doublespend", {
                "outpoint": {"txid": display(attempt.outpoint.txid), "vout": attempt.outpoint.vout},
                "first": display(attempt.first),
                "rival": display(attempt.rival),
                "time": attempt.time,
                "replaced": attempt.replaced,
            }
    return None


class TooManyClients(Exception):
    """No more are served at once."""


class EventStream:
    """Tells events to many clients, each at its own pace; each event is written down once, for all of them."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._clients = 0
        self._recent: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._told = 0
        """How many there were, of which `_recent` has the last."""
        self._more = asyncio.Event()
        self._has_ended = False
        self._unsubscribe: Callable[[], None] = lambda: None

    def end(self) -> None:
        """Say to every client that there is no more, once it has what waits for it."""
        self._has_ended = True
        self._more.set()

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Yield the events from now on, as text/event-stream has them; ends for a client that is too slow.

        Raises TooManyClients before the first.
        """
        if self._clients >= MOST_CLIENTS:
            raise TooManyClients
        if not self._clients:
            self._unsubscribe = self._events.subscribe(self._note)
        self._clients += 1
        heard = self._told
        try:
            yield b": altyn\n\n"
            while True:
                behind = self._told - heard
                if behind > len(self._recent):
                    return  # the oldest of them is gone
                if behind:
                    start = len(self._recent) - behind
                    for text in tuple(islice(self._recent, start, start + _AT_ONCE)):
                        heard += 1
                        yield text
                elif self._has_ended:
                    return
                elif not await self._is_more():
                    yield b":\n\n"
        finally:
            self._clients -= 1
            if not self._clients:
                self._unsubscribe()
                self._recent.clear()

    async def _is_more(self) -> bool:
        """Wait for the next event, or until it is time to show that we are alive."""
        self._more.clear()
        try:
            async with asyncio.timeout(_HEARTBEAT):
                await self._more.wait()
        except TimeoutError:
            return False
        return True

    def _note(self, event: object) -> None:
        told = describe(event)
        if told is not None:
            name, fields = told
            self._recent.append(f"event: {name}\ndata: {dump(fields)}\n\n".encode())
            self._told += 1
            self._more.set()
