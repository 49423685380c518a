"""A campaign: one job being trained by this node, from its first missing step to its last.

Responsible for the order of things: a step becomes the past when it is on disk together with its
place in the outbox; templates follow the steps; the pace follows what the node can take. The rules
are in `potnode.trainer` and `potnode.pace`, miners in `potnode.pool`, wiring in `potnode.node`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from potnode.clock import Clock
from potnode.engine.state import EngineState
from potnode.errors import JobOver
from potnode.feedback import Intake
from potnode.pace import BACKLOG_STEPS, Pace
from potnode.pool import TrainingPool
from potnode.recording import RETRY_SECONDS, WAITED_OUT
from potnode.spec.record import Validation
from potnode.spec.schedule import shares_before
from potnode.store.rows import Checkpoint, EntryResult, StepRow
from potnode.trainer import ClosedStep, Trainer

log = logging.getLogger(__name__)

# Steps closed but not on chain at which training pauses: the chain is the record, not its backup.
OUTBOX_LIMIT = 64
REFRESH_MIN, REFRESH_MAX = 1.0, 10.0
REFRESH_IDLE = 30.0
# A flood is met at once, but a miner is not sent more work than four times a second.
HURRY_SECONDS = 0.25
LOOK_SECONDS = 0.25


class StepStore(Protocol):
    """What a campaign needs of durable memory."""

    def save_step(
        self,
        step: StepRow,
        entries: Sequence[EntryResult],
        checkpoint: Checkpoint,
        expired: Sequence[bytes] = (),
    ) -> Future[None]:
        """One transaction: the step, its shares' results, the model, the step's outbox row."""
        ...


class RecorderView(Protocol):
    """What a campaign needs to know of the recorder, and to tell it."""

    @property
    def lag(self) -> int:
        """Closed steps that are not on chain yet."""
        ...

    @property
    def mean_seconds(self) -> float | None:
        """Busy seconds a step takes to record; None before the first."""
        ...

    def expect(self, job_id: bytes, step: int) -> None:
        """There is about to be a new step in the outbox."""
        ...

    def wake(self) -> None:
        """There is a new step in the outbox."""
        ...

    def refused(self, job_id: bytes) -> str | None:
        """Why no more steps of a job can be recorded; None while they can."""
        ...


class Miners(Protocol):
    """What a campaign needs of those connected."""

    def broadcast(self, clean: bool) -> object:
        """Give every miner a new job."""
        ...

    def refresh(self, connection_id: int) -> object:
        """Give one miner a new job."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a campaign is. Rates are per second, means over the campaign's recent past.

    accuracy is hits over held-out samples at the last validation; loss is bits per held-out sample.
    """

    job_id: bytes
    step: int
    step_limit: int
    shares: int
    waiting: int
    expired: int
    refused: Mapping[str, int]
    hash_rate: float
    evaluations_per_s: float
    steps_per_s: float
    loss: float | None
    accuracy: float | None
    recorder_lag: int

    @property
    def figures(self) -> str:
        """The last validation in words."""
        if self.loss is None or self.accuracy is None:
            return "no samples held out"
        return f"loss {self.loss:.4f} bits, accuracy {self.accuracy:.4f}"


class Campaign:
    """Trains one job until it is finished or the task is cancelled."""

    def __init__(
        self,
        trainer: Trainer[EngineState],
        pool: TrainingPool,
        pace: Pace[int],
        store: StepStore,
        recorder: RecorderView,
        clock: Clock,
        miners: Miners,
        validation: Validation | None = None,
        refresh_seconds: float = REFRESH_MAX,
        feedback: Intake | None = None,
    ) -> None:
        """Prepare.

        Args:
            refresh_seconds: between templates of new steps while ASICs are connected.
            feedback: of a job of preferences.
        """
        self.trainer = trainer
        self.pool = pool
        self._pace = pace
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._miners = miners
        self._refresh_seconds = refresh_seconds
        self._feedback = feedback
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._validation = validation
        self._expired = 0
        self._to_expire: list[bytes] = []
        self._waiting_for_disk = False
        self._evaluation_seconds: float | None = None  # of one step, decaying mean
        self._candidates = 0  # of the last step
        self._step_seconds: float | None = None  # from step to step, decaying mean
        self._last_step_at: float | None = None

    def wake(self) -> None:
        """A share came: there may be a step to close, or more shares than can be taken."""
        self._wake.set()
        if self.trainer.waiting > BACKLOG_STEPS * self._pace.shares:
            self._hurry.set()

    def hurry(self) -> None:
        """A miner's bits are far from what they should be."""
        self._hurry.set()

    def expire(self, hashes: Sequence[bytes]) -> None:
        """These acknowledged shares can no longer count; the next step is stored with them."""
        self._expired += len(hashes)
        self._to_expire.extend(hashes)

    @property
    def paused(self) -> bool:
        """Whether training waits for the chain or the disk."""
        return self._waiting_for_disk or self._recorder.lag >= OUTBOX_LIMIT

    async def run(self) -> None:
        """Train to the last step; returns when it is on disk. JobOver: the contract ended it."""
        refreshing = asyncio.create_task(self._refresh(), name="refresh")
        training = asyncio.create_task(self._train(), name="train")
        try:
            # Refreshing has no end of its own: if it is done first, it failed.
            await asyncio.wait({refreshing, training}, return_when=asyncio.FIRST_COMPLETED)
            (training if training.done() else refreshing).result()
        finally:
            for task in (refreshing, training):
                task.cancel()
            await asyncio.gather(refreshing, training, return_exceptions=True)
        log.info("job %s: all %d steps closed", self.trainer.job_id.hex(), self.trainer.step)

    def progress(self) -> Progress:
        """A snapshot for people and metrics."""
        trainer, params, seen = self.trainer, self.trainer.params, self._validation
        held_out = params.held_out_count
        return Progress(
            job_id=trainer.job_id,
            step=trainer.step,
            step_limit=params.step_limit,
            shares=shares_before(params, trainer.step) + trainer.waiting,
            waiting=trainer.waiting,
            expired=self._expired,
            refused=dict(self.pool.refused),
            hash_rate=self._pace.hash_rate(),
            evaluations_per_s=_rate(self._candidates, self._evaluation_seconds),
            steps_per_s=_rate(1, self._step_seconds),
            loss=seen.loss / held_out / 256 if seen and held_out else None,
            accuracy=seen.hits / held_out if seen and held_out else None,
            recorder_lag=self._recorder.lag,
        )

    async def _train(self) -> None:
        await self._take_feedback()
        while not self.trainer.finished:
            refusal = self._recorder.refused(self.trainer.job_id)
            if refusal is not None:
                raise JobOver(refusal)
            self._wake.clear()
            early = self._too_early()
            if early > 0:
                await asyncio.sleep(min(early, LOOK_SECONDS))
                continue
            plan = None if self._recorder.lag >= OUTBOX_LIMIT else self.trainer.plan()
            if plan is None:
                # The recorder's progress does not wake us, so look again now and then.
                await set_within(self._wake, LOOK_SECONDS)
                continue
            started = self._clock.monotonic()
            closed = await asyncio.to_thread(self.trainer.compute, plan)
            computed = self._clock.monotonic()
            self._recorder.expect(self.trainer.job_id, closed.step)
            saving = await self._save(closed)
            self.trainer.commit(closed)
            self._recorder.wake()
            self._note(closed, computed - started, saving)
            await self._take_feedback()

    async def _take_feedback(self) -> None:
        """Between steps: pairs that wait long enough become data of those to come."""
        if self._feedback is not None:
            grown = await asyncio.to_thread(self._feedback.freeze, self.trainer.step)
            if grown is not None:
                self.trainer.use_feedback(grown)

    def _too_early(self) -> float:
        """Seconds until the next step may close."""
        if self._last_step_at is None:
            return 0.0
        return self._last_step_at + self._shortest_step() - self._clock.monotonic()

    async def _save(self, closed: ClosedStep[EngineState]) -> float:
        """Store a step, waiting out a full or absent disk: nothing may follow a step not kept.

        Returns:
            Seconds the write took, without the waiting.
        """
        model = closed.state.to_bytes()  # all masters, then as many bytes of momenta
        row = StepRow(
            job_id=self.trainer.job_id,
            step=closed.step,
            prev_head=closed.prev_head,
            head=closed.head,
            step_data=closed.step_data,
            state_root=closed.record.state_root,
            closed_at=self._clock.time_ns(),
            validation_loss=closed.validation.loss if closed.validation else None,
            hits=closed.validation.hits if closed.validation else None,
        )
        entries = [
            EntryResult(hash=h, index=i, losses=losses, coefficients=cs)
            for i, (h, losses, cs) in enumerate(
                zip(closed.hashes, closed.losses, closed.coefficients, strict=True)
            )
        ]
        checkpoint = Checkpoint(
            job_id=self.trainer.job_id,
            step=closed.step,
            head=closed.head,
            state_root=closed.record.state_root,
            masters_le=model[: len(model) // 2],
            momenta_le=model[len(model) // 2 :],
        )
        while True:
            started = self._clock.monotonic()
            try:
                await asyncio.wrap_future(
                    self._store.save_step(row, entries, checkpoint, self._to_expire)
                )
            except WAITED_OUT as error:
                self._waiting_for_disk = True
                log.error("step %d waits to be stored: %s", closed.step, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._waiting_for_disk = False
                self._to_expire = []
                return self._clock.monotonic() - started

    def _note(self, closed: ClosedStep[EngineState], computing: float, saving: float) -> None:
        now = self._clock.monotonic()
        self._evaluation_seconds = _mean(self._evaluation_seconds, computing)
        if self._last_step_at is not None:
            self._step_seconds = _mean(self._step_seconds, now - self._last_step_at)
        self._last_step_at = now
        self._candidates = sum(map(len, closed.losses))
        busy = max(computing + saving, self._recorder.mean_seconds or 0.0)
        self._pace.worked(busy, max(1, self.trainer.wanted))
        if closed.validation is not None:
            self._validation = closed.validation
            seen = self.progress()
            root = closed.record.state_root.hex()
            log.info("step %d: %s, root %s", closed.step, seen.figures, root)

    async def _refresh(self) -> None:
        """New templates as the steps go on: often enough for the window, seldom enough for ASICs.

        Miners take a pool that says nothing for 90 s for dead (cgminer.c), so they hear of one at
        least every REFRESH_IDLE. Bits that must change between two templates are sent to their
        miners alone.
        """
        look_at = self._clock.monotonic() + self._interval()
        while True:
            await asyncio.sleep(HURRY_SECONDS)
            await set_within(self._hurry, max(0.0, look_at - self._clock.monotonic()))
            self._hurry.clear()
            now = self._clock.monotonic()
            changed = self._pace.adjust(self.trainer.waiting, now, self._shortest_step())
            age = now - self.pool.refreshed_at
            moved = self.pool.step != self.trainer.step
            if (moved and age >= self._interval()) or age >= REFRESH_IDLE:
                self.pool.refresh()
                self._miners.broadcast(clean=False)
            else:
                for connection_id in changed:
                    self._miners.refresh(connection_id)
            look_at = max(now + REFRESH_MIN, self.pool.refreshed_at + self._interval())

    def _interval(self) -> float:
        """Seconds from one template to the next: clamp(window / 4 x mean step time, 1 s, most).

        Each new job costs an ASIC some milliseconds and part of its pipeline (cgminer's driver
        stops its FPGA), so while one is connected they all hear of new steps at the longest.
        """
        if self._pace.asics:
            return self._refresh_seconds
        quarter = self.trainer.params.window / 4 * (self._step_seconds or 0.0)
        return min(self._refresh_seconds, max(REFRESH_MIN, quarter))

    def _shortest_step(self) -> float:
        """Seconds a step takes at least: four refreshes within the window, while ASICs mine.

        They work on a job until the next and have shares of the one before under way; steps that
        went on faster would pass the window of those. On a CPU new work costs nothing.
        """
        if not self._pace.asics:
            return 0.0
        return 4 * self._refresh_seconds / max(1, self.trainer.params.window)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _mean(old: float | None, new: float) -> float:
    return new if old is None else 0.9 * old + 0.1 * new


def _rate(count: int, seconds: float | None) -> float:
    return count / seconds if seconds else 0.0
