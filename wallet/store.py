"""The wallet file: SQLite, one writer, the secrets sealed.

A coin is an output of ours; whether it is spent follows from the state of the transactions that spend it, so that a
reorganisation or a failed payment changes states only and frees coins by itself.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

from altyn.consensus.encoding import EncodingError
from altyn.consensus.transaction import OutPoint, Transaction, TxOut
from altyn.wallet.errors import StoreError

_APPLICATION = 0x616C7479  # "alty", so that other programs' databases are not taken for wallets
_MAGIC = b"SQLite format 3\0"
_KEPT_BLOCKS = 2_000
"""Hashes of this many of the last blocks are kept, and of every thousandth before, to find where chains part."""
_SPARSE = 1_000
LOCK_PATIENCE = 5.0
"""Seconds to wait for another program that has the wallet open."""

_FIRST_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sealed (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE branches (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, is_change INTEGER NOT NULL,
    descriptor TEXT NOT NULL UNIQUE, next_index INTEGER NOT NULL DEFAULT 0, UNIQUE (kind, is_change));
CREATE TABLE scripts (script BLOB PRIMARY KEY, branch INTEGER NOT NULL REFERENCES branches, position INTEGER NOT NULL,
    UNIQUE (branch, position)) WITHOUT ROWID;
CREATE TABLE blocks (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, filter_header BLOB);
CREATE TABLE transactions (txid BLOB PRIMARY KEY, raw BLOB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    is_ours INTEGER NOT NULL, is_coinbase INTEGER NOT NULL, height INTEGER, position INTEGER, time INTEGER NOT NULL,
    CHECK (state IN ('confirmed', 'pending', 'conflicted', 'failed')),
    CHECK ((state = 'confirmed') = (height IS NOT NULL)));
CREATE TABLE coins (outpoint BLOB PRIMARY KEY, txid BLOB NOT NULL REFERENCES transactions, value INTEGER NOT NULL,
    script BLOB NOT NULL REFERENCES scripts) WITHOUT ROWID;
CREATE TABLE spends (outpoint BLOB NOT NULL, txid BLOB NOT NULL REFERENCES transactions,
    PRIMARY KEY (outpoint, txid)) WITHOUT ROWID;
CREATE INDEX transactions_by_height ON transactions (height);
CREATE INDEX coins_by_transaction ON coins (txid);
CREATE INDEX spends_by_transaction ON spends (txid);
"""

_COLUMNS = "txid, raw, state, reason, is_ours, height, position, time"

STEPS: tuple[str, ...] = (_FIRST_SCHEMA,)
"""What leads from each schema version to the next; an empty file is version 0. Only ever add to the end."""


class State(StrEnum):
    """Where a transaction stands."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    CONFLICTED = "conflicted"
    """A block spends one of its coins otherwise, or the block that created its coins is gone."""
    FAILED = "failed"
    """The node refused it."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A sequence of addresses: one descriptor. `next_index` is the first that was neither handed out nor used."""

    id: int
    kind: str
    is_change: bool
    descriptor: str
    next_index: int


class ScannedBlock(NamedTuple):
    """A block the wallet has seen. `filter_header` is None where its filter was not asked for."""

    height: int
    hash: bytes
    filter_header: bytes | None


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction of the wallet. `is_ours`: all its inputs are; `time` is its block's, else when it was made."""

    transaction: Transaction
    state: State
    reason: str
    is_ours: bool
    height: int | None
    position: int | None
    time: int


@dataclass(frozen=True, slots=True)
class StoredCoin:
    """An output of ours. `made_by_us`: its transaction spends only coins of ours."""

    outpoint: OutPoint
    output: TxOut
    branch: int
    index: int
    height: int | None
    is_coinbase: bool
    made_by_us: bool


class Store:
    """One open wallet file. While it is open, no other process can open it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    # Opening

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new file that only its owner can read. Raises StoreError if there is one."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise StoreError(f"there is a wallet at {path} already: choose another --wallet name") from None
        except OSError as error:
            raise StoreError(f"cannot write {path} ({error.strerror}): choose another --wallet-dir") from None
        return cls._connect(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing file, bringing it to the newest schema. Raises StoreError."""
        try:
            with path.open("rb") as file:
                head = file.read(len(_MAGIC))
        except FileNotFoundError:
            others = ", ".join(sorted(each.stem for each in path.parent.glob(f"*{path.suffix}")))
            choice = f", or choose one with --wallet: {others}" if others else ""
            raise StoreError(f"there is no wallet at {path}: make one with `altyn-wallet create`{choice}") from None
        except OSError as error:
            raise StoreError(f"cannot read {path} ({error.strerror})") from None
        if head != _MAGIC:
            raise StoreError(_damaged(path, "it is no database"))
        return cls._connect(path)

    @classmethod
    def _connect(cls, path: Path) -> Self:
        connection = sqlite3.connect(path, timeout=LOCK_PATIENCE, isolation_level=None)
        self = cls(path, connection)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN EXCLUSIVE")  # taken here, and by locking_mode kept until the file is closed
            self._upgrade()
            connection.execute("COMMIT")
        except StoreError:
            connection.close()
            raise
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _explain(path, error) from None
        return self

    def _upgrade(self) -> None:
        version = self._value("PRAGMA user_version")
        application = self._value("PRAGMA application_id")
        if version and application != _APPLICATION:
            raise StoreError(f"{self.path} is a database of another program, not a wallet")
        if version > len(STEPS):
            raise StoreError(f"{self.path} was written by a newer version of Altyn: use that one")
        if version and self._value("PRAGMA quick_check(1)") != "ok":
            raise StoreError(_damaged(self.path, "its contents do not fit together"))
        for step in STEPS[version:]:
            for statement in step.split(";"):
                self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {len(STEPS)}")
        self._db.execute(f"PRAGMA application_id = {_APPLICATION}")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Keep all changes made inside, or none if it raises. Batches do not nest."""
        self._run("BEGIN")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back after some errors
                self._db.execute("ROLLBACK")
            raise
        self._run("COMMIT")

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _explain(self.path, error) from None

    def _run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._db.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            raise _explain(self.path, error) from None

    def _value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        rows = self._run(statement, values)
        return rows[0][0] if rows else None

    # Facts and secrets

    def set_fact(self, name: str, value: Any) -> None:
        """Keep a value that JSON can hold."""
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def fact(self, name: str) -> Any:
        """Return a kept value. Raises StoreError if it is missing or unreadable."""
        text = self._value("SELECT value FROM facts WHERE name = ?", (name,))
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            raise StoreError(_damaged(self.path, f"{name} is missing")) from None

    def set_sealed(self, name: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO sealed VALUES (?, ?)", (name, value))

    def sealed(self, name: str) -> bytes:
        """Return an encrypted value. Raises StoreError if it is missing."""
        value = self._value("SELECT value FROM sealed WHERE name = ?", (name,))
        if not isinstance(value, bytes):
            raise StoreError(_damaged(self.path, f"{name} is missing"))
        return value

    # Addresses

    def add_branch(self, kind: str, is_change: bool, descriptor: str) -> None:
        self._run(
            "INSERT INTO branches (kind, is_change, descriptor) VALUES (?, ?, ?)", (kind, int(is_change), descriptor)
        )

    def branches(self) -> list[Branch]:
        rows = self._run("SELECT id, kind, is_change, descriptor, next_index FROM branches ORDER BY id")
        return [Branch(number, kind, bool(change), text, index) for number, kind, change, text, index in rows]

    def set_next_index(self, branch: int, index: int) -> None:
        """Record that indexes below `index` are taken; it never goes back."""
        self._run("UPDATE branches SET next_index = max(next_index, ?) WHERE id = ?", (index, branch))

    def add_scripts(self, branch: int, scripts: Iterable[tuple[int, bytes]]) -> None:
        rows = [(script, branch, position) for position, script in scripts]
        self._run_many("INSERT OR IGNORE INTO scripts VALUES (?, ?, ?)", rows)

    def scripts(self) -> dict[bytes, tuple[int, int]]:
        """Map every output script of the wallet to its branch and index."""
        rows = self._run("SELECT script, branch, position FROM scripts")
        return {script: (branch, position) for script, branch, position in rows}

    def last_used(self, branch: int) -> int:
        """Return the highest index of a branch that was ever paid, -1 if none."""
        found = self._value("SELECT max(position) FROM scripts JOIN coins USING (script) WHERE branch = ?", (branch,))
        return -1 if found is None else int(found)

    # Blocks

    def tip(self) -> ScannedBlock | None:
        """Return the last block scanned."""
        return next(iter(self.blocks(1)), None)

    def blocks(self, count: int, below: int | None = None) -> list[ScannedBlock]:
        """Return up to `count` of the kept blocks, the highest first, those below a height if one is given."""
        limit = 1 << 62 if below is None else below
        rows = self._run("SELECT * FROM blocks WHERE height < ? ORDER BY height DESC LIMIT ?", (limit, count))
        return [ScannedBlock(*row) for row in rows]

    def add_blocks(self, blocks: Sequence[ScannedBlock]) -> None:
        """Record scanned blocks, and thin out old ones."""
        self._run_many("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", blocks)
        if blocks:
            oldest = blocks[-1].height - _KEPT_BLOCKS
            self._run("DELETE FROM blocks WHERE height < ? AND height % ?", (oldest, _SPARSE))

    def rollback(self, height: int) -> None:
        """Forget the blocks above `height`; their transactions wait for a block again, coinbases are gone."""
        self._run("DELETE FROM blocks WHERE height > ?", (height,))
        self._run(
            "UPDATE transactions SET height = NULL, position = NULL,"
            " reason = iif(is_coinbase, 'its block was replaced', ''),"
            " state = iif(is_coinbase, 'conflicted', 'pending') WHERE height > ?",
            (height,),
        )
        # What only those blocks contradicted may be possible again; the node will tell.
        self._run(
            "UPDATE transactions AS t SET state = 'pending', reason = '' WHERE state = 'conflicted' AND NOT is_coinbase"
            " AND NOT EXISTS (SELECT 1 FROM spends AS mine JOIN spends AS other USING (outpoint) JOIN transactions AS u"
            " ON u.txid = other.txid WHERE mine.txid = t.txid AND u.txid != t.txid AND u.state = 'confirmed')"
        )

    # Transactions

    def put_transaction(
        self, entry: StoredTransaction, coins: Iterable[tuple[int, TxOut]], *, is_coinbase: bool = False
    ) -> None:
        """Add a transaction or bring it to a new state; `coins` are its outputs of ours with their indexes."""
        tx = entry.transaction
        state = (str(entry.state), entry.reason, int(entry.is_ours), int(is_coinbase))
        self._run(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (txid) DO UPDATE SET"
            " raw = excluded.raw, state = excluded.state, reason = excluded.reason, is_ours = excluded.is_ours,"
            " height = excluded.height, position = excluded.position, time = excluded.time",
            (tx.txid, tx.raw, *state, entry.height, entry.position, entry.time),
        )
        outputs = [(bytes(tx.outpoint(index)), tx.txid, value, script) for index, (value, script) in coins]
        self._run_many("INSERT OR IGNORE INTO coins VALUES (?, ?, ?, ?)", outputs)
        spends = [(bytes(txin.prevout), tx.txid) for txin in tx.inputs]
        self._run_many("INSERT OR IGNORE INTO spends VALUES (?, ?)", spends)

    def set_state(self, txid: bytes, state: State, reason: str) -> None:
        """Move an unconfirmed transaction to another state."""
        self._run(
            "UPDATE transactions SET state = ?, reason = ? WHERE txid = ? AND height IS NULL", (state, reason, txid)
        )

    def transactions(self, state: State | None = None) -> list[StoredTransaction]:
        """Return the transactions, oldest first: by block, then those without one by time."""
        rows = self._run(
            f"SELECT {_COLUMNS} FROM transactions WHERE ? IN (state, '')"
            " ORDER BY height IS NULL, height, position, time, rowid",
            (state or "",),
        )
        return [self._read_transaction(*row) for row in rows]

    def transaction(self, txid: bytes) -> StoredTransaction | None:
        rows = self._run(f"SELECT {_COLUMNS} FROM transactions WHERE txid = ?", (txid,))
        return self._read_transaction(*rows[0]) if rows else None

    def _read_transaction(
        self, txid: bytes, raw: bytes, state: str, reason: str, ours: int, height: int, position: int, time: int
    ) -> StoredTransaction:
        try:
            tx = Transaction.parse(raw)
        except EncodingError:
            tx = None
        if tx is None or tx.txid != txid:
            raise StoreError(_damaged(self.path, "a transaction is not what it was"))
        return StoredTransaction(tx, State(state), reason, bool(ours), height, position, time)

    def rivals(self, txid: bytes) -> list[bytes]:
        """Return the pending and failed transactions that spend something `txid` spends."""
        rows = self._run(
            "SELECT DISTINCT other.txid FROM spends AS mine JOIN spends AS other USING (outpoint)"
            " JOIN transactions AS t ON t.txid = other.txid"
            " WHERE mine.txid = ? AND other.txid != mine.txid AND t.state IN ('pending', 'failed')",
            (txid,),
        )
        return [row[0] for row in rows]

    def spenders(self, txid: bytes) -> list[bytes]:
        """Return the pending transactions that spend an output of `txid`."""
        rows = self._run(
            "SELECT DISTINCT spends.txid FROM coins JOIN spends USING (outpoint)"
            " JOIN transactions AS t ON t.txid = spends.txid WHERE coins.txid = ? AND t.state = 'pending'",
            (txid,),
        )
        return [row[0] for row in rows]

    def own_outpoints(self) -> set[bytes]:
        """Return the outpoints of all outputs that were ever ours, spent or not."""
        return {row[0] for row in self._run("SELECT outpoint FROM coins")}

    def values(self, outpoints: Iterable[bytes]) -> list[int | None]:
        """Return what each output is worth, None for those that are not ours."""
        return [self._value("SELECT value FROM coins WHERE outpoint = ?", (bytes(each),)) for each in outpoints]

    def unspent(self) -> list[StoredCoin]:
        """Return our outputs that no confirmed or pending transaction spends, of such transactions themselves."""
        rows = self._run(
            "SELECT c.outpoint, c.value, c.script, s.branch, s.position, t.height, t.is_coinbase, t.is_ours"
            " FROM coins AS c JOIN transactions AS t ON t.txid = c.txid JOIN scripts AS s ON s.script = c.script"
            " WHERE t.state IN ('confirmed', 'pending') AND NOT EXISTS (SELECT 1 FROM spends JOIN transactions AS u"
            " ON u.txid = spends.txid WHERE spends.outpoint = c.outpoint AND u.state IN ('confirmed', 'pending'))"
            " ORDER BY t.height IS NULL, t.height, t.position, c.outpoint"
        )
        return [
            StoredCoin(OutPoint(outpoint), TxOut(value, script), branch, index, height, bool(coinbase), bool(ours))
            for outpoint, value, script, branch, index, height, coinbase, ours in rows
        ]


def _damaged(path: Path, reason: str) -> str:
    return (
        f"the wallet file {path} is damaged ({reason}): use a copy, or `altyn-wallet restore` with the recovery words"
    )


def _explain(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(f"the wallet at {path} is in use by another program: wait for it to finish")
    if "readonly" in text or "unable to open" in text or ("disk" in text and "malformed" not in text):
        return StoreError(f"cannot write the wallet file {path} ({text})")
    return StoreError(_damaged(path, text))
