"""A reward model trained by a whole node while people say what they prefer; then audited."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import requests

from potnode.data.freeze import freeze_pairs
from tests.node.harness import DEADLINE, Digger, RunningNode, potnode

SIZE, POPULATION, STEPS, HELD_OUT = 6, 16, 60, 64
_RNG = np.random.default_rng(0)
_TASTE = _RNG.normal(size=SIZE)
_JOB = """
dataset = "taste"
[[model.layers]]
type = "linear"
out = 4
shift = 8
activation = "clip"
[[model.layers]]
type = "linear"
shift = 4
[search]
population = 16
batch_size = 32
eta = [400, 100]
steps = 60
validate_every = 10
min_bits = 8
window = 64
"""


def preferred(count: int) -> tuple[Any, Any]:
    """Random pairs: what is preferred, and what is not."""
    pairs = _RNG.integers(-127, 128, (count, 2, SIZE))
    first = pairs[:, 0] @ _TASTE >= pairs[:, 1] @ _TASTE
    return (
        np.where(first[:, None], pairs[:, 0], pairs[:, 1]),
        np.where(first[:, None], pairs[:, 1], pairs[:, 0]),
    )


def taste() -> bytes:
    """A dataset whose few training pairs are the wrong way round; its held-out ones are not."""
    better, worse = preferred(8 + HELD_OUT)
    better[:8], worse[:8] = worse[:8].copy(), better[:8].copy()
    return freeze_pairs(better, worse, train_count=8)


def say(node: RunningNode, job: str, count: int) -> int:
    """Tell the node about so many pairs; how many it has then."""
    better, worse = preferred(count)
    pairs = [
        {"preferred": b, "other": w} for b, w in zip(better.tolist(), worse.tolist(), strict=True)
    ]
    url = f"http://127.0.0.1:{node.api_port}/api/v1/jobs/{job}/feedback"
    answer = requests.post(url, json={"pairs": pairs}, timeout=DEADLINE)
    assert answer.status_code == 202, answer.text
    total: int = answer.json()["total"]
    return total


def train(node: RunningNode, *, to: int) -> None:
    """Mine what the steps up to this one take, and no more; they are closed afterwards."""
    node.wait_until(node.training, "there is a job")
    done = node.training()["step"]
    asyncio.run(Digger(node.stratum_port).shares(POPULATION * (to - done)))
    node.wait_until(lambda: node.training()["step"] == to, f"step {to} is reached")


def hits(node: RunningNode, job: str, step: int) -> int:
    """Held-out preferences that the model after a step has right."""
    found: int = node.get(f"/api/v1/jobs/{job}/steps/{step}")["validation"]["hits"]
    return found


def test_a_reward_model_follows_what_people_say(tmp_path: Path) -> None:
    datasets, elsewhere, data_dir = (tmp_path / name for name in ("data", "other", "node"))
    dataset = taste()
    for folder in (datasets, elsewhere):
        folder.mkdir()
        (folder / "taste.potdata").write_bytes(dataset)
    env = {"POTNODE_DATASETS": str(datasets), "POTNODE_FEEDBACK__BATCH": "50"}
    file = tmp_path / "job.toml"
    file.write_text(_JOB)
    created = potnode("job", "create", file, "--data-dir", data_dir, "--json", env=env)
    assert created.status == 0, created.err
    job = json.loads(created.out)["job"]

    with RunningNode(data_dir, env=env) as node:
        train(node, to=12)
        assert say(node, job, 120) == 120
        train(node, to=25)
        assert node.get(f"/api/v1/jobs/{job}/feedback")["frozen"] == 120
        assert say(node, job, 30) == 150  # fewer than a batch: they wait
        node.kill()

    with RunningNode(data_dir, env=env) as node:
        assert node.get(f"/api/v1/jobs/{job}/feedback")["total"] == 150
        train(node, to=30)
        assert say(node, job, 70) == 220
        train(node, to=STEPS)
        node.wait_for_line("all 60 steps closed")
        node.wait_until(lambda: node.training()["recorder_lag"] == 0, "all is recorded")
        feedback = node.get(f"/api/v1/jobs/{job}/feedback")
        assert (feedback["total"], feedback["frozen"]) == (220, 220)
        parts = [(part["first"], part["count"]) for part in reversed(feedback["items"])]
        assert parts == [(0, 120), (120, 100)]
        before, after = hits(node, job, 10), hits(node, job, STEPS - 1)
        assert before < HELD_OUT / 2 < 0.75 * HELD_OUT < after, (before, after)

        # Someone else, with the dataset alone, then with the parts.
        rpc = f"http://127.0.0.1:{node.api_port}/rpc"
        theirs = {"POTNODE_DATASETS": str(elsewhere)}
        audit = ("audit", job, "--rpc", rpc, "--data-dir", tmp_path / "none")
        for first, _ in parts:
            refused = potnode(*audit, env=theirs)
            assert refused.status == 1
            assert f"/feedback/parts/{first}" in refused.err
            name = f"{job}.{first}.potfeed"
            assert str(elsewhere / name) in refused.err
            url = f"http://127.0.0.1:{node.api_port}/api/v1/jobs/{job}/feedback/parts/{first}"
            (elsewhere / name).write_bytes(requests.get(url, timeout=DEADLINE).content)
        passed = potnode(*audit, env=theirs)
        assert passed.status == 0, passed.out + passed.err

    own = potnode("audit", job, "--data-dir", data_dir, "--slow", "4", env=env)
    assert own.status == 0, own.out + own.err
    assert "audit PASSED" in own.out
