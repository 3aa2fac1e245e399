"""Headers and blocks that come in: checked as far as they can be outside the active chain, and kept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

from altyn.consensus.block import Block, Header
from altyn.consensus.checks.blocks import check_block, check_block_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.pow import work
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.chain.arrivals import Arrival
from altyn.node.chain.shared import Shared
from altyn.node.chain.tree import Entry
from altyn.node.events import BlockPassed
from altyn.node.offload import for_blocks
from altyn.node.storage.blocks import FilePosition

P = ParamSpec("P")

_HEADERS_AT_ONCE = 64
"""Headers checked before the event loop gets a turn: about two milliseconds."""
_TOO_FAR_AHEAD = 288
"""Blocks above the tip from which one that was not asked for is not stored (Core: MIN_BLOCKS_TO_KEEP)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A block that is right as far as it can be seen alone: its place, and whether it is stored now."""

    entry: Entry
    is_new: bool


class Intake:
    """Takes headers into the branches, and blocks into the files. Belongs to the writer's task."""

    def __init__(self, shared: Shared, secp: Secp256k1) -> None:
        self._branches = shared.branches
        self._blocks = shared.blocks
        self._events = shared.events
        self._network = shared.network
        self._clock = shared.clock
        self._offload = shared.offload
        self._secp = secp

    async def headers(self, headers: Sequence[Header], *, min_work_checked: bool) -> Entry:
        """Check headers, parents first, and put them into the tree: see `Chain.add_headers`."""
        best = self._branches.tree.best_header
        now = self._clock.now()
        last = headers[-1]
        try:
            for start in range(0, len(headers), _HEADERS_AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                for header in headers[start : start + _HEADERS_AT_ONCE]:
                    self._branches.add_header(header, now, min_work_checked=min_work_checked)
        finally:
            self._branches.announce_best_header(best)
        entry = self._branches.tree.get(last.hash)
        assert entry is not None
        return entry

    async def blocks(self, arrivals: Sequence[Arrival], tip: Entry, head: Entry) -> list[Stored | ValidationError]:
        """Check blocks, parents first, and store those that are wanted; say what became of each. Raises StoreError.

        `tip` is the active chain's, `head` what that will be once the blocks that came before are connected.
        """
        best = self._branches.tree.best_header
        run = for_blocks(self._offload, *(len(arrival.block.raw) for arrival in arrivals))
        found: list[Stored | ValidationError] = []
        wanted: dict[int, tuple[Block, Entry]] = {}
        for number, (arrival, error) in enumerate(zip(arrivals, await run(self._check, arrivals), strict=True)):
            stored = error or self._take_header(arrival, head)
            found.append(stored)
            if not isinstance(stored, ValidationError) and stored.is_new:
                wanted[number] = arrival.block, stored.entry
                if stored.entry.parent is head:
                    head = stored.entry
        self._branches.announce_best_header(best)
        if not wanted:
            return found
        refusals = await run(self._check_in_context, list(wanted.values()))
        for (number, (block, entry)), refusal in zip(list(wanted.items()), refusals, strict=True):
            if refusal is None:
                self._events.publish(BlockPassed(entry, block))
                continue
            found[number] = refusal
            del wanted[number]
            if refusal.fault is not Fault.MUTATED and not entry.is_failed:
                self._branches.fail(entry, refusal)
        await asyncio.sleep(0)  # what was published is sent before the work on the blocks goes on
        positions = await run(self._write, [block for block, _ in wanted.values()])
        for (block, entry), position in zip(wanted.values(), positions, strict=True):
            self._branches.stored(entry, block, position, tip)
        return found

    def _check(self, arrivals: Sequence[Arrival]) -> list[ValidationError | None]:
        return [_refusal(check_block, arrival.block, self._network, secp=self._secp) for arrival in arrivals]

    def _take_header(self, arrival: Arrival, head: Entry) -> Stored | ValidationError:
        header = arrival.block.header
        parent = self._branches.tree.get(header.prev_hash)
        checked = parent is None or parent.chain_work + work(header.bits) >= arrival.least_work
        try:
            entry = self._branches.add_header(header, self._clock.now(), min_work_checked=checked)
        except ValidationError as error:
            return error
        return Stored(entry, not entry.has_block and (arrival.requested or self._is_wanted(entry, head)))

    def _is_wanted(self, entry: Entry, head: Entry) -> bool:
        """Whether to store a block nobody asked for: it may win soon, and is no flood of cheap ones."""
        return (
            not entry.tx_count
            and entry.chain_work >= head.chain_work
            and entry.height <= head.height + _TOO_FAR_AHEAD
            and entry.chain_work >= self._network.minimum_chain_work
        )

    def _check_in_context(self, blocks: Sequence[tuple[Block, Entry]]) -> list[ValidationError | None]:
        """Check blocks on their parents."""
        refusals: list[ValidationError | None] = []
        failed: set[Entry | None] = set()
        for block, entry in blocks:
            error = _refusal(check_block_in_context, block, entry.parent, self._network)
            if entry.parent in failed:
                error = ValidationError("bad-prevblk", fault=Fault.INVALID_PREVIOUS)
            if error is not None and error.fault is not Fault.MUTATED:
                failed.add(entry)
            refusals.append(error)
        return refusals

    def _write(self, blocks: Sequence[Block]) -> list[FilePosition]:
        return [self._blocks.write(block) for block in blocks]


def _refusal(check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> ValidationError | None:
    try:
        check(*args, **kwargs)
    except ValidationError as error:
        return error
    return None
