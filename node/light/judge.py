"""Which of several filters claimed for a block is the right one: the block itself says, or most peers do."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from altyn.consensus.block import Block
from altyn.consensus.filters import filter_hash
from altyn.node.chain.tree import Entry
from altyn.node.light.matching import fit
from altyn.node.light.sources import FilterSource, FilterSources
from altyn.node.offload import Offload

log = logging.getLogger(__name__)


class FilterJudge:
    """Asks those who disagree for their filters, and one of them for the block."""

    def __init__(self, sources: FilterSources, offload: Offload) -> None:
        self._sources = sources
        self._offload = offload

    async def judge(
        self, entry: Entry, claims: Mapping[bytes, Sequence[FilterSource]], known: Mapping[bytes, bytes] | None = None
    ) -> bytes | None:
        """Find the right one of several filter hashes claimed for `entry`, by its block; drop who claimed another.

        `known` are filters that are here already. Return the right hash, None when that was not to be found out now.
        """
        found = dict(known or {})
        for claimed, backers in claims.items():
            for source in backers:
                if claimed in found:
                    break
                answer = await self._sources.answer(source, source.filters(entry.height, entry))
                if answer is None:
                    continue
                if len(answer) == 1 and filter_hash(answer[0]) == claimed:
                    found[claimed] = answer[0]
                else:
                    self._sources.punish(source, "gave a filter that does not match its own filter header")
        block = await self._fetch_block(entry, [source for backers in claims.values() for source in backers])
        if block is None:
            return None
        fits = {claimed: await self._offload(fit, data, block) for claimed, data in found.items()}
        if not fits:
            return None
        best = max(value.by_block for value in fits.values())
        right = max(
            (claimed for claimed, value in fits.items() if value.possible and value.by_block == best),
            # What the block does not decide, the number of peers does; then the number of elements, for what a filter
            # lacks is a payment not seen, and what it has too much only a block fetched in vain; then who came first.
            key=lambda claimed: (
                len(claims[claimed]),
                fits[claimed].elements,
                -min((source.id for source in claims[claimed]), default=-1),
            ),
            default=None,
        )
        log.warning("peers disagree about the filter of block %s", entry.hash[::-1].hex())
        for claimed, backers in claims.items():
            if claimed not in found or claimed == right:
                continue  # who gave no filter at all loses patience, not credit
            for source in backers:
                if fits[claimed].possible and fits[claimed].by_block == best:
                    self._sources.drop(source, f"filter of block {entry.hash[::-1].hex()} is not that of most peers")
                else:
                    self._sources.punish(source, f"filter of block {entry.hash[::-1].hex()} does not fit the block")
        return right

    async def _fetch_block(self, entry: Entry, sources: Iterable[FilterSource]) -> Block | None:
        for source in sources:
            if source.id in self._sources:
                block = await self._sources.answer(source, source.block(entry))
                if block is not None:
                    return block
        return None
