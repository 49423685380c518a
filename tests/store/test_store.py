from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Connection, event, text

from potnode.store import (
    Checkpoint,
    InvalidRow,
    JobStatus,
    ShareStatus,
    Store,
    StoreClosed,
    StoreConflict,
    StoreFull,
    TxStatus,
)
from tests.store.samples import (
    JOB_ID,
    MINERS,
    OTHER_JOB_ID,
    checkpoint,
    digest,
    job,
    results,
    share,
    step_row,
    template,
)


def fill(store: Store, count: int, job_id: bytes = JOB_ID, first: int = 0) -> list[bytes]:
    """Add shares; their hashes in the order of a record."""
    rows = [share(n, job_id=job_id) for n in range(first, first + count)]
    futures = [store.add_share(row) for row in rows]
    assert all(future.result() is True for future in futures)
    return sorted(row.hash for row in rows)


def close_step(store: Store, step: int, hashes: Sequence[bytes], **changes: object) -> None:
    expired = changes.pop("expired", ())
    assert isinstance(expired, Sequence)
    row = replace(step_row(step), **changes)  # type: ignore[arg-type]
    state = replace(checkpoint(step), head=row.head, state_root=row.state_root)
    store.save_step(row, results(hashes), state, expired).result()


def snapshot(store: Store) -> list[object]:
    """Everything a reader can see."""
    proofs = store.proofs(limit=1000).items
    return [
        store.jobs(),
        proofs,
        store.pending_shares(JOB_ID),
        store.steps(JOB_ID).items,
        [store.step_data(JOB_ID, step.step) for step in store.steps(JOB_ID).items],
        store.checkpoint(JOB_ID),
        store.unfinished(1000),
        store.counts(),
        [store.template(proof.template_id) for proof in proofs],
    ]


def test_jobs(store: Store) -> None:
    assert store.jobs() == (job(),)
    assert store.job(JOB_ID) == job()
    assert store.job(OTHER_JOB_ID) is None
    assert store.add_job(job()).result() is False
    with pytest.raises(StoreConflict, match="another content"):
        store.add_job(replace(job(), manifest=b"{}")).result()
    later = replace(job(OTHER_JOB_ID), created_at=job().created_at + 1, created_tx=digest("tx"))
    assert store.add_job(later).result() is True
    assert store.jobs() == (job(), later)
    store.set_job_status(JOB_ID, JobStatus.FINISHED).result()
    assert store.job(JOB_ID) == replace(job(), status=JobStatus.FINISHED)
    with pytest.raises(StoreConflict, match="no job"):
        store.set_job_status(digest("unknown"), JobStatus.CLOSED).result()


def test_a_share_comes_back_as_it_was(store: Store) -> None:
    rows = [share(n, worker="ß", record=template(n % 5), miner=MINERS[n % 3]) for n in range(20)]
    for row in rows:
        assert store.add_share(row).result() is True
    assert store.pending_shares(JOB_ID) == tuple(rows)
    assert store.pending_shares(OTHER_JOB_ID) == ()
    proof = store.proof(rows[7].hash)
    assert proof is not None
    assert proof.status is ShareStatus.PENDING
    assert (proof.step, proof.index, proof.losses, proof.tx_hash) == (None, None, None, None)
    assert proof.coefficients is None
    assert proof.prev_hash_le == rows[7].template.prev_hash_le
    assert store.template(proof.template_id) == rows[7].template
    assert store.template(digest("unknown")) is None
    assert store.proof(digest("unknown")) is None


def test_blocks_stay_marked_whatever_becomes_of_the_share(store: Store, url: str) -> None:
    hashes = fill(store, 12)
    blocks = {share(n).hash for n in range(12) if share(n).is_block}
    close_step(store, 0, hashes[:8], expired=hashes[8:10])
    store.close()
    with Store(url) as again:
        proofs = again.proofs(limit=100).items
        assert {proof.hash for proof in proofs if proof.is_block is True} == blocks
        assert {proof.hash for proof in proofs if proof.is_block is False} == set(hashes) - blocks
        assert {row.hash for row in again.pending_shares(JOB_ID) if row.is_block} == blocks & set(
            hashes[10:]
        )


def test_one_hash_is_one_share_in_other_clothes_too(store: Store, url: str) -> None:
    first = share(1)
    assert store.add_share(first).result() is True
    assert store.add_share(first).result() is False
    disguised = replace(share(2), hash=first.hash, worker="thief", miner=MINERS[1])
    assert store.add_share(disguised).result() is False
    store.close()
    with Store(url) as again:
        assert again.add_share(first).result() is False
        assert again.add_share(disguised).result() is False
        assert again.pending_shares(JOB_ID) == (first,)


def test_duplicates_within_one_commit(store: Store) -> None:
    rows = [share(n % 10) for n in range(100)]
    opened = threading.Event()

    def wait(_connection: Connection, items: Sequence[None]) -> Sequence[None]:
        assert opened.wait(60)
        return items

    store._writer.submit(wait, None)
    futures = [store.add_share(row) for row in rows]
    opened.set()
    assert [future.result() for future in futures] == [True] * 10 + [False] * 90
    assert store.pending_shares(JOB_ID) == tuple(rows[:10])


def test_a_share_that_another_process_stored_meanwhile(store: Store, url: str) -> None:
    with Store(url) as other:
        for n in range(10):
            answers = [one.add_share(share(n)).result() for one in (store, other)]
            assert answers == [True, False]
            assert other.add_share(share(100 + n)).result() is True
    assert len(store.pending_shares(JOB_ID)) == 20


def test_a_share_of_an_unknown_job_fails_alone(store: Store) -> None:
    good = [store.add_share(share(n)) for n in range(5)]
    bad = store.add_share(share(50, job_id=OTHER_JOB_ID))
    more = [store.add_share(share(n)) for n in range(5, 10)]
    with pytest.raises(StoreConflict, match="FOREIGN KEY"):
        bad.result()
    assert all(future.result() is True for future in good + more)
    assert len(store.pending_shares(JOB_ID)) == 10


@pytest.mark.parametrize("candidates", [1, 3, 64])
def test_every_candidate_of_a_share_is_kept(store: Store, candidates: int) -> None:
    hashes = fill(store, 5)
    entries = results(hashes, candidates)
    store.save_step(step_row(0), entries, checkpoint(0), []).result()
    proofs = store.step_proofs(JOB_ID, 0)
    assert [(p.losses, p.coefficients) for p in proofs] == [
        (r.losses, r.coefficients) for r in entries
    ]
    assert {len(p.losses or ()) for p in proofs} == {candidates}
    assert store.proof(hashes[2]) == proofs[2]


def test_a_step_is_saved_whole(store: Store, url: str) -> None:
    hashes = fill(store, 12)
    counted, expired, waiting = hashes[:8], hashes[8:10], hashes[10:]
    close_step(store, 0, counted, expired=expired)
    store.close()
    with Store(url) as again:
        assert again.checkpoint(JOB_ID) == checkpoint(0)
        assert again.checkpoint(OTHER_JOB_ID) is None
        assert {row.hash for row in again.pending_shares(JOB_ID)} == set(waiting)
        assert again.step_data(JOB_ID, 0) == step_row(0).step_data
        assert again.step_data(JOB_ID, 1) is None
        proofs = again.step_proofs(JOB_ID, 0)
        expected = [(r.hash, r.index, r.losses, r.coefficients) for r in results(counted)]
        assert [(p.hash, p.index, p.losses, p.coefficients) for p in proofs] == expected
        assert {proof.status for proof in proofs} == {ShareStatus.PENDING}
        assert again.proof(counted[3]) == proofs[3]
        view = again.step(JOB_ID, 0)
        assert view is not None
        assert (view.proofs, view.hits, view.validation_loss) == (8, 0, (1 << 40) - 1)
        assert (view.status, view.tx_hash) == (TxStatus.NEW, None)
        assert again.step(JOB_ID, 1) is None
        (item,) = again.unfinished(10)
        assert (item.step, item.status, item.nonce, item.raw_tx) == (0, TxStatus.NEW, None, None)
        assert (item.prev_head, item.step_data) == (step_row(0).prev_head, step_row(0).step_data)
        counts = again.counts(JOB_ID)
        assert counts[ShareStatus.EXPIRED] == 2
        assert counts[ShareStatus.PENDING] == 10
        assert counts == again.counts()


def test_only_the_latest_checkpoint_is_kept(store: Store) -> None:
    hashes = fill(store, 12)
    for step in range(3):
        close_step(store, step, hashes[step * 4 : step * 4 + 4])
        assert store.checkpoint(JOB_ID) == checkpoint(step)
    assert [view.step for view in store.steps(JOB_ID).items] == [2, 1, 0]


def test_the_largest_step(store: Store) -> None:
    hashes = fill(store, 1024 + 1500)
    close_step(store, 0, hashes[:1024], expired=hashes[1024:])
    assert len(store.step_proofs(JOB_ID, 0)) == 1024
    assert store.counts()[ShareStatus.EXPIRED] == 1500


def test_steps_that_contradict_what_is_stored(store: Store) -> None:
    assert store.add_job(job(OTHER_JOB_ID)).result()
    foreign = fill(store, 4, OTHER_JOB_ID, first=1000)
    hashes = fill(store, 12)
    with pytest.raises(StoreConflict, match="step 0 is"):
        close_step(store, 1, hashes[:4])
    close_step(store, 0, hashes[:4], expired=hashes[4:6])
    before = snapshot(store)
    with pytest.raises(StoreConflict, match="step 1 is"):
        close_step(store, 0, hashes[6:8])
    with pytest.raises(StoreConflict, match="step 1 is"):
        close_step(store, 2, hashes[6:8])
    with pytest.raises(StoreConflict, match="continues head"):
        close_step(store, 1, hashes[6:8], prev_head=digest("wrong"))
    for taken in (hashes[0], hashes[4], foreign[0], digest("unknown")):
        with pytest.raises(StoreConflict, match="counts 3 shares, of which only 2"):
            close_step(store, 1, [*hashes[6:8], taken])
        with pytest.raises(StoreConflict, match="lets expire 2 shares, of which only 1"):
            close_step(store, 1, hashes[6:8], expired=[hashes[8], taken])
    with pytest.raises(StoreConflict, match="lets expire 1 shares, of which only 0"):
        close_step(store, 1, hashes[6:8], expired=[hashes[7]])
    with pytest.raises(StoreConflict, match="counts 2 shares, of which only 1"):
        close_step(store, 1, [hashes[6], hashes[6]])
    assert snapshot(store) == before
    close_step(store, 1, hashes[6:8])


def test_a_checkpoint_must_be_the_step_s(store: Store) -> None:
    hashes = fill(store, 2)
    wrong: list[Checkpoint] = [
        checkpoint(1),
        replace(checkpoint(0), job_id=OTHER_JOB_ID),
        replace(checkpoint(0), head=digest("other")),
        replace(checkpoint(0), state_root=digest("other")),
    ]
    for state in wrong:
        with pytest.raises(InvalidRow, match="not the state after this step"):
            store.save_step(step_row(0), results(hashes), state)
    with pytest.raises(InvalidRow, match="in order of their index"):
        store.save_step(step_row(0), results(hashes)[1:], checkpoint(0))


@pytest.fixture
def failing_at(store: Store) -> Iterator[list[int]]:
    """[n]: the writer's n-th statement from now on fails; [0]: none does."""
    countdown = [0]

    def execute(*_arguments: object) -> None:
        if countdown[0]:
            countdown[0] -= 1
            if countdown[0] == 0:
                raise StoreFull("no space for this statement")

    event.listen(store._writing, "before_cursor_execute", execute)
    yield countdown
    event.remove(store._writing, "before_cursor_execute", execute)


def test_a_step_is_saved_all_or_nothing(store: Store, failing_at: list[int]) -> None:
    hashes = fill(store, 8)
    close_step(store, 0, hashes[:3])
    before = snapshot(store)
    failures = 0
    while failures < 100:
        failing_at[0] = failures + 1
        try:
            close_step(store, 1, hashes[3:5], expired=hashes[5:])
        except StoreFull:
            failures += 1
            assert snapshot(store) == before
        else:
            break
    # BEGIN, order, step, taken, expired, entries, outbox, and the checkpoint's two.
    assert failures == 9
    assert store.checkpoint(JOB_ID) == checkpoint(1)


def test_a_full_disk_loses_nothing_acknowledged(store: Store) -> None:
    def limit(connection: Connection, pages: Sequence[int]) -> Sequence[int]:
        connection.execute(text(f"PRAGMA max_page_count={pages[0]}"))
        return pages

    acknowledged = fill(store, 50)
    store._writer.submit(limit, 60).result()
    refused: list[int] = []
    for n in range(50, 2000):
        try:
            assert store.add_share(share(n)).result() is True
            acknowledged.append(share(n).hash)
        except StoreFull:
            refused.append(n)
            if len(refused) == 5:
                break
    assert len(refused) == 5
    with pytest.raises(StoreFull):
        store.save_step(step_row(0), [], checkpoint(0, weights=1_000_000)).result()
    assert {row.hash for row in store.pending_shares(JOB_ID)} == set(acknowledged)
    assert store.checkpoint(JOB_ID) is None
    store._writer.submit(limit, 100_000).result()
    assert all(store.add_share(share(n)).result() is True for n in refused)
    close_step(store, 0, sorted(acknowledged)[:64])


def test_readers_see_a_change_only_once_it_is_committed(store: Store) -> None:
    written, seen = threading.Event(), threading.Event()

    def hold(_connection: Connection, items: Sequence[None]) -> Sequence[None]:
        written.set()
        assert seen.wait(60)
        return items

    opened = threading.Event()

    def gate(_connection: Connection, items: Sequence[None]) -> Sequence[None]:
        assert opened.wait(60)
        return items

    store._writer.submit(gate, None)
    added = store.add_share(share(1))
    store._writer.submit(hold, None)
    opened.set()
    # The share's row is written, in the transaction that `hold` keeps open.
    assert written.wait(60)
    assert not added.done()
    assert store.proof(share(1).hash) is None
    seen.set()
    assert added.result() is True
    assert store.proof(share(1).hash) is not None


def test_a_closed_store(url: str) -> None:
    store = Store(url)
    adding = store.add_job(job())
    store.close()
    store.close()
    assert adding.result() is True
    with pytest.raises(StoreClosed):
        store.add_share(share(1))
    with pytest.raises(StoreClosed):
        store.jobs()


def test_more_readers_than_connections(store: Store) -> None:
    fill(store, 100)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(store.proofs(limit=1000).items)))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [100] * 40
