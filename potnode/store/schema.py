"""Which schema a database has, and bringing it to the one this version needs.

Responsible for running the migrations in `potnode.store.migrations` and for refusing databases that
need them or that come from a newer version. Not responsible for what the tables are (`models.py`).
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, inspect

from potnode.store.engine import (
    describe,
    is_sqlite,
    parse_url,
    prepare_directory,
    store_errors,
    writing_engine,
)
from potnode.store.errors import DatabaseTooNew, DatabaseTooOld

MIGRATIONS = Path(__file__).parent / "migrations"


def head_revision() -> str:
    """The revision this version of potnode works with."""
    head = _scripts().get_current_head()
    if head is None:
        raise RuntimeError(f"no migrations in {MIGRATIONS}: the installation is incomplete")
    return head


def upgrade(url: str) -> str:
    """Bring the database to `head_revision()`, creating it if it is a missing SQLite file.

    All or nothing: the migrations run in one transaction. Returns the revision. Raises
    DatabaseTooNew, InvalidUrl, DatabaseUnreadable, StoreUnavailable or StoreFull. No node may be
    running on the database.
    """
    parsed = parse_url(url)
    prepare_directory(parsed)
    engine = writing_engine(parsed)
    try:
        with store_errors(describe(parsed)), engine.begin() as connection:
            _refuse_newer(connection, describe(parsed))
            migrate(connection)
    finally:
        engine.dispose()
    return head_revision()


def check(engine: Engine, url: URL) -> None:
    """Raise unless the database has the schema of this version.

    A SQLite file without any table is new, and is migrated. Raises DatabaseTooOld, DatabaseTooNew,
    DatabaseUnreadable, StoreUnavailable or StoreFull.
    """
    where = describe(url)
    with store_errors(where), engine.begin() as connection:
        _refuse_newer(connection, where)
        found = current_revision(connection)
        if found is None and is_sqlite(url) and not inspect(connection).get_table_names():
            migrate(connection)
        elif found != head_revision():
            raise DatabaseTooOld(where, found, head_revision())


def current_revision(connection: Connection) -> str | None:
    """The revision the database says it has, None if it says nothing."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(connection: Connection) -> None:
    """Run the missing migrations inside the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _refuse_newer(connection: Connection, where: str) -> None:
    found = current_revision(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseTooNew(where, found, head_revision())


def _config() -> Config:
    config = Config()
    # The configuration parser reads % as the start of a substitution.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
