"""Losses and held-out figures against the same net written with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from potnode.data.digits import digits
from potnode.literal.errors import BadSearch
from potnode.literal.expansion import Expansion
from potnode.literal.nets import NETS, Net, build
from potnode.literal.scoring import Scorer, batch_of_round, held_out, starting_weights

Array = npt.NDArray[Any]


def logits(net: Net, weights: Array, inputs: Array) -> Array:
    """The net in float64: [samples, classes]."""
    x = inputs.astype(np.float64) / 127
    for layer, start, end in zip(net.layers, net.offsets, net.offsets[1:], strict=False):
        w = weights[start:end].astype(np.float64)
        if layer.side:
            image = x.reshape(len(x), layer.channels, layer.side, layer.side)
            kernel = w.reshape(layer.filters, layer.channels, 3, 3)
            wide = layer.side - 2
            total = sum(
                np.einsum(
                    "fc,nchw->nfhw", kernel[:, :, i, j], image[:, :, i:, j:][..., :wide, :wide]
                )
                for i in range(3)
                for j in range(3)
            )
            half = wide // 2
            cut = np.asarray(total)[:, :, : 2 * half, : 2 * half]
            x = cut.reshape(len(x), layer.filters, half, 2, half, 2).max((3, 5)).reshape(len(x), -1)
        else:
            x = x @ w.reshape(layer.filters, layer.inputs).T
        if layer.rectified:
            x = np.maximum(x, 0)
    return x


def cross_entropy(z: Array, targets: Array) -> float:
    most = z.max(axis=1, keepdims=True)
    normal = np.log(np.exp(z - most).sum(axis=1)) + most[:, 0]
    return float(np.mean(normal - z[np.arange(len(z)), targets]))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("batch", [1, 128, 200])
def test_losses_are_those_of_the_net(name: str, place: int, batch: int) -> None:
    data = digits()
    net = build(name, 64, 10)
    layer = net.layers[place]
    fixed = starting_weights(net)
    chosen = batch_of_round(3, 1500, batch)
    inputs, targets = data.inputs[chosen], data.targets[chosen]
    candidates = Expansion("seed").weights(7, 5, layer.weights, layer.fan_in)
    found = Scorer(net, fixed, place, inputs, targets).losses(candidates)
    for row, loss in zip(candidates, found, strict=True):
        whole = fixed.copy()
        whole[net.offsets[place] : net.offsets[place + 1]] = row[: layer.weights]
        assert loss == pytest.approx(cross_entropy(logits(net, whole, inputs), targets), rel=2e-6)


@pytest.mark.parametrize("side", [4, 5, 7])
def test_images_of_odd_sides_lose_their_edge(side: int) -> None:
    net = build("conv", side * side, 3)
    rng = np.random.default_rng(side)
    inputs = rng.integers(-127, 128, (10, side * side)).astype(np.int8)
    targets = rng.integers(0, 3, 10).astype(np.int32)
    fixed = starting_weights(net)
    found = Scorer(net, fixed, 1, inputs, targets).losses(fixed[None, net.offsets[1] :])
    assert found[0] == pytest.approx(cross_entropy(logits(net, fixed, inputs), targets), rel=2e-6)


def test_large_logits_neither_overflow_nor_vanish() -> None:
    net = build("mlp", 4, 2)
    inputs = np.array([[127, -127, 127, -127]], np.int8)
    fixed = starting_weights(net) * np.float32(1e4)
    for target in (0, 1):
        targets = np.array([target], np.int32)
        found = Scorer(net, fixed, 1, inputs, targets).losses(fixed[None, net.offsets[1] :])
        expected = cross_entropy(logits(net, fixed, inputs), targets)
        assert found[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_loss_does_not_depend_on_what_is_scored_beside_it() -> None:
    data, net = digits(), build("conv", 64, 10)
    scorer = Scorer(net, starting_weights(net), 0, data.inputs[:300], data.targets[:300])
    code = Expansion("conv1_layer")
    whole = scorer.losses(code.weights(0, 40, 72, 9))
    parts = [scorer.losses(code.weights(first, 8, 72, 9)) for first in range(0, 40, 8)]
    assert whole.tolist() == np.concatenate(parts).tolist()


@pytest.mark.parametrize("name", NETS)
def test_held_out_figures_are_of_the_held_out_samples(name: str) -> None:
    data, net = digits(), build(name, 64, 10)
    weights = starting_weights(net)
    found = held_out(net, weights, data)
    z = logits(net, weights, data.inputs[1500:])
    assert found.loss == pytest.approx(cross_entropy(z, data.targets[1500:]), rel=1e-5)
    assert found.accuracy == np.mean(z.argmax(axis=1) == data.targets[1500:])


def test_batches_differ_by_round_and_fit_the_data() -> None:
    first, second = batch_of_round(0, 1500, 4096), batch_of_round(1, 1500, 4096)
    assert first.tolist() != second.tolist()
    assert set(first.tolist()) <= set(range(1500))
    assert batch_of_round(0, 1500, 10).tolist() == first[:10].tolist()


@pytest.mark.parametrize(("name", "inputs"), [("conv", 63), ("conv", 9), ("cnv", 64)])
def test_a_net_that_does_not_fit_is_refused(name: str, inputs: int) -> None:
    with pytest.raises(BadSearch, match="net"):
        build(name, inputs, 10)


def test_a_layer_is_looked_up_by_name() -> None:
    net = build("conv", 64, 10)
    assert [net.index("conv1_layer"), net.index("fc1_layer")] == [0, 1]
    with pytest.raises(BadSearch, match="did you mean conv1_layer"):
        net.index("conv_layer")
