"""The training benchmark: small runs of its parts; how well they do is docs/benchmarks.md's."""

from __future__ import annotations

import builtins
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from potnode.bench import train
from potnode.bench.energy import MINERS, energy
from potnode.bench.peers import evosax_curve, peers, sizes
from potnode.bench.plots import draw_curves
from potnode.bench.train import Order, Result
from potnode.bench.train_backprop import Backprop, backprop_curve, text_entropies
from potnode.bench.train_cases import CASES, pretrained
from potnode.bench.train_curves import Curve, Point, checkpoints, search_curve
from potnode.bench.train_parents import Parents, parents_curve
from potnode.cli.app import app
from potnode.data.catalog import Catalog
from potnode.data.dataset import Dataset
from potnode.data.digits import digits
from potnode.data.freeze import freeze_bytes
from potnode.engine.bench import SHAPES
from potnode.errors import PotnodeError
from potnode.jobfile import job_file
from potnode.search import Search
from potnode.spec.manifest import Manifest

TEXT = b"to be or not to be that is the question " * 40


def quiet(_: str) -> None:
    """Nobody reads it."""


def digits_manifest() -> Manifest:
    return job_file({"preset": "digits-mlp"}, "test").manifest(digits(), bytes(32))


def text() -> Dataset:
    windows = np.frombuffer(TEXT[: len(TEXT) // 17 * 17], np.uint8).reshape(-1, 17)
    return Dataset.from_bytes("text", freeze_bytes(windows, train_count=len(windows) - 20))


def test_checkpoints_rise_to_the_total() -> None:
    for total in (1, 2, 100, 65_536):
        at = checkpoints(total)
        assert at == sorted(set(at))
        assert at[-1] == total
        assert at[0] >= 1


def test_a_curve_of_a_search_is_its_steps_measured() -> None:
    reported: list[str] = []
    search = Search.of_preset("digits-mlp", digits(), steps=20)
    curve = search_curve("it", search, 10_000, seed=0, settings="", report=reported.append)
    assert curve.last.evaluations == search.evaluations
    assert curve.last.accuracy == search.validate().accuracy
    assert len(reported) == len(curve.points) > 3
    assert [p.seconds for p in curve.points] == sorted(p.seconds for p in curve.points)


@pytest.mark.parametrize("how", [Backprop("sgd", 0.05, 64), Backprop("adam", 0.003, 64)])
def test_backprop_learns_the_same_net(how: Backprop) -> None:
    curve = backprop_curve(digits_manifest(), digits(), how, 300, seed=0, report=quiet)
    assert curve.last.accuracy > 0.8
    assert curve.last.evaluations == 300
    assert curve.last.bits < curve.points[0].bits


def test_backprop_of_every_layer_of_a_byte_model_learns() -> None:
    dataset = text()
    layers: list[dict[str, Any]] = [
        {"type": "embedding", "out": 16, "name": "embedding"},
        {"type": "norm"},
        {"type": "gru", "out": 16},
        {"type": "add", "from": "embedding"},
        {"type": "linear"},
    ]
    document: dict[str, Any] = {"dataset": "text", "model": {"layers": layers}}
    manifest = job_file(document | {"task": {"warmup": 4}}, "test").manifest(dataset, bytes(32))
    curve = backprop_curve(manifest, dataset, Backprop("adam", 0.01, 16), 120, seed=0, report=quiet)
    levels = text_entropies(dataset, 4)
    assert levels["bigram"] < levels["unigram"] < 8
    assert curve.last.bits < levels["unigram"]


def test_backprop_of_windows_learns() -> None:
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "out": 4, "kernel": 3, "pad": 1, "activation": "clip"},
        {"type": "depthwise", "kernel": 3},
        {"type": "relu"},
        {"type": "maxpool", "kernel": 2},
        {"type": "avgpool", "kernel": 1},
        {"type": "linear"},
    ]
    document = {"dataset": "digits", "model": {"input": [1, 8, 8], "layers": layers}}
    manifest = job_file(document, "test").manifest(digits(), bytes(32))
    curve = backprop_curve(
        manifest, digits(), Backprop("adam", 0.01, 64), 200, seed=0, report=quiet
    )
    assert curve.last.accuracy > 0.7


def test_entropies_are_those_of_counts() -> None:
    """Where every byte is followed by one other, a pair says all and a byte alone log2 of two."""
    windows = np.tile(np.frombuffer(b"abab" * 8, np.uint8), (50, 1))
    dataset = Dataset.from_bytes("ab", freeze_bytes(windows, train_count=40))
    levels = text_entropies(dataset, 1)
    assert levels["unigram"] == pytest.approx(1, abs=0.01)
    assert levels["bigram"] == pytest.approx(0, abs=0.01)


def test_parents_learn_a_little() -> None:
    how = Parents(parents=2, children=16, batch=64)
    curve = parents_curve(digits_manifest(), digits(), how, 1600, seed=0, report=quiet)
    assert curve.last.evaluations == 1600
    assert curve.last.accuracy > 0.2


def test_a_pretrained_model_knows_the_digits_it_was_shown() -> None:
    """On scikit-learn's digits the net of the case would not fit: the dataset is padded to 784."""
    data = digits()
    padded = np.zeros((data.header.count, 784), np.int8)
    padded[:, :64] = data.inputs

    class Padded:
        header, inputs, targets = data.header, padded, data.targets

    _, accuracy = pretrained(Padded(), 0)  # type: ignore[arg-type]
    assert 0.4 < accuracy < 0.6, "half of the classes, and none of the others"


def test_joules_follow_from_data_sheets() -> None:
    rows = energy(65_536, 60.0, min_bits=14, candidates_per_share=4)
    assert [row.miner for row in rows] == [miner.name for miner in MINERS]
    for row, miner in zip(rows, MINERS, strict=True):
        assert row.shares == 16_384
        assert row.joules == pytest.approx(miner.watts * 60)
        assert row.joules_per_share * row.shares == pytest.approx(row.joules)
        # Difficulty 1 is 2^48 / 65535 hashes a share.
        hashes = row.difficulty * 2**48 / 65535 * row.shares
        assert hashes == pytest.approx(miner.hashes_per_s * 60)
        assert row.bits == pytest.approx(32 + math.log2(row.difficulty))
        assert row.min_bits_joules == pytest.approx(16_384 * 2**14 * miner.joules_per_hash)
        assert row.min_bits_joules < row.joules


def result() -> Result:
    points = (Point(64, 0.5, 2.0, 0.4), Point(128, 1.0, 1.0, 0.8))
    curves = (Curve("candidates", 0, "some", points), Curve("candidates", 1, "some", points))
    return Result("some", "A case", curves, tuple(energy(128, 1.0, min_bits=14)), {"unigram": 1.5})


def test_results_are_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    train.write(result(), tmp_path / "a")
    train.write(result(), tmp_path / "b")
    for suffix in ("json", "parquet", "svg", "png"):
        first, second = ((tmp_path / name / f"some.{suffix}").read_bytes() for name in "ab")
        assert first == second
    rows = pq.read_table(tmp_path / "a" / "some.parquet").to_pylist()
    assert len(rows) == 4
    assert rows[1] == {
        "case": "some",
        "method": "candidates",
        "seed": 0,
        "settings": "some",
        "evaluations": 128,
        "seconds": 1.0,
        "bits": 1.0,
        "accuracy": 0.8,
    }
    assert "Evaluators do the arithmetic" in (tmp_path / "a" / "some.json").read_text()
    assert "accuracy 0.8000, 1.000 bits after 128 evaluations in 1.0 s" in result().text()


def test_without_matplotlib_a_plot_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PotnodeError, match=r"pip install 'potnode\[bench\]'"):
        draw_curves("title", (), {}, bits=True, path=tmp_path / "x")


def test_unknown_cases_and_unwritable_folders_are_told(tmp_path: Path) -> None:
    order = Order(Catalog(None))
    with pytest.raises(PotnodeError, match="no case 'mnist'"):
        train.run_cases(CASES, ["mnist"], order, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(PotnodeError, match="can't write"):
        train.write(result(), tmp_path / "file")


def test_the_command_runs_a_case(tmp_path: Path) -> None:
    arguments = ["--case", "strategies", "--evaluations", "640", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["bench", "train", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    [case] = json.loads(done.stdout)["cases"]
    methods = [curve["method"] for curve in case["curves"]]
    assert methods == [
        "evolution, momentum",
        "evolution, sign momentum",
        "greedy",
        "selection and mutation",
    ]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".parquet", ".svg", ".png"}


def test_peers_are_measured_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(SHAPES[0]) == (784, 64, 10)
    with pytest.raises(TypeError, match="other layers"):
        sizes(next(shape for shape in SHAPES if "conv" in str(shape)))
    measured = {peer.name: peer for peer in peers((16, 8, 4), 8, 16, seconds=0.05)}
    assert (measured["torch, full rank"].evaluations_per_s or 0) > 0
    for name, peer in measured.items():
        assert (peer.evaluations_per_s is None) == (peer.missing is not None), name


def test_evosax_trains_the_same_net_where_it_is_installed() -> None:
    told: list[str] = []
    curve = evosax_curve(
        (64, 32, 10),
        digits(),
        population=64,
        batch=128,
        evaluations=6400,
        seed=0,
        report=told.append,
    )
    if curve is None:
        assert "evosax is not installed" in told[0]
        return
    assert curve.last.evaluations == 6400
    assert curve.last.accuracy > 0.3
