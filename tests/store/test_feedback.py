"""Feedback in the database: numbered as it came, repeated calls counted once, parts in a row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from potnode.spec.feedback import MAX_PAIRS, NO_FEEDBACK
from potnode.store import (
    FeedbackRefused,
    FeedbackRow,
    FeedbackView,
    InvalidRow,
    Page,
    PartRow,
    Store,
    StoreConflict,
)
from tests.store.samples import JOB_ID, OTHER_JOB_ID, digest, job

NOW = 1_700_000_000_000_000_000


def row(count: int, tag: int = 0, key: str | None = None) -> FeedbackRow:
    """A call with pairs of two bytes, each the tag and its number."""
    pairs = b"".join(bytes([tag, n % 256]) for n in range(count))
    return FeedbackRow(job_id=JOB_ID, count=count, pairs=pairs, received_at=NOW, key=key)


def part(first: int, count: int) -> PartRow:
    root = digest("feedback", first + count)
    return PartRow(job_id=JOB_ID, first=first, count=count, data_root=root, frozen_at=NOW)


def test_pairs_are_numbered_as_they_came(store: Store) -> None:
    assert store.feedback(JOB_ID) == FeedbackView(0, None)
    futures = [store.add_feedback(row(count, tag)) for tag, count in enumerate([3, 1, 4])]
    assert [future.result() for future in futures] == [3, 4, 8]
    every = b"".join(row(count, tag).pairs for tag, count in enumerate([3, 1, 4]))
    for first in range(9):
        for count in range(10):
            found = store.feedback_pairs(JOB_ID, first, count)
            assert found == every[2 * first : 2 * (first + count)]
    assert store.feedback_pairs(OTHER_JOB_ID, 0, 9) == b""


def test_a_repeated_call_counts_once(store: Store) -> None:
    assert store.add_feedback(row(3, key="a")).result() == 3
    assert store.add_feedback(row(2, 1, key="b")).result() == 5
    assert store.add_feedback(row(3, key="a")).result() == 5
    assert store.add_feedback(row(3)).result() == 8  # without a key it is another call
    with pytest.raises(FeedbackRefused, match="used before, with other pairs"):
        store.add_feedback(row(3, 9, key="a")).result()
    assert store.feedback(JOB_ID).total == 8
    assert store.add_job(job(OTHER_JOB_ID)).result()
    other = replace(row(3, 9, key="a"), job_id=OTHER_JOB_ID)
    assert store.add_feedback(other).result() == 3


def test_a_job_takes_only_so_many(store: Store) -> None:
    most = FeedbackRow(job_id=JOB_ID, count=MAX_PAIRS, pairs=bytes(MAX_PAIRS), received_at=NOW)
    assert store.add_feedback(most).result() == MAX_PAIRS
    with pytest.raises(FeedbackRefused, match="1 are too many"):
        store.add_feedback(row(1)).result()


def test_a_call_for_no_job_is_refused(store: Store) -> None:
    with pytest.raises(StoreConflict):
        store.add_feedback(replace(row(1), job_id=OTHER_JOB_ID)).result()


def test_parts_follow_on_each_other_and_outlive_a_restart(store: Store, url: str) -> None:
    store.add_feedback(row(5)).result()
    for wrong in (part(1, 2), part(0, 6), part(0, 0)):
        with pytest.raises(StoreConflict, match="make no part"):
            store.freeze_feedback(wrong).result()
    store.freeze_feedback(part(0, 2)).result()
    store.freeze_feedback(part(2, 2)).result()
    with pytest.raises(StoreConflict, match="4 are frozen, 5 are stored"):
        store.freeze_feedback(part(2, 2)).result()
    store.close()
    with Store(url) as again:
        view = again.feedback(JOB_ID)
        assert again.feedback_parts(JOB_ID) == (part(0, 2), part(2, 2))
        assert again.feedback_part(JOB_ID, 2) == part(2, 2)
        assert again.feedback_part(JOB_ID, 1) is None
        assert again.feedback_page(JOB_ID, limit=1) == Page((part(2, 2),), 2)
        assert again.feedback_page(JOB_ID, limit=1, cursor=2) == Page((part(0, 2),), None)
    assert view == FeedbackView(5, part(2, 2))
    assert (view.frozen, view.data_root) == (4, part(2, 2).data_root)
    assert FeedbackView(5, None).data_root == NO_FEEDBACK


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 0}, "feedback.pairs"),
        ({"count": 4}, "feedback.pairs"),
        ({"pairs": b""}, "feedback.pairs"),
        ({"job_id": b""}, "feedback.job_id"),
        ({"key": ""}, "feedback.key"),
        ({"key": "\0"}, "feedback.key"),
        ({"key": "x" * 129}, "feedback.key"),
        ({"received_at": -1}, "feedback.received_at"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRow) as refused:
        replace(row(3), **change)  # type: ignore[arg-type]
    assert refused.value.field == field
