"""Methods that count what is in blocks and in the chain."""

import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from altyn.consensus.block import Block
from altyn.consensus.emission import block_subsidy
from altyn.consensus.encoding import compact_size
from altyn.consensus.limits import WITNESS_SCALE_FACTOR
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Coin, TxOut
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.rpc.blockchain import EXAMPLE_HASH, BlockSource, HashOrHeight, find_by_hash_or_height, find_entry
from altyn.node.rpc.errors import INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import Array, Hash, Json, Number, expect_type, method

_OVERHEAD = 41
"""Bytes of an unspent output beside its own: outpoint, height and whether a coinbase made it (Core)."""
_PERCENTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_MONTH = 30 * 24 * 60 * 60


class StatisticsMethods:
    """Statistics of a full node's blocks."""

    def __init__(self, chain: Chain, source: BlockSource, offload: Offload) -> None:
        self._chain = chain
        self._source = source
        self._offload = offload

    @method(
        "Blockchain",
        result="""
        An object with those of these that were asked for, amounts in satoshis, feerates in satoshis per virtual byte:
          avgfee, avgfeerate, avgtxsize, blockhash, feerate_percentiles (at the 10th, 25th, 50th, 75th and 90th
          percentile weight unit), height, ins, maxfee, maxfeerate, maxtxsize, medianfee, mediantime, mediantxsize,
          minfee, minfeerate, mintxsize, outs, subsidy, swtotal_size, swtotal_weight, swtxs, time, total_out,
          total_size, total_weight, totalfee, txs, utxo_increase, utxo_size_inc, utxo_increase_actual,
          utxo_size_inc_actual""",
        example=(f'{EXAMPLE_HASH} \'["minfeerate","avgfeerate"]\'', '1000 \'["minfeerate","avgfeerate"]\''),
    )
    async def getblockstats(
        self,
        hash_or_height: Annotated[Json, HashOrHeight("The block hash or height of the target block")],
        stats: Annotated[list[Json] | None, Array("Values to plot (all when left out)", shown="stats")] = None,
    ) -> Json:
        """Compute per block statistics for a given window. All amounts are in satoshis."""
        entry = find_by_hash_or_height(self._chain, hash_or_height)
        wanted = sorted({expect_type(each, "string") for each in stats or ()})
        block = await self._source.block(entry)
        spent = await self._source.spent(entry) if entry.height else [()]
        if spent is None:
            is_there = entry.undo_position is not None
            raise RpcError(MISC_ERROR, "Can't read undo data from disk" if is_there else "Undo data not available")
        network = self._chain.network
        found = await self._offload(
            block_statistics,
            block,
            spent,
            entry,
            block_subsidy(entry.height, network),
            overwrites=network.bip30_exceptions.get(entry.height) == entry.hash,
        )
        for name in wanted:
            if name not in found:
                raise RpcError(INVALID_PARAMETER, f"Invalid selected statistic '{name}'")
        return {name: found[name] for name in wanted} if wanted else found

    @method(
        "Blockchain",
        result="""
        An object: time (of the final block), txcount (up to there), window_final_block_hash, window_final_block_height,
          window_block_count, and with blocks in the window: window_interval (seconds), window_tx_count, txrate""",
        example=("", "2016"),
    )
    def getchaintxstats(
        self,
        nblocks: Annotated[int | None, Number("Size of the window in number of blocks (default: one month)")] = None,
        blockhash: Annotated[
            bytes | None, Hash("The hash of the block that ends the window (default: chain tip).")
        ] = None,
    ) -> Json:
        """Compute statistics about the total number and rate of transactions in the chain."""
        last = self._chain.tip
        if blockhash is not None:
            last = find_entry(self._chain.tree, blockhash)
            if not self._chain.is_active(last):
                raise RpcError(INVALID_PARAMETER, "Block is not in main chain")
        count = max(0, min(_MONTH // self._chain.network.target_spacing, last.height - 1))
        if nblocks is not None:
            count = nblocks
            if count < 0 or (count > 0 and count >= last.height):
                raise RpcError(INVALID_PARAMETER, "Invalid block count: should be between 0 and the block's height - 1")
        first = last.ancestor(last.height - count)
        seconds = last.median_time_past - first.median_time_past
        transactions = last.chain_tx_count - first.chain_tx_count
        form: dict[str, Json] = {
            "time": last.time,
            "txcount": last.chain_tx_count,
            "window_final_block_hash": display(last.hash),
            "window_final_block_height": last.height,
            "window_block_count": count,
        }
        if count:
            form |= {"window_interval": seconds, "window_tx_count": transactions}
            if seconds > 0:
                form["txrate"] = transactions / seconds
        return form


def block_statistics(
    block: Block, spent: Sequence[Sequence[Coin]], entry: Entry, subsidy: int, *, overwrites: bool = False
) -> dict[str, Json]:
    """Return everything that getblockstats knows of a block (Core: getblockstats).

    `overwrites`: its coinbase took the place of another one, so that it added no coins (BIP30).
    """
    ordinary = block.transactions[1:]
    outputs = [output for tx in block.transactions for output in tx.outputs]
    adding = ordinary if overwrites or entry.height == 0 else block.transactions
    lasting = [output for tx in adding for output in tx.outputs if not is_unspendable(output.script_pubkey)]
    consumed = [coin.output for coins in spent for coin in coins]
    fees = [
        sum(coin.output.value for coin in coins) - sum(output.value for output in tx.outputs)
        for tx, coins in zip(ordinary, spent[1:], strict=True)
    ]
    sizes = [len(tx.raw) for tx in ordinary]
    weights = [tx.weight for tx in ordinary]
    rates = [fee * WITNESS_SCALE_FACTOR // weight for fee, weight in zip(fees, weights, strict=True)]
    segwit = [tx for tx in ordinary if tx.has_witness]
    count, removed_bytes = len(ordinary), sum(map(_stored_size, consumed))
    return {
        "avgfee": sum(fees) // count if count else 0,
        "avgfeerate": sum(fees) * WITNESS_SCALE_FACTOR // sum(weights) if count else 0,
        "avgtxsize": sum(sizes) // count if count else 0,
        "blockhash": display(entry.hash),
        "feerate_percentiles": _percentiles(sorted(zip(rates, weights, strict=True))),
        "height": entry.height,
        "ins": len(consumed),
        "maxfee": max(fees, default=0),
        "maxfeerate": max(rates, default=0),
        "maxtxsize": max(sizes, default=0),
        "medianfee": _median(fees),
        "mediantime": entry.median_time_past,
        "mediantxsize": _median(sizes),
        "minfee": min(fees, default=0),
        "minfeerate": min(rates, default=0),
        "mintxsize": min(sizes, default=0),
        "outs": len(outputs),
        "subsidy": subsidy,
        "swtotal_size": sum(len(tx.raw) for tx in segwit),
        "swtotal_weight": sum(tx.weight for tx in segwit),
        "swtxs": len(segwit),
        "time": entry.time,
        "total_out": sum(output.value for tx in ordinary for output in tx.outputs),
        "total_size": sum(sizes),
        "total_weight": sum(weights),
        "totalfee": sum(fees),
        "txs": len(block.transactions),
        "utxo_increase": len(outputs) - len(consumed),
        "utxo_size_inc": sum(map(_stored_size, outputs)) - removed_bytes,
        "utxo_increase_actual": len(lasting) - len(consumed),
        "utxo_size_inc_actual": sum(map(_stored_size, lasting)) - removed_bytes,
    }


def _stored_size(output: TxOut) -> int:
    size = len(output.script_pubkey)
    return 8 + len(compact_size(size)) + size + _OVERHEAD


def _median(values: Sequence[int]) -> int:
    """Return the middle value, of two the mean rounded down (Core: CalculateTruncatedMedian)."""
    if not values:
        return 0
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def _percentiles(rates: Sequence[tuple[int, int]]) -> list[int]:
    """Return the feerates below which given parts of the weight lie; `rates` come with weights, the lowest first."""
    if not rates:
        return [0] * len(_PERCENTILES)
    reached = list(accumulate(weight for _, weight in rates))
    places = (bisect.bisect_left(reached, reached[-1] * part) for part in _PERCENTILES)
    return [rates[min(place, len(rates) - 1)][0] for place in places]
