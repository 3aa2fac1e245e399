"""Server-sent events: what happens to chain and mempool, for browsers and scripts (`-eventstream`)."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from altyn.node.events import BlockConnected, BlockDisconnected, Events, TipChanged
from altyn.node.mempool.double_spends import DoubleSpendSeen
from altyn.node.mempool.entry import TransactionAdded, TransactionRemoved
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.json_text import dump
from altyn.node.rpc.method import Json

MOST_CLIENTS = 100
MOST_WAITING = 2_000
"""Events that wait for a client; one that lets more pile up is dropped, and may come again."""
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
    """Tells events to many clients, each at its own pace."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._clients: set[asyncio.Queue[bytes | None]] = set()

    def end(self) -> None:
        """Say to every client that there is no more, once it has what waits for it."""
        for waiting in self._clients:
            if not waiting.full():  # else it has been told
                waiting.put_nowait(None)

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Yield the events from now on, as text/event-stream has them; ends for a client that is too slow.

        Raises TooManyClients before the first.
        """
        if len(self._clients) >= MOST_CLIENTS:
            raise TooManyClients
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        unsubscribe = self._events.subscribe(self._writer(waiting))
        self._clients.add(waiting)
        try:
            yield b": altyn\n\n"
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT):
                        text = await waiting.get()
                except TimeoutError:
                    text = b":\n\n"
                if text is None:
                    return
                yield text
        finally:
            unsubscribe()
            self._clients.discard(waiting)

    @staticmethod
    def _writer(waiting: "asyncio.Queue[bytes | None]") -> Callable[[Any], None]:
        def note(event: object) -> None:
            told = describe(event)
            if told is None or waiting.full():
                return
            name, fields = told
            text = f"event: {name}\ndata: {dump(fields)}\n\n".encode()
            # the last place is for the word that there is no more
            waiting.put_nowait(text if waiting.qsize() < MOST_WAITING - 1 else None)

        return note
