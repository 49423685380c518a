"""The tables, as SQLAlchemy knows them.

Responsible for columns, keys, constraints and indices; the migrations create exactly these (a test
compares the two). No dialect's SQL is here. Integers that may exceed 31 bits are BigInteger.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Named,
    String,
    Table,
    TypedColumns,
    UniqueConstraint,
    false,
    text,
)

from potnode.store.rows import JobStatus, ShareStatus, TxStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class JobColumns(TypedColumns):
    """Jobs this node works for."""

    job_id = Column(LargeBinary(32), primary_key=True)
    chain_id = Column(BigInteger, nullable=False)
    contract = Column(LargeBinary(20), nullable=False)
    params = Column(LargeBinary, nullable=False)
    manifest = Column(LargeBinary, nullable=False)
    created_tx: Named[bytes | None] = Column(LargeBinary(32))
    status = Column(String(8), nullable=False)
    created_at = Column(BigInteger, nullable=False)


class TemplateColumns(TypedColumns):
    """Block templates, by the hash of their content; `branch` holds its hashes in a row."""

    template_id = Column(LargeBinary(32), primary_key=True)
    prev_hash_le = Column(LargeBinary(32), nullable=False)
    nbits_le = Column(LargeBinary(4), nullable=False)
    script_at = Column(Integer, nullable=False)
    coinbase = Column(LargeBinary, nullable=False)
    branch = Column(LargeBinary, nullable=False)


class ShareColumns(TypedColumns):
    """Accepted shares. `arrival` numbers them in the order they became durable, from 1; lists are
    ordered by it, because unlike a clock it never goes back."""

    hash = Column(LargeBinary(32), primary_key=True)
    arrival = Column(BigInteger, nullable=False)
    job_id = Column(LargeBinary(32), ForeignKey("jobs.job_id"), nullable=False)
    work_step = Column(BigInteger, nullable=False)
    miner = Column(LargeBinary(20), nullable=False)
    worker = Column(String(128), nullable=False)
    bits = Column(Integer, nullable=False)
    script = Column(LargeBinary, nullable=False)
    template_id = Column(LargeBinary(32), ForeignKey("templates.template_id"), nullable=False)
    extranonce = Column(LargeBinary(16), nullable=False)
    version_le = Column(LargeBinary(4), nullable=False)
    ntime_le = Column(LargeBinary(4), nullable=False)
    nonce_le = Column(LargeBinary(4), nullable=False)
    received_at = Column(BigInteger, nullable=False)
    status = Column(String(8), nullable=False)
    step: Named[int | None] = Column(BigInteger)
    is_block = Column(Boolean, nullable=False, server_default=false())


class StepColumns(TypedColumns):
    """Closed steps with their canonical records."""

    job_id = Column(LargeBinary(32), ForeignKey("jobs.job_id"), primary_key=True)
    step = Column(BigInteger, primary_key=True, autoincrement=False)
    prev_head = Column(LargeBinary(32), nullable=False)
    head = Column(LargeBinary(32), nullable=False)
    step_data = Column(LargeBinary, nullable=False)
    state_root = Column(LargeBinary(32), nullable=False)
    validation_loss: Named[int | None] = Column(BigInteger)
    hits: Named[int | None] = Column(BigInteger)
    closed_at = Column(BigInteger, nullable=False)


class EntryColumns(TypedColumns):
    """The shares a step counted, with what evaluating them gave. Apart from `shares`, so that
    closing a step appends rows instead of rewriting hundreds of them one by one.

    `loss` and `coefficient` are the first candidate's. Those of the others, where a share has any,
    stand in a row: 5 bytes big-endian a loss, one signed byte a coefficient."""

    job_id = Column(LargeBinary(32), primary_key=True)
    step = Column(BigInteger, primary_key=True, autoincrement=False)
    index = Column(Integer, primary_key=True, autoincrement=False)
    hash = Column(LargeBinary(32), ForeignKey("shares.hash"), nullable=False)
    loss = Column(BigInteger, nullable=False)
    coefficient = Column(Integer, nullable=False)
    more_losses: Named[bytes | None] = Column(LargeBinary)
    more_coefficients: Named[bytes | None] = Column(LargeBinary)


class OutboxColumns(TypedColumns):
    """Transactions that record steps; written together with their step."""

    job_id = Column(LargeBinary(32), primary_key=True)
    step = Column(BigInteger, primary_key=True, autoincrement=False)
    status = Column(String(8), nullable=False)
    nonce: Named[int | None] = Column(BigInteger)
    raw_tx: Named[bytes | None] = Column(LargeBinary)
    tx_hash: Named[bytes | None] = Column(LargeBinary(32))
    block_number: Named[int | None] = Column(BigInteger)


class CheckpointColumns(TypedColumns):
    """The latest state of every job."""

    job_id = Column(LargeBinary(32), primary_key=True)
    step = Column(BigInteger, nullable=False)
    head = Column(LargeBinary(32), nullable=False)
    state_root = Column(LargeBinary(32), nullable=False)
    masters_le = Column(LargeBinary, nullable=False)
    momenta_le = Column(LargeBinary, nullable=False)


class FeedbackColumns(TypedColumns):
    """Pairs of feedback as they came, one row a call; `first` numbers a job's pairs from 0."""

    job_id = Column(LargeBinary(32), ForeignKey("jobs.job_id"), primary_key=True)
    first = Column(BigInteger, primary_key=True, autoincrement=False)
    count = Column(Integer, nullable=False)
    pairs = Column(LargeBinary, nullable=False)
    key: Named[str | None] = Column(String(128))
    received_at = Column(BigInteger, nullable=False)


class FeedbackPartColumns(TypedColumns):
    """Pairs of feedback that were frozen together, as one part of a job's data."""

    job_id = Column(LargeBinary(32), ForeignKey("jobs.job_id"), primary_key=True)
    first = Column(BigInteger, primary_key=True, autoincrement=False)
    count = Column(Integer, nullable=False)
    data_root = Column(LargeBinary(32), nullable=False)
    frozen_at = Column(BigInteger, nullable=False)


def _of_step() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["job_id", "step"], ["steps.job_id", "steps.step"])


jobs = Table("jobs", metadata, JobColumns, _one_of("status", JobStatus))
templates = Table("templates", metadata, TemplateColumns)
shares = Table(
    "shares",
    metadata,
    ShareColumns,
    _one_of("status", ShareStatus),
    UniqueConstraint("arrival"),
    Index(None, "job_id", "arrival"),
    Index(None, "miner", "arrival"),
)
steps = Table("steps", metadata, StepColumns)
entries = Table("entries", metadata, EntryColumns, _of_step(), UniqueConstraint("hash"))
outbox = Table("outbox", metadata, OutboxColumns, _of_step(), _one_of("status", TxStatus))
checkpoints = Table("checkpoints", metadata, CheckpointColumns, _of_step())
feedback = Table("feedback", metadata, FeedbackColumns, UniqueConstraint("job_id", "key"))
feedback_parts = Table("feedback_parts", metadata, FeedbackPartColumns)

# Both are few among millions: a restart and the recorder must find them without reading all.
_WAITING = text("status = 'pending' AND step IS NULL")
Index(
    "ix_shares_waiting",
    shares.c.job_id,
    shares.c.arrival,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)

_UNFINISHED = text("status NOT IN ('final', 'reverted')")
Index(
    "ix_outbox_unfinished",
    outbox.c.job_id,
    outbox.c.step,
    sqlite_where=_UNFINISHED,
    postgresql_where=_UNFINISHED,
)
