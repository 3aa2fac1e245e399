"""The miner: takes templates, has nonces tried off the loop, hands in what was found."""

import asyncio
import logging
from random import Random

from altyn.consensus.block import Block, Header
from altyn.consensus.errors import ValidationError
from altyn.node.mining.search import NONCES, SearchBackend
from altyn.node.mining.source import TemplateSource
from altyn.node.mining.template import BlockTemplate
from altyn.node.offload import Offload
from altyn.p2p.clock import Clock, Timer

log = logging.getLogger(__name__)

DEFAULT_MAX_TRIES = 1_000_000
_SLICE_TIME = 0.05
_FIRST_SLICE = 1 << 12
_LARGEST_SLICE = 1 << 26


class Miner:
    """Finds blocks for one source of templates.

    The search goes in slices of a twentieth of a second, each on a thread of `offload`: between two of them it notices
    that it was cancelled, or that a block from elsewhere has made the work worthless.
    """

    def __init__(self, source: TemplateSource, backend: SearchBackend, offload: Offload, clock: Clock) -> None:
        if backend.pow_hash != source.network.pow_hash:
            raise ValueError(
                f"the search backend {backend.name} computes {backend.pow_hash}, this network needs "
                f"{source.network.pow_hash}"
            )
        self._source = source
        self._backend = backend
        self._offload = offload
        self._clock = clock
        self._slice = _FIRST_SLICE
        self.hashes_per_second = 0.0
        """Of the last full slice; 0 before there was one."""

    async def generate(self, count: int, script_pubkey: bytes, max_tries: int = DEFAULT_MAX_TRIES) -> list[bytes]:
        """Mine `count` blocks that pay `script_pubkey` and return their hashes; fewer after `max_tries` nonces in all.

        Raises ValidationError if the chain refuses a block, or if no work could make one valid (a signet's).
        """
        found: list[bytes] = []
        while len(found) < count and max_tries > 0:
            template = await self._source.template(script_pubkey)
            block, tried = await self.solve(template, max_tries)
            max_tries -= tried
            if block is not None:
                await self._source.submit(block)
                found.append(block.hash)
        return found

    async def solve(self, template: BlockTemplate, max_tries: int) -> tuple[Block | None, int]:
        """Search a proof of work; return the block and how many nonces it took.

        None instead of a block after `max_tries` of them, or once the template has become outdated.
        """
        tried = extra_nonce = 0
        while True:
            block = template.to_block(extra_nonce)
            self._source.check(block)
            nonce = 0
            while nonce < NONCES:
                if tried >= max_tries or not self._source.is_current(template):
                    return None, tried
                count = min(self._slice, NONCES - nonce, max_tries - tried)
                found = await self._search(block.header.raw, template.target, nonce, count)
                if found is not None:
                    return _with_nonce(block, found), tried + found - nonce + 1
                nonce += count
                tried += count
            extra_nonce += 1

    async def _search(self, header: bytes, target: int, first: int, count: int) -> int | None:
        began = self._clock.monotonic()
        found = await self._offload(self._backend.search, header, target, first, count)
        elapsed = self._clock.monotonic() - began
        if found is None and elapsed > 0:
            self.hashes_per_second = count / elapsed
            self._slice = max(_FIRST_SLICE, min(_LARGEST_SLICE, int(self.hashes_per_second * _SLICE_TIME)))
        return found

    async def mine_every(
        self, interval: float, script_pubkey: bytes, timer: Timer, random: Random | None = None
    ) -> None:
        """Mine a block every `interval` seconds until cancelled; with `random`, at random times of that average.

        For local networks. A block that the chain refuses is logged, and the next one tried.
        """
        while True:
            pause = interval if random is None else random.expovariate(1 / interval)
            await timer.sleep_until(timer.now() + pause)
            try:
                await self.generate(1, script_pubkey, max_tries=NONCES)
            except ValidationError as error:
                log.warning("mined a block that was refused: %s", error)
            await asyncio.sleep(0)


def _with_nonce(block: Block, nonce: int) -> Block:
    old = block.header
    header = Header(old.version, old.prev_hash, old.merkle_root, old.time, old.bits, nonce)
    return Block(header, block.transactions)
