"""The mempool between two runs: `mempool.dat` in Core's format, which Core reads and whose files are read."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from struct import Struct

from altyn.consensus.encoding import Cursor, EncodingError, compact_size
from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.accept import Acceptance, Terms
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Offload
from altyn.node.storage.blocks import mask

log = logging.getLogger(__name__)

FILE_NAME = "mempool.dat"

_PLAIN, _MASKED = 1, 2
_KEY_SIZE = 8
_U64, _I64 = Struct("<Q"), Struct("<q")


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds: transactions, each with the second it came and what was added to its fee, in satoshis.

    `deltas` are such additions for transactions that were not there, `unbroadcast` the txids that no peer had taken.
    """

    transactions: list[tuple[Transaction, int, int]] = field(default_factory=list)
    deltas: Mapping[bytes, int] = field(default_factory=dict)
    unbroadcast: frozenset[bytes] = frozenset()


def snapshot(mempool: Mempool) -> Saved:
    """Return what is to be saved, parents before children."""
    entries = mempool.sorted_entries()
    deltas = {txid: delta for txid, delta in mempool.fee_deltas.items() if txid not in mempool}
    listed = [(entry.tx, entry.time, mempool.fee_delta(entry.txid)) for entry in entries]
    return Saved(listed, deltas, frozenset(mempool.unbroadcast))


def encode(saved: Saved, key: bytes) -> bytes:
    """Return the file of version 2, masked with `key` of eight bytes; with an empty key that of version 1."""
    head = _U64.pack(_MASKED) + compact_size(len(key)) + key if key else _U64.pack(_PLAIN)
    body = [_U64.pack(len(saved.transactions))]
    for tx, time, delta in saved.transactions:
        body += (tx.raw, _I64.pack(time), _I64.pack(delta))
    body.append(compact_size(len(saved.deltas)))
    for txid, delta in sorted(saved.deltas.items()):
        body += (txid, _I64.pack(delta))
    body.append(compact_size(len(saved.unbroadcast)))
    body += sorted(saved.unbroadcast)
    return head + mask(b"".join(body), key, len(head))


def decode(data: bytes) -> Saved:
    """Read a file of either version. Raises EncodingError."""
    cursor = Cursor(data)
    version = cursor.u64()
    if version == _MASKED:
        key = cursor.var_bytes()
        if len(key) != _KEY_SIZE:
            raise EncodingError(f"a key of {len(key)} bytes")
        cursor = Cursor(mask(data[cursor.position :], key, cursor.position))
    elif version != _PLAIN:
        raise EncodingError(f"unknown version {version}")
    transactions = []
    for _ in range(cursor.u64()):
        tx, cursor.position = Transaction.parse_from(cursor.data, cursor.position)
        transactions.append((tx, cursor.i64(), cursor.i64()))
    deltas = {cursor.read(32): cursor.i64() for _ in range(cursor.compact_size())}
    unbroadcast = frozenset(cursor.read(32) for _ in range(cursor.compact_size()))
    return Saved(transactions, deltas, unbroadcast)


class MempoolFile:
    """Saves a mempool and takes up a saved one, this node's or another's."""

    def __init__(self, acceptance: Acceptance, offload: Offload, random: Random, *, masked: bool = True) -> None:
        """`masked` writes version 2, which hides signatures of viruses in transactions from scanners."""
        self._acceptance = acceptance
        self._mempool = acceptance.mempool
        self._offload = offload
        self._key = random.randbytes(_KEY_SIZE) if masked else b""

    async def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError."""
        saved = snapshot(self._mempool)
        await self._offload(_write, path, saved, self._key)
        log.info("saved %d transactions of the mempool to %s", len(saved.transactions), path)

    async def load(
        self, path: Path, *, keep_times: bool = True, take_deltas: bool = True, take_unbroadcast: bool = True
    ) -> None:
        """Let in what a file holds, as far as it is still valid and not too old. Raises OSError, EncodingError."""
        saved = decode(await self._offload(path.read_bytes))
        mempool = self._mempool
        oldest = int(mempool.clock.now()) - mempool.limits.expiry
        counts = {"succeeded": 0, "failed": 0, "expired": 0, "already there": 0}
        for tx, time, delta in saved.transactions:
            if delta and take_deltas:
                mempool.prioritise(tx.txid, delta)
            if keep_times and time <= oldest:
                outcome = "expired"
            elif tx.txid in mempool:
                outcome = "already there"
            else:
                outcome = await self._try(tx, time if keep_times else 0)
            counts[outcome] += 1
        if take_deltas:
            for txid, delta in saved.deltas.items():
                mempool.prioritise(txid, delta)
        if take_unbroadcast:
            mempool.unbroadcast |= {txid for txid in saved.unbroadcast if txid in mempool}
        shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        log.info("Imported mempool transactions from file: %s", shown)

    async def _try(self, tx: Transaction, time: int) -> str:
        try:
            await self._acceptance.accept(tx, terms=Terms(time=time))
        except ValidationError as error:
            log.debug("%s of the file was not accepted: %s", tx.txid[::-1].hex(), error)
            return "failed"
        return "succeeded"


def _write(path: Path, saved: Saved, key: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(encode(saved, key))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
