"""A node whose chain goes away and comes back: nothing lost, nothing doubled, miners told."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from potnode import campaign
from potnode.campaign import Progress
from potnode.chain.contract import event_topic
from potnode.config import ChainSettings
from potnode.store.rows import ShareStatus
from tests.node.harness import (
    DEADLINE,
    POPULATION,
    Anvil,
    Digger,
    Line,
    RunningNode,
    create_job,
    digging,
    eventually,
    get_json,
    node_here,
    opened_store,
    potnode,
)

LIMIT = 6
STEPS = 16


@dataclass(frozen=True)
class Remote:
    """A data directory with a job on a chain behind a line that can be cut."""

    data_dir: Path
    anvil: Anvil
    line: Line
    job_id: bytes
    env: dict[str, str]

    def recorded(self) -> list[str]:
        """The steps of the job's events, as the chain has them."""
        topics = ["0x" + event_topic("StepRecorded").hex(), "0x" + self.job_id.hex()]
        found = self.anvil.request("eth_getLogs", [{"fromBlock": "0x0", "topics": topics}])
        return [entry["topics"][2] for entry in found]


@pytest.fixture(params=[STEPS])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    with Anvil(tmp_path) as anvil, Line(anvil.port) as line:
        data_dir = tmp_path / "node"
        env = {"POTNODE_CHAIN__URL": f"http://127.0.0.1:{line.port}"}
        made = potnode("keys", "new", "--data-dir", data_dir, "--json")
        anvil.fund(json.loads(made.out)["address"])
        job_id = create_job(data_dir, steps=request.param, env=env)
        yield Remote(data_dir, anvil, line, job_id, env)


async def test_training_waits_for_a_chain_that_is_away_and_goes_on(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(campaign, "OUTBOX_LIMIT", LIMIT)
    chain = ChainSettings(url=remote.env["POTNODE_CHAIN__URL"])
    async with node_here(remote.data_dir, settings={"chain": chain}) as node:

        def training() -> Progress:
            progress = node.progress()
            assert progress is not None
            return progress

        def said(words: str) -> bool:
            return any(words in record.getMessage() for record in caplog.records)

        digger = Digger(node.stratum_port)
        await digger.shares(3 * POPULATION)
        await eventually(lambda: len(remote.recorded()) == 3, "three steps are recorded")
        remote.line.cut()
        await digger.shares((LIMIT + 1) * POPULATION)
        await eventually(lambda: training().recorder_lag == LIMIT, "the outbox fills")
        health = await asyncio.to_thread(get_json, f"http://127.0.0.1:{node.api_port}/readyz")
        assert health["status"] == 503
        assert "training waits: the chain or the disk is behind" in health["problems"]
        # Shares go on being promised: their steps will come.
        await digger.shares(POPULATION)
        assert training().recorder_lag == LIMIT
        assert training().waiting in (2 * POPULATION, 3 * POPULATION), "the steps they are for wait"
        remote.line.mend()
        await digger.shares(STEPS * POPULATION - len(digger.acknowledged))
        await asyncio.wait_for(node.job_finished(), DEADLINE)
        # With nothing left to train the chain may go away again.
        remote.line.cut()
        await eventually(lambda: said("looking for a job waits"), "it misses the chain")
        remote.line.mend()
    assert remote.recorded() == [f"0x{step:064x}" for step in range(STEPS)]
    with opened_store(remote.data_dir) as store:
        counted = [
            proof.hash for step in range(STEPS) for proof in store.step_proofs(remote.job_id, step)
        ]
        counts = store.counts(remote.job_id)
    assert len(set(counted)) == len(counted) == STEPS * POPULATION
    assert set(digger.acknowledged) <= set(counted)
    assert counts.get(ShareStatus.EXPIRED, 0) == 0
    done = potnode(
        "audit", remote.job_id.hex(), "--data-dir", remote.data_dir, "--json", env=remote.env
    )
    report = json.loads(done.out)
    assert (report["passed"], report["steps"]) == (True, STEPS), done.out


@pytest.mark.parametrize("remote", [10_000], indirect=True)
async def test_a_chain_that_hangs_holds_neither_miners_nor_the_stop(remote: Remote) -> None:
    with RunningNode(remote.data_dir, env=remote.env) as node:
        digger = Digger(node.stratum_port)
        async with asyncio.timeout(DEADLINE), digging(digger):
            await asyncio.to_thread(
                node.wait_until, lambda: len(remote.recorded()) >= 2, "two steps are recorded"
            )
            remote.anvil.process.send_signal(signal.SIGSTOP)
            acknowledged = len(digger.acknowledged)
            await asyncio.to_thread(
                node.wait_until, lambda: len(digger.acknowledged) > acknowledged + 20, "more shares"
            )
        status, seconds = await asyncio.to_thread(node.stop)
        assert (status, seconds < 5) == (0, True), node.log
        remote.anvil.process.send_signal(signal.SIGCONT)
    before = len(remote.recorded())
    with RunningNode(remote.data_dir, env=remote.env) as node:
        digger = Digger(node.stratum_port)
        async with asyncio.timeout(DEADLINE), digging(digger):
            await asyncio.to_thread(
                node.wait_until, lambda: len(remote.recorded()) > before + 2, "more steps"
            )
        assert (await asyncio.to_thread(node.stop))[0] == 0
    recorded = remote.recorded()
    assert recorded == [f"0x{step:064x}" for step in range(len(recorded))]
