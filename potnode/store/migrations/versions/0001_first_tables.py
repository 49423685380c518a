"""The first tables: jobs, templates, shares, steps, entries, outbox, checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WAITING = sa.text("status = 'pending' AND step IS NULL")
_UNFINISHED = sa.text("status NOT IN ('final', 'reverted')")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("contract", sa.LargeBinary(20), nullable=False),
        sa.Column("params", sa.LargeBinary, nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("created_tx", sa.LargeBinary(32)),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
        sa.CheckConstraint("status IN ('open', 'closed', 'finished')", name=op.f("ck_jobs_status")),
    )
    op.create_table(
        "templates",
        sa.Column("template_id", sa.LargeBinary(32), nullable=False),
        sa.Column("prev_hash_le", sa.LargeBinary(32), nullable=False),
        sa.Column("nbits_le", sa.LargeBinary(4), nullable=False),
        sa.Column("script_at", sa.Integer, nullable=False),
        sa.Column("coinbase", sa.LargeBinary, nullable=False),
        sa.Column("branch", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("template_id", name=op.f("pk_templates")),
    )
    op.create_table(
        "shares",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("arrival", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("work_step", sa.BigInteger, nullable=False),
        sa.Column("miner", sa.LargeBinary(20), nullable=False),
        sa.Column("worker", sa.String(128), nullable=False),
        sa.Column("bits", sa.Integer, nullable=False),
        sa.Column("script", sa.LargeBinary, nullable=False),
        sa.Column("template_id", sa.LargeBinary(32), nullable=False),
        sa.Column("extranonce", sa.LargeBinary(16), nullable=False),
        sa.Column("version_le", sa.LargeBinary(4), nullable=False),
        sa.Column("ntime_le", sa.LargeBinary(4), nullable=False),
        sa.Column("nonce_le", sa.LargeBinary(4), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_shares")),
        sa.UniqueConstraint("arrival", name=op.f("uq_shares_arrival")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_shares_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["templates.template_id"],
            name=op.f("fk_shares_template_id_templates"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'recorded', 'final', 'expired', 'reverted')",
            name=op.f("ck_shares_status"),
        ),
    )
    op.create_index(op.f("ix_shares_job_id_arrival"), "shares", ["job_id", "arrival"])
    op.create_index(op.f("ix_shares_miner_arrival"), "shares", ["miner", "arrival"])
    op.create_index(
        "ix_shares_waiting",
        "shares",
        ["job_id", "arrival"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_table(
        "steps",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("step", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("prev_head", sa.LargeBinary(32), nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("step_data", sa.LargeBinary, nullable=False),
        sa.Column("state_root", sa.LargeBinary(32), nullable=False),
        sa.Column("validation_loss", sa.BigInteger),
        sa.Column("hits", sa.BigInteger),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_steps")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_steps_job_id_jobs")),
    )
    op.create_table(
        "entries",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("step", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("loss", sa.BigInteger, nullable=False),
        sa.Column("coefficient", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "step", "index", name=op.f("pk_entries")),
        sa.UniqueConstraint("hash", name=op.f("uq_entries_hash")),
        sa.ForeignKeyConstraint(["hash"], ["shares.hash"], name=op.f("fk_entries_hash_shares")),
        sa.ForeignKeyConstraint(
            ["job_id", "step"],
            ["steps.job_id", "steps.step"],
            name=op.f("fk_entries_job_id_step_steps"),
        ),
    )
    op.create_table(
        "outbox",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("step", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("nonce", sa.BigInteger),
        sa.Column("raw_tx", sa.LargeBinary),
        sa.Column("tx_hash", sa.LargeBinary(32)),
        sa.Column("block_number", sa.BigInteger),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_outbox")),
        sa.ForeignKeyConstraint(
            ["job_id", "step"],
            ["steps.job_id", "steps.step"],
            name=op.f("fk_outbox_job_id_step_steps"),
        ),
        sa.CheckConstraint(
            "status IN ('new', 'signed', 'sent', 'mined', 'final', 'reverted')",
            name=op.f("ck_outbox_status"),
        ),
    )
    op.create_index(
        "ix_outbox_unfinished",
        "outbox",
        ["job_id", "step"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.create_table(
        "checkpoints",
        sa.Column("job_id", sa.LargeBinary(32), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("state_root", sa.LargeBinary(32), nullable=False),
        sa.Column("masters_le", sa.LargeBinary, nullable=False),
        sa.Column("momenta_le", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_checkpoints")),
        sa.ForeignKeyConstraint(
            ["job_id", "step"],
            ["steps.job_id", "steps.step"],
            name=op.f("fk_checkpoints_job_id_step_steps"),
        ),
    )


def downgrade() -> None:
    for table in ("checkpoints", "outbox", "entries", "steps", "shares", "templates", "jobs"):
        op.drop_table(table)
