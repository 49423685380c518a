"""The same nets in floats, trained by backpropagation in torch: what candidates are measured with.

A net has a manifest's layers; activations that integers clip at 127 are clipped at 1, ReLU is not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from potnode.bench.train_curves import Curve, Point, Report, checkpoints, told
from potnode.data.dataset import Dataset
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
    fan_in,
)
from potnode.spec.manifest import Classes, Manifest, NextByte

_INPUT_UNIT = 32.0  # a standardised input's deviation
_HELD_OUT = 1000  # samples measured at once
_SMOOTHING = 0.01  # added to every count of bytes


@dataclass(frozen=True, slots=True)
class Backprop:
    """An optimiser, its rate, momentum (of "sgd" alone) and samples a minibatch."""

    optimizer: str
    rate: float
    batch: int
    momentum: float = 0.0

    def __str__(self) -> str:
        """Such as "sgd, rate 0.05, momentum 0.9, batch 128"."""
        momentum = f", momentum {self.momentum}" if self.momentum else ""
        return f"{self.optimizer}, rate {self.rate}{momentum}, batch {self.batch}"


class FloatNet(nn.Module):
    """A manifest's model in float32, with torch's usual initial weights."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.manifest = manifest
        self.parts = nn.ModuleList()
        for layer, shape in zip(
            manifest.layers, (manifest.input, *manifest.shapes[:-1]), strict=True
        ):
            self.parts.append(_module(layer, shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, outputs] of floats [n, inputs]; [n, positions, 256] of bytes [n, positions]."""
        if not isinstance(self.manifest.task, NextByte):
            return self._position(inputs.reshape(-1, *self.manifest.input), {})
        carried: dict[int, Tensor] = {}
        every = [self._position(inputs[:, t], carried) for t in range(inputs.shape[1])]
        return torch.stack(every, dim=1)

    def _position(self, x: Tensor, carried: dict[int, Tensor]) -> Tensor:
        done: list[Tensor] = []
        for i, (layer, part) in enumerate(zip(self.manifest.layers, self.parts, strict=True)):
            match layer:
                case Gru():
                    state = carried.get(i, x.new_zeros(len(x), layer.out))
                    x = carried[i] = part(x, state)
                case Add():
                    x = x + done[layer.source]
                case Linear():
                    x = _activated(part(x.flatten(1)), layer.activation)
                case Conv2d() | Depthwise():
                    x = _activated(part(x), layer.activation)
                case _:
                    x = part(x)
            done.append(x)
        return x


class _L1Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        mean = flat.abs().mean(dim=1, keepdim=True).clamp(min=1e-3)
        return (flat * self.weight / mean).reshape(x.shape)


class _Gru(nn.Module):
    """As `potnode.spec.layers.Gru`: the forget gate f is -1..1 and stands for (f + 1) / 2."""

    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        self.forget, self.propose = nn.Linear(inputs + out, out), nn.Linear(inputs + out, out)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        forget = (self.forget(torch.cat([x, state], dim=1)).clamp(-1, 1) + 1) / 2
        proposed = self.propose(torch.cat([x, forget * state], dim=1)).clamp(-1, 1)
        after: Tensor = state + forget * (proposed - state)
        return after


def _module(layer: Layer, shape: tuple[int, ...]) -> nn.Module:
    match layer:
        case Linear():
            return nn.Linear(fan_in(layer, shape), layer.out)
        case Conv2d():
            return nn.Conv2d(shape[0], layer.out, layer.kernel, layer.stride, layer.pad)
        case Depthwise():
            return nn.Conv2d(
                shape[0], shape[0], layer.kernel, layer.stride, layer.pad, groups=shape[0]
            )
        case MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.stride)
        case AvgPool():
            return nn.AvgPool2d(layer.kernel, layer.stride)
        case Relu():
            return nn.ReLU()
        case Norm():
            return _L1Norm(math.prod(shape))
        case Embedding():
            return nn.Embedding(256, layer.out)
        case Gru():
            return _Gru(math.prod(shape), layer.out)
        case Add():
            return nn.Identity()


def _activated(x: Tensor, activation: str) -> Tensor:
    if activation == NONE:
        return x
    return x.clamp(-1, 1) if activation == CLIP else functional.relu(x)


class _Samples:
    """A dataset as tensors: inputs, and what is to be predicted of each."""

    def __init__(self, dataset: Dataset, manifest: Manifest) -> None:
        if not isinstance(manifest.task, Classes | NextByte):
            raise TypeError("only classes and bytes are trained by backprop here")
        self.train_count = dataset.header.train_count
        if isinstance(manifest.task, NextByte):
            text = torch.from_numpy(dataset.inputs.view("u1").copy()).long()
            self.inputs, self.targets = text[:, :-1], text[:, 1:]
            self.warmup = manifest.task.warmup
        else:
            self.inputs = torch.from_numpy(dataset.inputs.copy()).float() / _INPUT_UNIT
            self.targets = torch.from_numpy(dataset.targets.copy()).long()[:, None]
            self.warmup = 0

    def loss(self, net: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor, int]:
        """Summed loss in nats, hits, and predictions."""
        outputs = net(self.inputs[rows])
        outputs = outputs if outputs.dim() == 3 else outputs[:, None]
        z = outputs[:, self.warmup :].flatten(0, 1)
        targets = self.targets[rows][:, self.warmup :].flatten()
        loss = functional.cross_entropy(z, targets, reduction="sum")
        return loss, (z.argmax(dim=1) == targets).sum(), len(targets)

    def held_out(self, net: nn.Module) -> tuple[float, float]:
        """Bits and accuracy."""
        loss = hits = predictions = 0.0
        with torch.no_grad():
            for rows in torch.split(torch.arange(self.train_count, len(self.inputs)), _HELD_OUT):
                more, right, count = self.loss(net, rows)
                loss, hits = loss + float(more), hits + float(right)
                predictions += count
        return loss / math.log(2) / predictions, hits / predictions


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: nets this small are faster so, and far faster on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def backprop_curve(
    manifest: Manifest,
    dataset: Dataset,
    how: Backprop,
    evaluations: int,
    *,
    seed: int,
    report: Report,
    method: str | None = None,
    net: nn.Module | None = None,
) -> Curve:
    """Train the manifest's net by minibatches drawn with replacement, at a constant rate.

    Args:
        evaluations: minibatches. net: another to train, of which what requires a gradient moves.
    """
    torch.manual_seed(seed)
    model = FloatNet(manifest) if net is None else net
    moved = [p for p in model.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if how.optimizer == "adam":
        optimizer = torch.optim.Adam(moved, lr=how.rate)
    else:
        optimizer = torch.optim.SGD(moved, lr=how.rate, momentum=how.momentum)
    samples = _Samples(dataset, manifest)
    ahead = set(checkpoints(evaluations))
    points: list[Point] = []
    seconds = 0.0
    name = method or f"backprop, {how.optimizer}"
    for done in range(1, evaluations + 1):
        started = time.perf_counter()
        rows = torch.randint(samples.train_count, (how.batch,))
        loss, _, count = samples.loss(model, rows)
        optimizer.zero_grad()
        (loss / count).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds += time.perf_counter() - started
        if done in ahead:
            points.append(Point(done, seconds, *samples.held_out(model)))
            report(told(name, points[-1]))
    return Curve(name, seed, str(how), tuple(points))


def text_entropies(dataset: Dataset, warmup: int) -> dict[str, float]:
    """Bits a held-out byte costs by the training text's counts of bytes, and of pairs of bytes."""
    text = torch.from_numpy(dataset.inputs.view("u1").copy()).long()
    train, held = text[: dataset.header.train_count], text[dataset.header.train_count :]
    single = torch.bincount(train.flatten(), minlength=256).double() + _SMOOTHING
    code = train[:, :-1] * 256 + train[:, 1:]
    pairs = torch.bincount(code.flatten(), minlength=65536).double().reshape(256, 256) + _SMOOTHING
    before, after = held[:, warmup:-1].flatten(), held[:, warmup + 1 :].flatten()
    unigram = -(single / single.sum()).log2()[after].mean()
    bigram = -(pairs / pairs.sum(dim=1, keepdim=True)).log2()[before, after].mean()
    return {"unigram": float(unigram), "bigram": float(bigram)}
