"""Signals, kills and restarts of a real node with a real miner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from potnode.store.rows import Checkpoint, ShareStatus, StepView, TxStatus
from tests.node.harness import (
    DEADLINE,
    MINER,
    POPULATION,
    Digger,
    RunningNode,
    create_job,
    environment,
    opened_store,
    potnode,
)

STEPS = 60


@dataclass(frozen=True)
class Kept:
    """What a stopped node's database says of its job."""

    checkpoint: Checkpoint | None
    steps: dict[int, StepView]
    status: dict[bytes, ShareStatus]
    counted: Counter[bytes]

    @property
    def roots(self) -> dict[int, tuple[bytes, bytes]]:
        return {n: (view.head, view.state_root) for n, view in self.steps.items()}


def kept(data_dir: Path, job_id: bytes) -> Kept:
    with opened_store(data_dir) as store:
        steps = {view.step: view for view in store.steps(job_id, limit=1000).items}
        counted: Counter[bytes] = Counter()
        for step in steps:
            counted.update(proof.hash for proof in store.step_proofs(job_id, step))
        status = {p.hash: p.status for p in store.proofs(job_id=job_id, limit=1000).items}
        return Kept(store.checkpoint(job_id), steps, status, counted)


def steps_of(node: RunningNode) -> int:
    training = node.training()
    return int(training["step"]) if training else 0


async def dig_until(digger: Digger, node: RunningNode, step: int, acknowledged: int) -> None:
    """Mine until the job is at a step and so many shares are promised."""
    loop = asyncio.get_running_loop()
    reached = asyncio.Event()

    def watch() -> None:
        node.wait_until(
            lambda: steps_of(node) >= step and len(digger.acknowledged) >= acknowledged,
            f"step {step} with {acknowledged} shares",
        )
        loop.call_soon_threadsafe(reached.set)

    watching = loop.run_in_executor(None, watch)
    digging = asyncio.create_task(digger.dig(lambda: False))
    try:
        await asyncio.wait_for(reached.wait(), DEADLINE)
    finally:
        digging.cancel()
        await asyncio.gather(digging, return_exceptions=True)
        await watching


def audit(data_dir: Path, job_id: bytes) -> dict[str, object]:
    done = potnode("audit", job_id.hex(), "--data-dir", data_dir, "--json")
    assert done.status == 0, done.out + done.err
    report: dict[str, object] = json.loads(done.out)
    return report


async def finish(node: RunningNode) -> Digger:
    """Mine to the end of the job."""
    digger = Digger(node.stratum_port, user=MINER + ".second")
    digging = asyncio.create_task(digger.dig(lambda: False))
    try:
        await asyncio.to_thread(node.wait_for_line, f"all {STEPS} steps closed")
        await asyncio.to_thread(
            node.wait_until,
            lambda: node.get("/api/v1/jobs")["items"][0]["steps"] == STEPS,
            "all steps are on the chain",
        )
    finally:
        digging.cancel()
        await asyncio.gather(digging, return_exceptions=True)
    return digger


async def test_a_kill_in_the_middle_of_training_loses_and_doubles_nothing(tmp_path: Path) -> None:
    job_id = create_job(tmp_path, steps=STEPS)
    with RunningNode(tmp_path) as node:
        first = Digger(node.stratum_port)
        loop = asyncio.get_running_loop()
        digging = asyncio.create_task(first.dig(lambda: False))
        await loop.run_in_executor(
            None,
            node.wait_until,
            lambda: steps_of(node) >= 4 and len(first.acknowledged) >= 100,
            "step 4 with 100 shares",
        )
        node.kill()  # while shares are on their way
        await asyncio.wait_for(digging, DEADLINE)
    before = kept(tmp_path, job_id)
    assert before.checkpoint is not None
    closed = before.checkpoint.step + 1
    assert 4 <= closed < STEPS
    assert set(first.acknowledged) <= set(before.status), "acknowledged means on disk"
    with RunningNode(tmp_path) as node:
        resumed = node.wait_for_line(rf"step (\d+) of {STEPS}, (\d+) shares waiting")
        assert int(resumed[1]) == closed
        assert int(resumed[2]) == len(before.status) - POPULATION * closed
        second = await finish(node)
        status, _ = node.stop()
        assert status == 0, node.log
        assert "Traceback" not in node.log, node.log
    after = kept(tmp_path, job_id)
    assert {n: after.roots[n] for n in before.roots} == before.roots
    assert set(after.steps) == set(range(STEPS))
    assert set(after.counted.values()) == {1}
    promised = first.acknowledged + second.acknowledged
    assert len(promised) == len(set(promised))
    assert all(after.counted[hash_] == 1 for hash_ in promised), "every promise was kept"
    assert {after.status[hash_] for hash_ in after.counted} == {ShareStatus.FINAL}
    assert {view.status for view in after.steps.values()} == {TxStatus.FINAL}
    report = audit(tmp_path, job_id)
    assert report["passed"] is True
    assert (report["steps"], report["shares"]) == (STEPS, STEPS * POPULATION)
    assert report["state_root"] == after.steps[STEPS - 1].state_root.hex()


async def test_a_stop_and_a_start_go_on_at_the_same_step(tmp_path: Path) -> None:
    job_id = create_job(tmp_path, steps=STEPS)
    with RunningNode(tmp_path) as node:
        digger = Digger(node.stratum_port)
        await dig_until(digger, node, 3, 60)
        status, seconds = node.stop(signal.SIGINT)
        assert (status, seconds < 5) == (0, True), node.log
    before = kept(tmp_path, job_id)
    assert before.checkpoint is not None
    with RunningNode(tmp_path) as node:
        resumed = node.wait_for_line(rf"step (\d+) of {STEPS}, (\d+) shares waiting")
        chain = node.get("/api/v1/chain")
        job = node.get("/api/v1/jobs")["items"][0]
        assert node.stop()[0] == 0
    # Whole populations that waited are trained at once, so the start itself may close steps.
    after = kept(tmp_path, job_id)
    assert int(resumed[1]) == before.checkpoint.step + 1
    assert {n: after.roots[n] for n in before.roots} == before.roots
    assert after.status.keys() == before.status.keys()
    assert job["job"] == job_id.hex()
    again = potnode("job", "show", job_id.hex(), "--data-dir", tmp_path, "--json")
    assert json.loads(again.out)["steps"] >= job["steps"]
    assert chain["embedded"] is True


async def test_a_stop_takes_no_longer_because_somebody_mines(tmp_path: Path) -> None:
    create_job(tmp_path, steps=10_000, min_bits=10)
    with RunningNode(tmp_path) as node, mining(node.stratum_port, tmp_path / "miner.log") as miner:
        await asyncio.to_thread(node.wait_until, lambda: steps_of(node) >= 2, "step 2")
        assert miner.poll() is None
        status, seconds = await asyncio.to_thread(node.stop)
    assert status == 0, node.log
    assert seconds < 5
    assert miner.returncode == 0, (tmp_path / "miner.log").read_text()
    assert "Traceback" not in node.log, node.log


@contextlib.contextmanager
def mining(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`potnode mine` with one worker, what it says in `log`."""
    command = [sys.executable, "-m", "potnode", "mine", f"127.0.0.1:{port}", "--user", MINER]
    with log.open("wb") as output:
        miner = subprocess.Popen(
            [*command, "--workers", "1"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
        )
    try:
        yield miner
    finally:
        miner.terminate()
        miner.wait(DEADLINE)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    create_job(tmp_path, steps=1000)
    with RunningNode(tmp_path) as node:
        node.wait_for_line("shares waiting")
        node.process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
        node.process.send_signal(signal.SIGTERM)
        node.process.send_signal(signal.SIGINT)
        node.process.send_signal(signal.SIGCONT)
        assert node.process.wait(DEADLINE) == 130
