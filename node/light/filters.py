"""Compact filters whose header chain all peers agree on; who lies about one is found out and dropped (BIP157)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from altyn.consensus.block import Block
from altyn.consensus.filters import filter_hash
from altyn.consensus.hashes import sha256d
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.light.errors import LightError
from altyn.node.light.judge import FilterJudge
from altyn.node.light.matching import fit
from altyn.node.light.sources import FilterSource, FilterSources
from altyn.node.light.store import FilterHeaderStore
from altyn.node.offload import Offload
from altyn.node.storage.filters import FilterRecord, FilterStore
from altyn.p2p.messages import CFHeaders

log = logging.getLogger(__name__)

MAX_FILTER_HEADERS = 2000
MAX_FILTERS = 1000
CHECKPOINT_INTERVAL = 1000
RETRY_INTERVAL = 10.0
"""Seconds until peers that did not answer are asked again."""
NO_HEADER = bytes(32)
"""The filter header before genesis."""


class HeaderView(Protocol):
    """The part of a header chain that filters follow."""

    @property
    def tree(self) -> HeaderTree: ...

    @property
    def tip(self) -> Entry: ...


class FilterChain:
    """The agreed filter headers of the most-work chain, and the filters that match them.

    A filter header commits to all filters before it, so two peers that give the same one agree on all. Where they
    differ, the first filter in dispute is held against its block. With a single peer there is nobody to differ: what it
    says is believed until another one comes, or until a fetched block gives it the lie (`check_block`).
    """

    def __init__(self, chain: HeaderView, headers: FilterHeaderStore, store: FilterStore, offload: Offload) -> None:
        """Read what is known from the stores. Raises StoreError."""
        self._chain = chain
        self._header_store, self._store = headers, store
        self._offload = offload
        self._headers = dict(headers)
        self._sources = FilterSources(self._source_left)
        self._judge = FilterJudge(self._sources, offload)
        self._confirmed: dict[int, Entry] = {}
        self._refuted: list[Entry] = []
        self._woken = asyncio.Event()
        self._moved = asyncio.Condition()
        self._agreed = self._stored_agreement()
        best = chain.tree.get(store.best_block or b"")
        self._stored = HeaderTree.fork_point(best, self._agreed) if best and self._agreed else None
        self.checked = self._stored.height + 1 if self._stored else 0
        """Filters that matched the agreed header chain and are stored here."""

    @property
    def header_height(self) -> int:
        """The height up to which filter headers are agreed on; -1 if none."""
        return self._agreed.height if self._agreed else -1

    @property
    def height(self) -> int:
        """The height up to which all filters are here and checked; -1 if none."""
        return self._stored.height if self._stored else -1

    def header(self, entry: Entry) -> bytes | None:
        """Return the agreed filter header of a block, None while there is none."""
        return self._headers.get(entry.hash)

    def add(self, source: FilterSource) -> None:
        """Take up a peer that serves filters."""
        self._sources.add(source)
        self.wake()

    def remove(self, peer_id: int) -> None:
        """Forget a peer that left."""
        self._sources.remove(peer_id)

    def _source_left(self, peer_id: int) -> None:
        self._confirmed.pop(peer_id, None)
        self.wake()

    def wake(self) -> None:
        """Look for work: the chain has moved, or a peer has."""
        self._woken.set()

    async def run(self) -> None:
        """Keep filter headers and filters abreast of the chain, until cancelled. Raises StoreError."""
        while True:
            self._woken.clear()
            if await self._advance():
                continue
            try:
                async with asyncio.timeout(RETRY_INTERVAL):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def get(self, entry: Entry, timeout: float) -> tuple[bytes, bytes]:  # noqa: ASYNC109 - an answer's deadline
        """Return the checked filter of a block of the most-work chain and its filter header.

        Waits up to `timeout` seconds for it. Raises LightError.
        """
        try:
            async with asyncio.timeout(timeout), self._moved:
                while True:
                    record = await self._offload(self._store.get, entry.height, entry.hash)
                    if record is not None and record.header == self._headers.get(entry.hash):
                        return record.filter, record.header
                    await self._moved.wait()
        except TimeoutError:
            raise LightError(f"no peer has given the filter of block {entry.hash[::-1].hex()} yet") from None

    async def check_block(self, entry: Entry, block: Block) -> None:
        """Hold a block that was fetched for other reasons against its filter; a filter that does not fit it was a lie
        that all peers agreed on, so all of them are dropped.
        """
        record = await self._offload(self._store.get, entry.height, entry.hash)
        if record is None or record.header != self._headers.get(entry.hash):
            return
        if not (await self._offload(fit, record.filter, block)).possible:
            self._refuted.append(entry)
            self.wake()

    # --- one step ---

    async def _advance(self) -> bool:
        """Do one step; return whether there may be another one to do now."""
        while self._refuted:
            entry = self._refuted.pop()
            if entry.hash in self._headers:
                self._retract(entry, "filter does not fit its block")
        tip = self._chain.tip
        if self._agreed is not None:
            self._agreed = HeaderTree.fork_point(self._agreed, tip)
        if self._stored is not None:
            self._stored = HeaderTree.fork_point(self._stored, tip)
        for source in self._sources:
            if source.id in self._sources and await self._confirm(source):
                return True
        return await self._extend() or await self._download()

    async def _confirm(self, source: FilterSource) -> bool:
        """See how far the peer agrees with what was agreed on before it came; True if somebody had to go for it."""
        if self._agreed is None:
            return False
        target = source.common(self._agreed)
        confirmed = self._confirmed.get(source.id)
        if confirmed is not None:
            confirmed = HeaderTree.fork_point(confirmed, target)
        while confirmed is not target:
            start = confirmed.height + 1 if confirmed else 0
            stop = target.ancestor(min(start + MAX_FILTER_HEADERS - 1, target.height))
            if stop is not target:
                checkpoints = await self._sources.answer(source, source.checkpoints(target))
                if checkpoints is None:
                    return False
                confirmed, stop = self._compare_checkpoints(checkpoints, confirmed, target)
                if confirmed is stop:
                    continue
                start = confirmed.height + 1 if confirmed else 0
            answer = await self._sources.answer(source, source.filter_headers(start, stop))
            if answer is None:
                return False
            headers = self._chained(source, answer, confirmed, start, stop)
            if headers is None:
                return True
            for entry, (header, claimed) in zip(_path(start, stop), headers, strict=True):
                if header != self._headers[entry.hash]:
                    await self._dispute_agreed(entry, source, claimed)
                    return True
            confirmed = stop
        if source.id in self._sources:
            self._confirmed[source.id] = target
        return False

    def _compare_checkpoints(
        self, checkpoints: Sequence[bytes], confirmed: Entry | None, target: Entry
    ) -> tuple[Entry | None, Entry]:
        """Return the last entry known to be agreed on, and where to compare up to."""
        for number, header in enumerate(checkpoints, start=1):
            height = number * CHECKPOINT_INTERVAL
            if height > target.height:
                break
            entry = target.ancestor(height)
            if header != self._headers[entry.hash]:
                return confirmed, entry
            if confirmed is None or height > confirmed.height:
                confirmed = entry
        start = confirmed.height if confirmed else -1
        return confirmed, target.ancestor(min(start + MAX_FILTER_HEADERS, target.height))

    async def _extend(self) -> bool:
        """Agree on the next filter headers."""
        agreed, tip = self._agreed, self._chain.tip
        if agreed is tip:
            return False
        start = agreed.height + 1 if agreed else 0
        voters = [
            (source, common)
            for source in self._sources
            if (common := source.common(tip)).height >= start
            and (agreed is None or self._confirmed.get(source.id) is agreed)
        ]
        if not voters:
            return False
        # Everybody who has the next block votes on it; how far to go is up to the one who has least.
        stop = tip.ancestor(min(start + MAX_FILTER_HEADERS - 1, *(common.height for _, common in voters)))
        asked = [source for source, _ in voters]
        answers = await asyncio.gather(
            *(self._sources.answer(source, source.filter_headers(start, stop)) for source in asked)
        )
        votes: dict[int, list[tuple[bytes, bytes]]] = {}
        for source, answer in zip(asked, answers, strict=True):
            headers = answer and self._chained(source, answer, agreed, start, stop)
            if headers:
                votes[source.id] = headers
        votes = {source_id: headers for source_id, headers in votes.items() if source_id in self._sources}
        if not votes:
            return False
        for index, entry in enumerate(_path(start, stop)):
            claims: dict[bytes, list[FilterSource]] = {}
            for source_id, headers in votes.items():
                claims.setdefault(headers[index][1], []).append(self._sources[source_id])
            if len(claims) > 1:
                await self._judge.judge(entry, claims)
                return True
        await self._agree(start, stop, next(iter(votes.values())))
        for source_id in votes:
            if source_id in self._sources:
                self._confirmed[source_id] = stop
        return True

    async def _agree(self, start: int, stop: Entry, headers: Sequence[tuple[bytes, bytes]]) -> None:
        entries = _path(start, stop)
        records = [(each.height, each.hash, header) for each, (header, _) in zip(entries, headers, strict=True)]
        await self._offload(self._header_store.write, records)
        for _, block_hash, header in records:
            self._headers[block_hash] = header
        self._agreed = stop

    async def _download(self) -> bool:
        """Fetch the next filters from one peer and check them."""
        agreed, stored = self._agreed, self._stored
        if agreed is None or stored is agreed:
            return False
        start = stored.height + 1 if stored else 0
        for source in self._sources:
            common = source.common(agreed)
            if common.height < start:
                continue
            stop = agreed.ancestor(min(start + MAX_FILTERS - 1, common.height))
            filters = await self._sources.answer(source, source.filters(start, stop))
            if filters is None:
                continue
            records = self._checked(source, start, stop, filters)
            if records is None:
                return True
            await self._offload(self._store.write, stop.hash, records)
            self._stored = stop
            self.checked += len(records)
            async with self._moved:
                self._moved.notify_all()
            return True
        return False

    def _checked(
        self, source: FilterSource, start: int, stop: Entry, filters: Sequence[bytes]
    ) -> list[tuple[int, bytes, FilterRecord]] | None:
        entries = _path(start, stop)
        if len(filters) != len(entries):
            self._sources.punish(source, "wrong number of filters")
            return None
        records = []
        previous = self._header_before(entries[0])
        for entry, data in zip(entries, filters, strict=True):
            header = sha256d(filter_hash(data) + previous)
            if header != self._headers[entry.hash]:
                self._sources.punish(source, f"filter of block {entry.hash[::-1].hex()} is not the one agreed on")
                return None
            records.append((entry.height, entry.hash, FilterRecord(header, data)))
            previous = header
        return records

    # --- disputes ---

    def _chained(
        self, source: FilterSource, answer: CFHeaders, before: Entry | None, start: int, stop: Entry
    ) -> list[tuple[bytes, bytes]] | None:
        """Return (filter header, filter hash) of each block; None, and the peer gone, if that is no answer."""
        previous = self._headers[before.hash] if before else NO_HEADER
        if len(answer.filter_hashes) != stop.height - start + 1:
            self._sources.punish(source, "wrong number of filter headers")
            return None
        if answer.previous_filter_header != previous:
            self._sources.punish(source, "filter headers contradict those given before")
            return None
        headers = []
        for claimed in answer.filter_hashes:
            previous = sha256d(claimed + previous)
            headers.append((previous, claimed))
        return headers

    async def _dispute_agreed(self, entry: Entry, source: FilterSource, claimed: bytes) -> None:
        """A peer differs from what was agreed on: find out who is right; if it is the peer, start again from there."""
        record = await self._offload(self._store.get, entry.height, entry.hash)
        ours = [each for each in self._sources if self._backs(each, entry)]
        data = record.filter if record is not None and record.header == self._headers[entry.hash] else None
        if data is None and not ours:
            # Nobody is left to speak for the old agreement, and the filter itself is not here: trust who is.
            self._retract(entry, "its filter headers are disputed")
            return
        known = await self._claimed_hash(entry, data, ours)
        if known is None:
            return  # those who spoke for it did not answer, or were found out: try again
        claims = {known: ours, claimed: [source]}
        right = await self._judge.judge(entry, claims, {known: data} if data is not None else {})
        if right == claimed:
            self._retract(entry, "backed a filter header that was wrong", spare=source.id)

    async def _claimed_hash(self, entry: Entry, data: bytes | None, ours: Sequence[FilterSource]) -> bytes | None:
        """Return the hash of the filter that the agreed header of `entry` commits to."""
        if data is not None:
            return filter_hash(data)
        for source in ours:
            answer = await self._sources.answer(source, source.filters(entry.height, entry))
            if answer is None:
                continue
            if self._checked(source, entry.height, entry, answer) is not None:
                return filter_hash(answer[0])
        return None

    def _retract(self, entry: Entry, reason: str, *, spare: int | None = None) -> None:
        """Take back the agreement from `entry` on, and drop who backed it."""
        log.warning("filter headers from height %d on are taken back: %s", entry.height, reason)
        for source in self._sources:
            if source.id != spare and self._backs(source, entry):
                self._sources.punish(source, reason)
        for block_hash in [each.hash for each in self._chain.tree.descendants(entry)] + [entry.hash]:
            self._headers.pop(block_hash, None)
        self._agreed = entry.parent
        if self._stored is not None and self._stored.height >= entry.height:
            self._stored = entry.parent
            self.checked = entry.height
        for source_id, confirmed in tuple(self._confirmed.items()):
            if confirmed.height >= entry.height:
                del self._confirmed[source_id]
        self.wake()

    def _backs(self, source: FilterSource, entry: Entry) -> bool:
        confirmed = self._confirmed.get(source.id)
        return confirmed is not None and confirmed.height >= entry.height and confirmed.ancestor(entry.height) is entry

    # --- what is known ---

    def _header_before(self, entry: Entry) -> bytes:
        return self._headers[entry.parent.hash] if entry.parent else NO_HEADER

    def _stored_agreement(self) -> Entry | None:
        """Return the last entry of the chain up to which all filter headers are known."""
        tip, known = self._chain.tip, self._headers
        if self._chain.tree.genesis.hash not in known:
            return None
        below, above = 0, tip.height + 1  # known at `below`, not at `above`: headers are only ever agreed on in order
        while above - below > 1:
            middle = (below + above) // 2
            if tip.ancestor(middle).hash in known:
                below = middle
            else:
                above = middle
        return tip.ancestor(below)


def _path(start: int, stop: Entry) -> list[Entry]:
    """Return the entries from height `start` to `stop`."""
    entries = []
    current: Entry | None = stop
    while current is not None and current.height >= start:
        entries.append(current)
        current = current.parent
    return entries[::-1]
