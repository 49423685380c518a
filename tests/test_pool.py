"""The pool without sockets or disks: what is promised, refused, forgotten, and how hard work is."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from potnode.pace import Pace
from potnode.pool import AT_ONCE_SECONDS, PoolRules, Reached, TrainingPool
from potnode.spec import work
from potnode.spec.hashing import sha256
from potnode.spec.state import State
from potnode.store.errors import StoreBusy, StoreFull
from potnode.store.rows import ShareRow
from potnode.trainer import Trainer
from potnode.work.jobs import WorkTag
from potnode.work.standalone import Standalone
from potnode.work.template import Template, TemplateSource
from stratum.difficulty import difficulty_from_bits
from stratum.errors import Reject, RejectCode
from stratum.jobs import Job
from stratum.server import MinerView
from stratum.shares import Share
from tests.builders import miner_view
from tests.test_trainer import JOB, MANIFEST, SpecEvaluator, make_params

BITS = 9
ASIC_BITS = 42


class FakeClock:
    now = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now


class FakeStore:
    """Answers when told."""

    def __init__(self) -> None:
        self.rows: list[ShareRow] = []
        self.futures: list[Future[bool]] = []
        self.raises: Exception | None = None

    def add_share(self, share: ShareRow) -> Future[bool]:
        if self.raises is not None:
            raise self.raises
        self.rows.append(share)
        self.futures.append(Future())
        return self.futures[-1]


@dataclass
class World:
    store: FakeStore = field(default_factory=FakeStore)
    clock: FakeClock = field(default_factory=FakeClock)
    calls: int = 0
    hurries: int = 0
    sent_jobs: list[int] = field(default_factory=list)
    source: TemplateSource = field(default_factory=lambda: Standalone(JOB))
    answers: list[Reject | None] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        params = replace(make_params(step_limit=2, window=1), min_bits=BITS)
        self.trainer = Trainer(JOB, params, MANIFEST, SpecEvaluator())
        self.pool = self.make(self.trainer)

    def make(self, trainer: Trainer[State]) -> TrainingPool:
        pace = Pace[int](shares=4, flow=300.0)
        reached = Reached(self._called, self._hurried, self.sent_jobs.append)
        return TrainingPool(
            trainer, pace, self.store, self.source, self.clock, reached, PoolRules()
        )

    def _called(self) -> None:
        self.calls += 1

    def _hurried(self) -> None:
        self.hurries += 1

    def join(self, agent: str = "cpuminer/2.5.1") -> MinerView:
        view = miner_view(connection_id=next(self.numbers), user_agent=agent)
        self.pool.connected(view)
        return view

    def job(self, view: MinerView) -> Job:
        job = self.pool.job_for(view)
        assert job is not None
        return job

    def submit(self, view: MinerView, job: Job, nonce: int) -> Share:
        share = make_share(job, nonce)
        self.pool.submit(share, view, self.answers.append)
        return share

    async def settled(self) -> None:
        """Let callbacks of the store's thread arrive."""
        for _ in range(3):
            await asyncio.sleep(0)


def explain(tag: object) -> dict[str, Any] | None:
    assert isinstance(tag, WorkTag)
    return tag.explain()


def make_share(job: Job, nonce: int) -> Share:
    """A share the server judged good; whether its hash is small is not the pool's business."""
    coinbase = job.coinb1 + bytes(4) + nonce.to_bytes(8, "big") + job.coinb2
    return Share(
        job=job,
        hash=sha256(coinbase),
        header80=bytes(80),
        job_id="1",
        worker="w",
        extranonce1=bytes(4),
        extranonce2=nonce.to_bytes(8, "big"),
        version_le=bytes(4),
        ntime_le=bytes(4),
        nonce_le=nonce.to_bytes(4, "little"),
        is_block=False,
    )


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_share_that_is_a_block_is_stored_as_one(world: World) -> None:
    view = world.join()
    for nonce, is_block in ((1, False), (2, True)):
        share = msgspec.structs.replace(make_share(world.job(view), nonce), is_block=is_block)
        world.pool.submit(share, view, world.answers.append)
    assert [row.is_block for row in world.store.rows] == [False, True]


async def test_true_means_on_disk(world: World) -> None:
    view = world.join()
    share = world.submit(view, world.job(view), 1)
    await world.settled()
    assert world.answers == []
    assert world.trainer.plan() is None
    assert world.trainer.waiting == 1, "it has its place already"
    world.store.futures[0].set_result(True)
    await world.settled()
    assert world.answers == [None]
    assert (world.pool.acknowledged, world.calls) == (1, 1)
    row = world.store.rows[0]
    assert (row.hash, row.job_id, row.work_step, row.bits) == (share.hash, JOB, 0, BITS)
    assert row.miner == bytes.fromhex("ab" * 20)
    assert row.extranonce[4:] == bytes(4) + (1).to_bytes(8, "big")


async def test_a_duplicate_is_refused_before_and_after_the_disk(world: World) -> None:
    view = world.join()
    job = world.job(view)
    world.submit(view, job, 1)
    world.submit(view, job, 1)
    assert world.answers == [Reject(RejectCode.DUPLICATE, "Duplicate share")]
    world.submit(view, job, 2)
    world.store.futures[1].set_result(False)  # stored long ago, by an earlier process
    await world.settled()
    assert world.answers[1] == Reject(RejectCode.DUPLICATE, "Duplicate share")
    assert world.trainer.waiting == 1, "the known one gave its place back"
    assert world.pool.refused == {"duplicate": 2}


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_is_not_stored_is_refused_and_may_come_again(
    world: World, at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    view = world.join()
    job = world.job(view)
    for nonce in (1, 2, 3):
        if at_once:
            world.store.raises = StoreBusy("the disk cannot follow")
        world.submit(view, job, nonce)
        if not at_once:
            world.store.futures[-1].set_exception(StoreFull("no room"))
        await world.settled()
    assert world.answers == [Reject(RejectCode.OTHER, "The share could not be stored")] * 3
    assert world.pool.refused == {"not stored": 3}
    assert world.trainer.waiting == 0
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1, "a full disk may be the log's, too"
    world.store.raises = None
    world.submit(view, job, 1)
    world.store.futures[-1].set_result(True)
    await world.settled()
    assert world.answers[-1] is None
    assert "shares can be stored again" in caplog.messages or caplog.get_records("call")


async def test_shares_of_another_training_job_are_refused(world: World) -> None:
    view = world.join()
    other = Trainer(sha256(b"other"), world.trainer.params, MANIFEST, SpecEvaluator())
    foreign = world.make(other)
    foreign.connected(view)
    job = foreign.job_for(view)
    assert job is not None
    world.submit(view, job, 1)
    refusal = Reject(RejectCode.JOB_NOT_FOUND, "Job not found: another training job")
    assert world.answers == [refusal]
    assert world.store.rows == []
    assert world.calls == 0


async def test_the_last_steps_take_no_more_than_they_need(world: World) -> None:
    view = world.join()
    job = world.job(view)
    for nonce in range(9):
        world.submit(view, job, nonce)
    assert world.answers == [Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished")]
    assert world.pool.refused == {"finished": 1}
    for future in world.store.futures:
        future.set_result(True)
    await world.settled()
    for _ in range(2):
        plan = world.trainer.plan()
        assert plan is not None
        world.trainer.commit(world.trainer.compute(plan))
    assert world.pool.job_for(view) is None, "there is nothing left to mine for"


async def test_a_share_that_comes_too_late_is_told_so_and_still_measured() -> None:
    world = World()
    params = replace(make_params(step_limit=9, window=0), min_bits=BITS)
    world.trainer = Trainer(JOB, params, MANIFEST, SpecEvaluator())
    world.pool = world.make(world.trainer)
    view = world.join()
    job = world.job(view)
    for nonce in range(5):
        world.submit(view, job, nonce)
    assert world.answers == [
        Reject(RejectCode.JOB_NOT_FOUND, "Stale: no step in its window has room for it")
    ]
    assert world.calls == 1, "somebody should look: too many shares are coming"
    world.clock.now += 10
    world.pool._pace.adjust(0, world.clock.monotonic())
    assert world.pool._pace.hash_rate() == pytest.approx(5 * 2**BITS / 10)


@pytest.mark.parametrize(("agent", "bits"), [("cpuminer/2.5.1", BITS), ("bmminer", ASIC_BITS)])
async def test_bits_start_at_the_miners_terms(world: World, agent: str, bits: int) -> None:
    view = world.join(agent)
    job = world.job(view)
    assert world.pool.bits(view.connection_id) == bits
    assert job.difficulty == difficulty_from_bits(bits)
    assert job.share_target == work.target(bits)
    world.pool.disconnected(view)
    assert world.pool.bits(view.connection_id) is None


async def test_a_wish_is_followed_with_the_next_job_and_a_large_one_at_once(world: World) -> None:
    view = world.join("bmminer")
    world.pool.asked(replace(view, suggested_difficulty=2048))
    assert world.pool.bits(view.connection_id) == ASIC_BITS + 1
    assert world.sent_jobs == []
    world.pool.asked(replace(view, minimum_difficulty=1 << 20))
    assert world.sent_jobs == [view.connection_id]
    assert world.job(view).difficulty == 1 << 20
    world.pool.asked(miner_view(connection_id=99))  # not mining


async def test_wishes_without_end_are_no_jobs_without_end(world: World) -> None:
    view = world.join("bmminer")
    for bits in range(10, 40, 2):
        world.pool.asked(replace(view, minimum_difficulty=1 << bits))
        assert world.job(view).difficulty == 1 << bits
    assert world.sent_jobs == [view.connection_id]
    world.clock.now += AT_ONCE_SECONDS
    world.pool.asked(replace(view, minimum_difficulty=1 << 50))
    assert world.sent_jobs == [view.connection_id] * 2


async def test_shares_that_come_far_too_fast_are_urgent(world: World) -> None:
    view = world.join("bmminer")
    job = world.job(view)
    for nonce in range(60):
        world.submit(view, job, nonce)
    assert world.hurries > 0


class Chain:
    """A source whose tip is what the test says."""

    def __init__(self) -> None:
        self.template: Template | None = Standalone(JOB).current(1)

    def current(self, now: int) -> Template | None:
        return self.template

    def problems(self) -> list[str]:
        return []

    def new_tip(self, name: bytes) -> None:
        assert self.template is not None
        self.template = replace(self.template, prev_hash_le=name.ljust(32))


async def test_a_share_of_the_old_tip_still_trains() -> None:
    chain = Chain()
    world = World(source=chain)
    view = world.join()
    job = world.job(view)
    chain.new_tip(b"next")
    world.pool.refresh()
    world.submit(view, job, 1)
    world.clock.now += 5.1
    world.submit(view, job, 2)
    world.submit(view, world.job(view), 3)
    for future in world.store.futures:
        future.set_result(True)
    await world.settled()
    stale = Reject(
        RejectCode.JOB_NOT_FOUND, "Stale: there is a new block; the share still trains and is paid"
    )
    assert world.answers == [None, stale, None]
    assert world.trainer.waiting == 3, "a draw is a draw, whatever became of its block"
    assert [row.nonce_le[0] for row in world.store.rows] == [1, 2, 3]
    assert (world.pool.acknowledged, world.pool.refused) == (2, {"old parent": 1})


async def test_new_transactions_are_no_new_tip() -> None:
    chain = Chain()
    world = World(source=chain)
    view = world.join()
    job = world.job(view)
    assert chain.template is not None
    chain.template = replace(chain.template, branch=(bytes(32),))
    world.pool.refresh()
    world.clock.now += 60
    world.submit(view, job, 1)
    world.store.futures[0].set_result(True)
    await world.settled()
    assert world.answers == [None]


async def test_without_a_template_there_is_no_work_until_one_comes() -> None:
    chain = Chain()
    template, chain.template = chain.template, None
    world = World(source=chain)
    view = world.join()
    assert world.pool.job_for(view) is None
    assert world.pool.step is None
    chain.template = template
    world.pool.refresh()
    assert world.pool.job_for(view) is not None
    assert world.pool.step == 0


async def test_no_two_notifies_have_one_content_and_all_commit_to_their_miner(
    world: World,
) -> None:
    views = [world.join(), world.join("bmminer/2.0.0")]
    jobs = [world.job(view) for view in views for _ in range(20)]
    assert len({job.coinb1 for job in jobs}) == 40
    for job in jobs:
        explained = explain(job.tag)
        assert explained is not None
        assert explained["work"] == world.trainer.work().hex()
        expected = work.marker(world.trainer.work(), bytes.fromhex("ab" * 20), explained["bits"])
        assert expected in job.coinb2
        assert not job.clean, "older work still counts"


async def test_templates_follow_the_steps_only_when_refreshed(world: World) -> None:
    view = world.join()
    job = world.job(view)
    for nonce in range(4):
        world.submit(view, job, nonce)
        world.store.futures[-1].set_result(True)
    await world.settled()
    plan = world.trainer.plan()
    assert plan is not None
    world.trainer.commit(world.trainer.compute(plan))
    before = explain(world.job(view).tag)
    assert before is not None
    assert (world.pool.step, before["step"]) == (0, 0)
    world.pool.refresh()
    after = explain(world.job(view).tag)
    assert after is not None
    assert (world.pool.step, after["step"]) == (1, 1)
    assert after["head"] == world.trainer.head.hex()
