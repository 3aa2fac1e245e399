"""Headers and blocks that come in: checked as far as they can be outside the active chain, and kept."""

import asyncio
from collections.abc import Sequence

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import Network
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.blocks import StoredBlocks
from altyn.node.chain.branches import Branches
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.blocks import FilePosition
from altyn.p2p.clock import Clock

_HEADERS_AT_ONCE = 64
"""Headers checked before the event loop gets a turn: about two milliseconds."""
_TOO_FAR_AHEAD = 288
"""Blocks above the tip from which one that was not asked for is not stored (Core: MIN_BLOCKS_TO_KEEP)."""


class Intake:
    """Takes headers into the branches, and blocks into the files. Belongs to the writer's task."""

    def __init__(
        self,
        branches: Branches,
        blocks: StoredBlocks,
        network: Network,
        clock: Clock,
        offload: Offload,
        secp: Secp256k1,
    ) -> None:
        self._branches = branches
        self._blocks = blocks
        self._network = network
        self._clock = clock
        self._offload = offload
        self._secp = secp

    async def headers(self, headers: Sequence[Header], *, min_work_checked: bool) -> Entry:
        """Check headers, parents first, and put them into the tree: see `Chain.add_headers`."""
        best = self._branches.tree.best_header
        now = self._clock.now()
        last = headers[-1]
        try:
            for start in range(0, len(headers), _HEADERS_AT_ONCE):
                for header in headers[start : start + _HEADERS_AT_ONCE]:
                    self._branches.add_header(header, now, min_work_checked=min_work_checked)
                await asyncio.sleep(0)
        finally:
            self._branches.announce_best_header(best)
        entry = self._branches.tree.get(last.hash)
        assert entry is not None
        return entry

    async def block(self, block: Block, tip: Entry, *, requested: bool, min_work_checked: bool) -> tuple[Entry, bool]:
        """Check a block and store it if it is wanted; return its entry, and whether it was stored now.

        `tip` is the active chain's. Raises ValidationError, StoreError.
        """
        await self._offload(check_block, block, self._network, secp=self._secp)
        best = self._branches.tree.best_header
        entry = self._branches.add_header(block.header, self._clock.now(), min_work_checked=min_work_checked)
        self._branches.announce_best_header(best)
        is_new = not entry.has_block and (requested or self._is_wanted(entry, tip))
        if is_new:
            await self._store(block, entry, tip)
        return entry, is_new

    def _is_wanted(self, entry: Entry, tip: Entry) -> bool:
        """Whether to store a block nobody asked for: it may win soon, and is no flood of cheap ones."""
        return (
            not entry.tx_count
            and entry.chain_work >= tip.chain_work
            and entry.height <= tip.height + _TOO_FAR_AHEAD
            and entry.chain_work >= self._network.minimum_chain_work
        )

    async def _store(self, block: Block, entry: Entry, tip: Entry) -> None:
        try:
            position = await self._offload(self._check_and_write, block, entry)
        except ValidationError as error:
            if error.fault is not Fault.MUTATED:
                self._branches.fail(entry, error)
            raise
        self._branches.stored(entry, block, position, tip)

    def _check_and_write(self, block: Block, entry: Entry) -> FilePosition:
        check_block_in_context(block, entry.parent, self._network)
        return self._blocks.write(block)
