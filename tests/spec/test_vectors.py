from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from potnode.spec import dataset, evaluate, search, state, step, work
from potnode.spec.draw import candidate_keys, draw
from potnode.spec.manifest import RULES, Evolution, Greedy
from potnode.spec.manifest_json import check_job, decode_manifest
from potnode.spec.network import forward_weights
from potnode.spec.params import decode_params, job_id
from potnode.spec.record import decode_record, verify_work
from potnode.spec.schedule import step_terms
from potnode.spec.vectors.__main__ import main
from potnode.spec.vectors.form import MAX_NUMBER, number, text

FOLDER = Path(__file__).parents[1] / "vectors"
NAMES = {
    "dataset.json",
    "draw.json",
    "feedback.json",
    "job.json",
    "literal.json",
    "loss.json",
    "network.json",
    "record.json",
    "search.json",
    "state.json",
    "target.json",
    "tree.json",
    "work.json",
}


def _bytes(text_: str) -> bytes:
    assert text_.startswith("0x")
    return bytes.fromhex(text_[2:])


def test_writing_them_again_gives_the_same_bytes(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for name in sorted(NAMES):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), (
            f"{name} differs: if the protocol was changed on purpose, run"
            " `python -m potnode.spec.vectors tests/vectors`"
        )


def test_the_command_says_how_it_is_used() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "potnode.spec.vectors"],
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "usage: python -m potnode.spec.vectors DIR" in result.stderr


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_number_is_too_large_for_a_double(name: str) -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                walk(item)
        else:
            assert isinstance(value, bool | str) or (
                isinstance(value, int) and abs(value) < MAX_NUMBER
            )

    content = (FOLDER / name).read_text("ascii")
    walk(json.loads(content))
    assert text(json.loads(content)) == content


def test_large_numbers_are_strings() -> None:
    assert number(MAX_NUMBER - 1) == MAX_NUMBER - 1
    assert number(MAX_NUMBER) == "9007199254740992"
    assert number(-MAX_NUMBER) == "-9007199254740992"


RECORDS = json.loads((FOLDER / "record.json").read_text("ascii"))


@pytest.mark.parametrize("job", RECORDS["jobs"], ids=[job["name"] for job in RECORDS["jobs"]])
def test_a_golden_job_replays_from_its_file_alone(job: dict[str, list[str] | str | int]) -> None:
    """What an auditor does: bytes of the chain and the dataset in, every number out again."""
    loaded = json.loads(json.dumps(job))
    params = decode_params(_bytes(loaded["params"]))
    manifest = check_job(params, _bytes(loaded["manifest"]))
    identity = job_id(RECORDS["chainId"], _bytes(RECORDS["contract"]), params)
    assert identity == _bytes(loaded["jobId"])
    data = _bytes(RECORDS["datasetFile"])
    header = dataset.decode_header(data)
    assert dataset.dataset_root(data) == params.data_root
    samples = [dataset.read_sample(data, header, i) for i in range(header.count)]
    current = state.initial_state(manifest)
    assert state.state_root(current, manifest.weights) == params.initial_root
    heads = [work.head_zero(identity)]
    for number_, text_ in enumerate(loaded["stepData"]):
        step_data = _bytes(text_)
        works = [work.work_id(identity, s, head) for s, head in enumerate(heads)]
        record = decode_record(step_data, params)
        assert (record.job_id, record.step) == (identity, number_)
        hashes = verify_work(record, works[::-1].__getitem__)  # the last work has age 0
        terms = step_terms(manifest, params, number_)
        indices = search.batch_indices(works[-1], params.train_count, terms.batch_size)
        batch = [samples[i] for i in indices]
        weights = forward_weights(current.masters, manifest.weights)
        keys = candidate_keys(hashes, params.candidates_per_share)
        losses = [loss for entry in record.entries for loss in entry.losses]
        for key, loss in zip(keys, losses, strict=True):
            drawn = draw(manifest, key)
            assert evaluate.candidate_loss(manifest, weights, batch, drawn, terms.shift) == loss
        current, _ = step.advance(
            manifest, current, keys, losses, terms, works[-1],
            train_count=params.train_count, sample=samples.__getitem__,
        )  # fmt: skip
        assert state.state_root(current, manifest.weights) == record.state_root
        if record.validation is not None:
            after = forward_weights(current.masters, manifest.weights)
            figures = evaluate.validation(manifest, after, samples[params.train_count :])
            assert (record.validation.loss, record.validation.hits) == figures
        heads.append(work.next_head(heads[number_], step_data))
    assert heads == [_bytes(head) for head in loaded["heads"]]


def test_golden_records_show_every_shape() -> None:
    jobs = RECORDS["jobs"]
    steps = [step for job in jobs for step in job["steps"]]
    assert {job["population"] for job in jobs} >= {1, 4, 64, 300}
    assert {job["candidatesPerShare"] for job in jobs} >= {1, 4, 64}
    assert any(job["populationStart"] < job["population"] for job in jobs)
    assert {0, 1, 2} <= {age for step in steps for age in step["templateAge"]}
    assert {0, 4, 12, 16} <= {n for step in steps for n in step["branchLengths"]}
    assert {True, False} == {step["validates"] for step in steps}
    assert {1, 300} <= {len(step["miners"]) for step in steps}
    scripts = {len(script) // 2 - 1 for step in steps for script in step["scripts"]}
    assert {0, 1, 252} <= scripts
    strategies = [decode_manifest(_bytes(job["manifest"])).strategy for job in jobs]
    assert {s.rule for s in strategies if isinstance(s, Evolution)} == set(RULES)
    [greedy] = [
        job
        for job, strategy in zip(jobs, strategies, strict=True)
        if isinstance(strategy, Greedy) and strategy.margin and strategy.batch_start == 1
    ]
    # Some steps of it are taken, and some are not.
    moved = {before != after for before, after in pairwise(greedy["stateRoots"])}
    assert moved == {True, False}
    sizes = {
        len(_bytes(c)) for c in json.loads((FOLDER / "work.json").read_text())["fill"]["coinbase"]
    }
    assert {115, 755} <= sizes
