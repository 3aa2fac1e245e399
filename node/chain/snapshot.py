"""Dumping all unspent outputs into a file that another node can begin with."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from altyn.node.chain.chain import Chain
from altyn.node.chain.coin_statistics import CoinSetScan
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.snapshot import SnapshotWriter

_PIECE = 5_000
"""Coins written before another call of a thread may have its turn."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """What was written."""

    entry: Entry
    coins: int
    digest: bytes
    """Of the coins (Core: hash_serialized_3)."""


async def dump(chain: Chain, offload: Offload, path: Path, at: Entry) -> Dumped | None:
    """Write the coins at a block of the active chain into a new file; None if the chain could not go there.

    For a block below the tip the chain goes back as far and returns, before the coins are written; nobody may hand in
    blocks meanwhile. Raises OSError, StoreError, BlockNotStored where blocks to be left are pruned.
    """
    above = chain.next_active(at)
    if above is not None:
        await chain.invalidate(above)
    try:
        await chain.flush()
        best_block, coins = await offload(chain.coins.stored)
    finally:
        if above is not None:
            await chain.reconsider(above)
    with contextlib.closing(coins):
        if best_block != at.hash:
            return None
        writer = await offload(SnapshotWriter, path)
        try:
            scan = CoinSetScan(writer.through(coins), "hash_serialized_3")
            while await offload(scan.step, _PIECE):
                pass
            digest = await offload(scan.digest)
            await offload(writer.finish, chain.network.magic, at.hash)
        finally:
            await offload(writer.close)
    return Dumped(at, writer.coins, digest)
