"""Random look-ups of coins through a cold cache, against plyvel's own random reads of the same rows.

The set has a million coins by default. Both sides open a copy of one database that was written as a node writes it, and
meet a LevelDB cache too small for the rows; the files lie in the system's memory for both. Every read of ours verifies
checksums, so plyvel's do too; beside it stands what plyvel reads when it trusts the disk.
"""

import functools
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import plyvel
from measure import Case, Job

from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.chain.coins import CoinsCache
from altyn.node.chain.stores import DATABASE_CACHE
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.kv import LevelDb
from altyn.node.storage.layout import COIN, encode_coin

PEER = "plyvel"
TRUSTING = "plyvel, no checks"
BAR = ">=0.6"
BATCH = 50_000
BLOCK = 500
"""Look-ups at once: the inputs of a block."""


def build(path: Path, count: int, chance: random.Random) -> list[OutPoint]:
    """Write `count` coins of the usual scripts, and return where they are, in disorder."""
    store = CoinStore(LevelDb(path, cache_size=DATABASE_CACHE, write_buffer_size=DATABASE_CACHE))
    outpoints = []
    for start in range(0, count, BATCH):
        measure.progress(f"writing coins: {start:,} of {count:,}")
        made = [OutPoint.make(chance.randbytes(32), chance.randrange(3)) for _ in range(min(BATCH, count - start))]
        outpoints += made
        coins = [Coin(TxOut(chance.randrange(10**10), script(chance)), 1, False) for _ in made]
        store.write(bytes(32), zip(made, map(encode_coin, coins), strict=True))
    store.close()
    chance.shuffle(outpoints)
    return outpoints


def script(chance: random.Random) -> bytes:
    """Return an output script: of a key's hash, or of a key."""
    return b"\x00\x14" + chance.randbytes(20) if chance.random() < 0.6 else b"\x51\x20" + chance.randbytes(32)


def ours(cache: CoinsCache, outpoints: list[OutPoint]) -> None:
    """Look up coins as a block being connected does."""
    for start in range(0, len(outpoints), BLOCK):
        wanted = outpoints[start : start + BLOCK]
        if len(cache.many(wanted)) != len(wanted):
            raise AssertionError("coins are missing")


def peers(database: Any, keys: list[bytes]) -> None:
    """Read rows with plyvel alone, checksums verified."""
    get = database.get
    for key in keys:
        if get(key, verify_checksums=True) is None:
            raise AssertionError("rows are missing")


def trusting(database: Any, keys: list[bytes]) -> None:
    """Read rows with plyvel alone, whatever they say."""
    get = database.get
    for key in keys:
        if get(key) is None:
            raise AssertionError("rows are missing")


def main() -> int:
    options = measure.parser(__doc__)
    options.add_argument("--coins", type=int, default=1_000_000, help="how many there are (%(default)s)")
    options.add_argument("--look-ups", type=int, default=100_000, help="in a round (%(default)s)")
    chosen = options.parse_args()
    chance = random.Random(20_251)
    with tempfile.TemporaryDirectory(prefix="altyn-coins-") as folder:
        mine, theirs = Path(folder) / "ours", Path(folder) / "plyvel"
        outpoints = build(mine, chosen.coins, chance)
        shutil.copytree(mine, theirs)
        shutil.copytree(mine, third := Path(folder) / "third")
        store = CoinStore(LevelDb(mine, cache_size=DATABASE_CACHE, write_buffer_size=DATABASE_CACHE))
        database, trusted = (
            plyvel.DB(str(path), lru_cache_size=DATABASE_CACHE, bloom_filter_bits=10) for path in (theirs, third)
        )
        cache = CoinsCache(store)
        wanted = outpoints[: chosen.look_ups]
        measure.progress("looking up")
        parts = [list(part) for part in measure.slices(wanted, 10)]
        keys = [[COIN + outpoint for outpoint in part] for part in parts]
        contestants: dict[str, list[Job]] = {
            "ours": [functools.partial(ours, cache, part) for part in parts],
            PEER: [functools.partial(peers, database, part) for part in keys],
            TRUSTING: [functools.partial(trusting, trusted, part) for part in keys],
        }
        found = measure.rates(contestants, len(wanted), chosen.rounds)
        size = sum(file.stat().st_size for file in mine.iterdir())
        database.close()
        trusted.close()
        store.close()
    measure.end_progress()
    cases = [
        Case("random-look-ups", found["ours"], "coins/s", PEER, found[PEER], BAR),
        Case("beside-unchecked", found["ours"], "coins/s", TRUSTING, found[TRUSTING]),
    ]
    remarks = [f"{chosen.coins:,} coins in {size >> 20} MiB, {len(wanted):,} look-ups a round"]
    return measure.report("coins", cases, chosen.json, remarks)


if __name__ == "__main__":
    sys.exit(main())
