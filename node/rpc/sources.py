"""Where RPC methods find blocks, filters and transactions: on disk in a full node, with peers in a light one."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from altyn.consensus.block import Block
from altyn.consensus.transaction import Coin, Transaction
from altyn.node.chain.chain import Chain
from altyn.node.chain.indexes import TransactionIndex
from altyn.node.chain.tree import Entry
from altyn.node.light.errors import LightError
from altyn.node.light.node import LightNode
from altyn.node.offload import Offload
from altyn.node.rpc.errors import INTERNAL_ERROR, INVALID_ADDRESS_OR_KEY, MISC_ERROR, RpcError
from altyn.node.storage.errors import BlockNotStored, StoreError

log = logging.getLogger(__name__)


class ChainBlocks:
    """Blocks of a full node, read on another thread."""

    def __init__(self, chain: Chain, offload: Offload) -> None:
        self._chain = chain
        self._offload = offload

    async def block_bytes(self, entry: Entry) -> bytes:
        """Return a block as it is stored. Raises RpcError."""
        try:
            return await self._offload(self._chain.read_block_bytes, entry)
        except (BlockNotStored, StoreError) as error:
            raise not_available(entry, error) from error

    async def block(self, entry: Entry) -> Block:
        """Return a block. Raises RpcError."""
        try:
            return await self._offload(self._chain.read_block, entry)
        except (BlockNotStored, StoreError) as error:
            raise not_available(entry, error) from error

    async def spent(self, entry: Entry) -> Sequence[Sequence[Coin]] | None:
        """Return what each transaction of a block spent.

        None for a block that was never connected, is pruned, or whose undo data cannot be read, which the log says.
        """
        try:
            return await self._offload(self._chain.read_spent, entry)
        except BlockNotStored:
            return None
        except StoreError as error:
            log.error("what block %s spent cannot be read: %s", entry, error)
            return None

    async def filter(self, find: Callable[[], Entry]) -> tuple[bytes, bytes]:
        """Return a block's filter and filter header from the index. Raises RpcError with Core's reasons."""
        index = self._chain.filters
        if index is None:
            raise RpcError(MISC_ERROR, "Index is not enabled for filtertype basic")
        entry = find()
        record = await self._offload(index.get, entry.height, entry.hash)
        if record is not None:
            return record.filter, record.header
        if not entry.was_connected:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Filter not found. Block was not connected to active chain.")
        if index.best is not self._chain.tip:
            raise RpcError(MISC_ERROR, "Filter not found. Block filters are still in the process of being indexed.")
        raise RpcError(INTERNAL_ERROR, "Filter not found. This error is unexpected and indicates index corruption.")


def not_available(entry: Entry, error: BlockNotStored | StoreError) -> RpcError:
    """Return what is answered where a block is not here, or damaged, which the log says (Core: GetBlockChecked)."""
    if isinstance(error, StoreError):
        log.error("block %s cannot be read: %s", entry, error)
    return RpcError(MISC_ERROR, "Block not available (pruned data)" if entry.is_pruned else "Block not found on disk")


class IndexedTransactions:
    """Transactions by id, from the index of a full node."""

    def __init__(self, chain: Chain, index: TransactionIndex, offload: Offload) -> None:
        self._chain = chain
        self._index = index
        self._offload = offload

    async def find(self, txid: bytes) -> tuple[Transaction, Entry] | None:
        """Return a confirmed transaction and its block; None also where the block cannot be read, as the log says."""
        try:
            found = await self._offload(self._index.find, txid)
        except StoreError as error:
            log.error("transaction %s cannot be read: %s", txid[::-1].hex(), error)
            return None
        entry = self._chain.tree.get(found[1]) if found is not None else None
        return (found[0], entry) if found is not None and entry is not None else None


class PeerBlocks:
    """Blocks and filters that a light node fetches and checks."""

    def __init__(self, node: LightNode) -> None:
        self._node = node
        self.fetched = 0
        """How many blocks came, and were checked, since the start."""

    async def block(self, entry: Entry) -> Block:
        """Return a block from a peer. Raises RpcError when nobody gives it."""
        try:
            block = await self._node.block(entry)
        except LightError as error:
            raise RpcError(MISC_ERROR, f"Block not available: {error}") from error
        self.fetched += 1
        return block

    async def block_bytes(self, entry: Entry) -> bytes:
        """Return a block's bytes from a peer. Raises RpcError when nobody gives it."""
        return (await self.block(entry)).raw

    async def spent(self, entry: Entry) -> None:
        """Nobody tells a light node what a block spent."""

    async def filter(self, find: Callable[[], Entry]) -> tuple[bytes, bytes]:
        """Return a filter that matches the agreed header chain, and its header. Raises RpcError."""
        try:
            return await self._node.block_filter(find())
        except LightError as error:
            raise RpcError(MISC_ERROR, f"Filter not found. {error}") from error


def size_of_coins(folder: Path) -> int:
    """Return the bytes of the database of coins in a chain's folder; LevelDB may remove files meanwhile."""
    size = 0
    for path in (folder / "chainstate").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size
