"""Another implementation of the forward pass, for comparison: float64 operators of torch.

Perturbations are written out at full rank, shifts are floor divisions by powers of two, and
convolutions, pools and lookups are torch's own. float64 is exact for all sums there are (below
2^31).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from potnode.spec import layers as kinds
from potnode.spec.draw import TensorDraw
from potnode.spec.manifest import Manifest

Tensor = torch.Tensor


def moved_weights(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    drawn: Mapping[int, TensorDraw],
    e: int,
) -> list[Tensor]:
    """Every tensor in its shape with the perturbation added entry by entry."""
    moved = []
    for t, shape in enumerate(manifest.tensors):
        tensor = torch.tensor(weights[t], dtype=torch.float64).reshape(shape)
        if t in drawn:
            rows = torch.tensor(drawn[t].rows, dtype=torch.float64)
            if len(shape) == 2:
                tensor += torch.outer(rows, torch.tensor(drawn[t].columns).double()) * 2**e
            else:
                tensor += rows * 2**e
        moved.append(tensor)
    return moved


def outputs(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    drawn: Mapping[int, TensorDraw],
    e: int,
) -> list[list[int]]:
    """What `potnode.spec.network.outputs` is to give."""
    tensors = moved_weights(manifest, weights, drawn, e)
    states: dict[int, Tensor] = {}
    results = []
    for position in positions:
        x = torch.tensor(position).reshape(manifest.input)
        if manifest.input:
            x = x.double()
        done: list[Tensor] = []
        for i, layer in enumerate(manifest.layers):
            first = manifest.first_tensor(i)
            own = tensors[first : first + len(manifest.tensors_by_layer[i])]
            if isinstance(layer, kinds.Gru):
                x = states[i] = _gru(layer, own, x, states.get(i, torch.zeros(layer.out).double()))
            elif isinstance(layer, kinds.Add):
                x = (x + done[layer.source]).clamp(-127, 127)
            else:
                x = _layer(layer, own, x)
            assert x.shape == manifest.shapes[i]
            done.append(x)
        results.append([int(v) for v in x.tolist()])
    return results


def _layer(layer: kinds.Layer, own: list[Tensor], x: Tensor) -> Tensor:
    match layer:
        case kinds.Linear():
            acc = own[0] @ x.reshape(-1) + 32 * own[1]
            return _activated(acc, layer.shift, layer.activation)
        case kinds.Conv2d():
            kernel = own[0].reshape(layer.out, x.shape[0], *layer.kernel)
            acc = functional.conv2d(
                x[None], kernel, 32 * own[1], stride=layer.stride, padding=layer.pad
            )
            return _activated(acc[0], layer.shift, layer.activation)
        case kinds.Depthwise():
            kernel = own[0].reshape(x.shape[0], 1, *layer.kernel)
            acc = functional.conv2d(
                x[None],
                kernel,
                32 * own[1],
                stride=layer.stride,
                padding=layer.pad,
                groups=x.shape[0],
            )
            return _activated(acc[0], layer.shift, layer.activation)
        case kinds.MaxPool():
            return functional.max_pool2d(x[None], layer.kernel, layer.stride)[0]
        case kinds.AvgPool():
            area = layer.kernel[0] * layer.kernel[1]
            means = functional.avg_pool2d(x[None], layer.kernel, layer.stride)[0]
            total = (means * area).round()
            return torch.floor((total * (65536 // area) + 32768) / 65536)
        case kinds.Relu():
            return x.relu()
        case kinds.Norm():
            mean = max(1, int(x.abs().sum()) // x.numel())
            scaled = x.reshape(-1) * own[0]
            quotients = [abs(int(v)) // mean * (1 if v > 0 else -1) for v in scaled.tolist()]
            return torch.tensor(quotients).double().clamp(-127, 127).reshape(x.shape)
        case kinds.Embedding():
            return functional.embedding(x, own[0]).clamp(-127, 127)
        case _:
            raise AssertionError(layer)


def _gru(layer: kinds.Gru, own: list[Tensor], x: Tensor, state: Tensor) -> Tensor:
    w_f, u_f, b_f, w_h, u_h, b_h = own
    forget = _activated(w_f @ x + u_f @ state + 32 * b_f, layer.shift, "clip") + 127
    kept = torch.floor(forget * state / 256)
    proposed = _activated(w_h @ x + u_h @ kept + 32 * b_h, layer.shift, "clip")
    return state + torch.floor(forget * (proposed - state) / 256)


def _activated(acc: Tensor, shift: int, activation: str) -> Tensor:
    y = torch.floor(acc / 2**shift)
    if activation == "none":
        return y
    return y.clamp(0 if activation == "relu" else -127, 127)
