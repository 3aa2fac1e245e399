"""Dumping all unspent outputs into a file that another node can begin with, and beginning with such a file."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from altyn.consensus.networks import NETWORKS, Network, TrustedSnapshot
from altyn.node.chain.chain import Chain
from altyn.node.chain.coin_statistics import CoinSetScan
from altyn.node.chain.load import find_trusted
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.snapshot import SnapshotError, SnapshotHead, SnapshotWriter, read_coins

log = logging.getLogger(__name__)

_PIECE = 5_000
"""Coins written, or hashed, before another call of a thread may have its turn."""
_BATCH = 20_000
"""Coins put into the database at once."""


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


def read_head(file: BinaryIO, network: Network) -> SnapshotHead:
    """Read what a file says of itself; blocking. Raises SnapshotError, also where it is of another network."""
    head = SnapshotHead.read(file)
    if head.magic == network.magic:
        return head
    other = next((each.chain for each in NETWORKS.values() if each.magic == head.magic), None)
    if other is None:
        raise SnapshotError(
            "This snapshot has been created for an unrecognized network. This could be a custom signet, a new testnet "
            "or possibly caused by data corruption."
        )
    raise SnapshotError(
        f"The network of the snapshot ({other}) does not match the network of this node ({network.chain})."
    )


async def load(
    chain: Chain, offload: Offload, file: BinaryIO, head: SnapshotHead, *, mempool_is_empty: Callable[[], bool]
) -> TrustedSnapshot:
    """Let the chain stand on the coins of a file, if they are what the network lists; return that.

    The chain goes on meanwhile. Raises SnapshotError in Core's words.
    """
    listed = _check(chain, head, mempool_is_empty)
    store = await chain.begin_snapshot()
    try:
        coins = read_coins(file, head, listed.height)
        while await offload(_put, store, coins):
            pass
        digest = await _digest(store, offload)
        if digest != listed.coins_hash:
            raise SnapshotError(
                "Population failed: Bad snapshot content hash: expected "
                f"{listed.coins_hash[::-1].hex()}, got {digest[::-1].hex()}"
            )
        await chain.stand_on(store, listed, lambda: _check(chain, head, mempool_is_empty, is_loading=True))
    except BaseException:
        await chain.drop_snapshot()
        raise
    log.info("the chain stands on a snapshot at height %d, of %d coins, not proved yet", listed.height, head.coins)
    return listed


def _put(store: CoinStore, coins: Iterator[tuple[bytes, bytes]]) -> int:
    try:
        some = list(islice(coins, _BATCH))
    except SnapshotError as error:
        raise SnapshotError(f"Population failed: {error}") from error
    if some:
        store.put(some)
    return len(some)


async def _digest(store: CoinStore, offload: Offload) -> bytes:
    with contextlib.closing(store.rows()) as coins:
        scan = CoinSetScan(coins, "hash_serialized_3")
        while await offload(scan.step, _PIECE):
            pass
    return await offload(scan.digest)


def _check(
    chain: Chain, head: SnapshotHead, mempool_is_empty: Callable[[], bool], *, is_loading: bool = False
) -> TrustedSnapshot:
    """Return what the network lists for a snapshot; raise SnapshotError where the chain cannot stand on it now.

    Core: ActivateSnapshot.
    """
    block_hash = head.block_hash[::-1].hex()
    if not (chain.may_begin_snapshot or is_loading):
        raise SnapshotError("Can't activate a snapshot-based chainstate more than once")
    listed = find_trusted(chain.network, head.block_hash)
    if listed is None:
        heights = ", ".join(str(each.height) for each in chain.network.snapshots)
        raise SnapshotError(
            f"assumeutxo block hash in snapshot metadata not recognized (hash: {block_hash}). The following snapshot "
            f"heights are available: {heights}."
        )
    base = chain.tree.get(head.block_hash)
    if base is None:
        raise SnapshotError(
            f"The base block header ({block_hash}) must appear in the headers chain. Make sure all headers are "
            "syncing, and call loadtxoutset again"
        )
    if base.is_failed:
        raise SnapshotError(f"The base block header ({block_hash}) is part of an invalid chain")
    best = chain.tree.best_header
    if best.height < base.height or best.ancestor(base.height) is not base:
        raise SnapshotError(
            "A forked headers-chain with more work than the chain with the snapshot base block header exists. Please "
            "proceed to sync without AssumeUtxo."
        )
    if not mempool_is_empty():
        raise SnapshotError("Can't activate a snapshot when mempool not empty")
    if base.chain_work <= chain.tip.chain_work:
        raise SnapshotError("Population failed: Work does not exceed active chainstate.")
    return listed
