"""Building databases anew: the index from the block files, and the coins from the blocks."""

import logging
import time

from altyn.consensus.networks import Network
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.load import Report, load, record_of
from altyn.node.chain.stores import Stores
from altyn.node.events import BlockConnected
from altyn.node.storage.folder import DataFolder

log = logging.getLogger(__name__)

_INTERVAL = 5.0
"""Seconds between two lines of the log."""


def forget_for_reindex(folder: DataFolder, *, reindex: bool, reindex_chainstate: bool, pruned: bool = False) -> bool:
    """Remove what is to be built anew, before any database is opened; tell whether the block files must be read.

    `pruned`: the first block files may be gone, and what lies behind them is of no use. A reindex that was interrupted
    while it read the block files begins again. Raises StoreError.
    """
    if folder.is_reindexing and not reindex:
        log.info("the last reindex did not come to its end: it begins again")
        reindex = True
    if reindex:
        log.info("Reindexing: the block index, the coins and all indexes are built anew")
    elif reindex_chainstate:
        log.info("Reindexing: the coins are built anew")
    if reindex or reindex_chainstate:
        folder.forget(block_index=reindex, pruned=pruned)
    return reindex


def rebuild_index(stores: Stores, network: Network, secp: Secp256k1, now: float, report: Report | None = None) -> int:
    """Read all block files into an empty index; return how many blocks they hold; blocking. Raises StoreError.

    What is damaged there is left out: peers have it. The coins follow when the chain is opened.
    """
    loaded = load(stores, network, secp, now, report)
    if report is not None:
        report(stores.files.usage, stores.files.usage)
    stores.files.sync()
    stores.headers.write([record_of(entry) for entry in loaded.changed])
    count = sum(entry.has_block for entry in loaded.changed)
    log.info("Reindexing finished: %d blocks in the block files; now they are connected", count)
    return count


class ConnectProgress:
    """Says every few seconds how far the coins have come; to be subscribed to a chain's events while it opens."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, event: object) -> None:
        if isinstance(event, BlockConnected) and time.monotonic() - self._said > _INTERVAL:
            self._said = time.monotonic()
            entry = event.entry
            log.info("connected blocks up to height %d, %d transactions", entry.height, entry.chain_tx_count)
