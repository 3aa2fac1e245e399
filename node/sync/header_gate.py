"""Which headers of peers are kept: those of chains with enough work, which others have to show first."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from altyn.consensus.block import Header
from altyn.node.chain.tree import Entry
from altyn.node.sync.headers import MAX_HEADERS, HeaderSync, HeaderView
from altyn.node.sync.least_work import has_enough_work, is_ancestor, least_work
from altyn.node.sync.presync import Presync, Step
from altyn.p2p.errors import Disconnect

log = logging.getLogger(__name__)

Locator = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What of a message is to be checked and kept, and the locator of a `getheaders` to send the peer now."""

    headers: Sequence[Header] = ()
    locator: Locator | None = None


class HeaderGate:
    """Takes what peers send in answer to what `HeaderSync` asks: a machine without I/O, for full and light nodes.

    Nothing is kept of a chain with too little work; memory: see `Presync`, one for each peer at the most.
    """

    def __init__(self, chain: HeaderView, sync: HeaderSync, random: Random) -> None:
        self._chain, self._sync, self._random = chain, sync, random
        self._presyncs: dict[int, Presync] = {}

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._presyncs.pop(peer_id, None)

    def presynced(self, peer_id: int) -> int:
        """Return how many headers of a peer were looked at and not kept, -1 outside such a sync."""
        presync = self._presyncs.get(peer_id)
        return presync.height if presync is not None else -1

    def ended(self, peer_id: int, now: float) -> None:
        """Note that the peer has no more headers: it sent none."""
        self._sync.answered(peer_id, 0, now)
        self._presyncs.pop(peer_id, None)

    def take(self, peer_id: int, headers: Sequence[Header], now: float, *, trusted: bool = False) -> Taken:
        """Say what to do with headers, at least one, that `HeaderSync.check` let pass.

        Those of a `trusted` peer need no work behind them.
        """
        tree = self._chain.tree
        is_full = len(headers) == MAX_HEADERS
        presync = self._presyncs.get(peer_id)
        if presync is not None and self._is_kept(headers[-1]):
            del self._presyncs[peer_id]  # another peer was faster, and has shown that the chain is worth it
        elif presync is not None:
            step = presync.take(headers, is_full=is_full)
            if step.success:
                self._sync.answered(peer_id, len(headers), now)
                return Taken(step.headers, self._go_on(peer_id, presync, step, now))
            del self._presyncs[peer_id]
        parent = tree.get(headers[0].prev_hash)
        if parent is None:
            # Perhaps an announcement that skipped some: ask for what lies between. No answer to a request of ours.
            self._sync.chain_of(peer_id).announced(headers[-1].hash, tree)
            return Taken((), self._locator(self._sync.ask(peer_id, now)))
        self._sync.answered(peer_id, len(headers), now)
        if trusted or has_enough_work(self._chain, parent, headers):
            return Taken(headers)
        if not is_full:
            log.debug("ignoring low-work chain from peer=%d, last header %s", peer_id, headers[-1].hash[::-1].hex())
            return Taken()
        chain = self._chain
        presync = self._presyncs[peer_id] = Presync(chain.network, parent, least_work(chain), now, self._random)
        return Taken((), self._go_on(peer_id, presync, presync.take(headers, is_full=True), now))

    def kept(self, peer_id: int, last: Entry, now: float, *, may_have_more: bool) -> Locator | None:
        """Note that a peer's headers were kept, up to `last`; return the locator to ask for more with, if there may be.

        Raises Disconnect where an outbound slot has a better use.
        """
        more = None
        if may_have_more and peer_id not in self._presyncs:
            best = self._chain.tree.best_header
            more = self._locator(self._sync.ask(peer_id, now, best if is_ancestor(last, best) else last))
        self._sync.chain_of(peer_id).announced(last.hash, self._chain.tree)
        if not may_have_more and self._sync.is_useless(peer_id):
            raise Disconnect("outbound peer headers chain has insufficient work")
        self._sync.caught_up(peer_id)
        return more

    def _is_kept(self, header: Header) -> bool:
        known = self._chain.tree.get(header.hash)
        return known is not None and is_ancestor(known, self._chain.tree.best_header)

    def _go_on(self, peer_id: int, presync: Presync, step: Step, now: float) -> Locator | None:
        """Go on with a sync of headers whose chain may have too little work, or end it."""
        if not step.more:
            del self._presyncs[peer_id]
            return None
        return presync.locator if self._sync.ask(peer_id, now) is not None else None

    def _locator(self, start: Entry | None) -> Locator | None:
        return None if start is None else tuple(self._chain.tree.locator(start))
