from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import pytest
from hypothesis import given

from potnode.spec import layers as kinds
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Linear
from potnode.spec.loss import cross_entropy, preference, squared_error
from potnode.spec.manifest import (
    LIMIT_ACCUMULATOR,
    LIMIT_FLOAT32,
    MASTER_LIMIT,
    MAX_ETA,
    MAX_INITIAL,
    MAX_STD,
    Classes,
    Evolution,
    Greedy,
    Imported,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Values,
    Weights,
    accumulator_bound,
    check_manifest,
    chunk_length,
    logit_bound,
    max_loss,
    names,
)
from potnode.spec.search import rounded_shift
from potnode.spec.vectors.models import example_manifests
from tests.spec.cases import manifests, model

GOOD = example_manifests()["relu"]
TEXT = example_manifests()["gru"]
IMAGES = example_manifests()["conv"]
HEAD = Linear(3, 4, "none")
SEED = bytes(32)


@pytest.mark.parametrize("name", example_manifests())
def test_the_example_manifests_are_good(name: str) -> None:
    check_manifest(example_manifests()[name])


@pytest.mark.parametrize(
    ("manifest", "changes", "message"),
    [
        (GOOD, {"dataset": "Digits"}, "manifest.dataset must be 1..64 of a-z"),
        (GOOD, {"dataset": ""}, "manifest.dataset must be"),
        (GOOD, {"dataset": "x" * 65}, "manifest.dataset must be"),
        (GOOD, {"layers": ()}, "1..64 layers"),
        (GOOD, {"layers": (*[kinds.Relu()] * 64, HEAD)}, "1..64 layers"),
        (GOOD, {"input": ()}, r"manifest.input must be \[\] for the task bytes, else"),
        (GOOD, {"input": (3, 3)}, "manifest.input must be"),
        (TEXT, {"input": (5,)}, "manifest.input must be"),
        (GOOD, {"input": (0,)}, "manifest.input must have 1.."),
        (IMAGES, {"input": (1, 1 << 13, 1 << 12)}, "manifest.input must have 1..16777216 values"),
        (GOOD, {"layers": (kinds.Embedding(3), HEAD)}, r"model\[0\]: an embedding takes bytes"),
        (TEXT, {"layers": (Linear(256, 4, "none"),)}, r"model\[0\]: the first layer of a byte"),
        (GOOD, {"layers": (kinds.MaxPool((1, 1), (1, 1)), HEAD)}, r"model\[0\]: a window slides"),
        (GOOD, {"layers": (kinds.Relu(), kinds.Add(1), HEAD)}, r"model\[1\]: there is no layer 1"),
        (GOOD, {"layers": (Linear(3, 4, "tanh"), HEAD)}, r"model\[0\].activation must be one of"),
        (GOOD, {"layers": (Linear(3, 4, "none"), HEAD)}, r"model\[0\]: the last layer, and only"),
        (GOOD, {"layers": (HEAD, Linear(3, 4, "clip"))}, r"model\[0\]: the last layer, and only"),
        (GOOD, {"layers": (Linear(3, 4, "clip"),)}, r"model\[0\]: the last layer, and only"),
        (
            IMAGES,
            {"layers": (kinds.Conv2d(3, (5, 6), (1, 1), (0, 0), 4, "none"),)},
            r"model\[0\]: the last layer, and only it, is linear",
        ),
        (
            IMAGES,
            {"layers": (kinds.Depthwise((1, 1), (1, 1), (0, 0), 4, "none"), HEAD)},
            r"model\[0\]: the last layer, and only it, is linear",
        ),
        (GOOD, {"layers": (Linear(3, 4, "clip"), kinds.Relu())}, "the last layer must be linear"),
        (GOOD, {"layers": (kinds.Gru(3, 4),)}, "the last layer must be linear"),
        (
            GOOD,
            {"layers": (Linear((1 << 24) + 1, 4, "clip"), HEAD)},
            r"model\[0\] has more than 16777216 values",
        ),
        (
            IMAGES,
            {"layers": (kinds.Conv2d(600_000, (1, 1), (1, 1), (0, 0), 4, "clip"), HEAD)},
            r"model\[0\] has more than 16777216 values",  # its tensors have fewer
        ),
        (GOOD, {"layers": (Linear(1, 4, "none"),)}, "must have 2..256 classes, not 1"),
        (GOOD, {"layers": (Linear(257, 4, "none"),)}, "must have 2..256 classes, not 257"),
        (TEXT, {"layers": (kinds.Embedding(3), HEAD)}, "a byte model has 256 outputs, not 3"),
        (TEXT, {"task": NextByte(5, 5)}, "needs 0 <= warmup < window <= 65536"),
        (TEXT, {"task": NextByte(5, -1)}, "needs 0 <= warmup < window"),
        (TEXT, {"task": NextByte(65_537, 0)}, "needs 0 <= warmup < window"),
        (GOOD, {"task": Values(32_768)}, "manifest.task.tolerance must be 0..32767"),
        (GOOD, {"task": Values(-1)}, "manifest.task.tolerance must be 0..32767"),
        (
            GOOD,
            {"task": Values(1), "layers": (Linear(257, 4, "none"),)},
            "must have 1..256 outputs, not 257",
        ),
        (GOOD, {"task": Pairs()}, "has 1 output, its score, not 4"),
        (GOOD, {"train": ()}, "manifest.train must be ascending indices of tensors, at least one"),
        (GOOD, {"train": (1, 0)}, "manifest.train must be ascending"),
        (GOOD, {"train": (0, 0)}, "manifest.train must be ascending"),
        (GOOD, {"train": (4,)}, "manifest.train must be ascending"),
        (GOOD, {"train": (-1,)}, "manifest.train must be ascending"),
        (GOOD, {"initial": Imported(bytes(31))}, "manifest.initial.file must be a SHA-256"),
        (GOOD, {"initial": Seeded(b"", (0,) * 4, (0,) * 4)}, "seed must be 32 bytes"),
        (GOOD, {"initial": Seeded(SEED, (0,) * 3, (0,) * 4)}, "one integer for each of 4 tensors"),
        (GOOD, {"initial": Seeded(SEED, (0,) * 4, (0,) * 5)}, "one integer for each of 4 tensors"),
        (
            GOOD,
            {"initial": Seeded(SEED, (0, MAX_STD + 1, 0, 0), (0,) * 4)},
            "tensor 1 may start beyond 32512: std 5440, mean 0",
        ),
        (GOOD, {"initial": Seeded(SEED, (0, 0, -1, 0), (0,) * 4)}, "tensor 2 may start"),
        (
            GOOD,
            {"initial": Seeded(SEED, (MAX_STD, 0, 0, 0), (-6, 0, 0, 0))},
            "tensor 0 may start beyond 32512",
        ),
        (GOOD, {"initial": Seeded(SEED, (0,) * 4, (0, 0, 0, 32_513))}, "tensor 3 may start beyond"),
        (GOOD, {"weights": Weights(128, 8)}, r"levels << \(shift - 8\) must be 1..127"),
        (GOOD, {"weights": Weights(64, 9)}, r"levels << \(shift - 8\) must be 1..127"),
        (GOOD, {"weights": Weights(0, 8)}, "manifest.weights"),
        (GOOD, {"weights": Weights(1, 7)}, "manifest.weights"),
        (GOOD, {"weights": Weights(1, 15)}, "manifest.weights"),
        (GOOD, {"perturbation": (1, 2)}, "manifest.perturbation must be 0..6 and must not rise"),
        (GOOD, {"perturbation": (7, 2)}, "manifest.perturbation must be 0..6"),
        (GOOD, {"perturbation": (1, -1)}, "manifest.perturbation must be 0..6"),
        (GOOD, {"strategy": Evolution("adam", 1, 1, 1)}, "rule must be one of momentum, sign_mom"),
        (GOOD, {"strategy": Evolution("momentum", 1, 2, 1)}, "eta must be 0..32767 and must not"),
        (GOOD, {"strategy": Evolution("momentum", MAX_ETA + 1, 2, 1)}, "eta must be 0..32767"),
        (GOOD, {"strategy": Evolution("momentum", 2, -1, 1)}, "eta must be 0..32767"),
        (GOOD, {"strategy": Evolution("momentum", 2, 1, 0)}, "batch_start must be 1..65536"),
        (GOOD, {"strategy": Evolution("momentum", 2, 1, 65_537)}, "batch_start must be 1..65536"),
        (GOOD, {"strategy": Greedy(0, 0)}, "batch_start must be 1..65536"),
        (GOOD, {"strategy": Greedy(-1, 1)}, r"margin must be 0..2\^40-1"),
        (GOOD, {"strategy": Greedy(1 << 40, 1)}, r"margin must be 0..2\^40-1"),
    ],
)
def test_a_rule_that_is_broken_is_named(
    manifest: Manifest, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidJob, match=message):
        check_manifest(replace(manifest, **changes))


def test_limits_themselves_are_allowed() -> None:
    largest = replace(GOOD, initial=Seeded(SEED, (MAX_STD, 0, 0, 0), (-5, 0, 0, MASTER_LIMIT)))
    check_manifest(largest)
    assert rounded_shift(MAX_INITIAL * MAX_STD, 8) + 5 == MASTER_LIMIT
    check_manifest(replace(GOOD, initial=Imported(bytes(32))))
    check_manifest(replace(GOOD, strategy=Greedy((1 << 40) - 1, 65_536)))
    check_manifest(replace(GOOD, strategy=Evolution("momentum", MAX_ETA, MAX_ETA, 65_536)))
    check_manifest(replace(TEXT, task=NextByte(65_536, 65_535)))
    for weights in (Weights(127, 8), Weights(63, 9), Weights(1, 14)):
        check_manifest(replace(GOOD, weights=weights))


@given(manifests())
def test_tensors_shapes_and_names_fit_each_other(manifest: Manifest) -> None:
    assert [prod(s) for s in manifest.shapes][-1] == manifest.outputs
    assert sum(map(len, manifest.tensors_by_layer)) == len(manifest.tensors)
    for i, own in enumerate(manifest.tensors_by_layer):
        first = manifest.first_tensor(i)
        assert manifest.tensors[first : first + len(own)] == own
    assert manifest.parameters == sum(prod(s) for s in manifest.tensors)
    named = names(manifest)
    assert len(named) == len(set(named)) == len(manifest.tensors)
    for i, own in enumerate(manifest.tensors_by_layer):
        first = manifest.first_tensor(i)
        assert all(name.startswith(f"layers.{i}.") for name in named[first : first + len(own)])


def test_names_say_layer_and_part() -> None:
    manifest = model(
        (kinds.Embedding(4), kinds.Norm(), kinds.Gru(4, 3), Linear(256, 2, "none")),
        (),
        task=NextByte(4, 0),
    )
    assert list(names(manifest)) == [
        "layers.0.weight",
        "layers.1.weight",
        "layers.2.weight_f",
        "layers.2.recurrent_f",
        "layers.2.bias_f",
        "layers.2.weight_h",
        "layers.2.recurrent_h",
        "layers.2.bias_h",
        "layers.3.weight",
        "layers.3.bias",
    ]
    assert list(names(IMAGES)) == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.2.weight",
        "layers.2.bias",
        "layers.3.weight",
        "layers.3.bias",
    ]


def test_what_a_sample_is_depends_on_the_task() -> None:
    assert (TEXT.input_size, TEXT.predictions) == (6, 3)
    assert (IMAGES.input_size, IMAGES.predictions) == (60, 1)
    assert (example_manifests()["pairs"].input_size, example_manifests()["pairs"].outputs) == (6, 1)


@pytest.mark.parametrize("e", range(7))
def test_a_chunk_is_the_longest_exact_in_float32(e: int) -> None:
    longest = chunk_length(e)
    assert accumulator_bound(longest, e) < LIMIT_FLOAT32 <= accumulator_bound(longest + 1, e)


def test_chunks_have_the_lengths_the_protocol_names() -> None:
    assert (chunk_length(0), chunk_length(2)) == (1031, 1008)


def _wide(inputs: int, shift: int) -> Manifest:
    return model((Linear(2, shift, "none"),), (inputs,), perturbation=(2, 0))


def test_a_dot_product_past_its_bound_is_refused() -> None:
    fits = next(k for k in range(129_000, 130_000) if accumulator_bound(k + 1, 2) >= 1 << 31)
    _wide(fits, 24)
    with pytest.raises(InvalidJob, match=f"a dot product of {fits + 1} passes"):
        _wide(fits + 1, 24)


def test_the_bound_holds_for_every_kind_of_sum() -> None:
    for layer, shape in (
        (kinds.Conv2d(1, (2, 2), (1, 1), (0, 0), 8, "clip"), (33_026, 2, 2)),
        (kinds.Depthwise((8, 16_513), (1, 1), (0, 0), 8, "clip"), (1, 8, 16_513)),
        (kinds.Gru(100, 8), (132_004,)),
    ):
        with pytest.raises(InvalidJob, match=r"model\[0\]: a dot product of 132104 passes"):
            model((layer, HEAD), shape)
    assert accumulator_bound(132_103, 0) < LIMIT_ACCUMULATOR <= accumulator_bound(132_104, 0)


def test_the_first_perturbation_is_the_largest_and_bounds_count_with_it() -> None:
    for e in (0, 6):
        manifest = model((Linear(2, 3, "none"),), (10,), perturbation=(e, 0))
        assert logit_bound(manifest) == (accumulator_bound(10, e) >> 3) + 1


def test_logits_that_may_reach_2_23_are_refused() -> None:
    assert logit_bound(_wide(900, 1)) < 1 << 23
    with pytest.raises(InvalidJob, match=r"logits may reach 2\^23"):
        _wide(900, 0)
    with pytest.raises(InvalidJob, match="must be linear"):
        logit_bound(replace(GOOD, layers=(kinds.Relu(),)))


def test_no_loss_is_above_its_bound() -> None:
    bound = logit_bound(GOOD)
    assert cross_entropy([-bound, *[bound] * 255], 0) <= max_loss(GOOD)
    bound = logit_bound(TEXT)
    assert 3 * cross_entropy([-bound, *[bound] * 255], 0) <= max_loss(TEXT)
    pairs = example_manifests()["pairs"]
    bound = logit_bound(pairs)
    assert preference(-bound, bound) <= max_loss(pairs)
    values = example_manifests()["values"]
    assert max_loss(values) == 2 * squared_error((1 << 23) - 1, -32768)
    assert isinstance(GOOD.task, Classes)
