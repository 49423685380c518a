"""A job's model as a torch module: the specification's integers, carried in float64.

Every sum of a model stays below 2^31 (docs/protocol.md section 3), so float64 holds each exactly,
in whatever order it is added up: outputs are those of `potnode.spec.network`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from potnode.engine import state as states
from potnode.engine.export import decode_model
from potnode.spec.layers import (
    CLIP,
    NONE,
    Add,
    AvgPool,
    Conv2d,
    Depthwise,
    Embedding,
    Gru,
    Layer,
    Linear,
    MaxPool,
    Norm,
    Relu,
    Shape,
    Window,
    window_counts,
)
from potnode.spec.manifest import Manifest, NextByte, names
from potnode.spec.network import BIAS_SHIFT, LARGEST
from potnode.torchmodel.errors import TorchModelError

_NATS = float(np.log(2)) / 256  # of 1/256 bit


def load(path: str | Path) -> IntegerModel:
    """The model of a file that `potnode model export` wrote, checked against its own state root.

    Raises:
        TorchModelError: the file can't be read. BadModelFile: it is no such file, or was changed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TorchModelError(f"can't read the model {path}: {error.strerror}") from error
    model = decode_model(data)
    weights = model.manifest.weights
    return IntegerModel(
        model.manifest, [states.forward_weights(m, weights) for m in model.state.masters]
    )


class IntegerModel(nn.Module):
    """A model with its forward weights, as buffers under the names of its file, dots as lines."""

    def __init__(self, manifest: Manifest, weights: Sequence[npt.NDArray[np.int8]]) -> None:
        """weights: forward weights -127..127 of every tensor in the manifest's order, any shape."""
        super().__init__()
        self.manifest = manifest
        self._buffer_names = [name.replace(".", "_") for name in names(manifest)]
        for name, shape, values in zip(self._buffer_names, manifest.tensors, weights, strict=True):
            self.register_buffer(name, torch.from_numpy(values.reshape(shape).copy()))

    def forward(self, inputs: Tensor) -> Tensor:
        """The model's outputs.

        Args:
            inputs: integers [n, ...], as many values a row as one input has, -127..127; for a byte
                model [n, positions], 0..255.

        Returns:
            int64 [n, outputs], for a byte model [n, positions, 256]: in 1/256 bit for logits.

        Raises:
            TorchModelError: inputs are of another shape, no integers, or out of range.
        """
        self._check(inputs)
        with torch.no_grad():
            if not isinstance(self.manifest.task, NextByte):
                x = inputs.reshape(len(inputs), *self.manifest.input).to(torch.float64)
                return self._position(x, {}).to(torch.int64)
            carried: dict[int, Tensor] = {}
            every = [self._position(inputs[:, t], carried) for t in range(inputs.shape[1])]
            return torch.stack(every, dim=1).to(torch.int64)

    def logits(self, inputs: Tensor) -> Tensor:
        """The outputs as float32 logits of a softmax to base e, as torch's losses expect them."""
        return (self.forward(inputs).to(torch.float64) * _NATS).to(torch.float32)

    def _check(self, inputs: Tensor) -> None:
        """A float that should have been scaled first would give numbers that mean nothing."""
        of_bytes = isinstance(self.manifest.task, NextByte)
        low, high = (0, 255) if of_bytes else (-LARGEST, LARGEST)
        size = prod(self.manifest.input)
        if inputs.ndim < 2 or (not of_bytes and prod(inputs.shape[1:]) != size):
            wanted = "[n, positions]" if of_bytes else f"[n, ...] with {size} values a row"
            raise TorchModelError(f"inputs are {wanted}, not {list(inputs.shape)}")
        whole = not inputs.is_floating_point() or bool((inputs == inputs.round()).all())
        if not whole or (inputs.numel() and (inputs.min() < low or inputs.max() > high)):
            raise TorchModelError(
                f"inputs are integers {low}..{high} as in the dataset: scale them as it was scaled"
            )

    def _position(self, x: Tensor, carried: dict[int, Tensor]) -> Tensor:
        """Outputs at the next position; `carried` holds the states of recurrent layers."""
        done: list[Tensor] = []
        shape = self.manifest.input
        for i, layer in enumerate(self.manifest.layers):
            x = self._layer(i, layer, x, shape, done, carried)
            shape = self.manifest.shapes[i]
            done.append(x)
        return x.flatten(1)

    def _layer(
        self,
        i: int,
        layer: Layer,
        x: Tensor,
        shape: Shape,
        done: list[Tensor],
        carried: dict[int, Tensor],
    ) -> Tensor:
        first = self.manifest.first_tensor(i)
        match layer:
            case Linear():
                acc = x.flatten(1) @ self._tensor(first).T + self._bias(first + 1)
                return _activated(acc, layer.shift, layer.activation)
            case Conv2d():
                acc = self._tensor(first) @ _windows(layer, x) + self._bias(first + 1)[:, None]
                return _image(_activated(acc, layer.shift, layer.activation), layer, shape)
            case Depthwise():
                weights = self._tensor(first).reshape(shape[0], -1, 1)
                windows = _windows(layer, x).reshape(len(x), *weights.shape[:2], -1)
                acc = (windows * weights).sum(dim=2) + self._bias(first + 1)[:, None]
                return _image(_activated(acc, layer.shift, layer.activation), layer, shape)
            case MaxPool() | AvgPool():
                windows = _windows(layer, x).reshape(len(x), shape[0], prod(layer.kernel), -1)
                if isinstance(layer, MaxPool):
                    return _image(windows.amax(dim=2), layer, shape)
                scale = 65536 // prod(layer.kernel)
                return _image(_floored(windows.sum(dim=2) * scale + 32768, 16), layer, shape)
            case Relu():
                return x.clamp(min=0)
            case Add():
                return (x + done[layer.source]).clamp(-LARGEST, LARGEST)
            case Norm():
                flat = x.flatten(1)
                total = flat.abs().sum(dim=1, keepdim=True)
                mean = torch.div(total, flat.shape[1], rounding_mode="floor").clamp(min=1)
                scaled = flat * self._tensor(first)
                size = torch.div(scaled.abs(), mean, rounding_mode="floor")
                return (scaled.sign() * size).clamp(-LARGEST, LARGEST).reshape(x.shape)
            case Embedding():
                return self._tensor(first)[x.to(torch.int64)]
            case Gru():
                state = carried.get(i, x.new_zeros(len(x), layer.out))
                carried[i] = self._gru(first, layer, x, state)
                return carried[i]

    def _gru(self, first: int, layer: Gru, x: Tensor, state: Tensor) -> Tensor:
        def gate(at: int, with_state: Tensor) -> Tensor:
            acc = x @ self._tensor(at).T + with_state @ self._tensor(at + 1).T
            return _activated(acc + self._bias(at + 2), layer.shift, CLIP)

        forget = gate(first, state) + LARGEST
        proposed = gate(first + 3, _floored(forget * state, 8))
        return state + _floored(forget * (proposed - state), 8)

    def _tensor(self, index: int) -> Tensor:
        return self.get_buffer(self._buffer_names[index]).to(torch.float64)

    def _bias(self, index: int) -> Tensor:
        return self._tensor(index) * (1 << BIAS_SHIFT)


def _floored(values: Tensor, bits: int) -> Tensor:
    """values >> bits."""
    return torch.floor(values / (1 << bits))


def _activated(acc: Tensor, shift: int, activation: str) -> Tensor:
    shifted = _floored(acc, shift)
    if activation == NONE:
        return shifted
    return shifted.clamp(-LARGEST if activation == CLIP else 0, LARGEST)


def _windows(layer: Window, x: Tensor) -> Tensor:
    """[n, c * kh * kw, places]: what a layer's window sees at each place, zeros off the image."""
    pad = layer.pad if isinstance(layer, Conv2d | Depthwise) else (0, 0)
    return functional.unfold(x, layer.kernel, padding=pad, stride=layer.stride)


def _image(flat: Tensor, layer: Window, shape: Shape) -> Tensor:
    """[n, channels, places] as images."""
    return flat.reshape(*flat.shape[:2], *window_counts(layer, shape))
