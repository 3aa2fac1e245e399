"""Taking up blocks from files of others: Core's `blk?????.dat`, and `bootstrap.dat` (Core: -loadblock)."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from altyn.consensus.block import HEADER_SIZE, Block, Header
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import ValidationError
from altyn.node.chain.chain import Chain
from altyn.node.offload import Offload
from altyn.node.storage.blocks import BlockFiles
from altyn.node.storage.disk import FolderDisk
from altyn.node.storage.errors import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")

_INTERVAL = 5.0
"""Seconds between two lines of the log."""


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
    def __init__(self, path: Path, chain: Chain, offload: Offload) -> None:
        self._path = path
        self._chain = chain
        self._offload = offload
        self._waiting: dict[bytes, list[int]] = {}  # where blocks lie, by the hash of a parent that has not come yet
        self._said = time.monotonic()
        self.count = 0

    async def run(self) -> None:
        files = await self._read(BlockFiles, FolderDisk(self._path.parent), self._chain.network.magic)
        if files is None:
            return
        records = files.records(self._path.name)
        while (record := await self._read(next, records, None)) is not None:
            offset, data = record
            taken = await self._take(offset, data)
            following = self._waiting.pop(taken, []) if taken else []
            for place in following:  # grows while it is gone through
                later = await self._read(files.read_at, self._path.name, place)
                taken = await self._take(place, later) if later else None
                following += self._waiting.pop(taken, []) if taken else []

    async def _read(self, function: Callable[..., T], *values: object) -> T | None:
        """Return what `function` reads of the file, or None: a file of others must not end the node."""
        try:
            return await self._offload(function, *values)
        except StoreError as error:
            log.warning("cannot read %s: %s", self._path, error)
            return None

    async def _take(self, offset: int, data: bytes) -> bytes | None:
        """Hand one block in; return its hash if others can build on it."""
        tree = self._chain.tree
        header = Header.parse(data[:HEADER_SIZE])
        entry = tree.get(header.hash)
        if entry is not None and entry.has_block:
            return header.hash
        if header.prev_hash not in tree:
            self._waiting.setdefault(header.prev_hash, []).append(offset)
            return None
        try:
            outcome = await self._chain.add_block(Block.parse(data))
        except (EncodingError, ValidationError) as error:
            log.warning("left out block %s of %s: %s", header.hash[::-1].hex(), self._path, error)
            return None
        self.count += outcome.is_new
        if time.monotonic() - self._said > _INTERVAL:
            self._said = time.monotonic()
            log.info("importing %s: %d blocks, height %d", self._path, self.count, self._chain.tip.height)
        return header.hash
