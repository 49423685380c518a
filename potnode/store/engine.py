"""Connections to the database, and everything that depends on which database it is.

Responsible for engines and their settings (one that writes, one that only reads), for what an error
of a driver means, and for the fast way to insert many rows. No other module knows a dialect. Not
responsible for the schema (`schema.py`) or for threads (`writer.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, insert, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from potnode.store.errors import (
    DatabaseUnreadable,
    InvalidUrl,
    StoreConflict,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

# How long a connection waits for another process's lock (a backup, `potnode db upgrade`), in ms.
BUSY_TIMEOUT_MS = 5_000
# What the write-ahead log may keep on disk after a checkpoint, in bytes.
WAL_LIMIT = 64 << 20
# Page cache of one connection. Hashes land all over their index: with SQLite's 2 MB every share and
# every closed step would read pages again.
CACHE_KIB = 64 << 10
# The API reads from a pool of threads; each needs a connection for the length of one query.
READERS = 8
# Rows per INSERT statement at most: 256 rows of 16 columns are far below SQLite's 32,766 variables.
MAX_ROWS = 256

# Primary result codes of https://www.sqlite.org/rescode.html: the low byte of extended ones.
_SQLITE_FULL = {sqlite3.SQLITE_FULL}
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# SQLSTATE class 53, code 100 (PostgreSQL, appendix A).
_POSTGRESQL_DISK_FULL = "53100"


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def parse_url(url: str) -> URL:
    """Check a database URL. Raises InvalidUrl; the message never shows a password."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InvalidUrl(
            "the database URL is malformed or names an unknown database: use "
            "sqlite:////absolute/path.db or postgresql+psycopg://user:password@host/name"
        ) from error
    if is_sqlite(parsed) and (not parsed.database or ":memory:" in parsed.database or parsed.query):
        raise InvalidUrl(
            f"database URL {describe(parsed)} must name a file and nothing else: "
            "what is in memory does not survive a restart"
        )
    return parsed


def is_sqlite(url: URL) -> bool:
    """Whether the URL names a SQLite file."""
    return url.get_backend_name() == "sqlite"


def describe(url: URL) -> str:
    """The URL for messages, its password hidden."""
    return url.render_as_string(hide_password=True)


def prepare_directory(url: URL) -> None:
    """Make the folder of a SQLite file (0700: it will hold what only its owner should read)."""
    if is_sqlite(url) and url.database:
        try:
            Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"no folder for {describe(url)}: {error}") from error


def writing_engine(url: URL) -> Engine:
    """One connection, whose every transaction may write."""
    engine = _engine(url, pool_size=1, max_overflow=0)
    if is_sqlite(url):
        # The write lock is taken at once: a transaction that reads first and writes later could be
        # refused in the middle (SQLITE_BUSY_SNAPSHOT).
        _control_transactions(engine, "BEGIN IMMEDIATE", read_only=False)
    return engine


def reading_engine(url: URL) -> Engine:
    """Up to `READERS` connections that see committed data and can't write."""
    engine = _engine(url, pool_size=READERS, max_overflow=0)
    if is_sqlite(url):
        _control_transactions(engine, "BEGIN", read_only=True)
    else:
        engine = engine.execution_options(postgresql_readonly=True)
    return engine


def _engine(url: URL, *, pool_size: int, max_overflow: int) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_pre_ping=not is_sqlite(url),
            hide_parameters=True,
        )
    except ImportError as error:
        raise InvalidUrl(
            f"the driver for {describe(url)} is not installed ({error.name}): "
            "for PostgreSQL run `pip install 'potnode[postgres]'`"
        ) from error


def _control_transactions(engine: Engine, begin: str, *, read_only: bool) -> None:
    """Let SQLAlchemy begin transactions: by itself sqlite3 begins none before DDL or a SELECT."""

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            # A commit returns when the log is on disk. NORMAL would lose the last at a power cut.
            "synchronous=FULL",
            # On macOS fsync alone leaves data in the drive's cache; elsewhere this changes nothing.
            "fullfsync=ON",
            f"journal_size_limit={WAL_LIMIT}",
            f"cache_size=-{CACHE_KIB}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"query_only={'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turn what SQLAlchemy and the drivers raise into errors of this package."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translate(error, where) from error


def _translate(error: SQLAlchemyError, where: str) -> StoreError:
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"database {where}: all {READERS} reading connections stayed busy")
    if not isinstance(error, DBAPIError):
        return StoreError(f"database {where}: {error}")
    cause: object = error.orig
    # The driver's own words only, in one line: SQLAlchemy's would quote the whole statement.
    said = f"database {where}: {' '.join(str(cause).split())}"
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_FULL or getattr(cause, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        return StoreFull(f"{said}: nothing was written; make room on its disk, then try again")
    if code in _SQLITE_DAMAGED:
        return DatabaseUnreadable(f"{said}: restore it from a backup, or name another file")
    if isinstance(error, IntegrityError):
        return StoreConflict(f"{said}: nothing was written")
    # sqlite3 calls a wrong statement an operational error as well.
    if isinstance(error, OperationalError | InterfaceError) and code != sqlite3.SQLITE_ERROR:
        return StoreUnavailable(f"{said}: check that it can be reached and written")
    return StoreError(said)


def insert_rows(
    connection: Connection, table: Table[Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows that all have the same keys (column names).

    With SQLite as few statements as can be: sqlite3 gives up the interpreter lock around every
    statement, and under a busy event loop each return of it can take 5 ms, once a row with
    executemany. Sizes are powers of two, so that the driver's cache of prepared statements knows
    them all.
    """
    if connection.dialect.name != "sqlite":
        if rows:
            connection.execute(insert(table), list(rows))
        return
    done = 0
    while done < len(rows):
        size = min(MAX_ROWS, 1 << ((len(rows) - done).bit_length() - 1))
        part = rows[done : done + size]
        values = [value for row in part for value in row.values()]
        connection.exec_driver_sql(_insert_statement(table, tuple(part[0]), size), tuple(values))
        done += size


def _insert_statement(table: Table[Any], columns: tuple[str, ...], size: int) -> str:
    key = (table.name, columns, size)
    statement = _statements.get(key)
    if statement is None:
        names = ", ".join(f'"{name}"' for name in columns)
        row = f"({', '.join('?' * len(columns))})"
        # Names come from our own tables, values are bound.
        statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * size)}"  # noqa: S608
        _statements[key] = statement
    return statement


_statements: dict[tuple[str, tuple[str, ...], int], str] = {}
