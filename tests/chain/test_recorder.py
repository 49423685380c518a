"""The outbox protocol on both chains: exactly one record per step, whatever fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from potnode.chain import reader
from potnode.chain.contract import encode_record
from potnode.chain.errors import (
    BadChainData,
    ChainUnavailable,
    HeadConflict,
    InsufficientFunds,
    RecordRefused,
    RpcError,
)
from potnode.chain.hexes import data, quantity
from potnode.chain.keys import Key
from potnode.chain.ports import OutboxItem, OutboxStatus
from potnode.chain.recorder import Progress, Recorder, RecorderSettings, drive
from potnode.chain.retry import Backoff
from potnode.chain.sender import Sender
from potnode.spec.hashing import sha256
from potnode.spec.work import head_zero, next_head
from tests.builders import make_chain_of_records, make_job
from tests.chain.conftest import (
    Crash,
    Crashing,
    Flaky,
    World,
    anvil_world,
)


def run_until_idle(recorder: Recorder, limit: int = 50) -> None:
    for _ in range(limit):
        if recorder.step_once() is Progress.IDLE:
            return
    raise AssertionError(f"the recorder is not idle after {limit} steps")


def recorded(world: World, job_id: bytes) -> list[bytes]:
    """The recorded step data, from the events, checked against the contract's heads."""
    ledger = world.ledger()
    return [step.step_data for step in reader.read_steps(ledger, reader.read_job(ledger, job_id))]


def test_steps_are_recorded_in_order(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 3)
    run_until_idle(world.recorder())
    assert recorded(world, job_id) == [i.step_data for i in world.outbox.items.values()]
    assert set(world.outbox.statuses()) == {OutboxStatus.FINAL}
    assert reader.proof_count(world.ledger(), job_id) == 3 * job.params.population
    receipts = [world.ledger().chain.receipt(i.tx_hash or b"") for i in world.outbox.items.values()]
    assert [r.block_number for r in receipts if r] == [
        i.block_number for i in world.outbox.items.values()
    ]


def test_steps_of_a_rising_population_are_recorded_and_counted(world: World) -> None:
    job, job_id = world.new_job(
        candidates_per_share=3, population_start=3, population=12, step_limit=6
    )
    world.close_steps(job, job_id, 6)
    run_until_idle(world.recorder())
    assert recorded(world, job_id) == [i.step_data for i in world.outbox.items.values()]
    assert reader.proof_count(world.ledger(), job_id) == 1 + 1 + 2 + 2 + 3 + 3
    state = reader.job_state(world.ledger(), job_id)
    assert state is not None
    assert (state.population_start, state.population, state.candidates_per_share) == (3, 12, 3)


def test_nothing_to_do_is_idle(world: World) -> None:
    assert world.recorder().step_once() is Progress.IDLE


def test_a_job_is_created_once(world: World) -> None:
    job, job_id = world.new_job()
    before = world.ledger().chain.next_nonce(world.key.address)
    assert world.recorder().create_job(job.params, job.manifest) == job_id
    assert world.ledger().chain.next_nonce(world.key.address) == before
    found = reader.read_job(world.ledger(), job_id)
    assert (found.params, found.manifest) == (job.params, job.manifest)
    escrow = job.params.step_limit * (job.params.pot_per_step + job.params.operator_fee)
    assert reader.escrow(world.ledger(), job_id) == escrow


def test_a_refused_job_says_why(world: World) -> None:
    job = make_job(bytes.fromhex("22" * 20))
    with pytest.raises(RecordRefused, match=r"NotOwner\(owner=0x2222"):
        world.recorder().create_job(job.params, job.manifest)


class _Counted:
    """Counts the port calls of one recording."""

    def __init__(self) -> None:
        self.calls = itertools.count()
        self.last = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.last = next(self.calls) + 1
        return self.last - 1


def crashing_recorder(world: World, counter: Iterator[int], at: int, *, after: bool) -> Recorder:
    ledger = world.ledger()
    chain = Crashing(ledger.chain, counter, at, after=after)
    whole = Crashing(ledger, counter, at, after=after)
    # Attributes that are no calls pass through uncounted.
    whole.__dict__.update(chain=chain, contract=ledger.contract)
    chain.__dict__.update(chain_id=ledger.chain.chain_id)
    outbox = Crashing(world.outbox, counter, at, after=after)
    sender = Sender(cast(Any, chain), world.key, gas_limit=world.gas_limit)
    return Recorder(cast(Any, whole), sender, cast(Any, outbox), monotonic=lambda: world.now)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_leaves_exactly_one_record(world: World, after: bool) -> None:
    job, job_id = world.new_job()
    records = make_chain_of_records(job.params, job_id, 40)
    counter = _Counted()
    for step, (prev_head, step_data) in enumerate(records):
        world.outbox.add(
            OutboxItem(job_id=job_id, step=step, prev_head=prev_head, step_data=step_data)
        )
        counter = _Counted()
        recorder = crashing_recorder(world, counter, at=step, after=after)
        try:
            run_until_idle(recorder)
        except Crash:
            run_until_idle(world.recorder())
        else:
            break
    else:
        raise AssertionError("a recording makes more calls than this test has steps")
    # The last recording ran through without a crash: every call of it was crashed at once before.
    assert counter.last <= step + 1
    assert recorded(world, job_id) == [data for _, data in records[: step + 1]]
    assert set(world.outbox.statuses()) == {OutboxStatus.FINAL}


def test_a_node_that_dies_after_taking_the_transaction_loses_nothing(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 2)
    line = Flaky(world.transport)
    world.transport = cast(Any, line)
    recorder = world.recorder()
    line.die_after_sending = True
    with pytest.raises(ChainUnavailable):
        recorder.step_once()
    for _ in range(3):
        with pytest.raises(ChainUnavailable):
            recorder.step_once()
    line.dead = line.die_after_sending = False
    run_until_idle(recorder)
    assert len(recorded(world, job_id)) == 2


def test_a_dead_node_is_waited_for(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    line = Flaky(world.transport)
    world.transport = cast(Any, line)
    recorder = world.recorder()
    line.dead = True
    with pytest.raises(ChainUnavailable):
        recorder.step_once()
    assert world.outbox.statuses() == [OutboxStatus.NEW]
    line.dead = False
    run_until_idle(recorder)
    assert len(recorded(world, job_id)) == 1


def test_the_same_step_recorded_before_is_done(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    run_until_idle(world.recorder())
    (done,) = world.outbox.items.values()
    nonce = world.ledger().chain.next_nonce(world.key.address)
    # A restored database that has never seen the transaction.
    world.outbox.add(
        OutboxItem(job_id=job_id, step=0, prev_head=done.prev_head, step_data=done.step_data)
    )
    run_until_idle(world.recorder())
    (again,) = world.outbox.items.values()
    assert (again.tx_hash, again.block_number) == (done.tx_hash, done.block_number)
    assert world.ledger().chain.next_nonce(world.key.address) == nonce


def test_another_record_of_the_step_is_a_conflict(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    run_until_idle(world.recorder())
    (done,) = world.outbox.items.values()
    other = done.step_data[:-1] + bytes([done.step_data[-1] ^ 1])
    world.outbox.add(OutboxItem(job_id=job_id, step=0, prev_head=done.prev_head, step_data=other))
    with pytest.raises(HeadConflict, match="step 0"):
        world.recorder().step_once()


def test_a_step_beyond_what_the_node_shows_waits_for_it(world: World) -> None:
    """The step before was seen in a block: a replica that lags answers as if it were not."""
    job, job_id = world.new_job()
    (first_head, first_data), (head, step_data) = make_chain_of_records(job.params, job_id, 2)
    world.outbox.add(OutboxItem(job_id=job_id, step=1, prev_head=head, step_data=step_data))
    with pytest.raises(BadChainData, match=r"step 1 .* waits"):
        world.recorder().step_once()
    assert world.outbox.statuses() == [OutboxStatus.NEW]
    world.sender().execute("step 0", world.ledger().contract, encode_record(first_head, first_data))
    run_until_idle(world.recorder())
    assert reader.steps(world.ledger(), job_id) == 2


def test_a_refused_record_says_why_and_is_given_up(world: World) -> None:
    job, job_id = world.new_job()
    head, step_data = make_chain_of_records(job.params, job_id, 1)[0]
    world.outbox.add(OutboxItem(job_id=job_id, step=0, prev_head=head, step_data=step_data + b"\0"))
    with pytest.raises(RecordRefused, match="TrailingBytes"):
        world.recorder().step_once()
    assert world.outbox.statuses() == [OutboxStatus.REVERTED]
    assert reader.steps(world.ledger(), job_id) == 0


def test_a_refused_step_ends_its_job_and_no_other(world: World) -> None:
    doomed, doomed_id = world.new_job()
    other, other_id = world.new_job()
    records = make_chain_of_records(doomed.params, doomed_id, 3)
    for step, (head, step_data) in enumerate(records):
        spoiled = step_data + b"\0" if step == 1 else step_data
        world.outbox.add(OutboxItem(job_id=doomed_id, step=step, prev_head=head, step_data=spoiled))
    world.close_steps(other, other_id, 1)
    recorder = world.recorder()
    refusals = []
    while True:
        try:
            if recorder.step_once() is Progress.IDLE:
                break
        except RecordRefused as refusal:
            refusals.append(refusal.job_id)
    assert refusals == [doomed_id]
    assert reader.steps(world.ledger(), doomed_id) == 1
    assert reader.steps(world.ledger(), other_id) == 1
    statuses = world.outbox.statuses()
    assert sorted(statuses) == sorted([OutboxStatus.FINAL] * 2 + [OutboxStatus.REVERTED] * 2)


def test_a_stolen_nonce_is_replaced(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    recorder = world.recorder()
    line = Flaky(world.transport)
    world.transport = cast(Any, line)
    outbox = world.outbox
    # Sign and keep, but crash before sending; then the same key is used for something else.
    with pytest.raises(Crash):
        run_until_idle(
            Recorder(
                world.ledger(),
                world.sender(),
                cast(Any, _CrashAfterSigning(outbox)),
            )
        )
    signed = outbox.items[job_id, 0]
    assert signed.status is OutboxStatus.SIGNED
    world.sender().execute("a gift", bytes.fromhex("33" * 20), b"", value=1)
    run_until_idle(recorder)
    assert len(recorded(world, job_id)) == 1
    assert outbox.items[job_id, 0].nonce == (signed.nonce or 0) + 1


class _CrashAfterSigning:
    def __init__(self, outbox: Any) -> None:
        self._outbox = outbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    def mark_signed(self, *arguments: Any, **named: Any) -> None:
        self._outbox.mark_signed(*arguments, **named)
        raise Crash


def test_an_account_without_money_is_told_so(world: World) -> None:
    job, job_id = world.new_job(operator=(poor := Key.random()).address)
    world.close_steps(job, job_id, 1)
    world.key = poor
    with pytest.raises(InsufficientFunds, match="nsufficient funds"):
        world.recorder().step_once()
    assert world.outbox.statuses() == [OutboxStatus.SIGNED]


@pytest.fixture
def held(anvil_url: str) -> Iterator[World]:
    """anvil that mines only when told."""
    world = anvil_world(anvil_url)
    yield world
    world.transport.request("evm_setAutomine", [True])
    world.transport.request("evm_mine", [])


def test_an_unmined_record_is_replaced_with_a_better_offer(held: World) -> None:
    job, job_id = held.new_job()
    held.close_steps(job, job_id, 1)
    held.transport.request("evm_setAutomine", [False])
    recorder = held.recorder()
    assert recorder.step_once() is Progress.WAITING
    first = held.outbox.items[job_id, 0]
    assert first.status is OutboxStatus.SENT
    held.now = 100.0
    assert recorder.step_once() is Progress.WAITING
    assert held.outbox.items[job_id, 0].tx_hash == first.tx_hash
    held.now = 200.0
    assert recorder.step_once() is Progress.WAITING
    second = held.outbox.items[job_id, 0]
    assert second.nonce == first.nonce
    assert second.tx_hash != first.tx_hash
    held.transport.request("evm_mine", [])
    run_until_idle(recorder)
    assert held.outbox.items[job_id, 0].tx_hash == second.tx_hash
    assert len(recorded(held, job_id)) == 1


def test_an_offer_below_a_pending_one_is_raised(held: World) -> None:
    """After a crash the outbox may lag behind the pool: the offer must beat what is pending."""
    job, job_id = held.new_job()
    held.close_steps(job, job_id, 1)
    held.transport.request("evm_setAutomine", [False])
    held.recorder().step_once()
    first = held.outbox.items[job_id, 0]
    sender = held.sender()
    rival = sender.sign(
        held.contract, b"\0\0\0\0", gas=100_000, nonce=first.nonce, replaces=first.raw_tx
    )
    sender.chain.send_raw_transaction(rival.raw)
    held.outbox.add(replace(first, status=OutboxStatus.SIGNED))
    recorder = held.recorder()
    for _ in range(3):
        assert recorder.step_once() is Progress.WAITING
    held.transport.request("evm_mine", [])
    run_until_idle(recorder)
    assert len(recorded(held, job_id)) == 1


def test_a_reorganisation_is_followed(anvil_url: str) -> None:
    world = anvil_world(anvil_url)
    job, job_id = world.new_job()
    snapshot = world.transport.request("evm_snapshot", [])
    world.close_steps(job, job_id, 2)
    recorder = world.recorder(RecorderSettings(confirmations=3))
    while world.outbox.statuses() != [OutboxStatus.MINED, OutboxStatus.MINED]:
        assert recorder.step_once() is not Progress.IDLE
    assert world.transport.request("evm_revert", [snapshot])
    assert reader.steps(world.ledger(), job_id) == 0
    for _ in range(10):
        recorder.step_once()
    assert world.outbox.statuses() == [OutboxStatus.MINED, OutboxStatus.MINED]
    assert recorder.step_once() is Progress.WAITING
    world.transport.request("anvil_mine", [quantity(4)])
    run_until_idle(recorder)
    assert len(recorded(world, job_id)) == 2
    assert set(world.outbox.statuses()) == {OutboxStatus.FINAL}


class _Scripted:
    """A recorder whose steps end as the test says; then it stays idle."""

    def __init__(self, *ends: Progress | Exception) -> None:
        self._ends = iter(ends)
        self.idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def step_once(self) -> Progress:
        end = next(self._ends, Progress.IDLE)
        if isinstance(end, Exception):
            raise end
        if end is Progress.IDLE:
            self._loop.call_soon_threadsafe(self.idle.set)
        return end


async def test_the_driver_outlasts_a_dead_node(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    recorder = _Scripted(
        ChainUnavailable("the node is gone"),
        RpcError(-32005, "too many requests"),
        InsufficientFunds("insufficient funds"),
        Progress.ADVANCED,
    )
    driver = asyncio.create_task(
        drive(cast(Any, recorder), asyncio.Event(), backoff=Backoff(first=0.001))
    )
    await asyncio.wait_for(recorder.idle.wait(), 10)
    driver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driver
    said = [record.getMessage() for record in caplog.records]
    for message, words in zip(said, ["gone", "too many", "insufficient"], strict=True):
        assert words in message


async def test_the_driver_wakes_when_told() -> None:
    recorder = _Scripted(Progress.IDLE)
    wake = asyncio.Event()
    driver = asyncio.create_task(drive(cast(Any, recorder), wake, poll_seconds=3600))
    for _ in range(2):
        await asyncio.wait_for(recorder.idle.wait(), 10)
        recorder.idle.clear()
        wake.set()
    driver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driver


async def test_the_driver_ends_with_what_needs_a_person() -> None:
    recorder = _Scripted(HeadConflict("two of us"))
    with pytest.raises(HeadConflict):
        await drive(cast(Any, recorder), asyncio.Event())


def test_heads_follow_the_specification(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    run_until_idle(world.recorder())
    (item,) = world.outbox.items.values()
    assert item.prev_head == head_zero(job_id) == reader.head_at(world.ledger(), job_id, 0)
    assert reader.head_at(world.ledger(), job_id, 1) == next_head(item.prev_head, item.step_data)
    assert reader.state_root(world.ledger(), job_id) == sha256(b"state" + bytes(8))
    assert data(world.contract).startswith("0x")


def test_views_of_money(world: World) -> None:
    job, job_id = world.new_job()
    world.close_steps(job, job_id, 1)
    run_until_idle(world.recorder())
    assert reader.step_info(world.ledger(), job_id, 0).settled is False
    assert reader.credits_of(world.ledger(), bytes(20), bytes.fromhex("11" * 20)) == 0
