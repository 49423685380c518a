from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from typer.testing import CliRunner

import potnode.bench.stratum as bench
from potnode.bench.limits import allow_files, resident_bytes
from potnode.bench.stratum import COINBASE, SIBLINGS, Plan, measure_stratum, running_server
from potnode.bench.stratum_load import Load, PoolMisbehaved, Swarm
from potnode.cli.app import app
from potnode.errors import PotnodeError

SMALL = Plan(
    seconds=0.3, runs=((2, 1), (3, 4)), accepted=(2, 2), miners=5, blocks=2, held=20, jobs=3
)


def test_a_small_measurement() -> None:
    figures = measure_stratum(SMALL)
    assert [(run.connections, run.in_flight) for run in figures.runs] == [(2, 1), (3, 4)]
    for run in (*figures.runs, figures.accepted):
        assert run.rounds == 3
        assert 0 < run.submits_per_s <= run.best_submits_per_s
        assert 0 < run.p50_ms <= run.p99_ms
        assert min(run.server_us, run.load_us) > 0
    assert 0 <= figures.notify_spread_best_ms <= figures.notify_spread_ms < figures.notify_last_ms
    assert figures.notify_spread_best_ms < figures.notify_last_best_ms <= figures.notify_last_ms
    assert (figures.held, figures.jobs) == (20, 3)
    machine = figures.machine
    assert machine.cpus >= 1
    assert (machine.server_cpu is None) is (machine.load_cpu is None) is (not machine.load_spins)


def test_the_command_prints_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Plan] = []

    def measure(plan: Plan) -> bench.StratumFigures:
        asked.append(plan)
        return measure_stratum(SMALL)

    monkeypatch.setattr(bench, "measure_stratum", measure)
    result = CliRunner().invoke(app, ["bench", "stratum", "--seconds", "1", "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert {"connections", "in_flight", "submits_per_s", "p50_ms", "p99_ms"} < set(
        document["runs"][0]
    )
    assert {"notify_spread_ms", "bytes_per_connection"} < set(document)
    assert asked == [Plan(seconds=1)]
    assert {(100, 1), (100, 8), (1000, 1)} <= set(asked[0].runs)


def test_jobs_have_the_shape_that_is_asked_for() -> None:
    with running_server(accept=False, files=10) as server, swarm(server.port, 23) as miners:
        miners.connect(2)
        params = miners.last_job
        assert len(params[2] + params[3]) // 2 + 12 == COINBASE
        assert len(params[4]) == SIBLINGS
        before = params
        server.broadcast()
        times = miners.new_jobs()
        assert len(times) == 2
        assert 0 < server.began() <= times[0] <= times[1]
        assert miners.last_job[1] != before[1], "of another block"
        assert server.report().connections == 2


def test_an_answer_that_is_not_the_expected_one_is_noticed() -> None:
    with running_server(accept=True, files=10) as server, swarm(server.port, 23) as miners:
        miners.connect(1)
        with pytest.raises(PoolMisbehaved, match="answered a submit with"):
            miners.run(4, 5.0, 0.0)


def test_a_pool_that_goes_away_is_noticed() -> None:
    with running_server(accept=False, files=10) as server:
        miners = swarm(server.port, 23)
        miners.connect(1)
    with miners, pytest.raises((PoolMisbehaved, OSError)):
        miners.run(1, 5.0, 0.0)


def test_percentiles() -> None:
    load = Load(2.0, [number / 100 for number in range(101)], 0.1)
    assert load.per_second == 50.5
    assert (load.percentile(0.5), load.percentile(0.99), load.percentile(1)) == (0.5, 0.99, 1.0)
    assert Load(1.0, [], 0.1).percentile(0.5) == 0.0


def test_limits() -> None:
    allow_files(10)
    with pytest.raises(PotnodeError, match="open files are needed"):
        allow_files(1 << 40)
    assert resident_bytes() > 1 << 20
    assert resident_bytes() < 1 << 40


def swarm(port: int, expected: int | None) -> Swarm:
    return Swarm("127.0.0.1", port, users=itertools.repeat("0x" + "aa" * 20), expected=expected)
