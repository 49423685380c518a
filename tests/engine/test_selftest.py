"""A machine that is wrong by one is noticed."""

from __future__ import annotations

import pytest

from potnode.engine import engine, update
from potnode.engine import state as states
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.errors import InexactDevice
from potnode.engine.kernels.vectors import LANES
from potnode.engine.network import FusedNetwork, Sums
from potnode.engine.selftest import check_draws, check_steps, self_test
from potnode.engine.selftest import test_manifest as shortened
from potnode.engine.workers import Workers
from potnode.spec.layers import Embedding, Gru, Linear
from potnode.spec.manifest import Manifest, NextByte, Pairs, Task, Values, Weights
from tests.engine.cases import model, network
from tests.spec.cases import PRECISIONS

LANGUAGE = (Embedding(4), Gru(3, 4), Linear(256, 2, "none"))
MODELS = [
    network(8, 4, 3, train=(0, 1, 3)),
    model(LANGUAGE, (), task=NextByte(3, 1)),
    *(model((Linear(1, 2, "none"),), (3,), task=task) for task in (Values(9), Pairs())),
]


class OffByOne(FusedNetwork):
    """Computes what it should, or one more for the sample in one lane."""

    more = 1, 0
    lane = 0

    def evaluate(self, weights, signs: Signs, inputs, targets, shift) -> Sums:  # type: ignore[no-untyped-def]
        losses, hits = super().evaluate(weights, signs, inputs, targets, shift)
        if len(inputs) > self.lane:
            return losses + self.more[0], hits + self.more[1]
        return losses, hits


@pytest.mark.parametrize("manifest", MODELS)
@pytest.mark.parametrize("more", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("lane", [0, LANES - 1, LANES])
def test_a_wrong_number_is_noticed(manifest: Manifest, more: tuple[int, int], lane: int) -> None:
    layout = DrawLayout(manifest)
    network = OffByOne(manifest, layout, Workers(1))
    network.more, network.lane = more, lane
    if more == (0, 0):
        self_test(manifest, layout, network)
        return
    with pytest.raises(InexactDevice, match="specification says"):
        self_test(manifest, layout, network)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (NextByte(100, 70), NextByte(3, 2)),
        (NextByte(100, 0), NextByte(3, 0)),
        (NextByte(2, 1),) * 2,
    ],
)
def test_texts_are_short(task: Task, expected: Task) -> None:
    assert shortened(model(LANGUAGE, (), task=task)).task == expected
    assert shortened(MODELS[0]) == MODELS[0]


@pytest.mark.parametrize("manifest", MODELS)
def test_a_wrong_draw_is_noticed(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = DrawLayout(manifest)
    check_draws(manifest, layout)
    signs = layout.expand([bytes(32)] * 6)
    signs[5, layout.places[manifest.train[-1]].rows] *= -1
    monkeypatch.setattr(DrawLayout, "expand", lambda *_: signs)
    with pytest.raises(InexactDevice, match="draws"):
        check_draws(manifest, layout)


@pytest.mark.parametrize("weights", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["update_matrix", "update_vector", "matrix_gradient", "vector_gradient"]
)
def test_a_step_that_is_not_taken_right_is_noticed(
    weights: Weights, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_steps(weights, Workers(2))
    monkeypatch.setattr(update, name, lambda *_: None)
    with pytest.raises(InexactDevice, match="a step by the rule momentum"):
        check_steps(weights, Workers(2))


def test_wrong_forward_weights_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = states.forward_weights
    monkeypatch.setattr(states, "forward_weights", lambda m, w: right(m + 1, w))
    with pytest.raises(InexactDevice, match="forward weights"):
        check_steps(PRECISIONS[0], Workers(1))


def test_a_device_is_tested_before_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.check_device("cpu", 1)
    engine.check_device("torch:cpu", None)
    monkeypatch.setattr(engine, "FusedNetwork", OffByOne)
    with pytest.raises(InexactDevice, match="specification says"):
        engine.check_device("cpu", 1)
