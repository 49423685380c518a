"""The integers of a torch model are near its floats, its weights are the job's first ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from potnode.data.dataset import Dataset
from potnode.data.digits import digits
from potnode.data.freeze import freeze_pairs, freeze_values
from potnode.engine import state as states
from potnode.engine.export import Model, encode_model
from potnode.fromtorch import TorchJob, draft_from_torch
from potnode.jobfile import job_file
from potnode.spec.manifest import Imported
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.network import forward_weights, outputs
from potnode.torchmodel import IntegerModel, load
from potnode.torchmodel.convert import float_inputs
from potnode.torchmodel.errors import TorchModelError

OWNER = bytes(range(20))


def trained(model: nn.Sequential, shape: tuple[int, ...], epochs: int = 3) -> nn.Sequential:
    """The model after some epochs of Adam on the built-in digits."""
    data = digits()
    count = data.header.train_count
    inputs = float_inputs(data, shape, 1 / 127, np.arange(count))
    targets = torch.tensor(data.targets[:count]).long()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        order = torch.randperm(count)
        for first in range(0, count, 128):
            rows = order[first : first + 128]
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
            torch.autograd.backward(loss)
            optimiser.step()
    return model


def mlp() -> nn.Sequential:
    """Linear layers with all that may stand between them."""
    return nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(inplace=True), nn.Dropout(0.1),
        nn.Linear(32, 32), nn.Hardtanh(), nn.Linear(32, 10),
    )  # fmt: skip


def conv() -> nn.Sequential:
    """Convolutions of every kind."""
    features = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same", groups=8), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
    )  # fmt: skip
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64, 10))


def drafted(brought: nn.Module, dataset: Dataset, **tables: object) -> TorchJob:
    """A job of a torch model; `tables` are those of its job file."""
    file = job_file({"dataset": dataset.name, **tables}, "test")
    return draft_from_torch(brought, file, dataset, owner=OWNER, operator=OWNER)


@pytest.mark.parametrize(("make", "shape"), [(mlp, (64,)), (conv, (1, 8, 8))])
def test_integers_are_nearly_as_good_as_floats(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = trained(make(), shape)
    made = drafted(model, digits(), model={"input": list(shape)})
    assert made.float_accuracy > 0.85
    assert made.accuracy > made.float_accuracy - 0.03
    manifest = decode_manifest(made.draft.manifest)
    state = states.initial(manifest, made.weights)
    integers = IntegerModel(
        manifest, [states.forward_weights(m, manifest.weights) for m in state.masters]
    )
    rows = np.arange(1500, 1797)
    with torch.no_grad():
        expected = model(float_inputs(digits(), shape, 1 / 127, rows))
    found = integers.logits(torch.from_numpy(digits().inputs[rows]))
    assert float((found - expected).abs().mean()) < 0.15 * float(expected.abs().mean())


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = drafted(conv(), digits(), model={"input": [1, 8, 8]})
    path = made.save(tmp_path)
    manifest = decode_manifest(made.draft.manifest)
    assert isinstance(manifest.initial, Imported)
    assert path.name == manifest.initial.sha256.hex() + ".potweights"
    state = states.initial(manifest, path.read_bytes())
    assert made.draft.params.initial_root == states.root(state, manifest.weights)
    exported = path.with_name("model.safetensors")
    exported.write_bytes(encode_model(Model(bytes(32), 0, manifest, state)))
    weights = forward_weights(state.to_spec().masters, manifest.weights)
    inputs = digits().inputs[:2]
    expected = [outputs(manifest, weights, [row.tolist()])[0] for row in inputs]
    assert load(exported)(torch.from_numpy(inputs.copy())).tolist() == expected


def test_only_named_modules_are_trained() -> None:
    made = drafted(conv(), digits(), model={"input": [1, 8, 8], "train": ["2"]})
    manifest = decode_manifest(made.draft.manifest)
    assert manifest.train == (6, 7)
    both = drafted(conv(), digits(), model={"input": [1, 8, 8], "train": ["0.7", "2"]})
    assert decode_manifest(both.draft.manifest).train == (4, 5, 6, 7)
    block = drafted(conv(), digits(), model={"input": [1, 8, 8], "train": ["0"]})
    assert decode_manifest(block.draft.manifest).train == (0, 1, 2, 3, 4, 5)


def test_values_keep_their_unit() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.integers(-100, 101, (40, 3))
    targets = (inputs @ np.array([[2], [-1], [1]])).clip(-32768, 32767)
    data = Dataset.from_bytes("plane", freeze_values(inputs, targets, train_count=30))
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.2, -0.1, 0.1]]))
        layer.bias.fill_(0.4)
    model = nn.Sequential(layer)
    # The model sees a tenth of the inputs, gives a hundredth of the targets, and 40 too much.
    made = drafted(
        model, data, model={"input_scale": 0.1, "output_scale": 0.01}, task={"tolerance": 45}
    )
    assert made.float_accuracy == made.accuracy == 1.0
    precise = drafted(
        model, data, model={"input_scale": 0.1, "output_scale": 0.01}, task={"tolerance": 30}
    )
    assert precise.float_accuracy == precise.accuracy == 0.0


def test_scores_of_pairs() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-100, 101, (40, 3)) for _ in range(2))
    better = np.where((first[:, :1] > second[:, :1]), first, second)
    worse = np.where((first[:, :1] > second[:, :1]), second, first)
    data = Dataset.from_bytes("taste", freeze_pairs(better, worse, train_count=30))
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0, 0.0]]))
    made = drafted(nn.Sequential(layer), data)
    assert made.float_accuracy == 1.0
    assert made.accuracy == 1.0


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(9, 10)), "takes 9 values"),
        (nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)), r"module 1 \(Tanh\)"),
    ],
)
def test_models_no_job_can_have_are_refused(model: nn.Module, problem: str) -> None:
    with pytest.raises(TorchModelError, match=problem):
        drafted(model, digits())


def filled(value: float) -> nn.Sequential:
    """A linear model with one weight everywhere."""
    layer = nn.Linear(64, 10)
    nn.init.constant_(layer.weight, value)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer)


def test_numbers_int8_cannot_hold_are_refused() -> None:
    with pytest.raises(TorchModelError, match=r"module 0: its weights \(up to 1e\+03\)"):
        drafted(filled(1e3), digits())
    with pytest.raises(TorchModelError, match="not finite"):
        drafted(filled(float("nan")), digits())


def test_a_layer_that_gives_nothing_is_kept() -> None:
    layer = nn.Linear(64, 4)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, -1.0)
    made = drafted(nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 10)), digits())
    assert made.accuracy == made.float_accuracy
