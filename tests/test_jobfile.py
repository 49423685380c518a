"""Job files: what a researcher writes becomes a job passing the rules, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from potnode.data.dataset import Dataset
from potnode.data.digits import digits
from potnode.data.freeze import freeze, freeze_bytes, freeze_pairs, freeze_values
from potnode.engine.errors import EngineError
from potnode.errors import JobFileError
from potnode.jobfile import job_file, read_job_file
from potnode.jobs import digits_draft, draft
from potnode.spec import layers as spec
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Linear
from potnode.spec.manifest import (
    Classes,
    Evolution,
    Greedy,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Values,
    Weights,
)
from potnode.spec.manifest_json import check_job, decode_manifest

FULL = """
dataset = "digits"
[model]
hidden = [24, 16]
hidden_shift = 7
output_shift = 4
init_std = 12
seed = "0000000000000000000000000000000000000000000000000000000000000007"
[search]
population = 32
batch_size = [64, 256]
perturbation = [2, 0]
rule = "sign_momentum"
eta = [60, 20]
steps = 10
[pay]
pot_per_step = 5
"""
LAYERS = """
dataset = "digits"
[model]
input = [1, 8, 8]
train = ["block", 8]
init_std = 14
[[model.layers]]
name = "stem"
type = "conv2d"
out = 4
kernel = 3
stride = [1, 2]
pad = 1
shift = 6
[[model.layers]]
name = "block.depthwise"
type = "depthwise"
kernel = [3, 1]
pad = [1, 0]
init_std = 3
[[model.layers]]
name = "block.pointwise"
type = "conv2d"
out = 4
kernel = 1
activation = "clip"
[[model.layers]]
type = "add"
from = "stem"
[[model.layers]]
type = "norm"
[[model.layers]]
type = "relu"
[[model.layers]]
type = "maxpool"
kernel = 2
stride = 1
[[model.layers]]
type = "avgpool"
[[model.layers]]
type = "linear"
"""
OWNER = bytes(range(20))


def written(tmp_path: Path, text: str) -> Path:
    """A job file with this text."""
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


def manifest_of(dataset: Dataset, **tables: object) -> Manifest:
    """The manifest of a job file with these tables."""
    file = job_file({"dataset": dataset.name, **tables}, "test")
    return file.manifest(dataset, bytes(32))


def text_dataset() -> Dataset:
    """Windows of 33 random bytes."""
    windows = np.random.default_rng(0).integers(0, 256, (10, 33))
    return Dataset.from_bytes("text", freeze_bytes(windows, train_count=8))


def test_a_file_becomes_a_valid_job(tmp_path: Path) -> None:
    made = draft(read_job_file(written(tmp_path, FULL)), digits(), owner=OWNER, operator=OWNER)
    manifest = check_job(made.params, made.manifest)
    assert manifest.layers == (
        Linear(24, 7, "relu"),
        Linear(16, 7, "relu"),
        Linear(10, 4, "none"),
    )
    assert manifest.input == (64,)
    assert manifest.initial == Seeded((7).to_bytes(32, "big"), std=(3072, 0) * 3, mean=(0, 0) * 3)
    assert manifest.strategy == Evolution("sign_momentum", 60, 20, batch_start=64)
    assert manifest.perturbation == (2, 0)
    assert (made.params.population_start, made.params.population) == (32, 32)
    assert made.params.candidates_per_share == 1
    assert made.params.batch_size == 256
    assert made.params.pot_per_step == 5
    assert made.params.data_root == digits().root


def test_jobs_of_one_file_are_different_jobs(tmp_path: Path) -> None:
    file = read_job_file(written(tmp_path, 'dataset = "digits"\n'))
    first, second = (draft(file, digits(), owner=OWNER, operator=OWNER) for _ in range(2))
    assert first.params.salt != second.params.salt
    assert decode_manifest(first.manifest).initial != decode_manifest(second.manifest).initial


def test_a_population_may_rise_and_a_share_stand_for_several_candidates(tmp_path: Path) -> None:
    text = 'dataset = "digits"\n[search]\npopulation = [8, 64]\ncandidates_per_share = 4\n'
    made = draft(read_job_file(written(tmp_path, text)), digits(), owner=OWNER, operator=OWNER)
    params = made.params
    assert (params.population_start, params.population) == (8, 64)
    assert params.candidates_per_share == 4


def test_the_digits_job_is_within_the_rules() -> None:
    made = digits_draft(OWNER)
    manifest = check_job(made.params, made.manifest)
    assert manifest.parameters == 2410
    assert made.params.population * made.params.step_limit <= 40_000
    assert made.params.min_bits == 14
    assert digits_draft(OWNER, steps=7).params.step_limit == 7


def test_layers_one_by_one(tmp_path: Path) -> None:
    made = draft(read_job_file(written(tmp_path, LAYERS)), digits(), owner=OWNER, operator=OWNER)
    manifest = check_job(made.params, made.manifest)
    assert manifest.input == (1, 8, 8)
    stem, depthwise, pointwise, *others, head = manifest.layers
    assert stem == spec.Conv2d(4, (3, 3), (1, 2), (1, 1), 6, "relu")
    assert isinstance(depthwise, spec.Depthwise)
    assert (depthwise.kernel, depthwise.pad, depthwise.stride) == ((3, 1), (1, 0), (1, 1))
    assert isinstance(pointwise, spec.Conv2d)
    assert pointwise.activation == "clip"
    assert others == [
        spec.Add(0),
        spec.Norm(),
        spec.Relu(),
        spec.MaxPool((2, 2), (1, 1)),
        spec.AvgPool((7, 3), (7, 3)),
    ]
    assert isinstance(head, Linear)
    assert (head.out, head.activation) == (10, "none")
    assert isinstance(manifest.initial, Seeded)
    assert manifest.initial.std == (3584, 0, 768, 0, 3584, 0, 0, 3584, 0)
    assert manifest.initial.mean == (0, 0, 0, 0, 0, 0, 4096, 0, 0)
    # The block's two layers by the name they begin with, the head by its index.
    assert manifest.train == (2, 3, 4, 5, 7, 8)


def test_layers_of_text() -> None:
    manifest = manifest_of(
        text_dataset(),
        model={
            "layers": [
                {"type": "embedding", "out": 8},
                {"type": "norm"},
                {"type": "gru", "out": 8},
                {"type": "add", "from": 0},
                {"type": "linear"},
            ]
        },
    )
    assert manifest.input == ()
    assert manifest.task == NextByte(window=32, warmup=4)
    assert manifest.outputs == 256
    assert manifest.layers[3] == spec.Add(0)


def test_the_dataset_says_what_is_to_be_learnt() -> None:
    inputs = np.arange(40).reshape(10, 4)
    values = Dataset.from_bytes("values", freeze_values(inputs, inputs[:, :2], train_count=8))
    pairs = Dataset.from_bytes("pairs", freeze_pairs(inputs, inputs[::-1], train_count=8))
    assert manifest_of(digits()).task == Classes()
    assert manifest_of(values).task == Values(tolerance=16)
    assert manifest_of(values, task={"type": "values", "tolerance": 3}).task == Values(tolerance=3)
    assert manifest_of(values).outputs == 2
    assert manifest_of(pairs).task == Pairs()
    assert manifest_of(pairs).outputs == 1
    assert manifest_of(text_dataset(), task={"warmup": 9}, model={"layers": [
        {"type": "embedding", "out": 8}, {"type": "linear"}
    ]}).task == NextByte(32, 9)  # fmt: skip


def test_strategies_and_weights() -> None:
    greedy = manifest_of(
        digits(), search={"strategy": "greedy", "margin": 5, "batch_size": [32, 64]}
    )
    assert greedy.strategy == Greedy(margin=5, batch_start=32)
    assert manifest_of(digits(), model={"weights": "int4"}).weights == Weights(7, 12)
    assert manifest_of(digits(), model={"weights": "ternary"}).weights == Weights(1, 13)


@pytest.mark.parametrize(("brightest", "shift"), [(127, 12), (15, 9)])
def test_the_first_shift_follows_from_the_inputs(brightest: int, shift: int) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.choice([-brightest, brightest], (20, 784))
    targets = rng.integers(0, 10, 20)
    images = Dataset.from_bytes("images", freeze(inputs, targets, train_count=15, classes=10))
    layer = manifest_of(images, model={"hidden": [32]}).layers[0]
    assert isinstance(layer, Linear)
    assert layer.shift == shift


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'dataset = "digits"\n[model]\nhiden = [1]\n',
            r"unknown key model\.hiden; did you mean model\.hidden",
        ),
        ('dataset = "digits"\nsearhc = 1\n', r"unknown key searhc; did you mean search"),
        ("[model]\n", r"dataset is missing"),
        ('dataset = "digits"\n[search]\npopulation = "many"\n', r"search\.population"),
        ('dataset = "digits"\n[search]\nrule = "adam"\n', r"search\.rule"),
        ('dataset = "digits"\n[search]\npopulation = 1.5\n', r"search\.population"),
        ('dataset = "digits"\n[search]\nbatch_size = [1, 2, 3]\n', r"search\.batch_size"),
        ('dataset = "digits"\n[search]\nstrategy = "greed"\n', r"search\.strategy"),
        ('dataset = "digits"\n[task]\ntype = "regression"\n', r"task\.type"),
        ('dataset = "digits"\n[model]\nweights = "int2"\n', r"model\.weights"),
        (
            'dataset = "digits"\n[[model.layers]]\ntype = "conv"\n',
            r"model\.layers\[0\]\.type must be one of linear, conv2d",
        ),
        ('dataset = "digits"\n[[model.layers]]\nout = 3\n', r"model\.layers\[0\] needs a type"),
        (
            'dataset = "digits"\n[[model.layers]]\ntype = "conv2d"\nout = 3\nkernle = 3\n',
            r"unknown key model\.layers\[0\]\.kernle: conv2d has activation, init_std, kernel",
        ),
        (
            'dataset = "digits"\n[[model.layers]]\ntype = "conv2d"\nkernel = 3\n',
            r"model\.layers\[0\]\.out is missing",
        ),
        (
            'dataset = "digits"\n[[model.layers]]\ntype = "add"\nfrom = -1\n',
            r"model\.layers\[0\]\.from: names and indices of layers",
        ),
        (
            'dataset = "digits"\n[[model.layers]]\ntype = "conv2d"\nout = 3\nkernel = [1, 2, 3]\n',
            r"model\.layers\[0\]\.kernel must be a whole number, or a list of two",
        ),
        (
            'dataset = "digits"\n[search]\npopulation = [8]\n',
            r"population must be a whole number, or",
        ),
        ('dataset = "digits"\nmodel = 5\n', r"model must be a table"),
        ('dataset = "digits"\n[model]\nhidden = 5\n', r"model\.hidden must be a list"),
        ('dataset = "digits"\n[model]\ntrain = [1.5]\n', r"model\.train: names and indices"),
        ('preset = "mnist-mpl"\n', r"no preset 'mnist-mpl'; did you mean mnist-mlp"),
        (
            'preset = "mnist-mlp"\n[model]\nhidden = [3]\n',
            r"model\.hidden: the preset has a model",
        ),
        ("dataset = ", r"is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JobFileError, match=message):
        read_job_file(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"job\.toml: cannot be read"):
        read_job_file(tmp_path / "job.toml")


HEAD = '\n[[model.layers]]\ntype = "linear"\nname = "head"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\ninput = [1, 8, 9]", r"model\.input: \[1, 8, 9\] has 72 values, .* have 64"),
        ("[model]\nhidden = [3]" + HEAD, r"model\.hidden: model\.layers says it all"),
        (
            '[model]\ntrain = ["haed"]' + HEAD,
            r"model\.train: there is no layer 'haed'; did you mean head",
        ),
        ("[model]\ntrain = [1]" + HEAD, r"model\.train: there is no layer 1"),
        (
            '[model]\ntrain = [0]\n[[model.layers]]\ntype = "relu"' + HEAD,
            r"model\.train: layer 0 has no weights",
        ),
        (
            '[[model.layers]]\ntype = "linear"' + HEAD,
            r"model\.layers: a linear layer before the last needs `out`",
        ),
        (
            '[[model.layers]]\ntype = "linear"\nname = "head"\nout = 3' + HEAD,
            r"two layers have the name 'head'",
        ),
        (
            '[[model.layers]]\ntype = "add"\nfrom = "stem"' + HEAD,
            r"no earlier layer 'stem' to add",
        ),
        (
            '[[model.layers]]\ntype = "add"\nfrom = 4' + HEAD,
            r"model\.layers\[0\]: there is no layer 4 before it",
        ),
        (
            '[[model.layers]]\ntype = "conv2d"\nout = 3\nkernel = 3' + HEAD,
            r"model\.layers\[0\]: a window slides over \(channels, height, width\)",
        ),
        ('[[model.layers]]\ntype = "avgpool"' + HEAD, r"model\.layers\[0\]: a window slides"),
        ('[task]\ntype = "values"', r"task\.type: the dataset is for 'classes', not for 'values'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = read_job_file(written(tmp_path, f'dataset = "digits"\n{text}\n'))
    with pytest.raises(JobFileError, match=message):
        file.manifest(digits(), bytes(32))


def test_text_has_no_shape() -> None:
    with pytest.raises(JobFileError, match=r"model\.input: a byte model has none"):
        manifest_of(text_dataset(), model={"input": [32]})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[model]\nhidden = [140000, 4]", "passes its sum's bound, 2\\^31"),
        ("[model]\nhidden = [4000]\noutput_shift = 0", "logits may reach"),
        ("[search]\npopulation = 2000", "at most 512 shares"),
        (
            "[search]\npopulation = [64, 32]",
            r"search\.population at the first step is 64, .* 1\.\.32",
        ),
        ("[search]\ncandidates_per_share = 3", "multiple of candidates_per_share, 3"),
        ("[search]\ncandidates_per_share = 65", "allowed is 1..64"),
        ("[search]\nbatch_size = [600, 500]", r"search\.batch_size at the first step is 600"),
        (
            "[search]\nbatch_size = 70000",
            r"^search\.batch_size at the first step must be 1\.\.65536",
        ),
        ("[search]\nsteps = 99999999999", r"^search\.steps must be a uint32"),
        ("[pay]\npot_per_step = 1" + "0" * 40, r"^pay\.pot_per_step must be a uint128"),
        ("[search]\nperturbation = [0, 1]", "perturbation"),
        ("[model]\ninit_std = 200", "std"),
    ],
)
def test_what_the_rules_forbid_is_refused_before_it_costs_anything(
    tmp_path: Path, line: str, message: str
) -> None:
    file = read_job_file(written(tmp_path, f'dataset = "digits"\n{line}\n'))
    with pytest.raises(InvalidJob, match=message):
        draft(file, digits(), owner=OWNER, operator=OWNER)


def test_a_model_that_can_t_tell_the_classes_apart_makes_no_job(tmp_path: Path) -> None:
    text = 'dataset = "digits"\n[[model.layers]]\ntype = "linear"\nout = 9\n'
    with pytest.raises(EngineError, match=r"has 9 outputs, dataset 'digits' has .* 10 outputs"):
        draft(read_job_file(written(tmp_path, text)), digits(), owner=OWNER, operator=OWNER)
