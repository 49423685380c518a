"""The CPU's network: its portable form, its tiles, and the layers that candidates share."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import network as module
from potnode.engine.draw import DrawLayout
from potnode.engine.network import FusedNetwork
from potnode.engine.workers import Workers
from potnode.spec.evaluate import sample_loss
from potnode.spec.layers import Add, AvgPool, Conv2d, Linear, Relu
from potnode.spec.manifest import Manifest, Pairs
from potnode.spec.network import outputs
from tests.engine.cases import keys, manifests, model, samples


def _weights(manifest: Manifest, seed: int) -> list[np.ndarray[tuple[int], np.dtype[np.int8]]]:
    rng = np.random.default_rng(seed)
    some = [-127, -1, 0, 1, 127]
    return [
        np.where(
            rng.random(prod(s)) < 0.3, rng.choice(some, prod(s)), rng.integers(-127, 128, prod(s))
        ).astype(np.int8)
        for s in manifest.tensors
    ]


@settings(max_examples=60)
@given(manifests(), st.integers(0, 1 << 32))
def test_any_processor_gives_the_same_numbers(manifest: Manifest, seed: int) -> None:
    layout, workers = DrawLayout(manifest), Workers(1)
    data, signs = samples(manifest, 5, 0, seed=seed), layout.expand(keys(3))
    results = [
        FusedNetwork(manifest, layout, workers, portable=portable).evaluate(
            _weights(manifest, seed), signs, data.inputs, data.targets, manifest.perturbation[0]
        )
        for portable in (False, True)
    ]
    assert [a.tolist() for a in results[0]] == [a.tolist() for a in results[1]]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 30])
def test_small_tiles_add_up(monkeypatch: pytest.MonkeyPatch, threads: int, count: int) -> None:
    layers = (Linear(20, 6, "relu"), Linear(10, 4, "none"))
    manifest = model(layers, (30,))
    layout = DrawLayout(manifest)
    data, signs = samples(manifest, 300, 0), layout.expand(keys(count))
    arguments = _weights(manifest, 1), signs, data.inputs, data.targets, 0
    whole = FusedNetwork(manifest, layout, Workers(threads)).evaluate(*arguments)
    monkeypatch.setattr(module, "_BYTES", 1)
    monkeypatch.setattr(module, "_CANDIDATES", 8)
    parts = FusedNetwork(manifest, layout, Workers(threads)).evaluate(*arguments)
    assert [a.tolist() for a in whole] == [a.tolist() for a in parts]


BELOW = (
    Conv2d(5, (3, 2), (1, 1), (1, 0), 6, "clip"),
    Relu(),
    Add(0),
    AvgPool((2, 2), (2, 1)),
    Linear(6, 6, "clip"),
    Linear(3, 4, "none"),
)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(("train", "layers"), [((4,), 5), ((2, 5), 4), ((0,), 0)])
def test_layers_below_the_first_trained_one(
    pairs: bool, train: tuple[int, ...], layers: int
) -> None:
    last = Linear(1, 4, "none") if pairs else BELOW[-1]
    manifest = model((*BELOW[:-1], last), (3, 4, 5), task=Pairs() if pairs else None, train=train)
    layout = DrawLayout(manifest)
    network = FusedNetwork(manifest, layout, Workers(2))
    data, weights = samples(manifest, 70, 0), _weights(manifest, 2)
    values = network.below(weights, data.inputs)
    assert network.has_below == (layers > 0)
    if not layers:
        assert values is data.inputs
        return
    assert values.shape == (70, prod(manifest.shapes[layers - 1]) * (2 if pairs else 1))
    signs = layout.expand(keys(2))
    above = network.evaluate_above(weights, signs, values, data.targets, 0)
    whole = network.evaluate(weights, signs, data.inputs, data.targets, 0)
    assert [a.tolist() for a in above] == [a.tolist() for a in whole]
    # The value before the last layer is the specification's, which gives only the last one's.
    if layers == 5:
        size = prod(manifest.shapes[4])
        tail = model((last,), (size,), task=manifest.task)
        plain = [w.tolist() for w in weights]
        for i in (0, 69):
            first = data.inputs[i, : prod(manifest.input)].tolist()
            z = outputs(tail, plain[-2:], [values[i, :size].tolist()])
            assert z == outputs(manifest, plain, [first])


@pytest.mark.parametrize(("source", "has_below"), [(0, False), (1, True)])
def test_a_residual_is_not_cut(source: int, has_below: bool) -> None:
    layers = (Relu(), Linear(4, 6, "relu"), Relu(), Add(source), Linear(2, 4, "none"))
    manifest = model(layers, (4,), train=(0,))
    layout = DrawLayout(manifest)
    network = FusedNetwork(manifest, layout, Workers(1))
    data, weights = samples(manifest, 9, 0), _weights(manifest, 4)
    assert network.has_below == has_below
    losses, hits = network.evaluate(
        weights, np.zeros((1, layout.width), np.int8), data.inputs, data.targets, 0
    )
    plain = [w.tolist() for w in weights]
    expected = [sample_loss(manifest, plain, data.sample(i)) for i in range(9)]
    assert (losses[0], hits[0]) == tuple(map(sum, zip(*expected, strict=True)))
