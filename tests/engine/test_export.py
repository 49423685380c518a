"""Model files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as safetensors
from safetensors import safe_open

from potnode.engine import state as states
from potnode.engine.errors import BadModelFile
from potnode.engine.export import Model, decode_model, encode_model
from potnode.spec.manifest import names
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.vectors.models import example_manifests
from tests.engine.cases import network, state

MANIFEST = network(6, 4, 3)
MODEL = Model(bytes(range(32)), 17, MANIFEST, state(MANIFEST, 1))


def test_a_model_comes_back() -> None:
    data = encode_model(MODEL)
    assert encode_model(MODEL) == data
    assert decode_model(data) == MODEL


@pytest.mark.parametrize("name", example_manifests())
def test_models_of_every_kind_come_back(name: str) -> None:
    manifest = example_manifests()[name]
    model = Model(bytes(32), 1, manifest, state(manifest, 2))
    data = encode_model(model)
    assert decode_model(data) == model
    tensors = safetensors.load(data)
    assert {each for each in tensors if each.count(".") == 2} == set(names(manifest))


def test_other_tools_read_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode_model(MODEL))
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        weight = file.get_tensor("layers.0.weight")
        bias = file.get_tensor("layers.1.bias")
    assert metadata == {
        "job": bytes(range(32)).hex(),
        "manifest": encode_manifest(MANIFEST).decode(),
        "protocol": "potnode/1",
        "state_root": states.root(MODEL.state, MANIFEST.weights).hex(),
        "step": "17",
    }
    assert weight.dtype == np.int8
    assert weight.shape == (4, 6)
    assert (
        weight.flatten().tolist()
        == states.forward_weights(MODEL.state.masters[0], MANIFEST.weights).tolist()
    )
    assert (
        bias.tolist() == states.forward_weights(MODEL.state.masters[3], MANIFEST.weights).tolist()
    )


def changed(name: str, **metadata: str) -> bytes:
    """The model's file with one tensor's first number changed, or with other metadata."""
    tensors = safetensors.load(encode_model(MODEL))
    if name:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[0] -= np.sign(tensors[name].flat[0]) or 1
    known = {
        "job": MODEL.job_id.hex(),
        "manifest": encode_manifest(MANIFEST).decode(),
        "protocol": "potnode/1",
        "state_root": states.root(MODEL.state, MANIFEST.weights).hex(),
        "step": "17",
    }
    return safetensors.save(tensors, known | metadata)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a potnode model file"),
        (encode_model(MODEL)[:-1], "not a potnode model file"),
        (safetensors.save({"x": np.zeros(1)}), "not a potnode model file"),
        (changed("layers.1.bias"), "layers.1.bias is not what its masters round to"),
        (changed("layers.0.weight.momentum"), "don't have the state root"),
        (changed("", state_root="00" * 32), "don't have the state root"),
        (changed("", state_root="zz"), "not a potnode model file"),
        (changed("", manifest="{}"), "not a potnode model file"),
        (changed("", protocol="potnode/2"), "potnode/2"),
    ],
)
def test_what_is_not_the_model_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(BadModelFile, match=problem):
        decode_model(data)


def test_the_unchanged_copy_is_accepted() -> None:
    assert decode_model(changed("")) == MODEL
