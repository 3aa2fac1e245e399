"""A second look at the last blocks of the active chain, from the disk and against the coins (Core: CVerifyDB)."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum, auto
from functools import partial

from altyn.consensus.checks.blocks import check_block
from altyn.consensus.errors import ValidationError
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain
from altyn.node.chain.coins import CoinsView
from altyn.node.chain.connect import CoinChange, connect_block, disconnect_block
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.storage.errors import BlockNotStored, StoreError
from altyn.node.storage.layout import decode_coin
from altyn.node.writer import Writer

log = logging.getLogger(__name__)

_MOST_CHANGES = 500_000
"""Coins taken back in memory, from which on older blocks are not looked at against the coins."""


class _Verdict(Enum):
    WHOLE = auto()
    BROKEN = auto()
    NO_MORE = auto()
    """The chain has moved, or the block is not on the disk."""


class Overlay:
    """Coins as they were some blocks ago (altyn.node.chain.coins.CoinsView)."""

    def __init__(self, coins: CoinsView) -> None:
        self._coins = coins
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, outpoint: OutPoint) -> Coin | None:
        """Return the coin, None if it is spent or never was."""
        if outpoint in self.changes:
            data = self.changes[outpoint]
            return None if data is None else decode_coin(data)
        return self._coins.get(outpoint)

    def many(self, outpoints: Iterable[OutPoint]) -> dict[OutPoint, Coin]:
        """Return those of `outpoints` that are unspent."""
        found = ((outpoint, self.get(outpoint)) for outpoint in outpoints)
        return {outpoint: coin for outpoint, coin in found if coin is not None}

    def __contains__(self, outpoint: object) -> bool:
        return isinstance(outpoint, OutPoint) and self.get(outpoint) is not None

    def apply(self, change: CoinChange) -> None:
        """Make a change."""
        self.changes |= dict.fromkeys(change.removed)
        for outpoint, data in change.created.items():
            self.changes[outpoint] = data


async def audit(chain: Chain, writer: Writer, offload: Offload, secp: Secp256k1, level: int, depth: int) -> bool:
    """Tell whether the last `depth` blocks are whole; all blocks if that is not more than 0.

    Level 0 reads them, 1 checks them, 2 reads what they spent, 3 takes them back from the coins in memory, 4 connects
    them again, scripts included. Each block waits for its turn of the writer; it ends, content, where the chain moves
    or the disk holds no more blocks.
    """
    tip = chain.tip
    depth = depth if 0 < depth <= tip.height else tip.height
    overlay = Overlay(chain.coins)
    taken_back: list[Entry] = []

    async def look_back(entry: Entry) -> None:
        against_coins = level >= 3 and len(overlay.changes) < _MOST_CHANGES
        await offload(_look_back, chain, entry, overlay if against_coins else None, level, secp)
        if against_coins:
            taken_back.append(entry)

    async def connect(entry: Entry) -> None:
        block = await offload(chain.read_block, entry)
        connection = await offload(connect_block, block, entry, overlay, chain.network)
        await chain.verifier.verify(connection.checks)
        overlay.apply(connection.coins)

    async def step(work: Callable[[Entry], Awaitable[None]], entry: Entry) -> _Verdict:
        if chain.tip is not tip:
            return _Verdict.NO_MORE
        try:
            await work(entry)
        except BlockNotStored:
            log.info("verifychain stops at block %d, which is not on the disk", entry.height)
            return _Verdict.NO_MORE
        except (StoreError, ValidationError) as error:  # what was asked for, and no reason for the writer to end
            log.error("Verification error: block %d: %s", entry.height, error)
            return _Verdict.BROKEN
        return _Verdict.WHOLE

    for height in range(tip.height, tip.height - depth, -1):
        verdict = await writer.do(partial(step, look_back, tip.ancestor(height)))
        if verdict is not _Verdict.WHOLE:
            return verdict is _Verdict.NO_MORE
    while level >= 4 and taken_back:
        verdict = await writer.do(partial(step, connect, taken_back.pop()))
        if verdict is not _Verdict.WHOLE:
            return verdict is _Verdict.NO_MORE
    return True


def _look_back(chain: Chain, entry: Entry, overlay: Overlay | None, level: int, secp: Secp256k1) -> None:
    """Look at one block, the last of those that `overlay` still holds; blocking. Raises StoreError, ValidationError."""
    block = chain.read_block(entry)
    if level >= 1:
        check_block(block, chain.network, secp=secp)
    if level < 2:
        return
    spent = chain.read_spent(entry)
    if overlay is None:
        return
    change = disconnect_block(block, spent)
    for outpoint in change.removed:
        if outpoint not in overlay:
            raise StoreError(f"coin {outpoint} of block {entry.height} is missing")
    for outpoint in change.created:
        if outpoint in overlay:
            raise StoreError(f"coin {outpoint}, which block {entry.height} spent, is there")
    overlay.apply(change)
