"""Benchmarks run and mean what they say; their speed is nobody's test."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from potnode.bench.accuracy import accuracy_runs
from potnode.bench.durability import durable_shares_per_s
from potnode.bench.job import measure_job
from potnode.cli.app import app


def test_a_measured_job_is_trained_recorded_and_audited() -> None:
    figures = measure_job(2)
    assert (figures.steps, figures.population) == (2, 96)
    assert 200_000 < figures.record_gas < 300_000
    assert min(figures.compute_s, figures.record_s, figures.audit_s) > 0


def test_durable_shares_are_counted() -> None:
    assert durable_shares_per_s(50, 10) > 0


def test_accuracy_runs_learn_and_differ() -> None:
    reported: list[int] = []
    runs = accuracy_runs(2, steps=100, on_run=lambda number, _: reported.append(number))
    assert reported == [0, 1]
    assert runs[0] != runs[1], "each has a seed of its own"
    assert all(run.accuracy > 0.5 for run in runs)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["engine", "--seconds", "0.1"], "runs"),
        (["hash", "--seconds", "1"], "hashes_per_s"),
        (["job", "--steps", "1"], "record_gas"),
        (["draw", "--weights", "100"], "ratio_to_hashlib"),
        (["shares", "--count", "20", "--in-flight", "5"], "shares_per_s"),
    ],
)
def test_commands_print_json(arguments: list[str], key: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document[key]
    if key == "runs":
        run = document["runs"][0]
        assert run["draws_per_s"] > run["evaluations_per_s"] > 0
        assert 0 < run["limit_share"] < 1
        assert set(run) >= {"shape", "population", "batch", "device", "evaluations_per_s"}
        assert {peer["name"] for peer in document["peers"]} >= {"evosax Open_ES", "EvoTorch PGPE"}
