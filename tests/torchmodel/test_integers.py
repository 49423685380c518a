"""The torch module computes what the specification computes, for every layer and task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from potnode.engine.errors import BadModelFile
from potnode.engine.export import Model, encode_model
from potnode.spec.manifest import Manifest, NextByte
from potnode.spec.network import forward_weights, outputs
from potnode.spec.vectors.models import example_manifests, filled, positions
from potnode.torchmodel import IntegerModel, load
from potnode.torchmodel.errors import TorchModelError
from tests.engine.cases import manifests, samples, state

EXAMPLES = example_manifests()


def module(manifest: Manifest, weights: list[list[int]]) -> IntegerModel:
    """The torch module of forward weights as the specification has them."""
    return IntegerModel(manifest, [np.array(w, np.int8) for w in weights])


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_of_layer_gives_the_specification_s_integers(name: str) -> None:
    manifest = EXAMPLES[name]
    weights, inputs = filled(name, manifest), positions(name, manifest)
    expected = [outputs(manifest, weights, sample) for sample in inputs]
    given_rows = torch.tensor(inputs).squeeze(-1 if isinstance(manifest.task, NextByte) else 1)
    found = module(manifest, weights)(given_rows)
    assert found.dtype == torch.int64
    wanted = torch.tensor(expected)
    assert torch.equal(found, wanted if isinstance(manifest.task, NextByte) else wanted[:, 0])


@given(manifest=manifests(), seed=st.integers(0, 1 << 32))
def test_random_networks_do_too(manifest: Manifest, seed: int) -> None:
    data = samples(manifest, 2, 1, seed=seed)
    weights = forward_weights(state(manifest, seed).to_spec().masters, manifest.weights)
    for index in range(3):
        inputs = list(data.sample(index).inputs)
        if isinstance(manifest.task, NextByte):
            rows = [[byte] for byte in inputs[:-1]]
            given_row = torch.tensor([inputs[:-1]])
        else:
            inputs = inputs[: data.header.input_size]
            rows, given_row = [inputs], torch.tensor([inputs])
        found = module(manifest, weights)(given_row)
        assert found.reshape(len(rows), -1).tolist() == outputs(manifest, weights, rows)


def test_a_file_loads_and_computes(tmp_path: Path) -> None:
    manifest = EXAMPLES["conv"]
    trained = state(manifest, 5)
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode_model(Model(bytes(32), 3, manifest, trained)))
    loaded = load(path)
    weights = forward_weights(trained.to_spec().masters, manifest.weights)
    [sample] = positions("conv", manifest)[0]
    expected = outputs(manifest, weights, [sample])
    images = torch.tensor([sample]).reshape(1, *manifest.input)
    assert loaded(images).tolist() == expected
    assert torch.equal(
        loaded.logits(images),
        torch.tensor(expected, dtype=torch.float64).mul(np.log(2) / 256).float(),
    )
    assert set(loaded.state_dict()) >= {"layers_0_weight", "layers_3_bias"}
    assert loaded.manifest == manifest


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TorchModelError, match="missing"):
        load(tmp_path / "missing.safetensors")
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"other")
    with pytest.raises(BadModelFile):
        load(path)


@pytest.mark.parametrize(
    ("name", "inputs", "problem"),
    [
        ("conv", torch.zeros(3, 7), r"with \d+ values a row, not \[3, 7\]"),
        ("conv", torch.zeros(3), r"not \[3\]"),
        ("conv", None, r"integers -127\.\.127 as in the dataset"),
        ("gru", torch.tensor([[0, 256]]), r"integers 0\.\.255"),
        ("gru", torch.tensor([[0.5]]), r"integers 0\.\.255"),
        ("gru", torch.tensor([3]), r"\[n, positions\], not \[1\]"),
    ],
)
def test_inputs_no_dataset_has_are_refused(
    name: str, inputs: torch.Tensor | None, problem: str
) -> None:
    manifest = EXAMPLES[name]
    if inputs is None:
        inputs = torch.full((1, *manifest.input), 128)
    with pytest.raises(TorchModelError, match=problem):
        module(manifest, filled(name, manifest))(inputs)
