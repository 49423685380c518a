from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec import layers as kinds
from potnode.spec.draw import TensorDraw, candidate_key, draw
from potnode.spec.layers import Layer, Linear, Shape
from potnode.spec.manifest import (
    Manifest,
    NextByte,
    Values,
    Weights,
    accumulator_bound,
    logit_bound,
)
from potnode.spec.network import clip, forward_weight, forward_weights, outputs
from potnode.spec.state import initial_state
from potnode.spec.vectors.models import example_manifests, filled, positions
from tests.spec import reference
from tests.spec.cases import PRECISIONS, manifests, model

WEIGHTS = st.sampled_from([-127, 127, -1, 0, 1, 31]) | st.integers(-127, 127)


def _inputs(manifest: Manifest, data: st.DataObject, count: int) -> list[list[int]]:
    if isinstance(manifest.task, NextByte):
        return [[v] for v in data.draw(st.binary(min_size=count, max_size=count))]
    size = prod(manifest.input)
    one = st.lists(WEIGHTS, min_size=size, max_size=size)
    return data.draw(st.lists(one, min_size=count, max_size=count))


def _random(manifest: Manifest, data: st.DataObject) -> list[list[int]]:
    random = data.draw(st.randoms(use_true_random=False))
    return [
        [random.choice([-127, 127, 0, random.randint(-127, 127)]) for _ in range(prod(shape))]
        for shape in manifest.tensors
    ]


@settings(max_examples=150)
@given(manifests(), st.binary(min_size=32, max_size=32), st.integers(0, 6), st.data())
def test_any_network_is_that_of_torch_with_its_weights_moved(
    manifest: Manifest, key: bytes, e: int, data: st.DataObject
) -> None:
    weights, drawn = _random(manifest, data), draw(manifest, key)
    for x in (_inputs(manifest, data, 3), _inputs(manifest, data, 1)):
        moved = reference.outputs(manifest, weights, x, drawn, e)
        assert outputs(manifest, weights, x, drawn, e) == moved
        plain = reference.outputs(manifest, weights, x, {}, 0)
        assert outputs(manifest, weights, x) == plain
        assert outputs(manifest, weights, x, {}, e) == plain


@pytest.mark.parametrize("name", example_manifests())
def test_the_golden_networks_are_those_of_torch(name: str) -> None:
    manifest = example_manifests()[name]
    weights, drawn = filled(name, manifest), draw(manifest, candidate_key(bytes(32), 7))
    e = manifest.perturbation[0]
    for x in positions(name, manifest):
        assert outputs(manifest, weights, x, drawn, e) == reference.outputs(
            manifest, weights, x, drawn, e
        )


def _layer_alone(layer: Layer, shape: Shape) -> Manifest:
    """The layer before an identity that shows its outputs."""
    size = prod(kinds.out_shape(layer, shape, (shape,)))
    return model((layer, Linear(size, 0, "none")), shape, task=Values(0))


def _shown(manifest: Manifest, own: list[list[int]], x: list[int]) -> list[int]:
    size = manifest.outputs
    identity = [int(i % (size + 1) == 0) for i in range(size * size)]
    [z] = outputs(manifest, [*own, identity, [0] * size], [x])
    return z


def test_a_convolution_by_hand() -> None:
    image = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    manifest = _layer_alone(kinds.Conv2d(1, (2, 2), (1, 1), (1, 0), 0, "clip"), (1, 3, 3))
    # Rows of zeros above and below, no columns beside; nothing is flipped.
    assert _shown(manifest, [[1, 2, 3, 4], [0]], image) == [
        3 * 1 + 4 * 2, 3 * 2 + 4 * 3,
        1 + 4 + 12 + 20, 2 + 6 + 15 + 24,
        4 + 10 + 21 + 32, 5 + 12 + 24 + 36,
        7 + 2 * 8, 8 + 2 * 9,
    ]  # fmt: skip
    strided = _layer_alone(kinds.Conv2d(2, (1, 2), (2, 1), (0, 0), 1, "relu"), (1, 3, 3))
    # Channel by channel: (v + next) >> 1, then (32 - v) >> 1 of rows 0 and 2.
    assert _shown(strided, [[1, 1, -1, 0], [0, 1]], image) == [1, 2, 7, 8, 15, 15, 12, 12]


def test_pools_by_hand() -> None:
    image = [-5, 2, 3, 4, -7, 6, 7, 8, 9, 0, 1, 1]
    highest = _layer_alone(kinds.MaxPool((2, 2), (1, 2)), (1, 3, 4))
    assert _shown(highest, [], image) == [6, 7 + 1, 9, 8]
    mean = _layer_alone(kinds.AvgPool((3, 1), (1, 1)), (1, 3, 4))
    assert _shown(mean, [], [-5, 2, 3, 4, -7, 6, 7, 8, 9, 0, 1, 1]) == [-1, 3, 4, 4]
    halves = _layer_alone(kinds.AvgPool((1, 2), (1, 2)), (1, 1, 6))
    assert _shown(halves, [], [1, 2, -1, -2, 127, 127]) == [2, -1, 127]  # ties upwards


def test_a_mean_of_any_window_stays_in_range_and_near_the_mean() -> None:
    for size in (1, 2, 3, 7, 9, 25, 49, 100, 196, 784):
        for value in (-127, -64, 0, 1, 127):
            manifest = _layer_alone(kinds.AvgPool((1, size), (1, 1)), (1, 1, size))
            [mean] = outputs(manifest, [[1], [0]], [[value] * size])[0]
            assert abs(mean) <= 127
            assert abs(mean - value) <= 1


def test_a_norm_by_hand() -> None:
    manifest = _layer_alone(kinds.Norm(), (4,))
    # Mean magnitude 90 div 4 = 22; 40 * 16 div 22 = 29; the sign is put back after the division.
    assert _shown(manifest, [[16, 16, 16, 127]], [40, -40, 10, 0]) == [29, -29, 7, 0]
    assert _shown(manifest, [[16, -16, 127, 127]], [1, 1, 0, 0]) == [16, -16, 0, 0]  # mean 1, not 0
    assert _shown(manifest, [[127] * 4], [1, -1, 0, 0]) == [127, -127, 0, 0]


def test_a_norm_keeps_what_a_multiple_of_its_input_gives() -> None:
    manifest = _layer_alone(kinds.Norm(), (4,))
    one, ten = ([v * k for v in (1, -2, 3, 6)] for k in (1, 10))
    assert _shown(manifest, [[16] * 4], one) == _shown(manifest, [[16] * 4], ten)


def test_a_sum_is_clipped_and_relu_is_not_negative() -> None:
    layers = (kinds.Relu(), kinds.Add(0), kinds.Relu(), Linear(3, 0, "none"))
    manifest = model(layers, (3,))
    identity = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert outputs(manifest, [identity, [0] * 3], [[100, -5, 40]]) == [[127, 0, 80]]


def test_a_gru_by_hand_keeps_its_state_from_position_to_position() -> None:
    manifest = model(
        (kinds.Embedding(1), kinds.Gru(1, 5), Linear(256, 0, "none")), (), task=NextByte(3, 0)
    )
    table = [0] * 256
    table[5] = 100
    show = [1, *[0] * 255]
    # f = clip((2 * x + 32 * 31) >> 5), h = clip((127 * x + s f'...) >> 5) with Uh = 0.
    weights = [table, [2], [0], [31], [127], [0], [0], show, [0] * 256]
    first = [z[0] for z in outputs(manifest, weights, [[5], [5], [0]])]
    f = (200 + 992 >> 5) + 127
    h = min(127, 12700 >> 5)
    s1 = (f * h) >> 8
    s2 = s1 + (f * (h - s1) >> 8)
    f0 = (992 >> 5) + 127
    s3 = s2 + (f0 * (0 - s2) >> 8)
    assert first == [s1, s2, s3]
    # A second sample starts from zero again.
    assert [z[0] for z in outputs(manifest, weights, [[5], [5], [0]])] == first


@given(st.integers(-127, 127), st.integers(-127, 127), st.integers(-127, 127))
def test_a_gru_state_stays_between_its_past_and_what_is_proposed(s: int, h: int, f: int) -> None:
    after = s + (((f + 127) * (h - s)) >> 8)
    assert min(s, h) <= after <= max(s, h)


def test_an_embedding_is_a_row_of_its_table_and_its_candidate_is_clipped() -> None:
    manifest = model((kinds.Embedding(2), Linear(256, 0, "none")), (), task=NextByte(1, 0))
    table = [0] * 512
    table[2 * 200 : 2 * 201] = [126, -20]
    show = [1, 0, 0, 1, *[0] * 508]
    weights = [table, show, [0] * 256]
    rows = [1] * 256
    rows[200] = -1
    drawn = {0: TensorDraw(rows, [-1, 1])}
    assert outputs(manifest, weights, [[200]])[0][:2] == [126, -20]
    assert outputs(manifest, weights, [[200]], drawn, 2)[0][:2] == [127, -24]
    assert outputs(manifest, weights, [[199]], drawn, 2)[0][:2] == [-4, 4]


def test_no_logit_passes_its_bound() -> None:
    for e in range(7):
        manifest = model((Linear(2, 3, "none"),), (50,), perturbation=(e, 0))
        drawn = {0: TensorDraw([1, -1], [1] * 50), 1: TensorDraw([1, -1], [])}
        weights = [[127] * 50 + [-127] * 50, [127, -127]]
        [z] = outputs(manifest, weights, [[127] * 50], drawn, e)
        bound = accumulator_bound(50, e)
        assert z == [bound >> 3, -bound >> 3]
        assert max(abs(v) for v in z) <= logit_bound(manifest)


@settings(max_examples=60)
@given(manifests(), st.sampled_from([-127, 127]), st.sampled_from([-1, 1]), st.data())
def test_extreme_weights_keep_every_value_in_its_range(
    manifest: Manifest, weight: int, sign: int, data: st.DataObject
) -> None:
    weights = [[weight] * prod(shape) for shape in manifest.tensors]
    drawn = {
        t: TensorDraw([sign] * shape[0], [sign] * shape[1] if len(shape) == 2 else [])
        for t, shape in enumerate(manifest.tensors)
    }
    e = manifest.perturbation[0]
    for x in _inputs(manifest, data, 2):
        for z in outputs(manifest, weights, [x, x], drawn, e):
            assert max(map(abs, z)) <= logit_bound(manifest) < 1 << 23
    # A layer's output is what an identity after it shows.
    for i in range(len(manifest.layers) - 1):
        size = prod(manifest.shapes[i])
        shown = replace(manifest, layers=(*manifest.layers[: i + 1], Linear(size, 0, "none")))
        first = manifest.first_tensor(i + 1)
        identity = [int(k % (size + 1) == 0) for k in range(size * size)]
        own = [*weights[:first], identity, [0] * size]
        moved = {t: d for t, d in drawn.items() if t < first}
        for z in outputs(shown, own, _inputs(manifest, data, 2), moved, e):
            assert max(map(abs, z)) <= 127


@given(st.integers(-(1 << 20), 1 << 20), st.sampled_from(PRECISIONS))
def test_forward_weights_round_to_the_nearest_level(master: int, precision: Weights) -> None:
    weight = forward_weight(master, precision)
    unit = 1 << (precision.shift - 8)
    levels = range(-precision.levels * unit, precision.levels * unit + 1, unit)
    assert weight in levels
    assert max(map(abs, levels)) <= 127
    nearest = min(abs(master - 256 * level) for level in levels)
    assert abs(master - 256 * weight) == nearest
    assert forward_weight(master + 1, precision) >= weight
    # The least distance decides; ties go upwards.
    if weight != levels[-1]:
        assert abs(master - 256 * (weight + unit)) > nearest


def test_coarse_weights_are_few() -> None:
    manifest = example_manifests()["ternary"]
    values = {
        w for t in forward_weights(initial_state(manifest).masters, Weights(1, 13)) for w in t
    }
    assert values == {-32, 0, 32}
    four = {w for t in forward_weights([range(-32512, 32513)], Weights(7, 12)) for w in t}
    assert four == {16 * level for level in range(-7, 8)}


def test_hidden_layers_clip_as_their_activation_says() -> None:
    for activation, expected in (("relu", [127, 0]), ("clip", [127, -127])):
        manifest = model((Linear(2, 0, activation), Linear(2, 0, "none")), (1,))
        identity = [[100, -100], [0, 0], [1, 0, 0, 1], [0, 0]]
        assert outputs(manifest, identity, [[100]]) == [expected]


@given(st.integers(-1000, 1000))
def test_clip(value: int) -> None:
    assert clip(value) == sorted([-127, value, 127])[1]
