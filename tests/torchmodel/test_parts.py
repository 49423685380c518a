"""Which torch models can become jobs, and what is said of those that can't."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from potnode.spec import layers as spec
from potnode.torchmodel.errors import TorchModelError
from potnode.torchmodel.parts import Weighted, read

IMAGE = (3, 8, 8)


def test_nested_models_are_read_with_their_names() -> None:
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)
    )
    model = nn.Sequential(OrderedDict(features=features, flat=nn.Flatten(), head=nn.Linear(16, 2)))
    parts = read(model, IMAGE)
    assert [part.name for part in parts] == ["features.0", "features.3", "head"]
    assert [part.layer for part in parts] == [
        spec.Conv2d(4, (3, 3), (2, 2), (1, 1), 0, "clip"),
        spec.MaxPool((2, 2), (2, 2)),
        spec.Linear(2, 0, "clip"),
    ]
    activations = [part.activation for part in parts if isinstance(part, Weighted)]
    assert activations == ["relu", "none"]


def test_batch_norm_is_folded() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), norm, nn.Flatten(), nn.Linear(256, 2))
    for _ in range(3):
        model(torch.randn(16, *IMAGE) * 3 + 1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model.eval()
    part = read(model, IMAGE)[0]
    assert isinstance(part, Weighted)
    inputs = torch.randn(5, *IMAGE)
    with torch.no_grad():
        expected = model[:2](inputs).double()
    weight = torch.from_numpy(part.weight)
    found = nn.functional.conv2d(inputs.double(), weight, torch.from_numpy(part.bias))
    assert torch.allclose(found, expected, atol=1e-5)
    assert part.ends_with is norm


@pytest.mark.parametrize(
    ("modules", "layer"),
    [
        ([nn.Conv2d(3, 3, 3, groups=3)], spec.Depthwise((3, 3), (1, 1), (0, 0), 0, "clip")),
        (
            [nn.Conv2d(3, 2, (3, 1), padding="same")],
            spec.Conv2d(2, (3, 1), (1, 1), (1, 0), 0, "clip"),
        ),
        ([nn.Conv2d(3, 2, 2, padding="valid")], spec.Conv2d(2, (2, 2), (1, 1), (0, 0), 0, "clip")),
        ([nn.AvgPool2d(2, 1)], spec.AvgPool((2, 2), (1, 1))),
        ([nn.MaxPool2d((2, 4))], spec.MaxPool((2, 4), (2, 4))),
        ([nn.AdaptiveAvgPool2d((1, 1))], spec.AvgPool((8, 8), (8, 8))),
        ([nn.Identity(), nn.ReLU()], spec.Relu()),
    ],
)
def test_every_supported_module_is_a_layer(modules: list[nn.Module], layer: spec.Layer) -> None:
    flat = nn.Flatten()
    size = nn.Sequential(*modules, flat)(torch.zeros(1, *IMAGE)).shape[1]
    parts = read(nn.Sequential(*modules, flat, nn.Linear(size, 2)), IMAGE)
    assert parts[0].layer == layer


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU6(), ("relu", 6.0)),
        (nn.Hardtanh(), ("clip", 1.0)),
        (nn.Hardtanh(0.0, 2.5), ("relu", 2.5)),
        (nn.ReLU(), ("relu", None)),
    ],
)
def test_activations_end_where_they_do(
    activation: nn.Module, expected: tuple[str, float | None]
) -> None:
    part = read(nn.Sequential(nn.Linear(4, 4), activation, nn.Linear(4, 2)), (4,))[0]
    assert isinstance(part, Weighted)
    assert (part.activation, part.limit) == expected


def image_model(*modules: nn.Module) -> nn.Sequential:
    """Modules on images before a head that is never reached."""
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(1, 2))


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (nn.Linear(4, 2), "is a Linear; a job's model is an nn.Sequential"),
        (nn.Sequential(), "the last module must be a Linear"),
        (image_model(nn.Sigmoid()), r"module 0 \(Sigmoid\) is none that a job can have"),
        (
            nn.Sequential(nn.Sequential(nn.GELU()), nn.Linear(1, 2)),
            r"module 0\.0 \(GELU\) is none that a job can have",
        ),
        (
            image_model(nn.Linear(8, 8)),
            r"module 0 \(Linear\) takes 8 values, .*: put an nn.Flatten",
        ),
        (image_model(nn.Conv2d(1, 2, 3)), r"takes images of 1 channels, .*model\.input"),
        (nn.Sequential(nn.Flatten(), nn.Conv2d(3, 2, 3)), r"module 1 \(Conv2d\) takes images"),
        (image_model(nn.Conv2d(3, 6, 3, groups=3)), "has 3 groups for 3 channels"),
        (image_model(nn.Conv2d(3, 2, 3, dilation=2)), "no dilation"),
        (image_model(nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")), "pad with zeros"),
        (image_model(nn.Conv2d(3, 2, 2, padding="same")), "'same' needs an odd kernel"),
        (image_model(nn.Conv2d(3, 2, 9)), r"module 0 \(Conv2d\): a window of"),
        (image_model(nn.MaxPool2d(2, padding=1)), "no padding"),
        (image_model(nn.MaxPool2d(2, dilation=2)), "no dilation"),
        (image_model(nn.AvgPool2d(2, ceil_mode=True)), "no ceil_mode"),
        (image_model(nn.AvgPool2d(2, divisor_override=3)), "divide by the size of its window"),
        (image_model(nn.AdaptiveAvgPool2d(2)), "output size 1"),
        (nn.Sequential(nn.Flatten(), nn.MaxPool2d(2)), r"module 1 \(MaxPool2d\) takes images"),
        (image_model(nn.Flatten(2)), "must flatten all but the batch"),
        (image_model(nn.BatchNorm2d(3)), "must follow a Linear or Conv2d"),
        (image_model(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.BatchNorm2d(2)), "must follow"),
        (image_model(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(3)), "takes 3 channels, 0 gives 2"),
        (
            image_model(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)),
            "no running statistics",
        ),
        (image_model(nn.Conv2d(3, 2, 1), nn.Hardtanh(-1.0, 2.0)), "clip to 0..x or -x..x"),
        (image_model(nn.ReLU6()), "must follow a Linear or Conv2d directly"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.ReLU()), "logits have none"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.Flatten(0)), "must flatten all"),
    ],
)
def test_what_no_job_can_have_is_named_with_its_place(model: nn.Module, problem: str) -> None:
    with pytest.raises(TorchModelError, match=problem):
        read(model, IMAGE)
