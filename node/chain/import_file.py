"""Taking up blocks from files of others: Core's `blk?????.dat`, and `bootstrap.dat` (Core: -loadblock)."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from altyn.consensus.block import Block
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import ValidationError
from altyn.node.chain.chain import Chain
from altyn.node.offload import Offload
from altyn.node.storage.blocks import BlockFiles
from altyn.node.storage.disk import FolderDisk
from altyn.node.storage.errors import StoreError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_INTERVAL = 5.0
"""Seconds between two lines of the log."""
_READ_AT_ONCE = 500_000
"""Bytes of blocks that are read and parsed in one go, and one block more."""
_AT_ONCE = 64
"""Blocks that the chain has before the first of them is judged."""


async def import_file(path: Path, chain: Chain, offload: Offload) -> int:
    """Hand all blocks of a file to the chain, in whatever order they lie; return how many were new.

    A key in `xor.dat` beside the file is applied. What cannot be read is said in the log and passed over. Raises
    StoreError only for our own disk.
    """
    if not path.is_file():  # noqa: ASYNC240 - one look
        log.warning("Could not open blocks file %s", path)
        return 0
    log.info("Importing blocks file %s...", path)
    importer = _Importer(path, chain, offload)
    await importer.run()
    log.info("Imported %d blocks of %s", importer.count, path)
    return importer.count


class _Importer:
    """Reads and parses on a thread, some blocks at a time, while the chain works at those before."""

    def __init__(self, path: Path, chain: Chain, offload: Offload) -> None:
        self._path = path
        self._chain = chain
        self._offload = offload
        self._early: dict[bytes, list[int]] = {}  # where blocks lie, by the hash of a parent that has not come yet
        self._handed: set[bytes] = set()  # blocks that the chain is at
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._said = time.monotonic()
        self.count = 0

    async def run(self) -> None:
        files = await self._read(BlockFiles, FolderDisk(self._path.parent), self._chain.network.magic)
        if files is None:
            return
        records = files.records(self._path.name)
        async with asyncio.TaskGroup() as tasks:
            while batch := await self._read(self._parse_some, records):
                for offset, block in batch:
                    await self._hand_in(block, offset, files, tasks)

    async def _read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what `function` reads of the file, or None: a file of others must not end the node."""
        try:
            return await self._offload(function, *args, **kwargs)
        except StoreError as error:
            log.warning("cannot read %s: %s", self._path, error)
            return None

    def _parse_some(self, records: Iterator[tuple[int, bytes]]) -> list[tuple[int, Block]]:
        """Read and parse the next blocks; none at the end."""
        batch = []
        size = 0
        for offset, data in records:
            size += len(data)
            try:
                batch.append((offset, Block.parse(data)))
            except EncodingError as error:
                log.warning("left out what lies at %d in %s: %s", offset, self._path, error)
            if size > _READ_AT_ONCE:
                break
        return batch

    async def _hand_in(self, block: Block, offset: int, files: BlockFiles, tasks: asyncio.TaskGroup) -> None:
        """Hand a block to the chain, and those that waited for it; or let it wait for its parent."""
        tree = self._chain.tree
        pending = [(block, offset)]
        while pending:
            block, offset = pending.pop()
            entry = tree.get(block.hash)
            if entry is None or not entry.has_block:
                parent = block.header.prev_hash
                if parent not in tree and parent not in self._handed:
                    self._early.setdefault(parent, []).append(offset)
                    continue
                self._handed.add(block.hash)
                await self._room.acquire()
                tasks.create_task(self._add(block))
            for place in self._early.pop(block.hash, ()):
                data = await self._read(files.read_at, self._path.name, place)
                if data is not None:
                    pending.append((Block.parse(data), place))

    async def _add(self, block: Block) -> None:
        try:
            outcome = await self._chain.add_block(block)
        except ValidationError as error:
            log.warning("left out block %s of %s: %s", block.hash[::-1].hex(), self._path, error)
        else:
            self.count += outcome.is_new
        finally:
            self._handed.discard(block.hash)
            self._room.release()
        if time.monotonic() - self._said > _INTERVAL:
            self._said = time.monotonic()
            log.info("importing %s: %d blocks, height %d", self._path, self.count, self._chain.tip.height)
