"""A torch model read as a list of parts: what it computes, in float64, without torch's modules.

Responsible for which modules a job can have, and for folding batch norms and activations into the
layer before them. Numbers stay those of the model; making integers of them is
`potnode.torchmodel.convert`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from potnode.spec import layers as spec
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Shape
from potnode.torchmodel.errors import TorchModelError

Floats = npt.NDArray[np.float64]
SUPPORTED = (
    "Linear, Conv2d (one group, or depthwise), BatchNorm after these, ReLU, ReLU6, Hardtanh, "
    "MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten, Dropout, Identity, in Sequential"
)


@dataclass(slots=True)
class Weighted:
    """A layer with weights [out, ...] and a bias [out].

    layer: its kind and extents; its shift is not known yet. ends_with: the module whose output is
    that of the layer before its activation. activation: as in `potnode.spec.layers`. limit: the
    value at which the activation clips; None where only integers end.
    """

    name: str
    layer: spec.Linear | spec.Conv2d | spec.Depthwise
    weight: Floats
    bias: Floats
    ends_with: nn.Module
    activation: Literal["relu", "clip", "none"] = "clip"
    limit: float | None = None
    activated: bool = False


@dataclass(frozen=True, slots=True)
class Plain:
    """A layer without weights, which keeps the scale of its input."""

    name: str
    layer: spec.MaxPool | spec.AvgPool | spec.Relu


Part = Weighted | Plain


def read(model: nn.Module, shape: Shape) -> list[Part]:
    """The parts of a model that takes inputs of `shape`, ([n] or [c, h, w]).

    Raises:
        TorchModelError: naming the module that a job can't have, and its place.
    """
    if not isinstance(model, nn.Sequential):
        raise TorchModelError(
            f"the model is a {type(model).__name__}; a job's model is an nn.Sequential"
        )
    reader = _Reader(shape)
    for name, module in _leaves(model, ""):
        try:
            reader.take(name, module)
        except InvalidJob as error:
            raise TorchModelError(f"{_told(name, module)}: {error}") from None
    return reader.finished()


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules in order, nested Sequentials opened, with their dotted names."""
    if isinstance(module, nn.Sequential):
        for inner, child in module.named_children():
            yield from _leaves(child, f"{name}.{inner}" if name else inner)
    else:
        yield name, module


def _told(name: str, module: nn.Module) -> str:
    return f"module {name} ({type(module).__name__})"


@dataclass(slots=True)
class _Reader:
    """Parts so far, and the shape after them."""

    shape: Shape
    parts: list[Part] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def finished(self) -> list[Part]:
        """All parts; the last must be a linear layer that ends in logits."""
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, Weighted) or not isinstance(last.layer, spec.Linear):
            raise TorchModelError("the last module must be a Linear: its outputs are the logits")
        if last.activated:
            raise TorchModelError(
                f"module {last.name}: the last Linear has an activation; logits have none"
            )
        last.activation = "none"
        return self.parts

    def take(self, name: str, module: nn.Module) -> None:
        """Read the next module. TorchModelError, InvalidJob."""
        match module:
            case nn.Dropout() | nn.Dropout1d() | nn.Dropout2d() | nn.Identity():
                return
            case nn.Flatten():
                if (module.start_dim, module.end_dim) != (1, -1):
                    raise TorchModelError(f"{_told(name, module)} must flatten all but the batch")
                self.shape = (int(np.prod(self.shape)),)
            case nn.Linear():
                self._linear(name, module)
            case nn.Conv2d():
                self._conv2d(name, module)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self._fold(name, module)
            case nn.ReLU():
                self._relu(name)
            case nn.ReLU6() | nn.Hardtanh():
                self._limited(name, module, float(module.min_val), float(module.max_val))
            case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                layer = _pool(name, module, self.shape)
                self._append(Plain(name, layer))
            case _:
                raise TorchModelError(
                    f"{_told(name, module)} is none that a job can have: {SUPPORTED}"
                )

    def _append(self, part: Part) -> None:
        self.shape = spec.out_shape(part.layer, self.shape, tuple(self.shapes))
        self.shapes.append(self.shape)
        self.parts.append(part)

    def _linear(self, name: str, module: nn.Linear) -> None:
        if self.shape != (module.in_features,):
            raise TorchModelError(
                f"{_told(name, module)} takes {module.in_features} values, what comes before it "
                f"gives {list(self.shape)}"
                + (": put an nn.Flatten() before it" if len(self.shape) == 3 else "")
            )
        weight = _floats(module.weight)
        bias = _bias(module)
        layer = spec.Linear(module.out_features, 0, spec.CLIP)
        self._append(Weighted(name, layer, weight, bias, module))

    def _conv2d(self, name: str, module: nn.Conv2d) -> None:
        channels = module.in_channels
        told = _told(name, module)
        if module.padding_mode != "zeros" or tuple(module.dilation) != (1, 1):
            raise TorchModelError(f"{told} must pad with zeros and have no dilation")
        if len(self.shape) != 3 or self.shape[0] != channels:
            raise TorchModelError(
                f"{told} takes images of {channels} channels, what comes before it gives "
                f"{list(self.shape)}" + ("; model.input says [c, h, w]" if not self.parts else "")
            )
        kernel, stride = _two(module.kernel_size), _two(module.stride)
        pad = _padding(told, module, kernel)
        weight = _floats(module.weight)
        bias = _bias(module)
        layer: spec.Conv2d | spec.Depthwise
        if module.groups == 1:
            layer = spec.Conv2d(module.out_channels, kernel, stride, pad, 0, spec.CLIP)
        elif module.groups == channels == module.out_channels:
            layer = spec.Depthwise(kernel, stride, pad, 0, spec.CLIP)
        else:
            raise TorchModelError(
                f"{told} has {module.groups} groups for {channels} channels: 1 is possible, or one "
                "a channel with as many outputs"
            )
        self._append(Weighted(name, layer, weight, bias, module))

    def _fold(self, name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        part = self.parts[-1] if self.parts else None
        told = _told(name, module)
        if not isinstance(part, Weighted) or part.activated:
            raise TorchModelError(
                f"{told} must follow a Linear or Conv2d directly, to be folded into it"
            )
        if module.running_mean is None or module.running_var is None:
            raise TorchModelError(f"{told} keeps no running statistics, so it can't be folded")
        if module.num_features != len(part.bias):
            raise TorchModelError(
                f"{told} takes {module.num_features} channels, {part.name} gives {len(part.bias)}"
            )
        scale = 1 / np.sqrt(_floats(module.running_var) + module.eps)
        offset = -_floats(module.running_mean) * scale
        if module.affine:
            gain = _floats(module.weight)
            scale, offset = scale * gain, offset * gain + _floats(module.bias)
        part.weight = part.weight * scale.reshape(-1, *[1] * (part.weight.ndim - 1))
        part.bias = part.bias * scale + offset
        part.ends_with = module

    def _relu(self, name: str) -> None:
        part = self.parts[-1] if self.parts else None
        if isinstance(part, Weighted) and not part.activated:
            part.activation, part.activated = "relu", True
        else:
            self._append(Plain(name, spec.Relu()))

    def _limited(self, name: str, module: nn.Module, low: float, high: float) -> None:
        part = self.parts[-1] if self.parts else None
        if not isinstance(part, Weighted) or part.activated or low not in (0.0, -high) or high <= 0:
            raise TorchModelError(
                f"{_told(name, module)} must follow a Linear or Conv2d directly, and clip to 0..x "
                "or -x..x: then integers can clip where it does"
            )
        part.activation = "relu" if low == 0 else "clip"
        part.limit, part.activated = high, True


def _pool(
    name: str, module: nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d, shape: Shape
) -> spec.MaxPool | spec.AvgPool:
    told = _told(name, module)
    if len(shape) != 3:
        raise TorchModelError(f"{told} takes images, what comes before it gives {list(shape)}")
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if module.output_size not in (1, (1, 1)):
            raise TorchModelError(f"{told} must have the output size 1")
        return spec.AvgPool((shape[1], shape[2]), (shape[1], shape[2]))
    dilation = _two(module.dilation) if isinstance(module, nn.MaxPool2d) else (1, 1)
    if _two(module.padding) != (0, 0) or module.ceil_mode or dilation != (1, 1):
        raise TorchModelError(f"{told} must have no padding, no dilation and no ceil_mode")
    kernel = _two(module.kernel_size)
    stride = _two(module.stride)
    if isinstance(module, nn.MaxPool2d):
        return spec.MaxPool(kernel, stride)
    if module.divisor_override is not None:
        raise TorchModelError(f"{told} must divide by the size of its window")
    return spec.AvgPool(kernel, stride)


def _padding(told: str, module: nn.Conv2d, kernel: tuple[int, int]) -> tuple[int, int]:
    padding = module.padding
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        if not kernel[0] % 2 or not kernel[1] % 2:
            raise TorchModelError(f"{told}: padding 'same' needs an odd kernel")
        return kernel[0] // 2, kernel[1] // 2
    return _two(padding)


def _two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _bias(module: nn.Linear | nn.Conv2d) -> Floats:
    bias: Tensor | None = module.bias  # torch's own annotation forgets bias=False
    return np.zeros(len(module.weight)) if bias is None else _floats(bias)


def _floats(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)
