"""Presets: each is a job within the rules, whose random weights neither die nor saturate."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
import torch

from potnode.data.dataset import Dataset
from potnode.data.digits import digits
from potnode.data.freeze import freeze, freeze_bytes
from potnode.engine import state as states
from potnode.engine.engine import Engine
from potnode.errors import JobFileError
from potnode.jobfile import job_file, preset_job
from potnode.jobs import digits_draft, draft
from potnode.presets import PRESETS, preset
from potnode.spec.manifest import Manifest, NextByte
from potnode.spec.manifest_json import check_job
from potnode.spec.schedule import step_terms
from potnode.torchmodel import IntegerModel
from potnode.views import describe_model

OWNER = bytes(range(20))


def made_up(name: str) -> Dataset:
    """A dataset that the preset can be for."""
    if name == "digits-mlp":
        return digits()
    rng = np.random.default_rng(0)
    if name == "char-gru":
        windows = rng.choice(np.frombuffer(b"the quick brown fox ", np.uint8), (20, 65))
        return Dataset.from_bytes("text", freeze_bytes(windows, train_count=15))
    # A fifth of the pixels is bright, as in images of digits.
    pixels = np.where(rng.random((20, 784)) < 0.2, 127, 0)
    targets = rng.integers(0, 10, 20)
    return Dataset.from_bytes("mnist", freeze(pixels, targets, train_count=15, classes=10))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_within_the_rules(name: str) -> None:
    dataset = made_up(name)
    made = draft(preset_job(name, dataset.name), dataset, owner=OWNER, operator=OWNER)
    manifest = check_job(made.params, made.manifest)
    assert manifest.parameters < 100_000
    assert len(manifest.train) == len(manifest.tensors)


@pytest.mark.parametrize("name", PRESETS)
def test_activations_of_random_weights_neither_die_nor_saturate(name: str) -> None:
    dataset = made_up(name)
    manifest = preset_job(name, dataset.name).manifest(dataset, bytes(31) + b"\x07")
    layers = _Recorded(manifest)
    z = layers(torch.from_numpy(dataset.inputs[:15, :64].copy()).to(torch.int64) & 0xFF) if (
        isinstance(manifest.task, NextByte)
    ) else layers(torch.from_numpy(dataset.inputs[:15].copy()))  # fmt: skip
    for i, values in layers.seen.items():
        rms = float((values * values).mean().sqrt())
        if i == len(manifest.layers) - 1:
            assert 32 < rms < 1024  # logits: an eighth of a bit to four
            continue
        assert 4 < rms < 90, (i, manifest.layers[i])
        assert float((values.abs() == 127).double().mean()) < 0.25, (i, manifest.layers[i])
    assert z.shape[-1] == manifest.outputs


class _Recorded(IntegerModel):
    """A preset's model at its start, which keeps what every layer last gave."""

    def __init__(self, manifest: Manifest) -> None:
        state = states.initial(manifest)
        super().__init__(
            manifest, [states.forward_weights(m, manifest.weights) for m in state.masters]
        )
        self.seen: dict[int, torch.Tensor] = {}

    def _layer(self, i: int, *rest: object) -> torch.Tensor:
        self.seen[i] = super()._layer(i, *rest)  # type: ignore[arg-type]
        return self.seen[i]


def test_the_job_of_a_node_without_any_learns() -> None:
    """A tenth of the job, at the same schedule: accuracy is far above chance and still rising."""
    params = digits_draft(OWNER).params
    manifest = preset_job("digits-mlp").manifest(digits(), sha256(b"digits job").digest())
    engine = Engine(manifest, digits(), threads=1)
    state = engine.initial()
    hits = [engine.validate(state).hits]
    for step in range(params.step_limit // 10):
        work = sha256(b"%d" % step).digest()
        keys = [sha256(b"%d %d" % (step, i)).digest() for i in range(params.population)]
        terms = step_terms(manifest, params, step)
        losses = engine.losses(state, keys, engine.batch(work, terms.batch_size), terms)
        state, _ = engine.advance(state, keys, losses, work, terms)
        hits.append(engine.validate(state).hits)
    assert hits[0] < 100
    assert hits[-1] > 240


def test_a_file_goes_before_its_preset() -> None:
    file = job_file(
        {
            "preset": "mnist-conv",
            "dataset": "mine",
            "model": {"train": ["head"], "weights": "int4"},
            "search": {"population": 8},
        },
        "test",
    )
    plain = preset_job("mnist-conv")
    assert file.dataset == "mine"
    assert file.model.layers == plain.model.layers
    assert file.model.train == ["head"]
    assert file.model.weights == "int4"
    assert file.search.population == (8, 8)
    assert file.search.eta == plain.search.eta


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(JobFileError, match="no preset 'mobile'; did you mean mobile-conv"):
        preset("mobile")
    with pytest.raises(JobFileError, match="no preset 'x': digits-mlp, mnist-mlp"):
        preset("x")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits-mlp", "64-32-10"),
        ("mnist-mlp", "784-64-10"),
        ("mnist-conv", "conv 8-16, linear 10"),
        ("mobile-conv", "conv 16-16-32, linear 10"),
        ("char-gru", "embedding 64, gru 64, linear 256"),
    ],
)
def test_models_in_few_words(name: str, words: str) -> None:
    dataset = made_up(name)
    assert describe_model(preset_job(name, dataset.name).manifest(dataset, bytes(32))) == words
