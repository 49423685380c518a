from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from potnode.miner.errors import AddressError, CommitmentError, RefusedError
from potnode.miner.miner import Backoff, Miner
from potnode.miner.stats import MinerStats
from potnode.spec.work import MARKER_PREFIX, head_zero, marker, meets, target, work_id
from stratum.difficulty import difficulty_from_bits
from stratum.errors import Reject, RejectCode, Unauthorized
from stratum.jobs import Job
from stratum.server import Answer, Listener, MinerView, StratumServer
from stratum.shares import Share

ME = "0x" + "ab" * 20
SOMEBODY = bytes.fromhex("cd" * 20)
JOB_ID = bytes(range(32))
BITS = 15


class SmallPool:
    """A pool that knows one job; what it hands out and answers can be spoilt by a test."""

    def __init__(self) -> None:
        self.bits = BITS
        self.pays: bytes | None = None  # whose address goes into the marker, if not the miner's
        self.commits = True
        self.clean = False
        self.reject: Reject | None = None
        self.shares: list[Share] = []
        self.silent = False
        self.users: list[str] = []
        self.notifies = 0
        self.step = 0
        self.changed = asyncio.Event()

    def account_of(self, user: str, password: str) -> str:
        if not user.startswith("0x"):
            raise Unauthorized("No such address")
        self.users.append(user)
        return user.partition(".")[0].lower()

    def connected(self, miner: MinerView) -> None:
        assert miner.user_agent.startswith("potnode/")

    def disconnected(self, miner: MinerView) -> None:
        self.changed.set()

    def asked(self, miner: MinerView) -> None:
        self.changed.set()

    def job_for(self, miner: MinerView) -> Job:
        self.notifies += 1
        address = bytes.fromhex(miner.account.removeprefix("0x"))
        head = head_zero(JOB_ID)
        work = work_id(JOB_ID, self.step, head)
        commitment = {
            "job": JOB_ID.hex(),
            "step": self.step,
            "head": head.hex(),
            "work": work.hex(),
            "miner": miner.account,
            "bits": self.bits,
        }
        script_sig_size = bytes([4 + 16])
        null_input = bytes(32) + b"\xff" * 4
        outputs = (
            b"\x02"
            + (50 * 10**8).to_bytes(8, "little")
            + b"\x01\x51"
            + bytes(8)
            + b"\x26"
            + MARKER_PREFIX
            + marker(work, self.pays or address, self.bits)
        )
        return Job(
            prev_hash_le=bytes(31) + b"\x01",
            coinb1=b"\x02\0\0\0\x01"
            + null_input
            + script_sig_size
            + b"\x03abc"
            + self.notifies.to_bytes(4, "big"),
            coinb2=b"\xff" * 4 + outputs + bytes(4),
            branch=(bytes([7]) * 32,),
            version=0x20000000,
            nbits=0x1D00FFFF,
            ntime=1_700_000_000,
            share_target=target(self.bits),
            difficulty=difficulty_from_bits(self.bits),
            network_target=0,
            clean=self.clean,
            account=miner.account,
            tag=commitment,
        )

    def explain(self, tag: object) -> dict[str, object] | None:
        return tag if self.commits and isinstance(tag, dict) else None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        if not self.silent:
            answer(self.reject)
        self.shares.append(share)
        self.changed.set()

    def found_block(self, share: Share, miner: MinerView) -> None:
        raise AssertionError("nothing meets a network target of zero")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def serving(pool: SmallPool, port: int = 0) -> AsyncIterator[StratumServer]:
    server = StratumServer(pool)
    await server.start([Listener(host="127.0.0.1", port=port)])
    try:
        yield server
    finally:
        await server.stop(grace=0.5)


def a_miner(server: StratumServer, user: str = f"{ME}.rig", **options: Any) -> Miner:
    backoff = Backoff(first=0.01, cap=0.05)
    return Miner(f"127.0.0.1:{server.port}", user, workers=1, backoff=backoff, **options)


@contextlib.asynccontextmanager
async def mining(miner: Miner) -> AsyncIterator[asyncio.Task[MinerStats]]:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(miner.run())
        yield running
        miner.stop()


async def test_mines_what_the_pool_accepts() -> None:
    pool, told = SmallPool(), list[MinerStats]()
    async with serving(pool) as server:
        miner = a_miner(server, on_stats=told.append)
        async with mining(miner) as running:
            await pool.until(lambda: len(pool.shares) >= 30)
        stats = running.result()
        assert server.counters.rejects == {}
    assert len({share.hash for share in pool.shares}) == len(pool.shares)
    assert all(meets(share.hash, BITS) for share in pool.shares)
    assert pool.users == [f"{ME}.rig"]
    assert (stats.accepted, stats.rejected, stats.unanswered) == (len(pool.shares), {}, 0)
    assert stats.difficulty == difficulty_from_bits(BITS)
    assert (stats.connections, stats.worker_restarts, stats.last_error) == (1, 0, "")
    assert stats.hashes > 0
    assert stats.last_share_at is not None
    assert told[-1] == stats or told[-1].accepted == stats.accepted


async def test_new_jobs_are_taken_up_and_earlier_shares_still_count() -> None:
    pool = SmallPool()
    async with serving(pool) as server:
        async with mining(a_miner(server)):
            await pool.until(lambda: bool(pool.shares))
            pool.step, pool.bits = 1, BITS + 1
            server.broadcast(clean=False)
            await pool.until(lambda: pool.shares[-1].job.share_target == target(BITS + 1))
            pool.step = 2
            server.broadcast(clean=True)
            await pool.until(lambda: _step(pool.shares[-1]) == 2)
        assert server.counters.rejects == {}
    steps = [_step(share) for share in pool.shares]
    assert steps == sorted(steps)


def _step(share: Share) -> int:
    assert isinstance(share.job.tag, dict)
    return int(share.job.tag["step"])


async def test_counts_what_is_refused_by_code(caplog: pytest.LogCaptureFixture) -> None:
    pool = SmallPool()
    pool.reject = Reject(RejectCode.JOB_NOT_FOUND, "Stale")
    async with serving(pool) as server:
        async with mining(a_miner(server)) as running:
            await pool.until(lambda: len(pool.shares) >= 5)
        stats = running.result()
    assert stats.accepted == 0
    assert stats.rejected == {21: len(pool.shares)}
    assert caplog.text.count("rejects a share: 'Stale'") == 1
    assert stats.last_share_at is None


async def test_refuses_a_pool_that_has_it_work_for_somebody_else() -> None:
    pool = SmallPool()
    pool.pays = SOMEBODY
    async with serving(pool) as server:
        with pytest.raises(CommitmentError) as caught:
            await a_miner(server).run()
    assert caught.value.field == "marker"
    assert pool.shares == []


async def test_refuses_a_pool_that_turns_false_later() -> None:
    pool = SmallPool()
    async with serving(pool) as server:
        running = asyncio.create_task(a_miner(server).run())
        await pool.until(lambda: bool(pool.shares))
        pool.pays = SOMEBODY
        server.broadcast(clean=True)
        with pytest.raises(CommitmentError):
            await asyncio.wait_for(running, 60)
    assert {_pays(share) for share in pool.shares} == {ME}


def _pays(share: Share) -> object:
    assert isinstance(share.job.tag, dict)
    work = bytes.fromhex(share.job.tag["work"])
    found = share.job.coinb2[-36:-4]
    return share.job.tag["miner"] if found == marker(work, bytes.fromhex(ME[2:]), BITS) else None


async def test_a_pool_without_commitments_is_refused_unless_asked_for() -> None:
    pool = SmallPool()
    pool.commits, pool.pays = False, SOMEBODY
    async with serving(pool) as server:
        with pytest.raises(CommitmentError, match="no commitment to show") as caught:
            await a_miner(server).run()
        assert caught.value.field == "reply"
        async with mining(a_miner(server, verify=False)) as running:
            await pool.until(lambda: bool(pool.shares))
        assert running.result().accepted == len(pool.shares)


async def test_a_user_the_pool_refuses_is_an_error() -> None:
    async with serving(SmallPool()) as server:
        with pytest.raises(RefusedError, match="No such address"):
            await a_miner(server, user="bc1q", verify=False).run()


async def test_connects_again_when_the_pool_comes_back() -> None:
    pool = SmallPool()
    async with serving(pool) as server:
        port = server.port
        miner = a_miner(server)
        running = asyncio.create_task(miner.run())
        await pool.until(lambda: bool(pool.shares))
    before = len(pool.shares)
    async with serving(pool, port):
        await pool.until(lambda: len(pool.shares) > before)
        assert miner.stats.connected
        miner.stop()
        stats = await running
    assert stats.connections >= 2
    assert stats.last_error != ""


async def test_hashing_waits_for_a_pool_that_does_not_answer() -> None:
    pool = SmallPool()
    pool.silent, pool.bits = True, 10
    async with serving(pool) as server:
        miner = a_miner(server)
        running = asyncio.create_task(miner.run())
        await pool.until(lambda: len(pool.shares) >= 256)
        await asyncio.sleep(0.3)
        assert len(pool.shares) == 256
        miner.stop()
        stats = await running
    assert (stats.accepted, stats.unanswered) == (0, 256)


async def test_stops_while_no_pool_is_there() -> None:
    failed = asyncio.Event()

    def tell(stats: MinerStats) -> None:
        if stats.last_error:
            failed.set()

    async with serving(SmallPool()) as server:
        miner = a_miner(server, on_stats=tell)
    running = asyncio.create_task(miner.run())
    await asyncio.wait_for(failed.wait(), 60)
    miner.stop()
    stats = await running
    assert (stats.connected, stats.connections, stats.accepted) == (False, 0, 0)


async def test_a_pool_that_speaks_no_stratum_is_tried_again() -> None:
    greeted = asyncio.Semaphore(0)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.release()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        miner = Miner(f"127.0.0.1:{port}", ME, workers=1, backoff=Backoff(0.01, 0.02))
        running = asyncio.create_task(miner.run())
        for _ in range(3):
            await asyncio.wait_for(greeted.acquire(), 60)
        miner.stop()
        stats = await running
    assert "sent no message" in stats.last_error


def test_a_user_that_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(AddressError):
        Miner("127.0.0.1:3333", "bc1q.rig")


def test_waits_double_up_to_the_cap_and_begin_again() -> None:
    backoff = Backoff(first=1.0, cap=5.0, jitter=lambda: 0.5)
    assert [backoff.wait() for _ in range(5)] == [0.75, 1.5, 3.0, 3.75, 3.75]
    backoff.reset()
    assert backoff.wait() == 0.75


RUN = """
import sys
from potnode.miner.miner import run_miner
stats = run_miner(sys.argv[1], sys.argv[2], workers=1)
print(stats.accepted)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    pool = SmallPool()
    async with serving(pool) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RUN, f"stratum+tcp://127.0.0.1:{server.port}", ME),
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        await pool.until(lambda: bool(pool.shares))
        process.send_signal(number)
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert 0 < int(out) <= len(pool.shares)
