"""The pool without sockets or disks: what is promised, refused, forgotten, and how hard work is."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

from potnode.pace import Pace
from potnode.pool import ASIC_MIN_BITS, PoolSwitch, TrainingPool
from potnode.spec import work
from potnode.spec.hashing import sha256
from potnode.spec.state import State
from potnode.store.errors import StoreBusy, StoreFull
from potnode.store.rows import ShareRow
from potnode.trainer import Trainer
from potnode.work.standalone import Standalone
from stratum.difficulty import difficulty_from_bits
from stratum.errors import Reject, RejectCode, Unauthorized
from stratum.jobs import Job
from stratum.server import MinerView
from stratum.shares import Share
from tests.test_trainer import JOB, SpecEvaluator, make_params

ADDRESS = "0x" + "ab" * 20
BITS = 9


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
    answers: list[Reject | None] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        params = replace(make_params(step_limit=2, window=1), min_bits=BITS)
        self.trainer = Trainer(JOB, params, SpecEvaluator())
        self.pool = self.make(self.trainer)

    def make(self, trainer: Trainer[State]) -> TrainingPool:
        pace = Pace(population=4, flow=300.0)
        return TrainingPool(
            trainer, pace, self.store, Standalone(trainer.job_id), self.clock, self._called
        )

    def _called(self) -> None:
        self.calls += 1

    def join(self, agent: str = "cpuminer/2.5.1") -> MinerView:
        view = miner(next(self.numbers), agent)
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


def miner(number: int, agent: str) -> MinerView:
    return MinerView(
        connection_id=number,
        account=ADDRESS,
        worker="w",
        user_agent=agent,
        suggested_difficulty=None,
        fixed_difficulty=None,
        minimum_difficulty=None,
        version_mask=0,
        extranonce1=number.to_bytes(4, "big"),
        peer="127.0.0.1:1",
    )


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
        share = replace(make_share(world.job(view), nonce), is_block=is_block)
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
    other = Trainer(sha256(b"other"), world.trainer.params, SpecEvaluator())
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
    world.trainer = Trainer(JOB, params, SpecEvaluator())
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


@pytest.mark.parametrize(
    ("agent", "bits"),
    [
        ("cpuminer/2.5.1", BITS),
        ("bfgminer/5.5.0-34-g866fd36f", BITS),
        ("potnode/0.1.0", BITS),
        ("CpuMiner-opt", BITS),
        ("bmminer/2.0.0", ASIC_MIN_BITS),
        ("cgminer/4.11.1", ASIC_MIN_BITS),
        ("whatsminer/v1.0", ASIC_MIN_BITS),
        ("", ASIC_MIN_BITS),
    ],
)
async def test_bits_start_where_the_machine_can_work(world: World, agent: str, bits: int) -> None:
    view = world.join(agent)
    job = world.job(view)
    assert world.pool.bits(view.connection_id) == bits
    assert job.difficulty == difficulty_from_bits(bits)
    assert job.share_target == work.target(bits)
    world.pool.disconnected(view)
    assert world.pool.bits(view.connection_id) is None


async def test_no_two_notifies_have_one_content_and_all_commit_to_their_miner(
    world: World,
) -> None:
    views = [world.join(), world.join("bmminer/2.0.0")]
    jobs = [world.job(view) for view in views for _ in range(20)]
    assert len({job.coinb1 for job in jobs}) == 40
    for job in jobs:
        explained = world.pool.explain(job.tag)
        assert explained is not None
        assert explained["work"] == world.trainer.work().hex()
        expected = work.marker(world.trainer.work(), bytes.fromhex("ab" * 20), explained["bits"])
        assert expected in job.coinb2
        assert not job.clean, "older work still counts"
    assert world.pool.explain("junk") is None


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
    before = world.pool.explain(world.job(view).tag)
    assert before is not None
    assert (world.pool.step, before["step"]) == (0, 0)
    world.pool.refresh()
    after = world.pool.explain(world.job(view).tag)
    assert after is not None
    assert (world.pool.step, after["step"]) == (1, 1)
    assert after["head"] == world.trainer.head.hex()


def test_user_names() -> None:
    switch = PoolSwitch()
    assert switch.account_of(ADDRESS.upper().replace("X", "x") + ".rig", "x") == ADDRESS
    for wrong in ("", "bc1qxyz", "0x12", ADDRESS + "00"):
        with pytest.raises(Unauthorized):
            switch.account_of(wrong, "x")


async def test_the_switch_introduces_miners_to_each_job(world: World) -> None:
    switch = PoolSwitch()
    view = miner(7, "cpuminer")
    answers: list[Reject | None] = []
    job = world.job(world.join())
    assert switch.job_for(view) is None
    assert switch.bits(7) is None
    for call in (switch.connected, switch.disconnected):
        call(view)
    switch.submit(make_share(job, 1), view, answers.append)
    assert answers == [Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished")]
    switch.use(world.pool, [view])
    assert switch.bits(7) == BITS
    found = switch.job_for(view)
    assert found is not None
    assert switch.explain(found.tag) == world.pool.explain(found.tag)
    switch.submit(make_share(found, 1), view, answers.append)
    assert len(world.store.rows) == 1
    switch.disconnected(view)
    assert switch.bits(7) is None
    switch.use(None, ())
    assert switch.job_for(view) is None


async def test_a_block_of_the_parent_chain_is_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    view = world.join()
    share = make_share(world.job(view), 1)
    switch = PoolSwitch()
    switch.found_block(share, view)
    assert caplog.records == []
    switch.use(world.pool, [view])
    switch.found_block(share, view)
    assert share.hash[::-1].hex() in caplog.text
