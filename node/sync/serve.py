"""Answers to what peers ask for: headers, blocks, transactions, compact filters, at the pace at which they read."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import ParamSpec, TypeVar

from altyn.consensus.block import Block, Header
from altyn.consensus.bloom import BloomFilter
from altyn.consensus.encoding import compact_size
from altyn.consensus.filters import BASIC, filter_hash
from altyn.consensus.merkle import PartialMerkleTree
from altyn.consensus.pow import work
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.chain.indexes import FilterIndex
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.errors import BlockNotStored
from altyn.node.storage.filters import FilterRecord
from altyn.node.sync.announce import BlockAnnouncer
from altyn.node.sync.blocks import is_near_present
from altyn.node.sync.compact import MAX_BLOCK_TRANSACTIONS_DEPTH, MAX_COMPACT_DEPTH
from altyn.node.sync.headers import PeerChain
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.kinds import Permission
from altyn.p2p.limits import MAX_CFILTER_HEADERS, MAX_HEADERS_RESULTS
from altyn.p2p.messages import (
    BlockTransactions,
    CFCheckpoint,
    CFHeaders,
    CFilter,
    GetBlocks,
    GetBlockTransactions,
    GetCFCheckpoint,
    GetCFHeaders,
    GetCFilters,
    GetHeaders,
    Headers,
    Inv,
    Inventory,
    InventoryType,
    MerkleBlock,
    NotFound,
    Tx,
)
from altyn.p2p.peer import Peer

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_BLOCKS_IN_INV = 500
"""Blocks that one `getblocks` is answered with."""
MAX_CFILTERS = 1000
CHECKPOINT_INTERVAL = 1000
"""Heights between two filter headers of a `cfcheckpt` (BIP157)."""
STALE_RELAY_AGE_LIMIT = 30 * 24 * 60 * 60
"""Seconds: older blocks beside the active chain are not given away, or nodes could be told apart by them."""
_FILTERS_AT_A_TIME = 50
_ITEMS_AT_ONCE = 500
"""Items of a `getdata` looked at before others get a turn."""
LIMITED_BLOCKS = 288
"""Blocks below its tip that a pruned node serves (BIP159)."""
_RACE = 2
"""Blocks more, since peers may be behind with ours."""

FindTransaction = Callable[[bytes, bool], Transaction | None]
"""Finds a transaction that may be given to a peer, by txid or (True) by wtxid."""


class BlockServer:
    """Serves headers, blocks and filters of a chain. `filters` is None when they are not to be served."""

    def __init__(
        self,
        chain: Chain,
        writer: Writer,
        announcer: BlockAnnouncer,
        filters: FilterIndex | None,
        offload: Offload,
        clock: Clock,
        is_used_up: Callable[[int], bool],
        *,
        serves_filters: bool,
    ) -> None:
        """`is_used_up`: whether no block of such a time may be given today (`-maxuploadtarget`).

        `serves_filters`: to everybody, not only to those who have the permission.
        """
        self._chain = chain
        self._writer = writer
        self._announcer = announcer
        self._clock = clock
        self._is_used_up, self._serves_filters = is_used_up, serves_filters
        self._filters = filters
        self._offload, self._turn = offload, asyncio.Lock()
        self._continuations: dict[int, bytes] = {}

    async def _read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work for one peer at a time: however many ask, a new block waits for one thread at most."""
        async with self._turn:
            return await self._offload(function, *args, **kwargs)

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._continuations.pop(peer_id, None)

    def headers(self, peer: Peer, peer_chain: PeerChain, message: GetHeaders, *, low_work: bool) -> None:
        """Answer `getheaders`; with `low_work` our own chain is not worth telling, so the answer is empty."""
        chain = self._chain
        if low_work:
            peer.send(Headers(()))
            return
        current: Entry | None
        if message.locator:
            current = chain.next_active(chain.find_fork(message.locator))
        else:  # without a locator the one header of `stop` is meant
            current = chain.tree.get(message.stop)
            if current is None or not self._may_be_given(current):
                return
        headers: list[Header] = []
        last: Entry | None = None
        while current is not None:
            last = current
            headers.append(current.header)
            if len(headers) == MAX_HEADERS_RESULTS or current.hash == message.stop:
                break
            current = chain.next_active(current)
        # An empty answer says that the peer has our tip.
        peer_chain.best_sent = last if current is not None and last is not None else chain.tip
        peer.send(Headers(tuple(headers)))

    def blocks(self, peer: Peer, message: GetBlocks) -> None:
        """Answer `getblocks` with an inv; when it is full, the last block's getdata will bring the next (Core)."""
        chain = self._chain
        current = chain.next_active(chain.find_fork(message.locator))
        hashes: list[bytes] = []
        while current is not None and current.hash != message.stop:
            if chain.pruner is not None and not self._will_stay(current):
                break
            hashes.append(current.hash)
            if len(hashes) == MAX_BLOCKS_IN_INV:
                self._continuations[peer.id] = current.hash
                break
            current = chain.next_active(current)
        if hashes:
            peer.send(Inv(tuple(Inventory(InventoryType.BLOCK, block_hash) for block_hash in hashes)))

    async def data(
        self,
        peer: Peer,
        items: Iterable[Inventory],
        find_transaction: FindTransaction | None,
        bloom: BloomFilter | None,
    ) -> None:
        """Answer `getdata` in order; a `notfound` names transactions that are not here, but no blocks (Core).

        `bloom` is the filter that the peer has set, if any. Without `find_transaction` nothing is said of transactions.
        """
        missing: list[Inventory] = []
        for number, item in enumerate(items):
            if not number % _ITEMS_AT_ONCE:
                await asyncio.sleep(0)
            if not peer.is_ready:
                return
            await peer.drained()
            match item.type:
                case InventoryType.TX | InventoryType.WITNESS_TX | InventoryType.WTX:
                    if find_transaction is None:
                        continue
                    tx = find_transaction(item.hash, item.type == InventoryType.WTX)
                    if tx is None:
                        missing.append(item)
                    elif item.type == InventoryType.TX:
                        peer.send_raw("tx", tx.stripped)
                    else:
                        peer.send(Tx(tx))
                case (
                    InventoryType.BLOCK
                    | InventoryType.WITNESS_BLOCK
                    | InventoryType.COMPACT_BLOCK
                    | InventoryType.FILTERED_BLOCK
                ):
                    await self._send_block(peer, item, bloom)
                case _:
                    pass  # Core ignores types that it does not know
        if missing:
            peer.send(NotFound(tuple(missing)))

    async def _send_block(self, peer: Peer, item: Inventory, bloom: BloomFilter | None = None) -> None:
        chain = self._chain
        entry = chain.tree.get(item.hash)
        if entry is not None and not entry.was_connected and not entry.is_failed and self._is_under_way(entry):
            await self._writer.do(_nothing)
        if entry is None or not self._may_be_given(entry):
            log.debug("ignoring request for block %s from %s", item.hash[::-1].hex(), peer)
            return
        filtered = item.type == InventoryType.FILTERED_BLOCK  # which count as old ones, whatever their age
        if Permission.DOWNLOAD not in peer.permissions and self._is_used_up(0 if filtered else entry.header.time):
            raise Disconnect("historical block serving limit reached")
        self._check_limit(peer, entry)
        try:
            if item.type == InventoryType.COMPACT_BLOCK and self._fits_compact(entry):
                peer.send(self._announcer.compact(await self._block(entry), peer.id))
            elif filtered:
                if bloom is not None:
                    await self._send_filtered(peer, await self._block(entry), bloom)
            else:
                raw = await self._read(chain.read_block_bytes, entry)
                if item.type == InventoryType.BLOCK:
                    raw = await self._read(strip_witnesses, raw)
                peer.send_raw("block", raw)
        except BlockNotStored:
            return
        if self._continuations.get(peer.id) == item.hash:
            del self._continuations[peer.id]
            peer.send(Inv((Inventory(InventoryType.BLOCK, chain.tip.hash),)))

    def _is_under_way(self, entry: Entry) -> bool:
        """Whether the block was announced before it was connected, or even stored."""
        return bool(entry.chain_tx_count) or self._announcer.recent(entry.hash) is not None

    async def _send_filtered(self, peer: Peer, block: Block, bloom: BloomFilter) -> None:
        """Send the proof of what matches, and then that, without witnesses (BIP37)."""
        wanted = await self._read(lambda: [bloom.matches(tx) for tx in block.transactions])
        tree = PartialMerkleTree.build([tx.txid for tx in block.transactions], wanted)
        peer.send(MerkleBlock(block.header, *tree))
        for tx in compress(block.transactions, wanted):
            await peer.drained()
            peer.send_raw("tx", tx.stripped)

    def _fits_compact(self, entry: Entry) -> bool:
        """Whether the mempool of who asks for the block may still be of use for it."""
        tip = self._chain.tip
        near = is_near_present(tip, self._chain.network, self._clock.now())
        return near and entry.height >= tip.height - MAX_COMPACT_DEPTH

    async def block_transactions(self, peer: Peer, message: GetBlockTransactions) -> None:
        """Answer `getblocktxn`, for a block deep down with all of it. Raises Misbehaving."""
        entry = self._chain.tree.get(message.block_hash)
        if entry is None or not (entry.has_block or self._announcer.recent(entry.hash)):
            log.debug("ignoring a request for transactions of a block that is not here from %s", peer)
            return
        if entry.height < self._chain.tip.height - MAX_BLOCK_TRANSACTIONS_DEPTH:
            await self._send_block(peer, Inventory(InventoryType.WITNESS_BLOCK, message.block_hash))
            return
        try:
            transactions = (await self._block(entry)).transactions
        except BlockNotStored:
            return
        if message.indexes and message.indexes[-1] >= len(transactions):
            raise Misbehaving("getblocktxn with out-of-bounds tx indices")
        peer.send(BlockTransactions(message.block_hash, tuple(transactions[index] for index in message.indexes)))

    async def _block(self, entry: Entry) -> Block:
        recent = self._announcer.recent(entry.hash)
        return await self._read(self._chain.read_block, entry) if recent is None else recent

    async def filters(self, peer: Peer, message: GetCFilters) -> None:
        """Answer `getcfilters` with one `cfilter` a block. Raises Disconnect."""
        entries = self._filter_range(peer, message.filter_type, message.start_height, message.stop_hash, MAX_CFILTERS)
        for start in range(0, len(entries), _FILTERS_AT_A_TIME):
            some = entries[start : start + _FILTERS_AT_A_TIME]
            records = await self._read_filters(some)
            if records is None:
                return
            for entry, record in zip(some, records, strict=True):
                await peer.drained()
                peer.send(CFilter(BASIC, entry.hash, record.filter))

    async def filter_headers(self, peer: Peer, message: GetCFHeaders) -> None:
        """Answer `getcfheaders`. Raises Disconnect."""
        entries = self._filter_range(
            peer, message.filter_type, message.start_height, message.stop_hash, MAX_CFILTER_HEADERS
        )
        before = entries[0].parent
        records = await self._read_filters(entries if before is None else [before, *entries])
        if records is None:
            return
        previous = bytes(32) if before is None else records.pop(0).header
        hashes = tuple(filter_hash(record.filter) for record in records)
        await peer.drained()
        peer.send(CFHeaders(BASIC, message.stop_hash, previous, hashes))

    async def filter_checkpoints(self, peer: Peer, message: GetCFCheckpoint) -> None:
        """Answer `getcfcheckpt`. Raises Disconnect."""
        stop = self._filter_range(peer, message.filter_type, 0, message.stop_hash, None)[-1]
        heights = range(CHECKPOINT_INTERVAL, stop.height + 1, CHECKPOINT_INTERVAL)
        records = await self._read_filters([stop.ancestor(height) for height in heights])
        if records is not None:
            await peer.drained()
            peer.send(CFCheckpoint(BASIC, message.stop_hash, tuple(record.header for record in records)))

    def _filter_range(
        self, peer: Peer, filter_type: int, start: int, stop_hash: bytes, most: int | None
    ) -> Sequence[Entry]:
        """Return the asked for entries; without `most` only the last (Core: PrepareBlockFilterRequest)."""
        allowed = self._serves_filters or Permission.BLOCK_FILTERS in peer.permissions
        if self._filters is None or not allowed or filter_type != BASIC:
            raise Disconnect(f"peer requested unsupported block filter type: {filter_type}")
        stop = self._chain.tree.get(stop_hash)
        if stop is None or not self._may_be_given(stop):
            raise Disconnect(f"peer requested invalid block hash: {stop_hash[::-1].hex()}")
        if most is None:
            return [stop]
        if start > stop.height:
            raise Disconnect(
                f"peer sent invalid getcfilters/getcfheaders with start height {start} and stop height {stop.height}"
            )
        if stop.height - start >= most:
            raise Disconnect(f"peer requested too many cfilters/cfheaders: {stop.height - start + 1} / {most}")
        entries = [stop]
        while entries[-1].height > start:
            parent = entries[-1].parent
            assert parent is not None
            entries.append(parent)
        return entries[::-1]

    async def _read_filters(self, entries: Sequence[Entry]) -> list[FilterRecord] | None:
        """Return the records of all `entries`, or None if one is missing: the index may still be catching up."""
        store = self._filters
        assert store is not None
        keys = [(entry.height, entry.hash) for entry in entries]

        def read() -> list[FilterRecord | None]:
            return [store.get(height, block_hash) for height, block_hash in keys]

        records = await self._read(read)
        found = [record for record in records if record is not None]
        if len(found) < len(records):
            log.debug("filters asked for are not indexed yet")
            return None
        return found

    def _check_limit(self, peer: Peer, entry: Entry) -> None:
        """End the conversation where a pruned node is asked for older blocks than it serves.

        The peer must not wait for an answer; nor be told how far blocks are pruned (Core: ProcessGetBlockData).
        """
        chain = self._chain
        too_old = chain.pruner is not None and chain.tip.height - entry.height > LIMITED_BLOCKS + _RACE
        if too_old and Permission.NO_BAN not in peer.permissions:
            raise Disconnect("block request below NODE_NETWORK_LIMITED threshold")

    def _will_stay(self, entry: Entry) -> bool:
        """Whether a pruned node has the block and is likely to have it for another hour (Core: getblocks)."""
        kept = LIMITED_BLOCKS - 3600 // self._chain.network.target_spacing
        return entry.has_block and entry.height > self._chain.tip.height - kept

    def _may_be_given(self, entry: Entry) -> bool:
        """Whether a block or header may be given to anyone who asks (Core: BlockRequestAllowed)."""
        chain = self._chain
        if chain.is_active(entry):
            return True
        best = chain.tree.best_header
        lag = (best.chain_work - entry.chain_work) * chain.network.target_spacing / work(best.header.bits)
        valid = entry.was_connected and not entry.is_failed
        return valid and best.time - entry.time < STALE_RELAY_AGE_LIMIT and lag < STALE_RELAY_AGE_LIMIT


async def _nothing() -> None:
    """Be a job that is done when the ones before it are."""


def strip_witnesses(raw: bytes) -> bytes:
    """Return a block's serialisation without witnesses."""
    block = Block.parse(raw)
    count = compact_size(len(block.transactions))
    return b"".join((block.header.raw, count, *(tx.stripped for tx in block.transactions)))
