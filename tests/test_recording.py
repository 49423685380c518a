"""The recorder as the node watches it: what is counted, and what is waited out."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from potnode import recording
from potnode.chain.errors import HeadConflict, RecordRefused
from potnode.chain.ports import OutboxItem, OutboxStatus
from potnode.chain.recorder import Progress, Recorder
from potnode.recording import Recording, WatchedOutbox
from potnode.store.errors import StoreBusy, StoreFull, StoreUnavailable

JOB = bytes(range(32))
TX = bytes(32)


class MemoryOutbox:
    def __init__(self, *items: OutboxItem) -> None:
        self.items = {(item.job_id, item.step): item for item in items}
        self.marks: list[str] = []

    def unfinished(self, limit: int) -> list[OutboxItem]:
        return list(self.items.values())[:limit]

    def _set(self, job_id: bytes, step: int, status: OutboxStatus) -> None:
        self.items[job_id, step] = replace(self.items[job_id, step], status=status)
        self.marks.append(status.value)

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> None:
        self._set(job_id, step, OutboxStatus.SIGNED)

    def mark_sent(self, job_id: bytes, step: int) -> None:
        self._set(job_id, step, OutboxStatus.SENT)

    def mark_mined(self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int) -> None:
        self._set(job_id, step, OutboxStatus.MINED)

    def mark_final(self, job_id: bytes, step: int) -> None:
        self._set(job_id, step, OutboxStatus.FINAL)

    def mark_reverted(self, job_id: bytes, step: int) -> None:
        self._set(job_id, step, OutboxStatus.REVERTED)


def item(step: int, status: OutboxStatus = OutboxStatus.NEW) -> OutboxItem:
    return OutboxItem(job_id=JOB, step=step, prev_head=bytes(32), step_data=b"", status=status)


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(outbox: WatchedOutbox, watch: Watch, step: int, seconds: float) -> None:
    outbox.mark_signed(JOB, step, nonce=step, raw_tx=b"", tx_hash=TX)
    outbox.mark_sent(JOB, step)
    watch.now += seconds
    outbox.mark_mined(JOB, step, tx_hash=bytes([step]) * 32, block_number=step)


def test_the_lag_is_what_is_in_no_block() -> None:
    inner = MemoryOutbox(item(0, OutboxStatus.MINED), item(1, OutboxStatus.SENT), item(2))
    watch = Watch()
    outbox = WatchedOutbox(inner, watch)
    assert outbox.lag == 2, "a mined step waits for nothing but depth"
    inner.items[JOB, 3] = item(3)
    outbox.added(JOB, 3)
    outbox.added(JOB, 3)
    assert outbox.lag == 3
    assert [outbox.last_transaction] == [None]
    record(outbox, watch, 1, 1.0)
    record(outbox, watch, 2, 1.0)
    assert (outbox.lag, outbox.recorded) == (1, 2)
    assert outbox.last_transaction == bytes([2]) * 32
    outbox.mark_sent(JOB, 2)  # it left its block again
    assert outbox.lag == 2
    outbox.mark_final(JOB, 2)
    outbox.mark_reverted(JOB, 3)
    assert outbox.lag == 0
    assert inner.marks[-2:] == ["final", "reverted"]
    assert list(outbox.unfinished(2)) == inner.unfinished(2)


def test_the_mean_is_from_signature_to_block() -> None:
    watch = Watch()
    outbox = WatchedOutbox(MemoryOutbox(*(item(step) for step in range(3))), watch)
    assert outbox.mean_seconds is None
    record(outbox, watch, 0, 2.0)
    assert outbox.mean_seconds == pytest.approx(2.0)
    record(outbox, watch, 1, 4.0)
    assert outbox.mean_seconds == pytest.approx(2.2)
    # Found on the chain after a restart: nobody knows how long that took.
    outbox.mark_mined(JOB, 2, tx_hash=TX, block_number=2)
    assert outbox.mean_seconds == pytest.approx(2.2)


class FailingRecorder(Recorder):
    """Says one thing after the other."""

    def __init__(self, *says: Exception | Progress) -> None:
        self.says = list(says)
        self.calls = 0

    def step_once(self) -> Progress:
        self.calls += 1
        said = self.says.pop(0) if self.says else Progress.ADVANCED
        if isinstance(said, Exception):
            raise said
        return said


def watching(recorder: FailingRecorder) -> Recording:
    """A recording around that recorder."""
    made = object.__new__(Recording)
    made.outbox = WatchedOutbox(MemoryOutbox(), Watch())
    made.recorder = recorder
    made._wake = asyncio.Event()
    made._refused = {}
    return made


async def test_a_database_that_cannot_be_written_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.0)
    recorder = FailingRecorder(
        StoreFull("full"),
        StoreUnavailable("away"),
        StoreBusy("busy"),
        Progress.ADVANCED,
        HeadConflict("somebody else"),
    )
    with pytest.raises(HeadConflict):
        await watching(recorder).run()
    assert recorder.calls == 5
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"recording waits for the database: {w}" for w in ("full", "away", "busy")]


async def test_a_job_that_the_contract_refuses_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    recorder = FailingRecorder(
        RecordRefused("step 3", "JobIsClosed", JOB), HeadConflict("stop here")
    )
    made = watching(recorder)
    assert made.refused(JOB) is None
    with pytest.raises(HeadConflict):
        await made.run()
    assert made.refused(JOB) == "the contract refuses step 3: JobIsClosed"
    assert made.refused(bytes(32)) is None
    assert "JobIsClosed" in caplog.text


async def test_drained_once_nothing_waits() -> None:
    made = watching(FailingRecorder())
    made.expect(JOB, 0)
    assert made.lag == 1
    waiting = asyncio.create_task(made.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    made.outbox._outbox.items[JOB, 0] = item(0)  # type: ignore[attr-defined]
    made.outbox.mark_final(JOB, 0)
    await waiting
    assert made.mean_seconds is None
