"""Feedback as it is stored: what came in each call, and the parts in which it was frozen.

Responsible for the numbering of pairs, which is that of their arrival, for refusing a call that is
repeated with other content, and for parts that follow on each other. What a pair must be is checked
before it comes here; what becomes of frozen ones is `potnode.feedback`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from potnode.spec.feedback import MAX_PAIRS, NO_FEEDBACK
from potnode.store.engine import insert_rows
from potnode.store.errors import FeedbackRefused, InvalidRow, StoreConflict
from potnode.store.models import feedback, feedback_parts
from potnode.store.reads import check_limit
from potnode.store.rows import Page, require_length, require_range

MAX_KEY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRow:
    """The pairs of one call: `count` of them, their int8 values one pair after the other.

    `key` names the call, so that it may be repeated: printable, at most 128 characters, or None.
    `received_at` is in ns since 1970 UTC.
    """

    job_id: bytes
    count: int
    pairs: bytes
    received_at: int
    key: str | None = None

    def __post_init__(self) -> None:
        require_length("feedback.job_id", self.job_id, 32)
        require_range("feedback.received_at", self.received_at, 63)
        if self.count < 1 or not self.pairs or len(self.pairs) % self.count:
            raise InvalidRow(
                "feedback.pairs", f"has {len(self.pairs)} bytes, which are not {self.count} pairs"
            )
        if self.key is not None and not (1 <= len(self.key) <= MAX_KEY and self.key.isprintable()):
            raise InvalidRow("feedback.key", f"is not printable text of 1..{MAX_KEY} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """Pairs `first` .. `first + count - 1` of a job, frozen together.

    `data_root` (32 bytes) is that of a step which uses all pairs to the end of this part;
    `frozen_at` is in ns since 1970 UTC.
    """

    job_id: bytes
    first: int
    count: int
    data_root: bytes
    frozen_at: int

    def __post_init__(self) -> None:
        require_length("part.job_id", self.job_id, 32)
        require_length("part.data_root", self.data_root, 32)
        require_range("part.first", self.first, 31)
        require_range("part.count", self.count, 31)
        require_range("part.frozen_at", self.frozen_at, 63)

    @property
    def end(self) -> int:
        """Pairs of the job up to the end of this part."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class FeedbackView:
    """A job's feedback: `total` pairs in all; `frozen` of them are in parts, the last is `last`."""

    total: int
    last: PartRow | None

    @property
    def frozen(self) -> int:
        """How many pairs are in parts."""
        return self.last.end if self.last else 0

    @property
    def data_root(self) -> bytes:
        """Of a step that uses every part."""
        return self.last.data_root if self.last else NO_FEEDBACK


def add_feedback(connection: Connection, rows: Sequence[FeedbackRow]) -> list[int]:
    """For each call, how many pairs its job has with it.

    Raises:
        FeedbackRefused: a key comes again with other pairs, or the job would have too many.
    """
    return [_add(connection, row) for row in rows]


def _add(connection: Connection, row: FeedbackRow) -> int:
    total = _total(connection, row.job_id)
    if row.key is not None:
        known = connection.scalar(
            select(feedback.c.pairs).where(
                feedback.c.job_id == row.job_id, feedback.c.key == row.key
            )
        )
        if known is not None:
            if known != row.pairs:
                raise FeedbackRefused(
                    "this idempotency key was used before, with other pairs: take a new one"
                )
            return total
    if total + row.count > MAX_PAIRS:
        raise FeedbackRefused(
            f"the job has {total} pairs and takes {MAX_PAIRS} at most: {row.count} are too many"
        )
    insert_rows(
        connection,
        feedback,
        [
            {
                "job_id": row.job_id,
                "first": total,
                "count": row.count,
                "pairs": row.pairs,
                "key": row.key,
                "received_at": row.received_at,
            }
        ],
    )
    return total + row.count


def add_parts(connection: Connection, rows: Sequence[PartRow]) -> list[None]:
    """Freeze pairs. Raises StoreConflict unless each part follows on the last one, and is there."""
    for row in rows:
        view = read(connection, row.job_id)
        if row.count < 1 or row.first != view.frozen or row.end > view.total:
            raise StoreConflict(
                f"pairs {row.first}..{row.end - 1} of job {row.job_id.hex()} make no part: "
                f"{view.frozen} are frozen, {view.total} are stored"
            )
        insert_rows(
            connection,
            feedback_parts,
            [
                {
                    "job_id": row.job_id,
                    "first": row.first,
                    "count": row.count,
                    "data_root": row.data_root,
                    "frozen_at": row.frozen_at,
                }
            ],
        )
    return [None] * len(rows)


def read(connection: Connection, job_id: bytes) -> FeedbackView:
    """How much feedback a job has."""
    last = connection.execute(_parts(job_id).limit(1)).one_or_none()
    return FeedbackView(
        _total(connection, job_id), None if last is None else PartRow(**last._asdict())
    )


def all_parts(connection: Connection, job_id: bytes) -> tuple[PartRow, ...]:
    """A job's parts in their order."""
    rows = connection.execute(_parts(job_id)).all()
    return tuple(PartRow(**row._asdict()) for row in reversed(rows))


def one_part(connection: Connection, job_id: bytes, first: int) -> PartRow | None:
    """The part that begins with pair `first`."""
    query = _parts(job_id).where(feedback_parts.c.first == first)
    row = connection.execute(query).one_or_none()
    return None if row is None else PartRow(**row._asdict())


def parts_page(
    connection: Connection, job_id: bytes, limit: int, cursor: int | None
) -> Page[PartRow]:
    """A job's parts, newest first."""
    check_limit(limit)
    query = _parts(job_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(feedback_parts.c.first < cursor)
    rows = connection.execute(query).all()
    following = rows[limit - 1].first if len(rows) > limit else None
    return Page(tuple(PartRow(**row._asdict()) for row in rows[:limit]), following)


def _parts(job_id: bytes) -> Select[*tuple[Any, ...]]:
    return (
        select(feedback_parts)
        .where(feedback_parts.c.job_id == job_id)
        .order_by(feedback_parts.c.first.desc())
    )


def pairs(connection: Connection, job_id: bytes, first: int, count: int) -> bytes:
    """Pairs `first` .. `first + count - 1` of a job, or those of them that there are."""
    # The call that has the first of them: found by the key, instead of reading all before it.
    begin = (
        select(func.max(feedback.c.first))
        .where(feedback.c.job_id == job_id, feedback.c.first <= first)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(feedback.c.first, feedback.c.count, feedback.c.pairs)
        .where(
            feedback.c.job_id == job_id,
            feedback.c.first >= begin,
            feedback.c.first < first + count,
        )
        .order_by(feedback.c.first)
    )
    found = []
    for start, length, content in rows:
        width = len(content) // length
        low, high = max(first - start, 0), min(first + count - start, length)
        found.append(content[low * width : high * width])
    return b"".join(found)


def _total(connection: Connection, job_id: bytes) -> int:
    last = connection.execute(
        select(feedback.c.first, feedback.c.count)
        .where(feedback.c.job_id == job_id)
        .order_by(feedback.c.first.desc())
        .limit(1)
    ).one_or_none()
    return 0 if last is None else last.first + last.count
