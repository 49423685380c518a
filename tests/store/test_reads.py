from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.store import InvalidRow, ShareStatus, Store, sqlite_url
from tests.store.samples import (
    JOB_ID,
    MINERS,
    OTHER_JOB_ID,
    checkpoint,
    digest,
    head,
    job,
    results,
    share,
    step_row,
)


class Growing:
    """A store that every example adds a job, miners and shares of its own to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.examples = 0
        self.shares = 0

    def example(self) -> tuple[bytes, list[bytes]]:
        self.examples += 1
        job_id = digest("job", self.examples)
        assert self.store.add_job(job(job_id)).result()
        return job_id, [digest("miner", self.examples, n)[:20] for n in range(2)]

    def add(self, job_id: bytes, miners: Sequence[bytes]) -> list[bytes]:
        """One share of each of these miners; received earlier and earlier, as a clock set back."""
        rows = []
        for miner in miners:
            self.shares += 1
            row = share(self.shares, job_id=job_id, miner=miner)
            rows.append(replace(row, received_at=10**9 - self.shares))
        futures = [self.store.add_share(row) for row in rows]
        assert all(future.result() for future in futures)
        return [row.hash for row in rows]


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Growing]:
    path: Path = tmp_path_factory.mktemp("reads") / "p.db"
    with Store(sqlite_url(path)) as store:
        yield Growing(store)


@given(
    first=st.lists(st.integers(0, 1), max_size=30),
    between=st.lists(st.lists(st.integers(0, 1), max_size=3), max_size=40),
    limit=st.integers(1, 8),
    of_job=st.booleans(),
    of_miner=st.booleans(),
)
@settings(max_examples=60)
def test_pages_hold_every_share_once_while_others_come(
    growing: Growing,
    first: list[int],
    between: list[list[int]],
    limit: int,
    of_job: bool,
    of_miner: bool,
) -> None:
    job_id, miners = growing.example()
    hashes = growing.add(job_id, [miners[n] for n in first])
    expected = [
        share_hash for share_hash, n in zip(hashes, first, strict=True) if n == 0 or not of_miner
    ]
    # Without job and miner, the shares of earlier examples follow; they are cut off below.
    seen: list[bytes] = []
    cursor: int | None = None
    comings = iter(between)
    while True:
        page = growing.store.proofs(
            job_id=job_id if of_job else None,
            miner=miners[0] if of_miner else None,
            limit=limit,
            cursor=cursor,
        )
        assert len(page.items) <= limit
        seen += [proof.hash for proof in page.items]
        cursor = page.next
        if cursor is None or len(seen) > len(expected) + limit:
            break
        assert len(page.items) == limit
        growing.add(job_id, [miners[n] for n in next(comings, [])])
    if of_job or of_miner:
        assert seen == expected[::-1]
    else:
        assert seen[: len(expected)] == expected[::-1]
        assert len(set(seen)) == len(seen)


def test_pages_of_one_status(store: Store) -> None:
    rows = [share(n) for n in range(30)]
    for row in rows:
        store.add_share(row).result()
    expired = [row.hash for row in rows[::3]]
    store.save_step(step_row(0), [], checkpoint(0), expired).result()
    first = store.proofs(status=ShareStatus.EXPIRED, limit=6)
    second = store.proofs(status=ShareStatus.EXPIRED, limit=6, cursor=first.next)
    assert [proof.hash for proof in first.items + second.items] == expired[::-1]
    assert second.next is None


@given(count=st.integers(0, 9), more=st.integers(0, 3), limit=st.integers(1, 5))
@settings(max_examples=25)
def test_pages_hold_every_step_once(growing: Growing, count: int, more: int, limit: int) -> None:
    job_id, _ = growing.example()

    def close(step: int) -> None:
        row, state = step_row(step, job_id), checkpoint(step, job_id)
        growing.store.save_step(row, [], state).result()

    for step in range(count):
        close(step)
    seen: list[int] = []
    cursor: int | None = None
    coming = iter(range(count, count + more))
    while True:
        page = growing.store.steps(job_id, limit=limit, cursor=cursor)
        seen += [view.step for view in page.items]
        cursor = page.next
        if cursor is None:
            break
        for step in coming:
            close(step)
            break
    assert seen == list(range(count))[::-1]


def test_a_full_last_page_has_no_next(store: Store) -> None:
    for n in range(4):
        store.add_share(share(n)).result()
    assert store.proofs(limit=4).next is None
    page = store.proofs(limit=3)
    assert page.next is not None
    assert [proof.hash for proof in store.proofs(limit=3, cursor=page.next).items] == [
        share(0).hash
    ]


@pytest.mark.parametrize("limit", [-1, 0, 1001])
def test_limits(store: Store, limit: int) -> None:
    with pytest.raises(InvalidRow, match="limit"):
        store.proofs(limit=limit)
    with pytest.raises(InvalidRow, match="limit"):
        store.steps(JOB_ID, limit=limit)
    with pytest.raises(InvalidRow, match="limit"):
        store.unfinished(limit)


def test_work_is_summed_exactly(store: Store) -> None:
    assert store.add_job(job(OTHER_JOB_ID)).result()
    rows = [
        share(1, worker="a", bits=255),
        share(2, worker="a", bits=255),
        share(3, worker="a", bits=0),
        share(4, worker="b", bits=40),
        share(5, worker="a", bits=200, miner=MINERS[1]),
        share(6, worker="a", bits=1, job_id=OTHER_JOB_ID),
    ]
    for row in rows:
        store.add_share(row).result()
    store.save_step(step_row(0), [], checkpoint(0), [rows[0].hash, rows[3].hash]).result()
    found = store.workers(JOB_ID)
    assert [(one.miner, one.worker, one.shares, one.work) for one in found] == [
        (MINERS[0], "a", 3, (1 << 256) + 1),
        (MINERS[1], "a", 1, 1 << 200),
        (MINERS[0], "b", 1, 1 << 40),
    ]
    assert found[0].by_status == {
        ShareStatus.PENDING: 2,
        ShareStatus.RECORDED: 0,
        ShareStatus.FINAL: 0,
        ShareStatus.EXPIRED: 1,
        ShareStatus.REVERTED: 0,
    }
    assert found[0].last_received_at == rows[2].received_at
    everywhere = store.workers()
    assert everywhere[0].work == (1 << 256) + 3
    assert store.workers(digest("unknown")) == ()
    assert sum(store.counts(JOB_ID).values()) == 5


def test_what_is_final_or_refused_is_not_the_recorder_s_any_more(store: Store) -> None:
    for step in range(3):
        row = share(step)
        store.add_share(row).result()
        store.save_step(step_row(step), results([row.hash]), checkpoint(step)).result()
    store.mark_final(JOB_ID, 0).result()
    store.mark_reverted(JOB_ID, 1).result()
    assert [item.step for item in store.unfinished(5)] == [2]
    assert store.unfinished(5)[0].prev_head == head(2)
    assert [proof.status for n in range(3) for proof in store.step_proofs(JOB_ID, n)] == [
        ShareStatus.FINAL,
        ShareStatus.REVERTED,
        ShareStatus.PENDING,
    ]
