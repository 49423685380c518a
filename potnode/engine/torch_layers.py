"""The forward pass of many candidates at once, as operators of torch on any device.

What every layer computes is `potnode.spec.network`'s. All values are integers in floats.
Activations and logits are below 2^23, exact in float32. A layer's sums are float32 too where their
bound is below 2^24, so that each partial sum, in whatever order a device adds, is exact; beyond it
they are float64, far under its 2^53. A convolution is a copy of every window and one product with
the matrix: libraries of convolutions may choose algorithms that are not exact.

Layers that no perturbation reaches are computed once for all candidates, and so is the product of
the first one that is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from potnode.engine.draw import DrawLayout
from potnode.spec.layers import (
    CLIP,
    NONE,
    RELU,
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
    Window,
    fan_in,
    window_counts,
)
from potnode.spec.manifest import LIMIT_FLOAT32, Manifest, accumulator_bound
from potnode.spec.network import BIAS_SHIFT

if TYPE_CHECKING:
    import torch

_LOWEST = {RELU: 0.0, CLIP: -127.0}
_BIAS = float(1 << BIAS_SHIFT)


def first_reached(manifest: Manifest) -> int:
    """The first layer with a trained tensor: what is below it is the same for all candidates."""
    ends = [*(manifest.first_tensor(i) for i in range(1, len(manifest.layers))), None]
    return next(i for i, end in enumerate(ends) if end is None or manifest.train[0] < end)


def widest(manifest: Manifest) -> tuple[int, int]:
    """Values of the largest tensors of one sample at one position.

    Returns:
        Of those that all candidates share, and of those that each has for itself.
    """
    first = first_reached(manifest)
    shared = own = 1
    inputs = (manifest.input, *manifest.shapes[:-1])
    for i, (layer, shape) in enumerate(zip(manifest.layers, inputs, strict=True)):
        before, after = prod(shape), prod(manifest.shapes[i])
        if isinstance(layer, Conv2d):
            before = max(before, fan_in(layer, shape) * prod(window_counts(layer, shape)))
        if i <= first:
            shared = max(shared, before)
        else:
            own = max(own, before)
        if i >= first:
            own = max(own, after)
    return shared, own


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Signs of some candidates, [candidates, width] floats, and 2^e."""

    signs: torch.Tensor
    scale: float


class ForwardPass:
    """Some samples with a model's weights, for any candidates.

    Everything within has the shape [candidates, positions * samples, ...]; one candidate stands for
    all where they don't differ.
    """

    def __init__(
        self,
        manifest: Manifest,
        layout: DrawLayout,
        weights: Sequence[torch.Tensor],
        inputs: torch.Tensor,
        positions: int,
    ) -> None:
        """Run the layers that all candidates share.

        Args:
            weights: by tensor, flat, float32. positions: of a sample.
            inputs: [positions * samples, *input], all samples of a position before those of the
                next: float32, or int64 bytes.
        """
        self._manifest = manifest
        self._places = layout.places
        self._weights = [w.reshape(s) for w, s in zip(weights, manifest.tensors, strict=True)]
        self._positions = positions
        self._sources = {layer.source for layer in manifest.layers if isinstance(layer, Add)}
        self._bases: dict[int, torch.Tensor] = {}
        self._first = first_reached(manifest)
        nobody = inputs.new_zeros((1, layout.width), dtype=self._weights[0].dtype)
        self._shared, self._kept = self._run(
            inputs[None], range(self._first), {}, _Candidates(nobody, 1.0)
        )

    def logits(self, signs: torch.Tensor, shift: int, skipped: int) -> torch.Tensor:
        """[candidates, positions * samples, outputs] of the last layer, float32.

        Args:
            signs: [candidates, width] of the layout, float32. shift: e.
            skipped: positions left out at the start.
        """
        candidates = _Candidates(signs, float(1 << shift))
        last = len(self._manifest.layers) - 1
        x, _ = self._run(self._shared, range(self._first, last), dict(self._kept), candidates)
        samples = x.shape[1] // self._positions
        x, _ = self._run(x[:, skipped * samples :], range(last, last + 1), {}, candidates)
        return x.expand(len(signs), -1, -1)

    def _run(
        self,
        x: torch.Tensor,
        layers: range,
        kept: dict[int, torch.Tensor],
        candidates: _Candidates,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        for i in layers:
            x = self._layer(i, self._manifest.layers[i], x, kept, candidates)
            if i in self._sources:
                kept[i] = x
        return x, kept

    def _layer(
        self,
        i: int,
        layer: Layer,
        x: torch.Tensor,
        kept: dict[int, torch.Tensor],
        candidates: _Candidates,
    ) -> torch.Tensor:
        first = self._manifest.first_tensor(i)
        shape = self._manifest.shapes[i]
        match layer:
            case Linear():
                x = self._carried(i, x.flatten(2))
                acc = self._product(first, x, candidates, once=i == self._first)
                acc = acc + self._bias(first + 1, candidates)
                return _activated(acc, layer.shift, layer.activation)
            case Conv2d():
                return self._conv2d(i, layer, x, candidates)
            case Depthwise():
                return self._depthwise(i, layer, x, candidates)
            case MaxPool():
                return _windows(layer, x).amax((-2, -1))
            case AvgPool():
                scale = float(65536 // prod(layer.kernel))
                total = _windows(layer, x).sum((-2, -1))  # below 2^23: at most 2^16 values
                return ((total * scale + 32768.0) * 2.0**-16).floor()
            case Relu():
                return x.clamp(min=0.0)
            case Add():
                return (x + kept[layer.source]).clamp(-127.0, 127.0)
            case Norm():
                flat = self._norm(first, x.flatten(2), candidates)
                return flat.reshape(*flat.shape[:2], *shape)
            case Embedding():
                return self._embedding(first, x[0], candidates)
            case Gru():
                return self._gru(i, layer, x, candidates)

    def _carried(self, i: int, x: torch.Tensor) -> torch.Tensor:
        """Inputs of layer i in floats that hold its sums."""
        shape = (self._manifest.input, *self._manifest.shapes)[i]
        terms = fan_in(self._manifest.layers[i], shape)
        exact = accumulator_bound(terms, self._manifest.perturbation[0]) < LIMIT_FLOAT32
        return x if exact else x.double()

    def _product(
        self, tensor: int, x: torch.Tensor, candidates: _Candidates, *, once: bool
    ) -> torch.Tensor:
        """[candidates, rows, m]: W x + a (b.x) << e of a matrix, for x of [candidates, rows, n].

        once: x is the same at every call for this tensor, so that W x need not be computed again.
        """
        base = self._bases.get(tensor)
        if base is None:
            base = x @ self._weights[tensor].to(x.dtype).T
            if once:
                self._bases[tensor] = base
        if tensor not in self._manifest.train:
            return base
        place = self._places[tensor]
        rows = candidates.signs[:, None, place.rows].to(x.dtype)
        columns = candidates.signs[:, place.columns].to(x.dtype) * candidates.scale
        projection = (columns @ x[0].T)[:, :, None] if len(x) == 1 else x @ columns[:, :, None]
        return base.addcmul(projection, rows)

    def _vector(self, tensor: int, candidates: _Candidates) -> torch.Tensor:
        """[candidates, n]: a vector tensor and its perturbation."""
        vector = self._weights[tensor][None]
        if tensor not in self._manifest.train:
            return vector
        return vector + candidates.signs[:, self._places[tensor].rows] * candidates.scale

    def _bias(self, tensor: int, candidates: _Candidates) -> torch.Tensor:
        return (self._vector(tensor, candidates) * _BIAS)[:, None]

    def _conv2d(
        self, i: int, layer: Conv2d, x: torch.Tensor, candidates: _Candidates
    ) -> torch.Tensor:
        first, shape = self._manifest.first_tensor(i), self._manifest.shapes[i]
        count = x.shape[1]
        # [candidates, samples, c, down, across, kh, kw], then a row for each place of a window.
        patches = _windows(layer, x).permute(0, 1, 3, 4, 2, 5, 6)
        rows = patches.reshape(len(x), count * prod(shape[1:]), -1)
        acc = self._product(first, self._carried(i, rows), candidates, once=i == self._first)
        y = _activated(acc + self._bias(first + 1, candidates), layer.shift, layer.activation)
        images = y.reshape(len(y), count, *shape[1:], shape[0])
        return images.movedim(-1, 2)

    def _depthwise(
        self, i: int, layer: Depthwise, x: torch.Tensor, candidates: _Candidates
    ) -> torch.Tensor:
        first, channels = self._manifest.first_tensor(i), self._manifest.shapes[i][0]
        patches = _windows(layer, self._carried(i, x))
        weights = self._vector(first, candidates).to(patches.dtype)
        weights = weights.reshape(len(weights), 1, channels, 1, 1, *layer.kernel)
        acc = (self._vector(first + 1, candidates).to(patches.dtype) * _BIAS)[
            :, None, :, None, None
        ]
        for dy in range(layer.kernel[0]):
            for dx in range(layer.kernel[1]):
                acc = acc.addcmul(patches[..., dy, dx], weights[..., dy, dx])
        return _activated(acc, layer.shift, layer.activation)

    def _norm(self, tensor: int, x: torch.Tensor, candidates: _Candidates) -> torch.Tensor:
        # A sum of up to 2^24 magnitudes needs float64.
        total = x.abs().double().sum(2, keepdim=True)
        mean = (total / x.shape[2]).floor().clamp(min=1.0).float()
        scaled = x * self._vector(tensor, candidates)[:, None]
        # With a half more, no device's rounding takes a whole quotient below itself; nor does it
        # reach the next whole number, from which the sum is at least another half away.
        quotient = ((scaled.abs() + 0.5) / mean).floor().clamp(max=127.0)
        return quotient * scaled.sign()

    def _embedding(
        self, tensor: int, tokens: torch.Tensor, candidates: _Candidates
    ) -> torch.Tensor:
        rows = self._weights[tensor][tokens][None]
        if tensor not in self._manifest.train:
            return rows
        place = self._places[tensor]
        a = candidates.signs[:, place.rows][:, tokens, None] * candidates.scale
        return rows.addcmul(a, candidates.signs[:, None, place.columns]).clamp(-127.0, 127.0)

    def _gru(self, i: int, layer: Gru, x: torch.Tensor, candidates: _Candidates) -> torch.Tensor:
        first = self._manifest.first_tensor(i)
        x = self._carried(i, x)
        samples = x.shape[1] // self._positions
        # The inputs' part of both gates is one product for all positions.
        forget_x, proposed_x = (
            self._product(at, x, candidates, once=i == self._first) + self._bias(at + 2, candidates)
            for at in (first, first + 3)
        )

        def gate(at: int, of_inputs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            acc = of_inputs + self._product(at, state.to(x.dtype), candidates, once=False)
            return _activated(acc, layer.shift, CLIP)

        state = self._weights[0].new_zeros((1, samples, layer.out))
        states = []
        for t in range(self._positions):
            here = slice(t * samples, (t + 1) * samples)
            forget = gate(first + 1, forget_x[:, here], state) + 127.0
            kept = (forget * state * 2.0**-8).floor()
            proposed = gate(first + 4, proposed_x[:, here], kept)
            state = state + (forget * (proposed - state) * 2.0**-8).floor()
            states.append(state)
        together = state.new_empty((len(state), x.shape[1], layer.out))
        for t, state in enumerate(states):
            together[:, t * samples : (t + 1) * samples] = state
        return together


def _windows(layer: Window, x: torch.Tensor) -> torch.Tensor:
    """[..., c, down, across, kh, kw]: every window of images [..., c, h, w], as a view of them."""
    if isinstance(layer, Conv2d | Depthwise) and any(layer.pad):
        down, across = layer.pad
        padded = x.new_zeros((*x.shape[:-2], x.shape[-2] + 2 * down, x.shape[-1] + 2 * across))
        padded[..., down : down + x.shape[-2], across : across + x.shape[-1]] = x
        x = padded
    (kh, kw), (sh, sw) = layer.kernel, layer.stride
    return x.unfold(-2, kh, sh).unfold(-2, kw, sw)


def _activated(acc: torch.Tensor, shift: int, activation: str) -> torch.Tensor:
    y = (acc * 2.0**-shift).floor()
    return (y if activation == NONE else y.clamp(_LOWEST[activation], 127.0)).float()
