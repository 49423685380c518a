"""A campaign with stores and recorders that fail on demand: the order of things, the waiting."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from potnode import campaign as module
from potnode.campaign import OUTBOX_LIMIT, Campaign
from potnode.clock import SystemClock
from potnode.data.digits import digits
from potnode.engine.engine import Engine
from potnode.engine.state import EngineState
from potnode.errors import JobOver
from potnode.jobfile import JobFile, Search
from potnode.jobmodel import Model
from potnode.jobs import JobDraft, draft
from potnode.pace import BACKLOG_STEPS, Pace
from potnode.pool import PoolRules, Reached, TrainingPool
from potnode.spec.hashing import sha256
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.record import Validation
from potnode.store.errors import StoreBusy, StoreConflict, StoreFull, StoreUnavailable
from potnode.store.rows import Checkpoint, EntryResult, ShareRow, StepRow
from potnode.trainer import Admission, Trainer
from potnode.work.standalone import Standalone
from stratum.jobs import Job
from tests.builders import miner_view
from tests.node.harness import eventually
from tests.test_trainer import JOB, make_share

POPULATION = 4
_NUMBERS = itertools.count()


class FakeStore:
    """Keeps steps, or fails as often as it is told to."""

    def __init__(self) -> None:
        self.steps: list[StepRow] = []
        self.entries: list[Sequence[EntryResult]] = []
        self.checkpoints: list[Checkpoint] = []
        self.expired: list[Sequence[bytes]] = []
        self.fails: list[Exception] = []
        self.at_once: Exception | None = None

    def save_step(
        self,
        step: StepRow,
        entries: Sequence[EntryResult],
        checkpoint: Checkpoint,
        expired: Sequence[bytes] = (),
    ) -> Future[None]:
        if self.at_once is not None:
            error, self.at_once = self.at_once, None
            raise error
        future: Future[None] = Future()
        if self.fails:
            future.set_exception(self.fails.pop(0))
            return future
        self.steps.append(step)
        self.entries.append(entries)
        self.checkpoints.append(checkpoint)
        self.expired.append(list(expired))
        future.set_result(None)
        return future

    def add_share(self, share: ShareRow) -> Future[bool]:
        raise AssertionError("no share comes through the pool here")


class FakeRecorder:
    def __init__(self) -> None:
        self.lag = 0
        self.mean_seconds: float | None = None
        self.expected: list[tuple[bytes, int]] = []
        self.woken = 0
        self.refusal: str | None = None

    def expect(self, job_id: bytes, step: int) -> None:
        self.expected.append((job_id, step))

    def wake(self) -> None:
        self.woken += 1

    def refused(self, job_id: bytes) -> str | None:
        return self.refusal


@pytest.fixture(scope="module")
def drafted() -> JobDraft:
    file = JobFile(
        dataset="digits",
        model=Model(hidden=[4]),
        search=Search(
            population=(POPULATION, POPULATION),
            batch_size=(16, 16),
            steps=6,
            validate_every=3,
            min_bits=9,
            window=8,
        ),
    )
    return draft(file, digits(), owner=bytes(20), operator=bytes(20))


@pytest.fixture(scope="module")
def engine(drafted: JobDraft) -> Engine:
    return Engine(decode_manifest(drafted.manifest), digits(), "cpu", 1)


@dataclass
class World:
    trainer: Trainer[EngineState]
    store: FakeStore = field(default_factory=FakeStore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    broadcasts: int = 0
    refreshed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.pace = Pace[int](shares=POPULATION, flow=300.0)
        source = Standalone(self.trainer.job_id)
        reached = Reached(self._on_share, self._hurry, self.refreshed.append)
        self.pool = TrainingPool(
            self.trainer, self.pace, self.store, source, clock, reached, PoolRules()
        )
        self.campaign = Campaign(
            self.trainer,
            self.pool,
            self.pace,
            self.store,
            self.recorder,
            clock,
            self,
            Validation(297 * 256 * 3, 33),
        )

    def _on_share(self) -> None:
        self.campaign.wake()

    def _hurry(self) -> None:
        self.campaign.hurry()

    def broadcast(self, clean: bool) -> None:
        assert not clean, "older work still counts"
        self.broadcasts += 1

    def refresh(self, connection_id: int) -> None:
        self.refreshed.append(connection_id)

    def give(self, count: int) -> None:
        """So many shares, on disk already."""
        for _ in range(count):
            share = make_share(next(_NUMBERS), self.trainer.step)
            assert self.trainer.admit(share, durable=True) is Admission.ADMITTED
        self.campaign.wake()


@pytest.fixture
async def world(drafted: JobDraft, engine: Engine) -> World:
    return World(Trainer(JOB, drafted.params, engine.manifest, engine))


async def test_it_trains_to_the_last_step(world: World) -> None:
    running = asyncio.create_task(world.campaign.run())
    for step in range(6):
        world.give(POPULATION - 1)
        await asyncio.sleep(0)
        assert world.trainer.step == step
        world.give(1)
        await eventually(partial(lambda n: world.trainer.step == n, step + 1), "a step")
    await asyncio.wait_for(running, 30)
    assert [row.step for row in world.store.steps] == list(range(6))
    assert world.recorder.expected == [(JOB, step) for step in range(6)]
    assert world.recorder.woken == 6
    for row, after in itertools.pairwise(world.store.steps):
        assert after.prev_head == row.head
    validated = [row.step for row in world.store.steps if row.hits is not None]
    assert validated == [0, 3, 5]
    for row, kept, entries in zip(
        world.store.steps, world.store.checkpoints, world.store.entries, strict=True
    ):
        assert (kept.step, kept.head, kept.state_root) == (row.step, row.head, row.state_root)
        assert len(kept.masters_le) == len(kept.momenta_le)
        assert [entry.index for entry in entries] == list(range(POPULATION))
    model = world.trainer.state.to_bytes()
    assert world.store.checkpoints[-1].masters_le + world.store.checkpoints[-1].momenta_le == model
    seen = world.campaign.progress()
    assert (seen.step, seen.step_limit, seen.shares, seen.waiting) == (6, 6, 24, 0)
    assert seen.accuracy == world.store.steps[-1].hits / 297  # type: ignore[operator]
    assert seen.evaluations_per_s > 0
    assert seen.steps_per_s > 0


async def test_a_restart_shows_the_last_validation_until_the_next(world: World) -> None:
    seen = world.campaign.progress()
    assert (seen.loss, seen.accuracy) == (3.0, 33 / 297)
    assert seen.figures == "loss 3.0000 bits, accuracy 0.1111"
    assert replace(seen, loss=None, accuracy=None).figures == "no samples held out"
    assert (seen.evaluations_per_s, seen.steps_per_s, seen.expired) == (0.0, 0.0, 0)


async def test_expired_shares_are_stored_with_the_next_step_once(world: World) -> None:
    gone = [sha256(b"one"), sha256(b"two")]
    world.campaign.expire(gone)
    assert world.campaign.progress().expired == 2
    running = asyncio.create_task(world.campaign.run())
    world.store.fails.append(StoreConflict("to stop here"))
    world.give(POPULATION)
    with pytest.raises(StoreConflict):
        await asyncio.wait_for(running, 30)
    assert world.trainer.step == 0, "what is not on disk is not the past"
    running = asyncio.create_task(world.campaign.run())
    world.campaign.wake()
    world.give(POPULATION)
    await eventually(lambda: world.trainer.step == 2, "what was to come")
    running.cancel()
    assert world.store.expired[:2] == [gone, []]


@pytest.mark.parametrize("error", [StoreFull("full"), StoreUnavailable("away"), StoreBusy("busy")])
async def test_a_step_waits_for_the_disk(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    world.store.fails = [error] * 3
    world.store.at_once = error
    running = asyncio.create_task(world.campaign.run())
    world.give(POPULATION)
    await eventually(lambda: world.campaign.paused, "what was to come")
    assert world.trainer.step == 0
    assert world.recorder.woken == 0
    await eventually(lambda: world.trainer.step == 1, "what was to come")
    assert not world.campaign.paused
    assert world.recorder.woken == 1
    assert len(world.store.steps) == 1, "the same step, once"
    assert caplog.text.count(f"step 0 waits to be stored: {error}") == 4
    running.cancel()


async def test_training_waits_while_the_chain_is_behind(world: World) -> None:
    world.recorder.lag = OUTBOX_LIMIT
    running = asyncio.create_task(world.campaign.run())
    world.give(2 * POPULATION)
    was_paused = world.campaign.paused
    assert was_paused
    for _ in range(3):
        world.campaign.wake()
        await asyncio.sleep(0.01)
    assert world.campaign.progress().step == 0
    world.recorder.lag = OUTBOX_LIMIT - 1  # nobody tells it
    await eventually(lambda: world.trainer.step == 2, "what was to come")
    assert not world.campaign.paused
    running.cancel()


async def test_templates_follow_the_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_MIN", 0.02)
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.01)
    running = asyncio.create_task(world.campaign.run())
    world.give(POPULATION)
    await eventually(lambda: world.pool.step == 1, "what was to come")
    assert world.broadcasts >= 1
    running.cancel()


async def test_a_flood_is_met_before_the_next_refresh(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFRESH_MIN", 3600.0)
    monkeypatch.setattr(world.campaign, "_refresh_seconds", 3600.0)
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.0)
    world.recorder.lag = OUTBOX_LIMIT  # nothing is taken from the queue
    view = miner_view(connection_id=1, user_agent="cpuminer")
    world.pool.connected(view)
    running = asyncio.create_task(world.campaign.run())
    world.give(BACKLOG_STEPS * POPULATION)
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.broadcasts == 0, "a queue of some steps is no flood"
    for _ in range(200_000):
        world.pace.share(1, 9, 0.0)
    world.give(1)
    await eventually(lambda: world.refreshed == [1], "new work for the one that floods")
    assert world.broadcasts == 0
    raised = world.pool.bits(1)
    assert raised is not None
    assert raised > 9
    job = world.pool.job_for(view)
    assert isinstance(job, Job)
    assert job.difficulty == 2.0 ** (raised - 32)
    running.cancel()


async def test_a_failing_refresh_ends_the_campaign(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFRESH_MIN", 0.0)
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.0)

    def fails(backlog: int, now: float) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(world.campaign, "_pace", replace(world.pace))
    monkeypatch.setattr(type(world.pace), "adjust", lambda *_: fails(0, 0))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(world.campaign.run(), 30)


async def test_a_job_the_contract_refuses_is_over(world: World) -> None:
    running = asyncio.create_task(world.campaign.run())
    world.give(POPULATION)
    await eventually(lambda: world.trainer.step == 1, "what was to come")
    world.recorder.refusal = "the contract refuses step 0: JobClosed"
    with pytest.raises(JobOver, match="JobClosed"):
        await asyncio.wait_for(running, 30)


async def test_a_step_is_announced_to_the_recorder_before_it_is_stored(world: World) -> None:
    """The recorder's thread sees a stored step at once: it must know of it by then."""
    seen: list[int] = []
    save = world.store.save_step

    def saving(*arguments: Any, **named: Any) -> Any:
        seen.append(len(world.recorder.expected))
        return save(*arguments, **named)

    world.store.save_step = saving  # type: ignore[method-assign]
    running = asyncio.create_task(world.campaign.run())
    world.give(POPULATION)
    await eventually(lambda: world.trainer.step == 1, "what was to come")
    assert seen == [1]
    running.cancel()


async def test_quiet_miners_hear_of_the_pool(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFRESH_MIN", "HURRY_SECONDS", "REFRESH_IDLE"):
        monkeypatch.setattr(module, name, 0.01)
    running = asyncio.create_task(world.campaign.run())
    await eventually(lambda: world.broadcasts >= 2, "work sent though nothing has changed")
    assert world.trainer.step == 0
    running.cancel()


async def test_steps_grow_longer_while_an_asic_mines(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four refreshes fit into the window, so that no share under way passes it."""
    shortest = set[float]()
    adjust = Pace.adjust

    def seen(pace: Pace[int], backlog: int, now: float, least: float = 0.0) -> list[int]:
        shortest.add(least)
        return adjust(pace, backlog, now, least)

    monkeypatch.setattr(Pace, "adjust", seen)
    monkeypatch.setattr(world.campaign, "_refresh_seconds", 0.5)
    world.pool.connected(miner_view(connection_id=1, user_agent="bmminer/2.0.0"))
    window = world.trainer.params.window
    running = asyncio.create_task(world.campaign.run())
    world.give(3 * POPULATION)
    started = asyncio.get_running_loop().time()
    await eventually(lambda: world.trainer.step == 3, "three steps")
    taken = asyncio.get_running_loop().time() - started
    assert taken >= 2 * 4 * 0.5 / window
    assert world.broadcasts <= taken / 0.5 + 1
    await eventually(lambda: bool(shortest), "bits follow")
    assert shortest == {4 * 0.5 / window}
    running.cancel()
