from __future__ import annotations

import pytest

from potnode.chain.ports import Outbox, OutboxItem, OutboxStatus
from potnode.store import (
    OutboxRow,
    ShareStatus,
    Store,
    StoreConflict,
    StoreOutbox,
    TxStatus,
)
from tests.store.samples import (
    JOB_ID,
    OTHER_JOB_ID,
    checkpoint,
    digest,
    head,
    job,
    results,
    share,
    step_row,
)

RAW, TX = b"\x02signed", digest("tx")


def _item(row: OutboxRow) -> OutboxItem:
    return OutboxItem(
        job_id=row.job_id,
        step=row.step,
        prev_head=row.prev_head,
        step_data=row.step_data,
        status=OutboxStatus(row.status),
        nonce=row.nonce,
        raw_tx=row.raw_tx,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
    )


def _statuses(store: Store, step: int = 0) -> set[ShareStatus]:
    return {proof.status for proof in store.step_proofs(JOB_ID, step)}


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Two steps of one job wait, two shares each."""
    for step in range(2):
        rows = [share(step * 2 + n) for n in range(2)]
        for row in rows:
            store.add_share(row).result()
        entries = results(sorted(row.hash for row in rows))
        store.save_step(step_row(step), entries, checkpoint(step)).result()
    return StoreOutbox(store, _item)


def test_statuses_are_the_chain_s() -> None:
    assert [str(status) for status in TxStatus] == [str(status) for status in OutboxStatus]


def test_the_way_of_a_step(outbox: Outbox, store: Store) -> None:
    fresh = OutboxItem(job_id=JOB_ID, step=0, prev_head=head(0), step_data=step_row(0).step_data)
    assert outbox.unfinished(1) == [fresh]
    assert [item.step for item in outbox.unfinished(10)] == [0, 1]
    assert _statuses(store) == {ShareStatus.PENDING}

    outbox.mark_signed(JOB_ID, 0, nonce=5, raw_tx=RAW, tx_hash=TX)
    (signed,) = outbox.unfinished(1)
    assert (signed.status, signed.nonce, signed.raw_tx) == (OutboxStatus.SIGNED, 5, RAW)
    outbox.mark_signed(JOB_ID, 0, nonce=5, raw_tx=RAW + b"2", tx_hash=digest("tx2"))
    (replaced,) = outbox.unfinished(1)
    assert (replaced.raw_tx, replaced.tx_hash) == (RAW + b"2", digest("tx2"))

    outbox.mark_sent(JOB_ID, 0)
    assert outbox.unfinished(1)[0].status is OutboxStatus.SENT
    # The first transaction was mined after all.
    outbox.mark_mined(JOB_ID, 0, tx_hash=TX, block_number=1 << 40)
    (mined,) = outbox.unfinished(1)
    assert (mined.status, mined.tx_hash, mined.block_number) == (OutboxStatus.MINED, TX, 1 << 40)
    assert _statuses(store) == {ShareStatus.RECORDED}
    assert {(p.tx_hash, p.block_number) for p in store.step_proofs(JOB_ID, 0)} == {(TX, 1 << 40)}

    outbox.mark_final(JOB_ID, 0)
    assert [item.step for item in outbox.unfinished(10)] == [1]
    assert _statuses(store) == {ShareStatus.FINAL}
    assert _statuses(store, 1) == {ShareStatus.PENDING}


def test_a_reorganisation_makes_shares_pending_but_does_not_free_them(
    outbox: Outbox, store: Store
) -> None:
    outbox.mark_signed(JOB_ID, 0, nonce=5, raw_tx=RAW, tx_hash=TX)
    outbox.mark_mined(JOB_ID, 0, tx_hash=TX, block_number=7)
    outbox.mark_sent(JOB_ID, 0)
    (sent,) = outbox.unfinished(1)
    assert (sent.status, sent.raw_tx, sent.block_number) == (OutboxStatus.SENT, RAW, None)
    assert _statuses(store) == {ShareStatus.PENDING}
    assert store.pending_shares(JOB_ID) == ()


def test_a_refused_step(outbox: Outbox, store: Store) -> None:
    outbox.mark_reverted(JOB_ID, 0)
    assert [item.step for item in outbox.unfinished(10)] == [1]
    assert _statuses(store) == {ShareStatus.REVERTED}
    assert store.counts()[ShareStatus.REVERTED] == 2


def test_it_survives_a_restart(outbox: Outbox, store: Store, url: str) -> None:
    outbox.mark_signed(JOB_ID, 0, nonce=0, raw_tx=RAW, tx_hash=TX)
    before = outbox.unfinished(10)
    store.close()
    with Store(url) as again:
        assert StoreOutbox(again, _item).unfinished(10) == before


def test_an_unknown_step(outbox: Outbox, store: Store) -> None:
    assert store.add_job(job(OTHER_JOB_ID)).result()
    for job_id, step in ((JOB_ID, 2), (OTHER_JOB_ID, 0)):
        with pytest.raises(StoreConflict, match="no step"):
            outbox.mark_final(job_id, step)
