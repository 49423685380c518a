"""The switch: miners pass from job to job, and a block is kept whatever they are at."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from potnode.idle import IdlePool
from potnode.pool import PoolRules
from potnode.switch import PoolSwitch
from potnode.work.address import Accounts
from potnode.work.jobs import NO_WORK
from potnode.work.parent import ParentBlock
from stratum.errors import Reject, RejectCode, Unauthorized
from stratum.server import MinerView
from tests.builders import miner_view
from tests.node.harness import eventually
from tests.test_pool import BITS, Chain, FakeClock, World, make_share

ADDRESS = "0x" + "ab" * 20
PARENT = ParentBlock(height=7, transactions=(), segwit=False)


MOST = 2


@dataclass
class Blocks:
    kept: list[tuple[ParentBlock, bytes, bytes, str]] = field(default_factory=list)

    def found(
        self, parent: ParentBlock, header80: bytes, coinbase: bytes, *, finder: str
    ) -> object:
        if len(self.kept) == MOST:
            return None
        self.kept.append((parent, header80, coinbase, finder))
        return self.kept[-1]


@pytest.fixture
async def world() -> World:
    return World()


def real_chain() -> Chain:
    chain = Chain()
    assert chain.template is not None
    chain.template = replace(chain.template, parent=PARENT, network_target=1 << 200)
    return chain


def idle_pool(chain: Chain, broadcasts: list[bool]) -> IdlePool:
    return IdlePool(
        chain,
        FakeClock(),
        PoolRules(),
        broadcast=lambda: broadcasts.append(True),
        refresh_seconds=0.01,
    )


def test_user_names() -> None:
    switch = PoolSwitch(Accounts())
    assert switch.account_of(ADDRESS.upper().replace("X", "x") + ".rig") == ADDRESS
    for wrong in ("", "bc1qxyz", "0x12", ADDRESS + "00"):
        with pytest.raises(Unauthorized):
            switch.account_of(wrong)


async def test_miners_are_introduced_to_each_job(world: World) -> None:
    switch = PoolSwitch(Accounts())
    view = miner_view(connection_id=7, user_agent="cpuminer")
    answers: list[Reject | None] = []
    job = world.job(world.join())
    assert switch.job_for(view) is None
    assert switch.bits(7) is None
    for call in (switch.connected, switch.disconnected, switch.asked):
        call(view)
    switch.refresh()
    switch.submit(make_share(job, 1), view, answers.append)
    assert answers == [Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished")]
    switch.use(world.pool, [view])
    assert switch.bits(7) == BITS
    found = switch.job_for(view)
    assert found is not None
    assert switch.explain(found.tag) is not None
    switch.submit(make_share(found, 1), view, answers.append)
    assert len(world.store.rows) == 1
    switch.disconnected(view)
    assert switch.bits(7) is None
    switch.use(None, ())
    assert switch.job_for(view) is None


async def test_between_jobs_miners_go_on_with_real_blocks(world: World) -> None:
    chain, answers = real_chain(), list[Reject | None]()
    switch = PoolSwitch(Accounts(), Blocks(), idle_pool(chain, []))
    switch.refresh()
    view = miner_view(connection_id=7)
    switch.connected(view)
    job = switch.job_for(view)
    assert job is not None
    assert NO_WORK in job.coinb2
    assert job.network_target == 1 << 200
    assert switch.explain(job.tag) is switch.explain("junk") is None
    switch.submit(make_share(job, 1), view, answers.append)
    assert answers == [None]
    switch.use(world.pool, [view])
    trained = switch.job_for(view)
    assert trained is not None
    assert NO_WORK not in trained.coinb2
    chain.new_tip(b"next")
    switch.refresh()
    switch.submit(make_share(job, 2), view, answers.append)
    assert answers[1] == Reject(RejectCode.JOB_NOT_FOUND, "Job not found: another training job")
    switch.use(None, [view])
    switch.submit(make_share(trained, 3), view, answers.append)
    assert answers[2] == Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished")
    again = switch.job_for(view)
    assert again is not None
    assert again.coinb1 != job.coinb1, "no two notifies share content"
    assert again.prev_hash_le == b"next".ljust(32), "the present block, not the one before training"
    switch.disconnected(view)
    assert switch.bits(7) is None


async def test_idle_miners_hear_of_new_work_and_keep_their_wishes() -> None:
    chain, broadcasts = real_chain(), list[bool]()
    idle = idle_pool(chain, broadcasts)
    running = asyncio.create_task(idle.run())
    await asyncio.sleep(0.05)
    assert broadcasts == [], "nobody is here"
    view = miner_view(connection_id=1, suggested_difficulty=64)
    idle.connected(view)
    assert idle.bits(1) == 38
    idle.asked(replace(view, minimum_difficulty=4096))
    assert idle.bits(1) == 44
    await eventually(lambda: bool(broadcasts), "new work")
    chain.template = None
    idle.refresh()
    assert idle.job_for(view) is None
    running.cancel()


async def test_miners_keep_the_bits_they_were_led_to(world: World) -> None:
    idle = idle_pool(real_chain(), [])
    switch = PoolSwitch(Accounts(), Blocks(), idle)
    asic = miner_view(connection_id=1, user_agent="bmminer/2.0.0")
    fixed = replace(asic, connection_id=2, fixed_difficulty=4096)
    cpu = miner_view(connection_id=3, user_agent="cpuminer")
    idle.connected(asic, 50)  # as if vardiff had raised them
    switch.connected(fixed)
    switch.connected(cpu)
    assert [switch.bits(n) for n in (1, 2, 3)] == [50, 44, 38]
    switch.use(world.pool, [asic, fixed, cpu])
    assert [switch.bits(n) for n in (1, 2, 3)] == [50, 44, BITS]
    switch.use(None, [asic, fixed, cpu])
    assert [switch.bits(n) for n in (1, 2, 3)] == [50, 44, 38]
    switch.use(None, [replace(asic, minimum_difficulty=2.0**20)])
    assert switch.bits(1) == 52, "within what it may have"


async def test_a_miner_that_goes_as_training_begins_is_forgotten(world: World) -> None:
    broadcasts = list[bool]()
    idle = idle_pool(real_chain(), broadcasts)
    switch = PoolSwitch(Accounts(), Blocks(), idle)
    view = miner_view(connection_id=7)
    switch.connected(view)
    switch.use(world.pool, ())  # it is closing: none of the miners any more, but not gone
    switch.disconnected(view)
    assert idle.bits(7) is None
    running = asyncio.create_task(idle.run())
    await asyncio.sleep(0.05)
    assert broadcasts == [], "those in training are sent new work as steps go on, not more often"
    running.cancel()


@pytest.mark.parametrize("training", [True, False])
async def test_a_block_is_kept_whatever_is_trained(training: bool) -> None:
    chain, blocks = real_chain(), Blocks()
    world = World(source=chain)
    told: list[tuple[int, str]] = []
    switch = PoolSwitch(
        Accounts(), blocks, idle_pool(chain, []), tell=lambda *words: told.append(words)
    )
    view: MinerView = miner_view(connection_id=3, worker="the first of many")
    switch.refresh()
    if training:
        switch.use(world.pool, ())
    switch.connected(view)
    job = switch.job_for(view)
    assert job is not None
    share = msgspec.structs.replace(make_share(job, 5), worker="s9")
    switch.found_block(share, view)
    assert blocks.kept == [(PARENT, share.header80, share.coinbase, f"{view.account}.s9")]
    assert told == [(3, "This miner found block 7")]
    for nonce in (6, 7):
        switch.found_block(make_share(job, nonce), view)
    assert (len(blocks.kept), len(told)) == (MOST, MOST), "nobody is told of what is not kept"


async def test_a_standalone_hash_that_small_is_said_and_not_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = Blocks()
    switch = PoolSwitch(Accounts(), blocks)
    view = world.join()
    share = make_share(world.job(view), 1)
    with caplog.at_level(logging.WARNING):
        switch.found_block(share, view)
    assert share.hash[::-1].hex() in caplog.text
    assert blocks.kept == []
