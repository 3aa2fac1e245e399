"""Compact blocks (BIP152, version 2): made from a block, and put together again; whom to ask for them unasked."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import is_mutated
from altyn.consensus.hashes import sha256
from altyn.consensus.siphash import SipHashItems
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.entry import memory_of
from altyn.node.mempool.pool import Mempool
from altyn.p2p.messages import CompactBlock, Prefilled

COMPACT_VERSION = 2
"""Short ids of wtxids: the only version that Core still speaks."""
COMPACT_PROTOCOL_VERSION = 70014
"""From here on peers know compact blocks, and one version later that such a block need not be valid."""
UNVALIDATED_PROTOCOL_VERSION = 70015
MAX_COMPACT_DEPTH = 5
MAX_BLOCK_TRANSACTIONS_DEPTH = 10
"""Blocks below the tip that are still given as compact blocks, and as single transactions; then whole."""
MAX_COMPACT_PER_BLOCK = 3
"""Peers that one block is asked of at a time by compact blocks."""
MAX_HIGH_BANDWIDTH_PEERS = 3
EXTRA_TRANSACTIONS = 100
SEARCHED_AT_ONCE = 2048
"""Transactions looked through for those of a block before the event loop gets a turn: three milliseconds."""
MAX_PREFILLED_BYTES = 14_000
"""Of transactions that a compact block brings along beside the coinbase: TCP sends as much without an answer."""
_MAX_EXTRA_MEMORY = 100_000
"""Bytes of memory of a refused transaction above which it is not kept for reconstruction."""
_SHORT_ID_SIZE = 6


def short_ids(message_key: bytes, wtxids: Iterable[bytes]) -> list[bytes]:
    """Return the short ids, 6 bytes each, under the key of one compact block: its header and nonce as sent."""
    key = sha256(message_key)
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    mask = (1 << 8 * _SHORT_ID_SIZE) - 1
    return [(each & mask).to_bytes(_SHORT_ID_SIZE, "little") for each in SipHashItems(wtxids).hashes(k0, k1)]


class CompactForm:
    """A block made ready to be sent to several peers in compact form, under one nonce of 64 bits."""

    def __init__(self, block: Block, nonce: int) -> None:
        self._block = block
        self._nonce = nonce
        self._ids = short_ids(_key(block.header.raw, nonce), [tx.wtxid for tx in block.transactions[1:]])
        self._positions = {tx.txid: position for position, tx in enumerate(block.transactions)}

    def message(self, lacking: Iterable[bytes] = ()) -> CompactBlock:
        """Return the message: it gives the coinbase and those of the txids `lacking` that there is room for.

        The likeliest go first. Of all other transactions it has the short ids.
        """
        transactions, room = self._block.transactions, MAX_PREFILLED_BYTES
        given = {0}
        for txid in lacking:
            position = self._positions.get(txid)
            if position is None or position in given:
                continue
            room -= len(transactions[position].raw)
            if room < 0:
                break
            given.add(position)
        ids = self._ids
        if len(given) > 1:
            ids = [each for position, each in enumerate(ids, start=1) if position not in given]
        prefilled = tuple(Prefilled(position, transactions[position]) for position in sorted(given))
        return CompactBlock(self._block.header, self._nonce, tuple(ids), prefilled)


def make_compact(block: Block, nonce: int) -> CompactBlock:
    """Return the compact block that gives the coinbase and the short ids of all others; `nonce` has 64 bits."""
    return CompactForm(block, nonce).message()


def _key(header: bytes, nonce: int) -> bytes:
    return header + nonce.to_bytes(8, "little")


class Unusable(Exception):
    """The compact block cannot be put together; `bogus` says that no honest peer sends such a thing."""

    def __init__(self, *, bogus: bool) -> None:
        super().__init__("bogus" if bogus else "short ids collide")
        self.bogus = bogus


class PartialBlock:
    """A block of which some transactions are still missing (Core: PartiallyDownloadedBlock)."""

    def __init__(self, message: CompactBlock) -> None:
        """Take the prefilled transactions. Raises Unusable."""
        total = len(message.short_ids) + len(message.prefilled)
        self.header = message.header
        self._found: list[Transaction | None] = [None] * total
        if not total:
            raise Unusable(bogus=True)
        for number, (position, tx) in enumerate(message.prefilled):
            if position > len(message.short_ids) + number:  # there is nothing to stand before it
                raise Unusable(bogus=True)
            self._found[position] = tx
        free = (position for position in range(total) if self._found[position] is None)
        self._positions = dict(zip(message.short_ids, free, strict=True))
        if len(self._positions) != len(message.short_ids):
            raise Unusable(bogus=False)
        self._taken: dict[int, bytes] = {}
        self._key = _key(message.header.raw, message.nonce)
        self._is_filled = False

    def search(self, candidates: Sequence[Transaction]) -> None:
        """Take what of the candidates is in the block; where two fit one id, in this call or another, take neither."""
        ids = short_ids(self._key, [tx.wtxid for tx in candidates])
        for short_id, tx in zip(ids, candidates, strict=True):
            position = self._positions.get(short_id)
            if position is None:
                continue
            if self._taken.setdefault(position, tx.wtxid) == tx.wtxid:
                self._found[position] = tx
            else:
                self._taken[position], self._found[position] = b"", None

    @property
    def missing(self) -> tuple[int, ...]:
        """The positions to ask for, rising."""
        return tuple(position for position, tx in enumerate(self._found) if tx is None)

    def fill(self, transactions: Sequence[Transaction], *, segwit_active: bool) -> Block:
        """Return the block with `transactions` in its gaps, which its header commits to; only once. Raises Unusable."""
        is_bogus = self._is_filled or len(transactions) != len(self.missing)
        self._is_filled = True
        if is_bogus:
            raise Unusable(bogus=True)
        rest = iter(transactions)
        block = Block(self.header, [tx or next(rest) for tx in self._found])
        self._found.clear()
        self._positions.clear()
        if is_mutated(block, segwit_active):
            raise Unusable(bogus=False)  # a transaction of ours had the short id of another
        return block


class ExtraTransactions:
    """The last transactions that are not in the mempool but may be in a block: refused, orphaned, replaced ones."""

    def __init__(self, most: int = EXTRA_TRANSACTIONS) -> None:
        self._kept: deque[Transaction] = deque(maxlen=most)

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, tx: Transaction) -> None:
        """Remember a transaction in place of the oldest one, unless it is very large."""
        if len(tx.raw) < _MAX_EXTRA_MEMORY and memory_of(tx) < _MAX_EXTRA_MEMORY:  # counting many parts takes long
            self._kept.append(tx)


class Reconstruction:
    """What blocks are put together from: the mempool, and the extra transactions."""

    def __init__(self, mempool: Mempool, extra: ExtraTransactions) -> None:
        self._mempool = mempool
        self.extra = extra

    async def begin(self, message: CompactBlock) -> PartialBlock:
        """Return the block with all that is known of it filled in; others get their turns. Raises Unusable."""
        partial = PartialBlock(message)
        candidates = [*(entry.tx for entry in self._mempool), *self.extra]
        for start in range(0, len(candidates), SEARCHED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            partial.search(candidates[start : start + SEARCHED_AT_ONCE])
        return partial


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to tell to announce by compact blocks from now on, and whom to tell to stop; None: nobody."""

    begin: int | None = None
    stop: int | None = None


class HighBandwidthPeers:
    """The peers that announce blocks to us by compact blocks, unasked: those that were last the first with a block."""

    def __init__(self) -> None:
        self._inbound: dict[int, bool | None] = {}
        """Longest without a block first; None: it left, but keeps its place until its turn, as in Core."""

    def __contains__(self, peer_id: object) -> bool:
        return peer_id in self._inbound

    def remove(self, peer_id: int) -> None:
        """Note that a peer left."""
        if peer_id in self._inbound:
            self._inbound[peer_id] = None

    def served(self, peer_id: int, *, inbound: bool) -> Choice:
        """Note that a peer was the first with a valid block (Core: MaybeSetPeerAsAnnouncingHeaderAndIDs).

        The last outbound one does not make room for an inbound one.
        """
        peers = self._inbound
        if peer_id in peers:
            peers[peer_id] = peers.pop(peer_id)
            return Choice()
        stop = None
        if len(peers) >= MAX_HIGH_BANDWIDTH_PEERS:
            oldest, second, *_ = peers
            outbound = [each for each, is_inbound in peers.items() if is_inbound is False]
            choice = second if inbound and outbound == [oldest] else oldest
            stop = choice if peers.pop(choice) is not None else None
        peers[peer_id] = inbound
        return Choice(peer_id, stop)
