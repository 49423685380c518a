"""What is written, as functions of a connection.

Responsible for the statements of every change and for refusing changes that contradict what is
stored. Each handler gets a batch of items and gives one result per item (see `GroupWriter.submit`);
transactions are begun and committed around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, select, update

from potnode.store.engine import insert_rows
from potnode.store.errors import InvalidRow, StoreConflict
from potnode.store.models import checkpoints, entries, jobs, outbox, shares, steps, templates
from potnode.store.rows import (
    LOSS_BYTES,
    Checkpoint,
    EntryResult,
    JobRow,
    JobStatus,
    ShareRow,
    ShareStatus,
    StepRow,
    TemplateRecord,
    TxStatus,
)

# Values in one IN list: far below what any database takes (SQLite: 32,766 variables).
_LIST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedStep:
    """All that one step changes; see `Store.save_step`."""

    step: StepRow
    results: tuple[EntryResult, ...]
    checkpoint: Checkpoint
    expired: tuple[bytes, ...]

    def __post_init__(self) -> None:
        state = self.checkpoint
        if (state.job_id, state.step, state.head, state.state_root) != (
            self.step.job_id,
            self.step.step,
            self.step.head,
            self.step.state_root,
        ):
            raise InvalidRow(
                "checkpoint", "is not the state after this step: job, step, head or root differ"
            )
        if [result.index for result in self.results] != list(range(len(self.results))):
            raise InvalidRow("entries", "must be in order of their index, from 0, without gaps")


@dataclass(frozen=True, slots=True, kw_only=True)
class TxChange:
    """New status and values of a step's outbox row; `shares` is its shares' (None: unchanged)."""

    job_id: bytes
    step: int
    status: TxStatus
    shares: ShareStatus | None
    values: Mapping[str, int | bytes | None]


def add_jobs(connection: Connection, rows: Sequence[JobRow]) -> list[bool]:
    """True for each job that is new, False for one that is stored already with the same content."""
    return [_add_job(connection, row) for row in rows]


def _add_job(connection: Connection, row: JobRow) -> bool:
    content = (row.chain_id, row.contract, row.params, row.manifest)
    found = connection.execute(
        select(jobs.c.chain_id, jobs.c.contract, jobs.c.params, jobs.c.manifest).where(
            jobs.c.job_id == row.job_id
        )
    ).one_or_none()
    if found is not None:
        if tuple(found) != content:
            raise StoreConflict(f"job {row.job_id.hex()} is stored with another content")
        return False
    insert_rows(
        connection,
        jobs,
        [
            {
                "job_id": row.job_id,
                "chain_id": row.chain_id,
                "contract": row.contract,
                "params": row.params,
                "manifest": row.manifest,
                "created_tx": row.created_tx,
                "status": str(row.status),
                "created_at": row.created_at,
            }
        ],
    )
    return True


def set_job_status(
    connection: Connection, changes: Sequence[tuple[bytes, JobStatus]]
) -> list[None]:
    """Change the status of jobs. Raises StoreConflict for an unknown one."""
    for job_id, status in changes:
        done = connection.execute(
            update(jobs).where(jobs.c.job_id == job_id).values(status=str(status))
        )
        if done.rowcount != 1:
            raise StoreConflict(f"no job {job_id.hex()} is stored")
    return [None] * len(changes)


def add_shares(connection: Connection, rows: Sequence[ShareRow]) -> list[bool]:
    """True for each share that is new, False for a hash that is stored or earlier in `rows`."""
    seen = _stored(connection, [row.hash for row in rows])
    fresh: list[ShareRow] = []
    answers: list[bool] = []
    for row in rows:
        new = row.hash not in seen
        answers.append(new)
        if new:
            seen.add(row.hash)
            fresh.append(row)
    if not fresh:
        return answers
    _add_templates(connection, {row.template.template_id: row.template for row in fresh})
    last = connection.scalar(select(func.max(shares.c.arrival))) or 0
    # Should another process have added one of them since: the primary key refuses it, the
    # transaction is repeated, and then it is found above.
    insert_rows(
        connection,
        shares,
        [
            {
                "hash": row.hash,
                "arrival": arrival,
                "job_id": row.job_id,
                "work_step": row.work_step,
                "miner": row.miner,
                "worker": row.worker,
                "bits": row.bits,
                "script": row.script,
                "template_id": row.template.template_id,
                "extranonce": row.extranonce,
                "version_le": row.version_le,
                "ntime_le": row.ntime_le,
                "nonce_le": row.nonce_le,
                "received_at": row.received_at,
                "status": "pending",
                "is_block": row.is_block,
            }
            for arrival, row in enumerate(fresh, last + 1)
        ],
    )
    return answers


def _stored(connection: Connection, hashes: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(hashes), _LIST):
        part = hashes[start : start + _LIST]
        found.update(connection.scalars(select(shares.c.hash).where(shares.c.hash.in_(part))))
    return found


def _add_templates(connection: Connection, records: dict[bytes, TemplateRecord]) -> None:
    missing = dict(records)
    ids = list(records)
    for start in range(0, len(ids), _LIST):
        part = ids[start : start + _LIST]
        known = select(templates.c.template_id).where(templates.c.template_id.in_(part))
        for template_id in connection.scalars(known):
            del missing[template_id]
    insert_rows(
        connection,
        templates,
        [
            {
                "template_id": record.template_id,
                "prev_hash_le": record.prev_hash_le,
                "nbits_le": record.nbits_le,
                "script_at": record.script_at,
                "coinbase": record.coinbase,
                "branch": b"".join(record.branch),
            }
            for record in missing.values()
        ],
    )


def save_steps(connection: Connection, closed: Sequence[ClosedStep]) -> list[None]:
    """Write steps whole: record, entries, outbox row, checkpoint, and what expired."""
    for one in closed:
        _save_step(connection, one)
    return [None] * len(closed)


def _save_step(connection: Connection, closed: ClosedStep) -> None:
    step = closed.step
    name = f"step {step.step} of job {step.job_id.hex()}"
    _check_order(connection, step, name)
    key = {"job_id": step.job_id, "step": step.step}
    insert_rows(
        connection,
        steps,
        [
            {
                **key,
                "prev_head": step.prev_head,
                "head": step.head,
                "step_data": step.step_data,
                "state_root": step.state_root,
                "validation_loss": step.validation_loss,
                "hits": step.hits,
                "closed_at": step.closed_at,
            }
        ],
    )
    _take_waiting(
        connection,
        step.job_id,
        [result.hash for result in closed.results],
        {"step": step.step},
        f"{name} counts",
    )
    _take_waiting(
        connection,
        step.job_id,
        closed.expired,
        {"status": str(ShareStatus.EXPIRED)},
        f"{name} lets expire",
    )
    insert_rows(
        connection,
        entries,
        [
            {
                **key,
                "index": result.index,
                "hash": result.hash,
                "loss": result.losses[0],
                "coefficient": result.coefficients[0],
                **_more(result),
            }
            for result in closed.results
        ],
    )
    insert_rows(connection, outbox, [{**key, "status": str(TxStatus.NEW)}])
    state = closed.checkpoint
    connection.execute(delete(checkpoints).where(checkpoints.c.job_id == step.job_id))
    insert_rows(
        connection,
        checkpoints,
        [
            {
                **key,
                "head": state.head,
                "state_root": state.state_root,
                "masters_le": state.masters_le,
                "momenta_le": state.momenta_le,
            }
        ],
    )


def _more(result: EntryResult) -> dict[str, bytes | None]:
    """Columns of the candidates beyond the first."""
    losses = b"".join(loss.to_bytes(LOSS_BYTES, "big") for loss in result.losses[1:])
    coefficients = bytes(value & 0xFF for value in result.coefficients[1:])
    return {"more_losses": losses or None, "more_coefficients": coefficients or None}


def _check_order(connection: Connection, step: StepRow, name: str) -> None:
    last = connection.execute(
        select(steps.c.step, steps.c.head)
        .where(steps.c.job_id == step.job_id)
        .order_by(steps.c.step.desc())
        .limit(1)
    ).one_or_none()
    expected = 0 if last is None else last.step + 1
    if step.step != expected:
        raise StoreConflict(f"{name} is not the next one: step {expected} is")
    if last is not None and last.head != step.prev_head:
        raise StoreConflict(
            f"{name} continues head {step.prev_head.hex()}, but the stored one is {last.head.hex()}"
        )


def _take_waiting(
    connection: Connection,
    job_id: bytes,
    hashes: Sequence[bytes],
    values: dict[str, Any],
    what: str,
) -> None:
    """Change shares that wait for a step; all of them must be there and waiting."""
    # As a CASE the condition tempts no planner to walk an index of all waiting shares: the rows
    # are found by their hashes.
    waiting = and_(
        shares.c.job_id == job_id,
        shares.c.status == str(ShareStatus.PENDING),
        shares.c.step.is_(None),
    )
    changed = 0
    for start in range(0, len(hashes), _LIST):
        done = connection.execute(
            update(shares)
            .where(
                shares.c.hash.in_(hashes[start : start + _LIST]),
                case((waiting, 1), else_=0) == 1,
            )
            .values(values)
        )
        changed += done.rowcount
    if changed != len(hashes):
        raise StoreConflict(
            f"{what} {len(hashes)} shares, of which only {changed} are stored and wait for a step"
        )


def change_transactions(connection: Connection, changes: Sequence[TxChange]) -> list[None]:
    """Change outbox rows and their shares. Raises StoreConflict for a step that is not stored."""
    for change in changes:
        done = connection.execute(
            update(outbox)
            .where(outbox.c.job_id == change.job_id, outbox.c.step == change.step)
            .values({"status": str(change.status), **change.values})
        )
        if done.rowcount != 1:
            raise StoreConflict(f"no step {change.step} of job {change.job_id.hex()} is stored")
        if change.shares is not None:
            counted = select(entries.c.hash).where(
                entries.c.job_id == change.job_id, entries.c.step == change.step
            )
            connection.execute(
                update(shares).where(shares.c.hash.in_(counted)).values(status=str(change.shares))
            )
    return [None] * len(changes)
