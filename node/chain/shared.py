"""What the active chain and the one in the background have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from altyn.consensus.networks import Network
from altyn.node.chain.assumed import is_assumed_valid
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.branches import Branches
from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.flush import Flusher
from altyn.node.chain.indexes import ChainIndex, Indexes
from altyn.node.chain.pipeline import Pipeline, Prepared
from altyn.node.chain.stores import Checkpoint, Stores
from altyn.node.chain.tree import CONNECTED, HAVE_UNDO
from altyn.node.chain.verify import ScriptVerifier
from altyn.node.events import Events
from altyn.node.offload import Offload, for_blocks
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock


@dataclass(frozen=True, slots=True)
class Shared:
    """One header tree, one set of files and indexes, and what works on them; without a tip and its coins."""

    network: Network
    stores: Stores
    blocks: StoredBlocks
    branches: Branches
    indexes: Indexes
    flusher: Flusher
    verifier: ScriptVerifier
    events: Events
    clock: Clock
    writer: Writer
    offload: Offload
    checkpoint: Checkpoint

    def pipeline(self, coins: CoinsCache) -> Pipeline:
        """Return an empty pipeline on the tip that `coins` are of."""
        tree, network = self.branches.tree, self.network
        return Pipeline(
            coins,
            network,
            self.blocks,
            self.offload,
            self.verifier,
            lambda entry: is_assumed_valid(entry, tree, network),
        )

    async def prepare_indexes(self, prepared: Prepared) -> list[tuple[ChainIndex, Any]]:
        """Return what each index that has all before a block will take in of it. Raises StoreError."""
        indexes = self.indexes.ready_for(prepared.entry)
        run = for_blocks(self.offload, prepared.entry.block_size)
        return await run(_prepare, indexes, prepared) if indexes else []

    def connected(self, prepared: Prepared, values: Sequence[tuple[ChainIndex, Any]]) -> None:
        """Note that a block was connected, and let the indexes have what they prepared."""
        entry = prepared.entry
        entry.status |= CONNECTED | HAVE_UNDO
        entry.undo_position = prepared.undo
        self.flusher.changed(entry)
        for index, value in values:
            index.commit(entry, value)


def _prepare(indexes: Sequence[ChainIndex], prepared: Prepared) -> list[tuple[ChainIndex, Any]]:
    return [(index, index.prepare(prepared.entry, prepared.block, prepared.connection.spent)) for index in indexes]
