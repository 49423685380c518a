"""The node's durable memory.

Responsible for one database: opening it, the one writer, the readers. A future returned by a
writing method is resolved once the change is on disk, in the writer's thread (in asyncio: `await
asyncio.wrap_future(...)`). Reading methods block for one query and see what is committed; call them
from any thread but an event loop's. Whatever goes wrong with the database is a StoreError.

Not responsible for who may use the data directory (`lock.py`) or for protocol rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeAlias, TypeVar

from sqlalchemy import Connection

from potnode.store import feedback, reads, schema, writes
from potnode.store.engine import (
    describe,
    parse_url,
    prepare_directory,
    reading_engine,
    store_errors,
    writing_engine,
)
from potnode.store.errors import StoreClosed
from potnode.store.feedback import FeedbackRow, FeedbackView, PartRow
from potnode.store.rows import (
    Checkpoint,
    EntryResult,
    JobRow,
    JobStatus,
    OutboxRow,
    Page,
    ProofView,
    ShareRow,
    ShareStatus,
    StepRow,
    StepView,
    TemplateRecord,
    TxStatus,
    WorkerSummary,
)
from potnode.store.writer import MAX_WAITING, GroupWriter

P = ParamSpec("P")
T = TypeVar("T")

_PAGE = 50
_Values: TypeAlias = Mapping[str, int | bytes | None]


class Store:
    """An open database. `Store(url)` opens it, `close()` finishes what is queued and closes it.

    `url` is a SQLAlchemy URL: `sqlite:////absolute/path.db` (made and migrated if missing) or
    `postgresql+psycopg://...`. Raises InvalidUrl, DatabaseTooOld, DatabaseTooNew,
    DatabaseUnreadable, StoreUnavailable or StoreFull. At most `max_waiting` changes may wait for
    the disk; a further one raises StoreBusy.
    """

    def __init__(self, url: str, *, max_waiting: int = MAX_WAITING) -> None:
        parsed = parse_url(url)
        self._where = describe(parsed)
        self._closed = False
        prepare_directory(parsed)
        self._writing = writing_engine(parsed)
        try:
            schema.check(self._writing, parsed)
        except BaseException:
            self._writing.dispose()
            raise
        self._reading = reading_engine(parsed)
        self._writer = GroupWriter(self._writing, self._where, max_waiting=max_waiting)

    def close(self) -> None:
        """Write what is queued, then close every connection. May be called twice."""
        self._closed = True
        self._writer.close()
        self._writing.dispose()
        self._reading.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Changes. Their futures may raise StoreFull, StoreUnavailable or StoreConflict.

    def add_job(self, job: JobRow) -> Future[bool]:
        """Keep a job. False if it is there already; StoreConflict if with another content."""
        return self._writer.submit(writes.add_jobs, job)

    def set_job_status(self, job_id: bytes, status: JobStatus) -> Future[None]:
        """Open, close or finish a job."""
        return self._writer.submit(writes.set_job_status, (job_id, status))

    def add_share(self, share: ShareRow) -> Future[bool]:
        """Keep a share and its template. True: new, and on disk. False: its hash was there before.

        Raises StoreBusy at once if the disk can't follow. StoreConflict: its job is not stored.
        """
        return self._writer.submit(writes.add_shares, share)

    def add_feedback(self, row: FeedbackRow) -> Future[int]:
        """Keep the pairs of a call; how many its job then has. A call whose key is stored with the
        same pairs is answered again.

        Raises StoreBusy at once if the disk can't follow. FeedbackRefused: the key belongs to other
        pairs, or the job has enough. StoreConflict: its job is not stored.
        """
        return self._writer.submit(feedback.add_feedback, row)

    def freeze_feedback(self, part: PartRow) -> Future[None]:
        """Make stored pairs a part of their job's data; StoreConflict unless it is the next."""
        return self._writer.submit(feedback.add_parts, part)

    def save_step(
        self,
        step: StepRow,
        entries: Sequence[EntryResult],
        checkpoint: Checkpoint,
        expired: Sequence[bytes] = (),
    ) -> Future[None]:
        """Close a step in one transaction: its record, its entries, its outbox row (`new`), the
        checkpoint in place of the one before, and the shares (by hash) that expire with it.

        Raises InvalidRow at once if checkpoint or entries don't belong to the step. StoreConflict:
        it does not continue the last stored step, or a share is not one of the job's that wait.
        """
        closed = writes.ClosedStep(
            step=step, results=tuple(entries), checkpoint=checkpoint, expired=tuple(expired)
        )
        return self._writer.submit(writes.save_steps, closed)

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> Future[None]:
        """Keep a signed transaction before it is sent, in place of an earlier one."""
        values: _Values = {"nonce": nonce, "raw_tx": raw_tx, "tx_hash": tx_hash}
        return self._change(job_id, step, TxStatus.SIGNED, None, values)

    def mark_sent(self, job_id: bytes, step: int) -> Future[None]:
        """A node has the transaction, and it is in no block (any more): its shares are pending."""
        values: _Values = {"block_number": None}
        return self._change(job_id, step, TxStatus.SENT, ShareStatus.PENDING, values)

    def mark_mined(
        self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int
    ) -> Future[None]:
        """The step is in a block: its shares are recorded."""
        values: _Values = {"tx_hash": tx_hash, "block_number": block_number}
        return self._change(job_id, step, TxStatus.MINED, ShareStatus.RECORDED, values)

    def mark_final(self, job_id: bytes, step: int) -> Future[None]:
        """The block is deep enough to stay: the step's shares are final."""
        return self._change(job_id, step, TxStatus.FINAL, ShareStatus.FINAL, {})

    def mark_reverted(self, job_id: bytes, step: int) -> Future[None]:
        """The contract will never take the step: its shares are reverted."""
        return self._change(job_id, step, TxStatus.REVERTED, ShareStatus.REVERTED, {})

    def _change(
        self,
        job_id: bytes,
        step: int,
        status: TxStatus,
        shares: ShareStatus | None,
        values: _Values,
    ) -> Future[None]:
        change = writes.TxChange(
            job_id=job_id, step=step, status=status, shares=shares, values=values
        )
        return self._writer.submit(writes.change_transactions, change)

    # Queries.

    def jobs(self) -> tuple[JobRow, ...]:
        """Every job, oldest first."""
        return self._read(reads.all_jobs)

    def job(self, job_id: bytes) -> JobRow | None:
        """A job by its id."""
        return self._read(reads.one_job, job_id)

    def pending_shares(self, job_id: bytes) -> tuple[ShareRow, ...]:
        """What a restart gives the trainer again: shares that wait for a step, oldest first."""
        return self._read(reads.pending_shares, job_id)

    def checkpoint(self, job_id: bytes) -> Checkpoint | None:
        """The state after the job's last step, None before the first."""
        return self._read(reads.checkpoint, job_id)

    def template(self, template_id: bytes) -> TemplateRecord | None:
        """A block template by its id."""
        return self._read(reads.one_template, template_id)

    def proof(self, share_hash: bytes) -> ProofView | None:
        """A share by its hash (digest bytes)."""
        return self._read(reads.one_proof, share_hash)

    def proofs(
        self,
        *,
        job_id: bytes | None = None,
        miner: bytes | None = None,
        status: ShareStatus | None = None,
        limit: int = _PAGE,
        cursor: int | None = None,
    ) -> Page[ProofView]:
        """Shares, newest first. `limit` 1..1000, `cursor` the `next` of the page before."""
        return self._read(
            reads.proofs_page,
            job_id=job_id,
            miner=miner,
            status=status,
            limit=limit,
            cursor=cursor,
        )

    def step(self, job_id: bytes, step: int) -> StepView | None:
        """A step by its number."""
        return self._read(reads.one_step, job_id, step)

    def step_data(self, job_id: bytes, step: int) -> bytes | None:
        """A step's canonical record."""
        return self._read(reads.step_data, job_id, step)

    def step_proofs(self, job_id: bytes, step: int) -> tuple[ProofView, ...]:
        """The shares a step counted, in the order of its record."""
        return self._read(reads.step_proofs, job_id, step)

    def steps(
        self, job_id: bytes, *, limit: int = _PAGE, cursor: int | None = None
    ) -> Page[StepView]:
        """A job's steps, newest first. `limit` 1..1000, `cursor` the `next` of the page before."""
        return self._read(reads.steps_page, job_id, limit, cursor)

    def workers(self, job_id: bytes | None = None) -> tuple[WorkerSummary, ...]:
        """What each worker delivered to a job, or to all; most work first. Reads every share."""
        return self._read(reads.workers, job_id)

    def counts(self, job_id: bytes | None = None) -> dict[ShareStatus, int]:
        """How many shares of a job, or of all, have each status. Reads every share."""
        return self._read(reads.counts, job_id)

    def feedback(self, job_id: bytes) -> FeedbackView:
        """How much feedback a job has, and up to where it is frozen."""
        return self._read(feedback.read, job_id)

    def feedback_parts(self, job_id: bytes) -> tuple[PartRow, ...]:
        """Every part of a job's feedback, in their order."""
        return self._read(feedback.all_parts, job_id)

    def feedback_part(self, job_id: bytes, first: int) -> PartRow | None:
        """The part that begins with pair `first`."""
        return self._read(feedback.one_part, job_id, first)

    def feedback_page(
        self, job_id: bytes, *, limit: int = _PAGE, cursor: int | None = None
    ) -> Page[PartRow]:
        """A job's parts, newest first. `limit` 1..1000, `cursor` the `next` of the page before."""
        return self._read(feedback.parts_page, job_id, limit, cursor)

    def feedback_pairs(self, job_id: bytes, first: int, count: int) -> bytes:
        """The int8 values of a job's pairs from `first` on, one after the other."""
        return self._read(feedback.pairs, job_id, first, count)

    def unfinished(self, limit: int) -> tuple[OutboxRow, ...]:
        """Steps on their way to the chain, a job's in their order. `limit` 1..1000."""
        return self._read(reads.unfinished, limit)

    def _read(
        self,
        query: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._closed:
            raise StoreClosed(f"database {self._where} was closed")
        with store_errors(self._where), self._reading.begin() as connection:
            return query(connection, *args, **kwargs)
