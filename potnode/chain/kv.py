"""The embedded chain's durable key-value store: SQLite under py-evm's database interface.

Responsible for one thing: what happens inside `transaction()` is on disk whole when it returns, and
leaves no trace when it does not (an error, a full disk, a killed process). It also keeps the small
table of named values (`meta`) and runs the log index's statements in the same transaction.

Not responsible for what the bytes mean, and not for locking between threads: `EmbeddedChain` holds
one lock around everything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth.abc import AtomicWriteBatchAPI
from eth.db.backends.base import BaseAtomicDB
from eth.db.batch import BatchDB

from potnode.chain.errors import (
    ChainDirectoryInUse,
    ChainStorageFailed,
    ChainStorageFull,
    CorruptChain,
)

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS log (
    block INTEGER NOT NULL, position INTEGER NOT NULL, transaction_index INTEGER NOT NULL,
    block_hash BLOB NOT NULL, transaction_hash BLOB NOT NULL, address BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
    PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_by_topics ON log (topic0, topic1, address, block);
CREATE INDEX IF NOT EXISTS log_by_address ON log (address, block);
"""


class _WriteBatch(BatchDB, AtomicWriteBatchAPI):
    """A batch that reads through to the store until it is committed."""


class SqliteStore(BaseAtomicDB):
    """Keys and values are bytes. Writes are only accepted inside `transaction()`.

    Raises ChainDirectoryInUse when another process has the file, CorruptChain when the file is no
    database of ours, ChainStorageFull when a commit does not fit on the disk, ChainStorageFailed
    when the file can't be opened or the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: dict[bytes, bytes | None] = {}
        self._rows: list[tuple[str, Sequence[Sequence[Any]]]] = []
        self._in_transaction = False
        # One thread at a time uses the connection, whichever it is: EmbeddedChain's lock sees to
        # that.
        with self._typed_errors():
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=0
            )
        try:
            with self._typed_errors():
                # Exclusive locking is the directory lock: it is taken below, and the operating
                # system drops it with the process, kill -9 included.
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("BEGIN EXCLUSIVE")
                self._connection.execute("COMMIT")
                self._connection.executescript(_SCHEMA)
                self._check_version()
        except BaseException:
            self._connection.close()
            raise

    def _check_version(self) -> None:
        found = self.meta("schema")
        if found is None:
            with self.transaction():
                self.set_meta("schema", str(SCHEMA_VERSION))
        elif found != str(SCHEMA_VERSION):
            raise CorruptChain(
                f"{self.path} has schema {found}, this version reads {SCHEMA_VERSION}: "
                "use the version that wrote it, or another data directory"
            )

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise ChainStorageFull(
                    f"no room left to write {self.path}: nothing of this change was kept; "
                    "free some disk space and try again"
                ) from error
            if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ChainDirectoryInUse(
                    f"{self.path} is in use by another process: stop that node, "
                    "or give this one its own data directory"
                ) from error
            if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CorruptChain(
                    f"{self.path} is damaged ({error}): "
                    "restore it from a backup, or move it away to start anew"
                ) from error
            raise ChainStorageFailed(
                f"{self.path} can't be read or written ({error}): "
                "check its permissions and the health of the disk"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside becomes durable at the end, or nothing does."""
        if self._in_transaction:
            raise RuntimeError("a store transaction is already open")
        self._in_transaction = True
        try:
            yield
            with self._typed_errors():
                self._write_pending()
        finally:
            self._in_transaction = False
            self._pending.clear()
            self._rows.clear()

    def _write_pending(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                "INSERT OR REPLACE INTO kv VALUES (?, ?)",
                [(key, value) for key, value in self._pending.items() if value is not None],
            )
            self._connection.executemany(
                "DELETE FROM kv WHERE key = ?",
                [(key,) for key, value in self._pending.items() if value is None],
            )
            for statement, rows in self._rows:
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself already (it does when the disk is full).
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        batch = _WriteBatch(self)
        yield batch
        batch.commit()

    def __getitem__(self, key: bytes) -> bytes:
        if key in self._pending:
            value = self._pending[key]
            if value is None:
                raise KeyError(key)
            return value
        row = self._read("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        found: bytes = row[0]
        return found

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._require_transaction()
        self._pending[key] = value

    def __delitem__(self, key: bytes) -> None:
        self._require_transaction()
        if key not in self:
            raise KeyError(key)
        self._pending[key] = None

    def _exists(self, key: bytes) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def _require_transaction(self) -> None:
        if not self._in_transaction:
            raise RuntimeError("the store is only written inside transaction()")

    def meta(self, name: str) -> str | None:
        """A named value, or None."""
        row = self._read("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value; part of the open transaction."""
        self.insert("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, value)])

    def insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for many rows when the open transaction commits."""
        self._require_transaction()
        self._rows.append((statement, rows))

    def select(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a reading statement, committed data only."""
        with self._typed_errors():
            return self._connection.execute(statement, parameters).fetchall()

    def _read(self, statement: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        with self._typed_errors():
            return self._connection.execute(statement, parameters)

    def limit_pages(self, pages: int) -> None:
        """Refuse to grow beyond `pages` database pages (an operator's quota)."""
        self._read(f"PRAGMA max_page_count = {int(pages)}", ())

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless."""
        self._connection.close()
