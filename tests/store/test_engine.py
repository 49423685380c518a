from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from potnode.store import (
    DatabaseUnreadable,
    InvalidUrl,
    Store,
    StoreError,
    StoreFull,
    StoreUnavailable,
    sqlite_url,
)
from potnode.store.engine import (
    insert_rows,
    parse_url,
    reading_engine,
    store_errors,
    writing_engine,
)
from potnode.store.models import metadata, templates


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "nosuchdb://host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////data/p.db?mode=memory",
        "sqlite:///file::memory:?cache=shared&uri=true",
    ],
)
def test_unusable_urls(url: str) -> None:
    with pytest.raises(InvalidUrl):
        Store(url)


def test_a_missing_driver_is_named_without_the_password() -> None:
    with pytest.raises(InvalidUrl, match=r"potnode\[postgres\]") as caught:
        Store("postgresql+pg8000://node:hunter2@localhost/pot")
    assert "hunter2" not in str(caught.value)
    assert "pg8000" in str(caught.value)


def test_a_path_with_every_kind_of_character(tmp_path: Path) -> None:
    path = tmp_path / "50% of ? #a & ü" / "p.db"
    Store(sqlite_url(path)).close()
    assert path.stat().st_size > 0
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_settings_of_connections(tmp_path: Path) -> None:
    url = parse_url(sqlite_url(tmp_path / "p.db"))
    settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    for engine, query_only in ((writing_engine(url), 0), (reading_engine(url), 1)):
        with engine.connect() as connection:
            for name, value in {**settings, "query_only": query_only}.items():
                assert connection.scalar(text(f"PRAGMA {name}")) == value
        engine.dispose()


def test_readers_cannot_write(tmp_path: Path) -> None:
    engine = reading_engine(parse_url(sqlite_url(tmp_path / "p.db")))
    with (
        pytest.raises(StoreUnavailable, match="readonly"),
        store_errors("p.db"),
        engine.begin() as connection,
    ):
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    engine.dispose()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    path.write_bytes(b"something else entirely, and long enough to be looked at " * 100)
    with pytest.raises(DatabaseUnreadable, match="backup"):
        Store(sqlite_url(path))
    assert path.read_bytes().startswith(b"something else")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="no folder"):
        Store(sqlite_url(tmp_path / "file" / "p.db"))


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Store(sqlite_url(tmp_path))


def test_a_wrong_statement_is_not_called_unavailable(tmp_path: Path) -> None:
    engine = reading_engine(parse_url(sqlite_url(tmp_path / "p.db")))
    with (
        pytest.raises(StoreError) as caught,
        store_errors("p.db"),
        engine.begin() as connection,
    ):
        connection.execute(text("SELECT * FROM nothing"))
    assert type(caught.value) is StoreError
    engine.dispose()


class _DiskFull(Exception):
    sqlstate = "53100"


def _sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the driver's words")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (_sqlite_error(sqlite3.SQLITE_FULL), StoreFull),
        (_DiskFull(), StoreFull),
        (_sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), StoreUnavailable),
        (_sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), StoreUnavailable),
        (_sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX), DatabaseUnreadable),
    ],
)
def test_what_drivers_say(cause: Exception, expected: type[StoreError]) -> None:
    with pytest.raises(expected, match=r"^database here: "), store_errors("here"):
        raise OperationalError("INSERT secret", {}, cause)


def test_statements_stay_out_of_messages() -> None:
    with pytest.raises(StoreError) as caught, store_errors("here"):
        raise DBAPIError("INSERT secret", {}, Exception("the driver's words"))
    assert str(caught.value) == "database here: the driver's words"


@pytest.mark.parametrize("dialect", ["sqlite", "another"])
@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 700])
def test_inserting_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str, count: int
) -> None:
    engine = writing_engine(parse_url(sqlite_url(tmp_path / "p.db")))
    rows: list[dict[str, Any]] = [
        {
            "template_id": n.to_bytes(32, "big"),
            "prev_hash_le": bytes(32),
            "nbits_le": bytes(4),
            "script_at": n,
            "coinbase": bytes(n % 7),
            "branch": b"",
        }
        for n in range(count)
    ]
    with engine.begin() as connection:
        metadata.create_all(connection)
        with monkeypatch.context() as patched:
            patched.setattr(connection.dialect, "name", dialect)
            insert_rows(connection, templates, rows)
        found = connection.execute(templates.select().order_by(templates.c.script_at)).all()
    assert [row._asdict() for row in found] == rows
    engine.dispose()
