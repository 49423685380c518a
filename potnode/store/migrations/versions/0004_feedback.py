"""Feedback: pairs as they came in calls, and the parts in which they were frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("first", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("pairs", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.String(128)),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "first", name=op.f("pk_feedback")),
        sa.UniqueConstraint("job_id", "key", name=op.f("uq_feedback_job_id_key")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_feedback_job_id_jobs")),
    )
    op.create_table(
        "feedback_parts",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("first", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("data_root", sa.LargeBinary(32), nullable=False),
        sa.Column("frozen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "first", name=op.f("pk_feedback_parts")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.job_id"], name=op.f("fk_feedback_parts_job_id_jobs")
        ),
    )


def downgrade() -> None:
    for table in ("feedback_parts", "feedback"):
        op.drop_table(table)
