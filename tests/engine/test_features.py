"""Values below the first trained layer are computed once, for the weights they belong to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from potnode.engine import features as module
from potnode.engine.draw import DrawLayout
from potnode.engine.features import Features
from potnode.engine.network import FusedNetwork
from potnode.engine.workers import Workers
from potnode.spec.layers import Linear
from tests.engine.cases import model, samples


@pytest.mark.parametrize("room", [1 << 30, 0])
def test_samples_are_computed_when_first_asked_for(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(module, "_BYTES", room)
    manifest = model((Linear(5, 5, "clip"), Linear(3, 4, "none")), (7,), train=(2, 3))
    network = FusedNetwork(manifest, DrawLayout(manifest), Workers(1))
    inputs = samples(manifest, 30, 0).inputs
    asked: list[int] = []

    def rows(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        asked.extend(indices.tolist())
        return inputs[indices]

    features = Features(network, rows, below=2)
    rng = np.random.default_rng(1)
    first, second = (
        [rng.integers(-127, 128, size).astype(np.int8) for size in (35, 5, 15, 3)] for _ in range(2)
    )

    def check(weights: list[npt.NDArray[np.int8]], indices: list[int], count: int) -> None:
        found = features.rows(weights, np.array(indices), count)
        assert (found == network.below(weights, inputs[indices])).all()

    check(first, [3, 1, 3], 10)
    check(first, [1, 2, 9], 10)
    check([*first[:2], *second[2:]], [1, 2, 25], 30)
    check(second, [1, 2], 30)
    if room:
        assert asked == [1, 3, 2, 9, 25, 1, 2]
    else:
        assert len(asked) > 7
