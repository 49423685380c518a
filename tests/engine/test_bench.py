"""The benchmark's number is a rate of real evaluations."""

from __future__ import annotations

import pytest

from potnode.engine.bench import SHAPES, evaluations_per_second
from potnode.engine.errors import EngineError
from potnode.engine.torch_network import TorchNetwork


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_rate_is_measured(device: str) -> None:
    assert evaluations_per_second((6, 4, 3), 8, 16, device, seconds=0.01) > 0


def test_the_shapes_have_names() -> None:
    assert [str(shape) for shape in SHAPES] == ["784-64-10", "64-32-10"]


def test_reduced_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    with pytest.raises(EngineError, match="reduced float32 matrix precision"):
        evaluations_per_second((6, 4, 3), 8, 16, "cpu:0", seconds=0.01)
    assert TorchNetwork.__module__ == "potnode.engine.torch_network"
