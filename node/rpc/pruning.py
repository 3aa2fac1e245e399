"""Methods about blocks that are not here: old ones are removed, single ones fetched again."""

from typing import Annotated, Protocol

from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.rpc.errors import INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.method import Hash, Json, Number, method

_HIGHEST_HEIGHT = 1_000_000_000
"""More is a time in seconds: too low for one since 2001, too high for a block."""
_TIMESTAMP_WINDOW = 2 * 60 * 60
"""Seconds by which blocks may have older times than those before them."""


class BlockFetcher(Protocol):
    """Asks single peers for single blocks."""

    def fetch(self, peer_id: int, entry: Entry) -> str | None:
        """Ask the peer for the block; return why that is not possible (Core: FetchBlock)."""
        ...


class PruningMethods:
    """What a node does with blocks that it does not keep."""

    def __init__(self, chain: Chain, offload: Offload, fetcher: BlockFetcher) -> None:
        self._chain = chain
        self._offload = offload
        self._fetcher = fetcher

    @method("Blockchain", result="n    (numeric) Height of the last block pruned, -1 if there is none", example="1000")
    async def pruneblockchain(
        self,
        height: Annotated[
            int,
            Number(
                "The block height to prune up to. May be set to a discrete height, or to a UNIX epoch time to prune "
                "blocks whose block time is at least 2 hours older than the provided timestamp."
            ),
        ],
    ) -> int:
        """Removes block files whose blocks are all at a height or below; needs a node in prune mode."""
        chain = self._chain
        pruner = chain.pruner
        if pruner is None:
            raise RpcError(MISC_ERROR, "Cannot prune blocks because node is not in prune mode.")
        if height < 0:
            raise RpcError(INVALID_PARAMETER, "Negative block height.")
        if height > _HIGHEST_HEIGHT:
            height = await self._offload(self._first_since, height - _TIMESTAMP_WINDOW)
        if chain.tip.height < pruner.options.after:
            raise RpcError(MISC_ERROR, "Blockchain is too short for pruning.")
        if height > chain.tip.height:
            raise RpcError(INVALID_PARAMETER, "Blockchain is shorter than the attempted prune height.")
        await chain.prune(height)
        return pruner.height or -1

    def _first_since(self, time: int) -> int:
        """Return the height of the first block that is not older than `time`; blocking."""
        for height in range(self._chain.tip.height + 1):
            entry = self._chain.active(height)
            if entry is not None and entry.time >= time:
                return height
        raise RpcError(INVALID_PARAMETER, "Could not find block with at least the specified timestamp.")

    @method(
        "Blockchain",
        result="{}    An empty object: the block is asked for, it is here when getblock finds it",
        example='"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09" 0',
    )
    def getblockfrompeer(
        self,
        blockhash: Annotated[bytes, Hash("The block hash to try to fetch")],
        peer_id: Annotated[int, Number("The peer to fetch it from (see getpeerinfo for peer IDs)")],
    ) -> Json:
        """Attempts to fetch a block from a peer; its header must be known."""
        chain = self._chain
        entry = chain.tree.get(blockhash)
        if entry is None:
            raise RpcError(MISC_ERROR, "Block header missing")
        if chain.pruner is not None and entry.height > chain.tip.height:
            raise RpcError(
                MISC_ERROR,
                "In prune mode, only blocks that the node has already synced previously can be fetched from a peer",
            )
        if entry.has_block:
            raise RpcError(MISC_ERROR, "Block already downloaded")
        refusal = self._fetcher.fetch(peer_id, entry)
        if refusal is not None:
            raise RpcError(MISC_ERROR, refusal)
        return {}
