"""What is read, as functions of a connection.

Responsible for the queries of the API, of a restart and of the recorder, and for turning database
rows into the records of `rows.py`. Lists come newest first, page by page; a cursor is the number
of the last item seen, so pages neither repeat nor skip what was there when the first was read,
whatever is added meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from potnode.store.errors import InvalidRow
from potnode.store.models import checkpoints, entries, jobs, outbox, shares, steps, templates
from potnode.store.rows import (
    LOSS_BYTES,
    Checkpoint,
    JobRow,
    JobStatus,
    OutboxRow,
    Page,
    ProofView,
    ShareRow,
    ShareStatus,
    StepView,
    TemplateRecord,
    TxStatus,
    WorkerSummary,
)

MAX_PAGE = 1_000
_HASH_BYTES = 32


def check_limit(limit: int) -> None:
    """Raise InvalidRow unless a page may have so many items."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRow("limit", f"is {limit}, outside 1..{MAX_PAGE}")


def all_jobs(connection: Connection) -> tuple[JobRow, ...]:
    """Every job, oldest first."""
    rows = connection.execute(select(jobs).order_by(jobs.c.created_at, jobs.c.job_id))
    return tuple(_job(row) for row in rows)


def one_job(connection: Connection, job_id: bytes) -> JobRow | None:
    """A job by its id."""
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
    return None if row is None else _job(row)


def _job(row: Row[Any]) -> JobRow:
    values = row._asdict()
    return JobRow(**{**values, "status": JobStatus(row.status)})


def pending_shares(connection: Connection, job_id: bytes) -> tuple[ShareRow, ...]:
    """Shares that no step has taken and that have not expired, in the order of their arrival."""
    rows = connection.execute(
        select(shares, templates)
        .join(templates, shares.c.template_id == templates.c.template_id)
        .where(
            shares.c.job_id == job_id,
            shares.c.status == str(ShareStatus.PENDING),
            shares.c.step.is_(None),
        )
        .order_by(shares.c.arrival)
    )
    known: dict[bytes, TemplateRecord] = {}
    found: list[ShareRow] = []
    for row in rows:
        record = known.get(row.template_id)
        if record is None:
            record = known[row.template_id] = _template(row)
        found.append(
            ShareRow(
                hash=row.hash,
                job_id=row.job_id,
                work_step=row.work_step,
                miner=row.miner,
                worker=row.worker,
                bits=row.bits,
                script=row.script,
                template=record,
                extranonce=row.extranonce,
                version_le=row.version_le,
                ntime_le=row.ntime_le,
                nonce_le=row.nonce_le,
                received_at=row.received_at,
                is_block=row.is_block,
            )
        )
    return tuple(found)


def one_template(connection: Connection, template_id: bytes) -> TemplateRecord | None:
    """A block template by its id."""
    row = connection.execute(
        select(templates).where(templates.c.template_id == template_id)
    ).one_or_none()
    return None if row is None else _template(row)


def _template(row: Row[Any]) -> TemplateRecord:
    branch: bytes = row.branch
    return TemplateRecord(
        prev_hash_le=row.prev_hash_le,
        nbits_le=row.nbits_le,
        script_at=row.script_at,
        coinbase=row.coinbase,
        branch=tuple(branch[at : at + _HASH_BYTES] for at in range(0, len(branch), _HASH_BYTES)),
    )


def checkpoint(connection: Connection, job_id: bytes) -> Checkpoint | None:
    """The state after the job's last step, None before the first."""
    row = connection.execute(
        select(checkpoints).where(checkpoints.c.job_id == job_id)
    ).one_or_none()
    return None if row is None else Checkpoint(**row._asdict())


def one_proof(connection: Connection, share_hash: bytes) -> ProofView | None:
    """A share by its hash."""
    row = connection.execute(_proofs().where(shares.c.hash == share_hash)).one_or_none()
    return None if row is None else _proof(row)


def proofs_page(
    connection: Connection,
    *,
    job_id: bytes | None,
    miner: bytes | None,
    status: ShareStatus | None,
    limit: int,
    cursor: int | None,
) -> Page[ProofView]:
    """Shares, newest first, of one job, miner and status or of all."""
    check_limit(limit)
    query = _proofs().order_by(shares.c.arrival.desc()).limit(limit + 1)
    if job_id is not None:
        query = query.where(shares.c.job_id == job_id)
    if miner is not None:
        query = query.where(shares.c.miner == miner)
    if status is not None:
        query = query.where(shares.c.status == str(status))
    if cursor is not None:
        query = query.where(shares.c.arrival < cursor)
    rows = connection.execute(query).all()
    following = rows[limit - 1].arrival if len(rows) > limit else None
    return Page(tuple(_proof(row) for row in rows[:limit]), following)


def step_proofs(connection: Connection, job_id: bytes, step: int) -> tuple[ProofView, ...]:
    """The shares one step counted, in the order of its record."""
    rows = connection.execute(
        _proofs()
        .where(entries.c.job_id == job_id, entries.c.step == step)
        .order_by(entries.c.index)
    )
    return tuple(_proof(row) for row in rows)


def _proofs() -> Select[*tuple[Any, ...]]:
    return (
        select(
            shares,
            templates.c.prev_hash_le,
            entries.c.index,
            entries.c.loss,
            entries.c.coefficient,
            entries.c.more_losses,
            entries.c.more_coefficients,
            outbox.c.tx_hash,
            outbox.c.block_number,
        )
        .join(templates, templates.c.template_id == shares.c.template_id)
        .outerjoin(entries, entries.c.hash == shares.c.hash)
        .outerjoin(
            outbox, (outbox.c.job_id == entries.c.job_id) & (outbox.c.step == entries.c.step)
        )
    )


def _proof(row: Row[Any]) -> ProofView:
    values = row._asdict()
    loss, coefficient = values.pop("loss"), values.pop("coefficient")
    losses: bytes = values.pop("more_losses") or b""
    coefficients: bytes = values.pop("more_coefficients") or b""
    del values["arrival"]
    found: dict[str, Any] = {"losses": None, "coefficients": None}
    if loss is not None:
        more = range(0, len(losses), LOSS_BYTES)
        found = {
            "losses": (loss, *(_number(losses[at : at + LOSS_BYTES]) for at in more)),
            "coefficients": (coefficient, *((b ^ 0x80) - 0x80 for b in coefficients)),
        }
    return ProofView(**{**values, **found, "status": ShareStatus(row.status)})


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def one_step(connection: Connection, job_id: bytes, step: int) -> StepView | None:
    """A step by its number."""
    row = connection.execute(
        _steps().where(steps.c.job_id == job_id, steps.c.step == step)
    ).one_or_none()
    return None if row is None else _step(row)


def steps_page(
    connection: Connection, job_id: bytes, limit: int, cursor: int | None
) -> Page[StepView]:
    """A job's steps, newest first."""
    check_limit(limit)
    query = _steps().where(steps.c.job_id == job_id).order_by(steps.c.step.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(steps.c.step < cursor)
    rows = connection.execute(query).all()
    following = rows[limit - 1].step if len(rows) > limit else None
    return Page(tuple(_step(row) for row in rows[:limit]), following)


def step_data(connection: Connection, job_id: bytes, step: int) -> bytes | None:
    """A step's canonical record."""
    return connection.scalar(
        select(steps.c.step_data).where(steps.c.job_id == job_id, steps.c.step == step)
    )


def _steps() -> Select[*tuple[Any, ...]]:
    counted = (
        select(func.count())
        .where(entries.c.job_id == steps.c.job_id, entries.c.step == steps.c.step)
        .scalar_subquery()
    )
    return select(
        steps.c.job_id,
        steps.c.step,
        steps.c.prev_head,
        steps.c.head,
        steps.c.state_root,
        steps.c.validation_loss,
        steps.c.hits,
        steps.c.closed_at,
        counted.label("proofs"),
        outbox.c.status,
        outbox.c.tx_hash,
        outbox.c.block_number,
    ).join(outbox, (outbox.c.job_id == steps.c.job_id) & (outbox.c.step == steps.c.step))


def _step(row: Row[Any]) -> StepView:
    values = row._asdict()
    return StepView(**{**values, "status": TxStatus(row.status)})


def workers(connection: Connection, job_id: bytes | None) -> tuple[WorkerSummary, ...]:
    """What each worker delivered, the one with most work first.

    The database counts; sums of 2^bits exceed its integers and are made here.
    """
    query = select(
        shares.c.miner,
        shares.c.worker,
        shares.c.bits,
        shares.c.status,
        func.count(),
        func.max(shares.c.received_at),
    ).group_by(shares.c.miner, shares.c.worker, shares.c.bits, shares.c.status)
    if job_id is not None:
        query = query.where(shares.c.job_id == job_id)
    groups: dict[tuple[bytes, str], list[tuple[int, ShareStatus, int, int]]] = {}
    for miner, worker, bits, status, count, last in connection.execute(query):
        groups.setdefault((miner, worker), []).append((bits, ShareStatus(status), count, last))
    found = [_worker(miner, worker, parts) for (miner, worker), parts in groups.items()]
    return tuple(sorted(found, key=lambda one: (-one.work, one.miner, one.worker)))


def _worker(
    miner: bytes, worker: str, parts: Sequence[tuple[int, ShareStatus, int, int]]
) -> WorkerSummary:
    by_status = dict.fromkeys(ShareStatus, 0)
    for _, status, count, _ in parts:
        by_status[status] += count
    return WorkerSummary(
        miner=miner,
        worker=worker,
        shares=sum(by_status.values()),
        work=sum(count << bits for bits, _, count, _ in parts),
        by_status=by_status,
        last_received_at=max(last for *_, last in parts),
    )


def counts(connection: Connection, job_id: bytes | None) -> dict[ShareStatus, int]:
    """How many shares there are of each status; every status is a key."""
    query = select(shares.c.status, func.count()).group_by(shares.c.status)
    if job_id is not None:
        query = query.where(shares.c.job_id == job_id)
    found = dict.fromkeys(ShareStatus, 0)
    for status, count in connection.execute(query):
        found[ShareStatus(status)] = count
    return found


def unfinished(connection: Connection, limit: int) -> tuple[OutboxRow, ...]:
    """Steps whose transaction is neither final nor refused, a job's in their order."""
    check_limit(limit)
    rows = connection.execute(
        select(outbox, steps.c.prev_head, steps.c.step_data)
        .join(steps, (steps.c.job_id == outbox.c.job_id) & (steps.c.step == outbox.c.step))
        .where(outbox.c.status.not_in([str(TxStatus.FINAL), str(TxStatus.REVERTED)]))
        .order_by(outbox.c.job_id, outbox.c.step)
        .limit(limit)
    )
    return tuple(OutboxRow(**{**row._asdict(), "status": TxStatus(row.status)}) for row in rows)
