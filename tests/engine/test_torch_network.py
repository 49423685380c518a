"""Torch's network against the specification, for models of every layer and task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import torch_network
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.engine import Engine
from potnode.engine.errors import EngineError
from potnode.engine.network import FusedNetwork
from potnode.engine.torch_network import TorchNetwork
from potnode.engine.workers import Workers
from potnode.spec import layers as kinds
from potnode.spec.draw import TensorDraw, draw
from potnode.spec.evaluate import sample_loss
from potnode.spec.layers import Linear
from potnode.spec.manifest import (
    LIMIT_FLOAT32,
    Manifest,
    NextByte,
    Pairs,
    Values,
    accumulator_bound,
)
from potnode.spec.network import forward_weights
from potnode.spec.vectors.models import example_manifests
from tests.engine.cases import (
    Samples,
    check_losses,
    keys,
    manifests,
    model,
    network,
    samples,
    state,
)

CASES = example_manifests()


def _signs(manifest: Manifest, layout: DrawLayout, drawn: Sequence[dict[int, TensorDraw]]) -> Signs:
    signs = np.zeros((len(drawn), layout.width), np.int8)
    for row, tensors in zip(signs, drawn, strict=True):
        for t, tensor in tensors.items():
            row[layout.places[t].rows] = tensor.rows
            row[layout.places[t].columns] = tensor.columns
    return signs


def _check(
    manifest: Manifest,
    data: Samples,
    plain: Sequence[Sequence[int]],
    drawn: Sequence[dict[int, TensorDraw]],
    shift: int,
) -> None:
    """Compare losses and hits of candidates on all samples with the specification's."""
    layout = DrawLayout(manifest)
    weights: list[npt.NDArray[np.int8]] = [np.array(w, np.int8) for w in plain]
    losses, hits = TorchNetwork(manifest, layout, "torch:cpu").evaluate(
        weights, _signs(manifest, layout, drawn), data.inputs, data.targets, shift
    )
    expected = [
        [
            sample_loss(manifest, plain, data.sample(i), candidate, shift)
            for i in range(data.header.count)
        ]
        for candidate in drawn
    ]
    assert losses.tolist() == [sum(loss for loss, _ in row) for row in expected]
    assert hits.tolist() == [sum(hit for _, hit in row) for row in expected]
    assert losses.dtype == hits.dtype == np.int64


def _weights(manifest: Manifest, seed: int) -> list[list[int]]:
    return forward_weights(state(manifest, seed).to_spec().masters, manifest.weights)


@settings(max_examples=120)
@given(manifests(), st.integers(0, 1 << 32), st.integers(0, 4), st.integers(1, 4))
def test_any_small_network_is_the_specifications(
    manifest: Manifest, seed: int, population: int, count: int
) -> None:
    data = samples(manifest, count, 0, seed=seed)
    drawn = [draw(manifest, key) for key in keys(population, str(seed))]
    _check(manifest, data, _weights(manifest, seed), drawn, manifest.perturbation[1])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("elements", [1, 300, 1 << 20])
def test_tiles_change_nothing(name: str, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_network, "_CPU_ELEMENTS", elements)
    manifest = CASES[name]
    data = samples(manifest, 3, 2, seed=9)
    drawn = [draw(manifest, key) for key in keys(4, name)]
    _check(manifest, data, _weights(manifest, 1), drawn, manifest.perturbation[0])


@settings(max_examples=60)
@given(manifests(), st.sampled_from([-127, 127]), st.sampled_from([-1, 1]))
def test_extreme_values_are_exact(manifest: Manifest, weight: int, sign: int) -> None:
    data = samples(manifest, 2, 0)
    data.inputs[:] = 127
    plain = [[weight] * int(np.prod(shape)) for shape in manifest.tensors]
    full = {
        t: TensorDraw(
            [sign] * manifest.tensors[t][0],
            [sign] * manifest.tensors[t][1] if len(manifest.tensors[t]) == 2 else [],
        )
        for t in manifest.train
    }
    _check(manifest, data, plain, [full, {}], manifest.perturbation[0])


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((Linear(3, 12, "clip"), Linear(2, 2, "none")), (1300,)),
        ((kinds.Conv2d(3, (2, 2), (1, 1), (1, 1), 12, "clip"), Linear(2, 2, "none")), (300, 2, 2)),
        (
            (kinds.Depthwise((35, 30), (1, 1), (34, 29), 12, "clip"), Linear(2, 2, "none")),
            (1, 2, 2),
        ),
        ((Linear(1200, 12, "clip"), kinds.Gru(40, 12), Linear(2, 2, "none")), (5,)),
    ],
    ids=["linear", "conv2d", "depthwise", "gru"],
)
def test_sums_beyond_float32_are_exact(layers: tuple[kinds.Layer, ...], shape: kinds.Shape) -> None:
    manifest = model(layers, shape, perturbation=(2, 2))
    inputs = (manifest.input, *manifest.shapes)
    terms = [kinds.fan_in(layer, x) for layer, x in zip(layers, inputs, strict=False)]
    assert max(accumulator_bound(k, 2) for k in terms) >= LIMIT_FLOAT32
    data = samples(manifest, 2, 0)
    data.inputs[0] = 127
    drawn = [draw(manifest, key) for key in keys(2)]
    rng = np.random.default_rng(0)
    odd = [(2 * rng.integers(-64, 64, int(np.prod(s))) + 1).tolist() for s in manifest.tensors]
    for plain in ([[127] * int(np.prod(s)) for s in manifest.tensors], odd):
        _check(manifest, data, plain, drawn, 2)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 1 << 32))
def test_texts_of_any_length_and_warmup(window: int, warmup: int, seed: int) -> None:
    manifest = model(
        (kinds.Embedding(3), kinds.Gru(4, 5), kinds.Gru(3, 4), Linear(256, 1, "none")),
        (),
        task=NextByte(window, min(warmup, window - 1)),
        train=(1, 5, 13),
        perturbation=(3, 0),
    )
    data = samples(manifest, 2, 1, seed=seed)
    drawn = [draw(manifest, key) for key in keys(2)]
    _check(manifest, data, _weights(manifest, seed), drawn, 3)


@settings(max_examples=20)
@given(manifests(), st.integers(0, 1 << 32))
def test_an_engine_computes_on_torch(manifest: Manifest, seed: int) -> None:
    data = samples(manifest, 5, 4, seed=seed)
    engine = Engine(manifest, data, "torch:cpu", threads=1)
    check_losses(engine, data, state(manifest, seed), 3)


LARGE = {
    "linear": network(784, 64, 10, e=2),
    "conv": model(
        (
            kinds.Conv2d(12, (5, 5), (2, 2), (2, 2), 8, "relu"),
            kinds.Depthwise((3, 3), (1, 1), (1, 1), 6, "clip"),
            kinds.Add(0),
            kinds.MaxPool((2, 2), (2, 2)),
            kinds.Conv2d(20, (3, 3), (1, 1), (1, 1), 8, "clip"),
            kinds.Norm(),
            kinds.AvgPool((7, 7), (1, 1)),
            Linear(10, 3, "none"),
        ),
        (1, 28, 28),
        perturbation=(4, 1),
    ),
    "text": model(
        (
            kinds.Embedding(40),
            kinds.Norm(),
            kinds.Gru(40, 9),
            kinds.Add(0),
            kinds.Gru(70, 9),
            Linear(256, 4, "none"),
        ),
        (),
        task=NextByte(24, 5),
        perturbation=(3, 0),
    ),
    "pairs": model(
        (Linear(90, 8, "relu"), kinds.Norm(), Linear(1, 3, "none")), (130,), task=Pairs()
    ),
    "values": model((Linear(90, 8, "clip"), Linear(7, 6, "none")), (130,), task=Values(40)),
}


@pytest.mark.parametrize("name", LARGE)
def test_two_implementations_agree_on_what_is_too_large_for_the_specification(name: str) -> None:
    manifest = LARGE[name]
    layout = DrawLayout(manifest)
    data = samples(manifest, 70, 0, seed=4)
    rng = np.random.default_rng(5)
    weights = [rng.integers(-90, 91, int(np.prod(s))).astype(np.int8) for s in manifest.tensors]
    signs, shift = layout.expand(keys(33, name)), manifest.perturbation[0]
    both = [
        one.evaluate(weights, signs, data.inputs, data.targets, shift)
        for one in (
            FusedNetwork(manifest, layout, Workers(1)),
            TorchNetwork(manifest, layout, "torch:cpu"),
        )
    ]
    for fused, torches in zip(*both, strict=True):
        assert fused.tolist() == torches.tolist()
    assert len(set(both[0][0].tolist())) > 1


def test_no_candidates_or_samples_have_no_losses() -> None:
    manifest = network(4, 3, 2)
    layout = DrawLayout(manifest)
    torches = TorchNetwork(manifest, layout, "torch:cpu")
    data = samples(manifest, 2, 0)
    weights = [np.ones(int(np.prod(s)), np.int8) for s in manifest.tensors]
    none = np.zeros((0, layout.width), np.int8)
    losses, hits = torches.evaluate(weights, none, data.inputs, data.targets, 0)
    assert (losses.shape, hits.shape) == ((0,), (0,))
    one = np.zeros((1, layout.width), np.int8)
    losses, hits = torches.evaluate(weights, one, data.inputs[:0], data.targets[:0], 0)
    assert (losses.tolist(), hits.tolist()) == ([0], [0])


@pytest.mark.parametrize("device", ["cpux", "torch:nowhere", "cuda:77"])
def test_an_unknown_device_is_refused(device: str) -> None:
    manifest = network(4, 3, 2)
    with pytest.raises(EngineError, match=f"torch can't use device '{device}'"):
        TorchNetwork(manifest, DrawLayout(manifest), device)


def _reduce_all() -> None:
    torch.set_float32_matmul_precision("high")


def _reduce_one_backend() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.parametrize("reduce", [_reduce_all, _reduce_one_backend])
def test_reduced_precision_is_refused(reduce: Callable[[], None]) -> None:
    manifest = network(4, 3, 2)
    reduce()
    try:
        with pytest.raises(EngineError, match="reduced float32 matrix precision"):
            TorchNetwork(manifest, DrawLayout(manifest), "torch:cpu")
    finally:
        torch.set_float32_matmul_precision("highest")
    TorchNetwork(manifest, DrawLayout(manifest), "torch:cpu")  # what the message says to do helps
