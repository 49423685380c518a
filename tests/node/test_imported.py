"""A model from torch on its whole way: a job, trained by shares, audited, exported, in torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from potnode.data.digits import digits
from potnode.engine.export import decode_model
from potnode.spec.manifest import Imported
from potnode.spec.network import forward_weights, outputs
from potnode.torchmodel import load
from tests.node.harness import Digger, RunningNode, potnode

STEPS = 3
NET = """
from torch import nn

def model():
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
"""
JOB = f"""
dataset = "digits"
[model]
input = [1, 8, 8]
train = ["3"]
[search]
population = [4, 8]
candidates_per_share = 4
batch_size = [16, 32]
steps = {STEPS}
validate_every = 1
min_bits = 8
"""


async def test_a_model_from_torch_is_trained_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net_of_this_test.py").write_text(NET)
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "datasets").mkdir()
    monkeypatch.chdir(tmp_path)
    node_dir, env = tmp_path / "node", {"POTNODE_DATASETS": str(tmp_path / "datasets")}
    create = ("job", "create", "--from-torch", "net_of_this_test:model", "job.toml")
    made = potnode(*create, "--data-dir", node_dir, "--json", env=env)
    assert made.status == 0, made.err
    job = json.loads(made.out)["job"]
    with RunningNode(node_dir, env=env) as node:
        digger = Digger(node.stratum_port)
        await digger.shares(STEPS)
        node.wait_until(
            lambda: node.get(f"/api/v1/jobs/{job}")["steps"] == STEPS, "all steps were recorded"
        )
    audit = potnode("audit", job, "--slow", "1", "--data-dir", node_dir, "--json", env=env)
    assert audit.status == 0, audit.out
    path = tmp_path / "model.safetensors"
    exported = potnode("model", "export", job, path, "--data-dir", node_dir, env=env)
    assert exported.status == 0, exported.err
    model = decode_model(path.read_bytes())
    manifest = model.manifest
    assert model.step == STEPS
    assert isinstance(manifest.initial, Imported)
    # Only the head moved: masters of the convolution are those of the file.
    weights_file = tmp_path / "datasets" / (manifest.initial.sha256.hex() + ".potweights")
    initial = weights_file.read_bytes()
    trained = b"".join(m.astype("<i4").tobytes() for m in model.state.masters)
    frozen = 4 * sum(m.size for m in model.state.masters[:2])
    assert trained[:frozen] == initial[:frozen]
    assert trained[frozen:] != initial[frozen:]
    images = digits().inputs[:3]
    weights = forward_weights(model.state.to_spec().masters, manifest.weights)
    expected = [outputs(manifest, weights, [image.tolist()])[0] for image in images]
    assert load(path)(torch.from_numpy(images.copy())).tolist() == expected
    weights_file.unlink()
    refused = potnode("audit", job, "--data-dir", node_dir, env=env)
    assert refused.status == 1
    assert "no weights" in refused.err
