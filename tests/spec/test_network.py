from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec.draw import TensorDraw, candidate_key, draw
from potnode.spec.manifest import Linear, Manifest, accumulator_bound, logit_bound
from potnode.spec.network import forward_weight, forward_weights, logits
from potnode.spec.state import initial_state
from potnode.spec.vectors.numbers import example_manifests

MANIFESTS = list(example_manifests().values())
int8 = st.integers(-127, 127)


def _full_rank(
    manifest: Manifest, weights: list[list[int]], drawn: dict[int, TensorDraw], x: list[int]
) -> list[int]:
    """The same network with every perturbed weight written out, and division for the shifts."""
    e = manifest.perturbation_shift
    for i, layer in enumerate(manifest.layers):
        out = []
        for row in range(layer.out):
            terms = []
            for col in range(layer.inputs):
                w = weights[2 * i][row * layer.inputs + col]
                if 2 * i in drawn:
                    w += drawn[2 * i].rows[row] * drawn[2 * i].columns[col] * 2**e
                terms.append(w * x[col])
            bias = weights[2 * i + 1][row]
            if 2 * i + 1 in drawn:
                bias += drawn[2 * i + 1].rows[row] * 2**e
            y = (sum(terms) + bias * 32) // 2**layer.shift
            if layer.activation == "relu":
                y = min(max(y, 0), 127)
            elif layer.activation == "clip":
                y = min(max(y, -127), 127)
            out.append(y)
        x = out
    return x


@settings(max_examples=60)
@given(st.sampled_from(MANIFESTS), st.binary(min_size=32, max_size=32), st.data())
def test_a_candidate_is_the_network_with_its_weights_moved(
    manifest: Manifest, hash_: bytes, data: st.DataObject
) -> None:
    weights = forward_weights(initial_state(replace(manifest, seed=hash_)).masters)
    for t in range(1, len(weights), 2):
        size = len(weights[t])
        weights[t] = data.draw(st.lists(int8, min_size=size, max_size=size))
    size = manifest.layers[0].inputs
    x = data.draw(st.lists(int8, min_size=size, max_size=size))
    drawn = draw(manifest, candidate_key(hash_, 0))
    assert logits(manifest, weights, x, drawn) == _full_rank(manifest, weights, drawn, x)
    assert logits(manifest, weights, x) == _full_rank(manifest, weights, {}, x)
    assert logits(manifest, weights, x, {}) == logits(manifest, weights, x)


def test_no_logit_passes_its_bound() -> None:
    for e in range(7):
        manifest = replace(
            MANIFESTS[0], layers=(Linear(50, 2, 3, "none"),), std=(0, 0), perturbation_shift=e
        )
        drawn = {0: TensorDraw([1, -1], [1] * 50), 1: TensorDraw([1, -1], [])}
        weights = [[127] * 50 + [-127] * 50, [127, -127]]
        z = logits(manifest, weights, [127] * 50, drawn)
        bound = accumulator_bound(50, e)
        assert z == [bound >> 3, -bound >> 3]
        assert max(abs(v) for v in z) <= logit_bound(manifest)


@given(st.integers(-(1 << 20), 1 << 20))
def test_forward_weights_round_to_the_nearest_and_stay_in_int8(master: int) -> None:
    weight = forward_weight(master)
    assert -127 <= weight <= 127
    if abs(master) <= 127 * 256:
        assert -128 <= master - 256 * weight < 128
    assert forward_weight(master + 1) >= weight


def test_hidden_layers_clip_as_their_activation_says() -> None:
    for activation, expected in (("relu", [127, 0]), ("clip", [127, -127])):
        manifest = replace(
            MANIFESTS[1],
            layers=(Linear(1, 2, 0, activation), Linear(2, 2, 0, "none")),
            std=(0,) * 4,
        )
        identity = [[100, -100], [0, 0], [1, 0, 0, 1], [0, 0]]
        assert logits(manifest, identity, [100]) == expected
