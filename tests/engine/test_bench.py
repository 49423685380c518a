"""The benchmark's numbers are of real evaluations."""

from __future__ import annotations

import pytest

from potnode.engine.bench import SHAPES, Figures, linear, measure, multiply_adds, peak_rate
from potnode.engine.errors import EngineError
from potnode.engine.workers import Workers
from potnode.spec.layers import Conv2d, Embedding, Gru, Linear
from potnode.spec.manifest import NextByte, check_manifest
from tests.engine.cases import model, network


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_a_rate_is_measured(device: str) -> None:
    shape = linear(6, 4, 3, population=8, batch=16)
    figures = measure(shape, device, seconds=0.01, threads=1)
    assert figures.evaluations_per_s > 0
    assert figures.draws_per_s > 0
    assert figures.step_close_ms > 0
    assert figures.peak_memory_mib >= 0
    assert (figures.shape, figures.population, figures.batch) == ("6-4-3", 8, 16)
    assert figures.multiply_adds == 16 * (6 + 4 * 4)
    if device == "cpu":
        assert figures.limit_share is not None
        assert 0 < figures.limit_share < 1
    else:
        assert figures.limit_share is None
    assert Figures(**figures.document()).device == device


def test_every_shape_is_a_model_that_may_be_trained() -> None:
    assert SHAPES[0].name == str(SHAPES[0]) == "784-64-10"
    for shape in SHAPES:
        check_manifest(shape.manifest)


def test_multiply_adds() -> None:
    assert multiply_adds(network(784, 64, 10)) == 784 + 64 * 11
    image = (Conv2d(3, (2, 2), (1, 1), (0, 0), 4, "relu"), Linear(5, 4, "none"))
    assert multiply_adds(model(image, (2, 4, 4))) == 9 * 8 * 4 + 27 * 6
    text = (Embedding(6), Gru(4, 4), Linear(256, 2, "none"))
    expected = 10 * (2 * (6 + 4) * 5 + 4 * 257)
    assert multiply_adds(model(text, (), task=NextByte(10, 3))) == expected


def test_the_peak_is_above_any_rate() -> None:
    assert peak_rate(Workers(1)) > 1e8


def test_reduced_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    with pytest.raises(EngineError, match="reduced float32 matrix precision"):
        measure(linear(6, 4, 3, population=8, batch=16), "torch:cpu", seconds=0.01)
