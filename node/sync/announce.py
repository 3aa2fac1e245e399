"""Telling peers of new blocks: by compact block, headers or inv, as each wished (BIP130, BIP152)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain as join
from random import Random

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.events import BlockConnected, BlockPassed, TipChanged
from altyn.node.sync.compact import UNVALIDATED_PROTOCOL_VERSION, CompactForm
from altyn.node.sync.headers import PeerChain
from altyn.node.sync.relay import MAX_BLOCKS_TO_ANNOUNCE, choose_block_announcement
from altyn.p2p.messages import CompactBlock, Headers, Inv, Inventory, InventoryType
from altyn.p2p.peer import Peer


@dataclass(slots=True)
class _Peer:
    peer: Peer
    chain: PeerChain
    prefers_headers: bool = False
    prefers_compact: bool = False
    waiting: list[Entry] = field(default_factory=list)


class BlockAnnouncer:
    """Announces the blocks of a chain, the newest one to some peers before it is validated.

    Its compact form brings along what a peer is likely to lack: it need not ask, and can pass the block on at once.
    """

    def __init__(
        self,
        chain: Chain,
        random: Random,
        *,
        strange: Callable[[Sequence[Transaction]], list[bytes]],
        untold: Callable[[int], Iterable[bytes]],
    ) -> None:
        """`strange`: txids of those in a block that came with it; `untold`: of what a peer may not have heard of."""
        self._chain = chain
        self._random = random
        self._find_strange, self._untold = strange, untold
        self._peers: dict[int, _Peer] = {}
        self._recent: Block | None = None
        self._recent_form: CompactForm | None = None
        self._strange: list[bytes] = []
        """Txids of the recent block that we did not have: others may not have them either."""
        self._highest = 0

    def add(self, peer: Peer, chain: PeerChain) -> None:
        """Take up a peer and what is known of its chain."""
        self._peers[peer.id] = _Peer(peer, chain)

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._peers.pop(peer_id, None)

    def prefer_headers(self, peer_id: int) -> None:
        """Announce blocks to the peer by headers from now on (`sendheaders`)."""
        self._peers[peer_id].prefers_headers = True

    def prefer_compact(self, peer_id: int, wish: bool) -> None:
        """Announce blocks to the peer by compact blocks, before they are validated, or do not (`sendcmpct`)."""
        self._peers[peer_id].prefers_compact = wish

    def prefers_compact(self, peer_id: int) -> bool:
        """Whether the peer asked for that (RPC: getpeerinfo)."""
        return peer_id in self._peers and self._peers[peer_id].prefers_compact

    def recent(self, block_hash: bytes) -> Block | None:
        """Return the block if it is the last one that was announced or connected; it may not be validated yet."""
        return self._recent if self._recent is not None and self._recent.hash == block_hash else None

    def compact(self, block: Block, peer_id: int) -> CompactBlock:
        """Return the block in compact form for a peer."""
        if block is not self._recent:
            return CompactForm(block, self._random.getrandbits(64)).message()
        if self._recent_form is None:
            self._recent_form = CompactForm(block, self._random.getrandbits(64))
        return self._recent_form.message(join(self._strange, self._untold(peer_id)))

    def event(self, event: object) -> None:
        """Follow the chain's events."""
        match event:
            case BlockPassed(entry=entry, block=block):
                self._announce_early(entry, block)
            case BlockConnected(block=block):
                self._remember(block)
            case TipChanged(old=old, new=new):
                self._queue(old, new)

    def send(self, peer_id: int) -> None:
        """Send what is due to the peer."""
        state = self._peers[peer_id]
        if not state.waiting:
            return
        compactly = state.prefers_compact and self._recent is not None
        headers, by_inv = choose_block_announcement(
            state.waiting,
            state.chain,
            self._chain.is_active,
            prefers_headers=state.prefers_headers or (compactly and len(state.waiting) == 1),
        )
        state.waiting.clear()
        if compactly and len(headers) == 1 and (block := self.recent(headers[0].hash)) is not None:
            state.peer.send(self.compact(block, peer_id))
        elif headers:
            state.peer.send(Headers(tuple(headers)))
        elif by_inv is not None:
            state.peer.send(Inv((Inventory(InventoryType.BLOCK, by_inv.hash),)))

    def _announce_early(self, entry: Entry, block: Block) -> None:
        """Send a block on top of the tip to those who want it before it is validated (Core: NewPoWValidBlock).

        Not two of one height: who mines many at once does not make us send them all.
        """
        chain = self._chain
        on_top = entry.parent is chain.tip and entry.height > self._highest
        if not on_top or chain.is_initial_block_download or entry.height < chain.network.segwit_height:
            return
        self._highest = entry.height
        self._remember(block)
        self._strange = self._find_strange(block.transactions)
        for peer_id, state in self._peers.items():
            if not state.prefers_compact or state.peer.features.common_version < UNVALIDATED_PROTOCOL_VERSION:
                continue
            state.chain.resolve(chain.tree)
            if not state.chain.has(entry) and state.chain.has(chain.tip):
                state.peer.send(self.compact(block, peer_id))
                state.chain.best_sent = entry

    def _remember(self, block: Block) -> None:
        if self.recent(block.hash) is None:
            self._recent, self._recent_form, self._strange = block, None, []

    def _queue(self, old: Entry, new: Entry) -> None:
        if self._chain.is_initial_block_download or not new.has_block:  # the base of a snapshot has none
            return
        fork = HeaderTree.fork_point(old, new)
        fresh: list[Entry] = []
        walk: Entry | None = new
        while walk is not None and walk is not fork and len(fresh) < MAX_BLOCKS_TO_ANNOUNCE:
            fresh.append(walk)
            walk = walk.parent
        for state in self._peers.values():
            state.waiting += reversed(fresh)
