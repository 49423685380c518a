"""A share may have several candidates: the losses and coefficients of those beyond the first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a value where there is one candidate, as in every row there is: none is rewritten.
    op.add_column("entries", sa.Column("more_losses", sa.LargeBinary))
    op.add_column("entries", sa.Column("more_coefficients", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("entries", "more_coefficients")
    op.drop_column("entries", "more_losses")
