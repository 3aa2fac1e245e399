"""gettxoutsetinfo: what there is of unspent outputs, now or after any block."""

import contextlib
from collections.abc import Callable
from typing import Annotated

from altyn.consensus.hashes import sha256
from altyn.node.chain.chain import Chain
from altyn.node.chain.coin_statistics import CoinSetScan, CoinStatisticsIndex, Totals
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.blockchain import EXAMPLE_HASH, HashOrHeight, find_by_hash_or_height
from altyn.node.rpc.errors import INTERNAL_ERROR, INVALID_PARAMETER, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import Flag, Json, Text, method

_HASH_TYPES = ("hash_serialized_3", "muhash", "none")
_PIECE = 5_000
"""Coins taken before another call of a thread may have its turn: a tenth of a second with MuHash."""


class CoinSetMethods:
    """Statistics of the unspent outputs of a full node."""

    def __init__(self, chain: Chain, offload: Offload, size_on_disk: Callable[[], int]) -> None:
        """`size_on_disk` returns the bytes of the database of coins; blocking."""
        self._chain = chain
        self._offload = offload
        self._size_on_disk = size_on_disk

    @method(
        "Blockchain",
        result="""
        {
          "height" : n,                    (numeric) the block height (index) of the returned statistics
          "bestblock" : "hex",             (string) the hash of the block at which these statistics are calculated
          "txouts" : n,                    (numeric) the number of unspent transaction outputs
          "bogosize" : n,                  (numeric) a size of the set that does not depend on how it is stored
          "hash_serialized_3" : "hex",     (string) with hash_type hash_serialized_3
          "muhash" : "hex",                (string) with hash_type muhash
          "total_amount" : n,              (numeric) the total amount of coins in the set
          "transactions" : n,              (numeric) transactions with unspent outputs; not from the index
          "disk_size" : n,                 (numeric) bytes of the database; not from the index
          "total_unspendable_amount" : n,  (numeric) amount outside the set for good; from the index only
          "block_info" : {                 what this block did; from the index only
            "prevout_spent" : n, "coinbase" : n, "new_outputs_ex_coinbase" : n, "unspendable" : n,
            "unspendables" : {"genesis_block" : n, "bip30" : n, "scripts" : n, "unclaimed_rewards" : n}
          }
        }""",
        example=("", '"none"', '"none" 1000', f"muhash '{EXAMPLE_HASH}'", "muhash null true"),
    )
    async def gettxoutsetinfo(
        self,
        hash_type: Annotated[
            str, Text("Which UTXO set hash should be calculated: hash_serialized_3, muhash or none")
        ] = "hash_serialized_3",
        hash_or_height: Annotated[
            Json, HashOrHeight("The block hash or height of the target block (only with -coinstatsindex)")
        ] = None,
        use_index: Annotated[bool, Flag("Use -coinstatsindex, if available")] = True,
    ) -> Json:
        """Returns statistics about the unspent transaction output set.

        Goes through the whole set, which may take some time, unless -coinstatsindex has the answer.
        """
        if hash_type not in _HASH_TYPES:
            raise RpcError(INVALID_PARAMETER, f"'{hash_type}' is not a valid hash_type")
        index = self._chain.indexes.coin_statistics
        entry = self._chain.tip
        if hash_or_height is not None:
            if index is None:
                raise RpcError(INVALID_PARAMETER, "Querying specific block heights requires coinstatsindex")
            if hash_type == "hash_serialized_3":
                raise RpcError(INVALID_PARAMETER, "hash_serialized_3 hash type cannot be queried for a specific block")
            if not use_index:
                raise RpcError(INVALID_PARAMETER, "Cannot set use_index to false when querying for a specific block")
            entry = find_by_hash_or_height(self._chain, hash_or_height)
        if use_index and index is not None:
            known = index.view(self._chain.tip)
            if known is not self._chain.tip and entry.height > known.height:
                raise RpcError(
                    INTERNAL_ERROR,
                    f"Unable to get data because coinstatsindex is still syncing. Current height: {known.height}",
                )
            if hash_type != "hash_serialized_3":
                return await self._indexed(index, entry, hash_type)
        return await self._scanned(hash_type)

    async def _indexed(self, index: CoinStatisticsIndex, entry: Entry, hash_type: str) -> dict[str, Json]:
        found = await self._offload(index.get, entry)
        before = await self._offload(index.get, entry.parent) if entry.parent is not None else None
        if found is None or (before is None and entry.parent is not None):
            raise RpcError(INTERNAL_ERROR, "Unable to read UTXO set")
        totals = found.totals
        since = totals.less(before.totals if before is not None else Totals())
        muhash = {"muhash": display(sha256(found.muhash))} if hash_type == "muhash" else {}
        return {
            "height": entry.height,
            "bestblock": display(entry.hash),
            "txouts": totals.outputs,
            "bogosize": totals.bogo_size,
            **muhash,
            "total_amount": Amount(totals.amount),
            "total_unspendable_amount": Amount(totals.unspendable),
            "block_info": {
                "prevout_spent": Amount(since.prevouts_spent),
                "coinbase": Amount(since.coinbase),
                "new_outputs_ex_coinbase": Amount(since.new_outputs),
                "unspendable": Amount(since.unspendable),
                "unspendables": {
                    "genesis_block": Amount(since.genesis),
                    "bip30": Amount(since.overwritten),
                    "scripts": Amount(since.scripts),
                    "unclaimed_rewards": Amount(since.unclaimed),
                },
            },
        }

    async def _scanned(self, hash_type: str) -> dict[str, Json]:
        await self._chain.flush()
        best_block, coins = await self._offload(self._chain.coins.stored)
        with contextlib.closing(coins):
            scan = CoinSetScan(coins, hash_type)
            while await self._offload(scan.step, _PIECE):
                pass
        entry = self._chain.tree.get(best_block) if best_block is not None else None
        if entry is None:
            raise RpcError(INTERNAL_ERROR, "Unable to read UTXO set")
        digest = await self._offload(scan.digest)
        return {
            "height": entry.height,
            "bestblock": display(entry.hash),
            "txouts": scan.outputs,
            "bogosize": scan.bogo_size,
            **({hash_type: display(digest)} if digest else {}),
            "total_amount": Amount(scan.amount),
            "transactions": scan.transactions,
            "disk_size": await self._offload(self._size_on_disk),
        }
