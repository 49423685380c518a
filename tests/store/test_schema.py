from __future__ import annotations

import io
import sqlite3
from importlib import import_module
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from potnode.store import DatabaseTooNew, DatabaseTooOld, Store, StoreError, sqlite_url, upgrade
from potnode.store.models import metadata
from potnode.store.schema import MIGRATIONS, head_revision


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _tables(url: str) -> set[str]:
    connection = sqlite3.connect(_file(url))
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return {name for (name,) in rows}


def _script(url: str, statements: str) -> None:
    _file(url).parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(_file(url))
    connection.executescript(statements)
    connection.close()


def test_migrations_make_exactly_the_models(url: str) -> None:
    assert upgrade(url) == head_revision()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        # Alembic compares no CHECK constraints and no partial indices' conditions; their text does.
        migrated = _definitions(connection)
    engine.dispose()
    modelled = create_engine(sqlite_url(_file(url).with_name("models.db")))
    with modelled.begin() as connection:
        metadata.create_all(connection)
        assert migrated == _definitions(connection)
    modelled.dispose()


def _definitions(connection: Connection) -> dict[str, list[str]]:
    """Name and the parts of every table and index, in any order."""
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL AND tbl_name != 'alembic_version'"
    )
    # What a migration adds to a table stands in no line of its own.
    return {
        name: sorted(
            part.strip(" \n\t)") for part in sql.replace("\n\t", ",").split(",") if part.strip()
        )
        for name, sql in rows
    }


def test_every_migration_compiles_for_postgresql() -> None:
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    revisions = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    with Operations.context(context):
        for script in reversed(revisions):
            name = Path(script.path).stem
            import_module(f"potnode.store.migrations.versions.{name}").upgrade()
    statements = written.getvalue()
    for table in metadata.tables:
        assert f"CREATE TABLE {table} (" in statements
    assert "ALTER TABLE shares ADD COLUMN is_block BOOLEAN DEFAULT false NOT NULL" in statements
    assert "BYTEA" in statements
    assert "BLOB" not in statements


def test_models_compile_for_postgresql() -> None:
    dialect = make_url("postgresql://").get_dialect()()
    for table in metadata.sorted_tables:
        assert "BLOB" not in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")


def test_a_new_file_is_migrated_on_opening(url: str) -> None:
    Store(url).close()
    assert set(metadata.tables) < _tables(url)
    Store(url).close()


def test_upgrading_twice_changes_nothing(url: str) -> None:
    upgrade(url)
    before = _file(url).read_bytes()
    upgrade(url)
    assert _file(url).read_bytes() == before


def test_an_unmigrated_database_says_what_to_run(url: str) -> None:
    _script(url, "CREATE TABLE mine (n INTEGER); INSERT INTO mine VALUES (5);")
    with pytest.raises(DatabaseTooOld, match="potnode db upgrade") as caught:
        Store(url)
    assert (caught.value.found, caught.value.expected) == (None, head_revision())
    assert _tables(url) == {"mine"}
    upgrade(url)
    Store(url).close()
    assert "mine" in _tables(url)


def test_shares_of_before_are_no_blocks_and_had_one_candidate(url: str) -> None:
    """The first schema with a share that a step counts, so that other tables point to it."""
    _file(url).parent.mkdir()
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    _script(
        url,
        """
        INSERT INTO jobs VALUES (zeroblob(32), 1, zeroblob(20), x'', x'', NULL, 'open', 1);
        INSERT INTO templates VALUES (zeroblob(32), zeroblob(32), x'ffff001d', 0, x'', x'');
        INSERT INTO shares VALUES (zeroblob(32), 1, zeroblob(32), 0, zeroblob(20), 'rig', 14, x'',
            zeroblob(32), zeroblob(16), zeroblob(4), zeroblob(4), zeroblob(4), 7, 'pending', 0);
        INSERT INTO steps
            VALUES (zeroblob(32), 0, zeroblob(32), zeroblob(32), x'', zeroblob(32), NULL, NULL, 8);
        INSERT INTO entries VALUES (zeroblob(32), 0, 0, zeroblob(32), 5, -1);
        INSERT INTO outbox (job_id, step, status) VALUES (zeroblob(32), 0, 'new');
        """,
    )
    with pytest.raises(DatabaseTooOld) as caught:
        Store(url)
    assert caught.value.found == "0001"
    assert upgrade(url) == head_revision()
    with Store(url) as store:
        proof = store.proof(bytes(32))
        assert proof is not None
        assert proof.is_block is False
        assert (proof.worker, proof.step) == ("rig", 0)
        assert (proof.losses, proof.coefficients) == ((5,), (-1,))


def test_a_newer_database_is_left_alone(url: str) -> None:
    upgrade(url)
    _script(url, "UPDATE alembic_version SET version_num = '9999'")
    before = _file(url).read_bytes()
    with pytest.raises(DatabaseTooNew, match="9999") as caught:
        Store(url)
    assert (caught.value.found, caught.value.expected) == ("9999", head_revision())
    with pytest.raises(DatabaseTooNew):
        upgrade(url)
    assert _file(url).read_bytes() == before


def test_a_failing_migration_leaves_nothing_behind(url: str) -> None:
    # The last table that the first migration makes.
    _script(url, "CREATE TABLE checkpoints (n INTEGER)")
    with pytest.raises(StoreError, match="checkpoints already exists"):
        upgrade(url)
    assert _tables(url) == {"checkpoints"}
