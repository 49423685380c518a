"""Shares know whether they were blocks of the parent chain, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Both databases add a column with a constant default without touching the rows. To copy the
    # table, alembic's other way on SQLite, would have to drop one that others' keys point to.
    op.add_column(
        "shares", sa.Column("is_block", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("shares", "is_block")
