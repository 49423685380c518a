"""The golden jobs of tests/vectors/record.json, replayed from the file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from potnode.audit.replay import Replay, Rules
from potnode.data.dataset import Dataset
from potnode.engine.engine import Engine
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.params import decode_params

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "record.json").read_text("ascii")
)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def replay_of(job: dict[str, Any], slow: int = 0) -> Replay:
    dataset = Dataset.from_bytes("tiny", unhex(GOLDEN["datasetFile"]))
    engine = Engine(decode_manifest(unhex(job["manifest"])), dataset, threads=1)
    params = decode_params(unhex(job["params"]))
    rules = Rules(unhex(job["jobId"]), params, engine, dataset, frozenset(range(slow)))
    state = engine.initial()
    return Replay(rules, state, engine.root(state))


def run(replay: Replay, job: dict[str, Any], steps: int) -> None:
    for step in range(steps):
        assert replay.root == unhex(job["stateRoots"][step])
        truth, findings = replay.check(unhex(job["stepData"][step]))
        assert findings == []
        assert truth is not None
        replay.advance(truth, unhex(job["heads"][step + 1]))


@pytest.mark.parametrize("job", GOLDEN["jobs"], ids=lambda job: job["name"])
def test_a_golden_job_replays(job: dict[str, Any]) -> None:
    small = job["population"] <= 4
    replay = replay_of(job, slow=job["stepCount"] if small else 0)
    run(replay, job, job["stepCount"])
    assert replay.root == unhex(job["stateRoots"][-1])
    assert replay.spec_steps == (job["stepCount"] if small else 0)


def test_faulty_records_are_refused_at_their_fault() -> None:
    invalid = GOLDEN["invalid"]
    job = GOLDEN["jobs"][invalid["job"]]
    replays: dict[int, Replay] = {}
    for what, field, step, step_data in zip(
        invalid["what"], invalid["field"], invalid["step"], invalid["stepData"], strict=True
    ):
        if step not in replays:
            replays[step] = replay_of(job)
            run(replays[step], job, step)
        truth, findings = replays[step].check(unhex(step_data))
        assert truth is None, what
        assert (findings[0].step, findings[0].field) == (step, field), what
