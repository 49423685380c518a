"""What alembic runs around the migrations: they use the connection they are given.

Run by `potnode.store.schema` alone, inside the transaction of its connection.
"""

from __future__ import annotations

from alembic import context

from potnode.store.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can't alter most of a table in place; alembic then copies it.
    render_as_batch=True,
    # Our connections begin transactions before DDL on SQLite too, so a migration is all or nothing.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
