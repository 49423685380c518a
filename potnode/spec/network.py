"""The exact network: integer forward pass of every layer (docs/protocol.md section 3).

A model is a function applied at each position of a sample; recurrent layers carry their state from
one position to the next, from zero at the first. Mathematical integers throughout; the bounds
checked at a job's creation keep every accumulator below 2^31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from potnode.spec.draw import TensorDraw
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
from potnode.spec.manifest import Manifest, Weights

BIAS_SHIFT = 5  # a bias of one step counts as an activation of 32
LARGEST = 127
MASTER_BITS = 8  # fractional bits of a master, in units of one weight step
_NO_DRAW = TensorDraw([], [])

Vector = list[int]
Perturbation = Mapping[int, TensorDraw]


def clip(value: int) -> int:
    """`value` within -127..127."""
    return max(-LARGEST, min(LARGEST, value))


def forward_weight(master: int, weights: Weights) -> int:
    """W of a master M: rounded to a level, -127..127; never -128."""
    level = (master + (1 << (weights.shift - 1))) >> weights.shift
    return max(-weights.levels, min(weights.levels, level)) << (weights.shift - MASTER_BITS)


def forward_weights(masters: Sequence[Sequence[int]], weights: Weights) -> list[list[int]]:
    """Forward weights of every tensor, flat; matrices row by row."""
    return [[forward_weight(m, weights) for m in tensor] for tensor in masters]


def outputs(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    perturbation: Perturbation | None = None,
    shift: int = 0,
) -> list[Vector]:
    """What the last layer gives at every position of one sample, under a candidate if one is given.

    Args:
        weights: forward weights -127..127 by tensor, flat, in the manifest's order.
        positions: the input at each position: -127..127 each, or one byte 0..255 for a byte model.
        perturbation: signs by tensor; tensors not in it are not perturbed. shift: e, 0..6.

    Returns:
        For each position one integer an output, |z| < 2^23, not clipped.
    """
    run = _Run(manifest, weights, perturbation or {}, shift)
    return [run.at(list(inputs)) for inputs in positions]


class _Run:
    """One sample's way through the layers, position by position."""

    def __init__(
        self,
        manifest: Manifest,
        weights: Sequence[Sequence[int]],
        perturbation: Perturbation,
        shift: int,
    ) -> None:
        self._manifest = manifest
        self._weights = weights
        self._perturbation = perturbation
        self._e = shift
        self._states: dict[int, Vector] = {}

    def at(self, inputs: Vector) -> Vector:
        """The output at the next position."""
        manifest = self._manifest
        x, shape = inputs, manifest.input
        done: list[Vector] = []
        for i, layer in enumerate(manifest.layers):
            x = self._layer(i, layer, x, shape, done)
            shape = manifest.shapes[i]
            done.append(x)
        return x

    def _layer(
        self, i: int, layer: Layer, x: Vector, shape: Shape, done: Sequence[Vector]
    ) -> Vector:
        first = self._manifest.first_tensor(i)
        match layer:
            case Linear():
                acc = self._product(first, layer.out, x)
                return _activated(self._biased(first + 1, acc), layer.shift, layer.activation)
            case Conv2d():
                return self._conv2d(first, layer, x, shape)
            case Depthwise():
                return self._depthwise(first, layer, x, shape)
            case MaxPool():
                return [max(x[at] for at in window) for window in _windows(layer, shape)]
            case AvgPool():
                scale = 65536 // prod(layer.kernel)
                return [
                    (sum(x[at] for at in window) * scale + 32768) >> 16
                    for window in _windows(layer, shape)
                ]
            case Relu():
                return [max(0, v) for v in x]
            case Add():
                return [clip(a + b) for a, b in zip(x, done[layer.source], strict=True)]
            case Norm():
                mean = max(1, sum(abs(v) for v in x) // len(x))
                scaled = [v * w for v, w in zip(x, self._vector(first), strict=True)]
                return [clip(abs(v) // mean if v >= 0 else -(abs(v) // mean)) for v in scaled]
            case Embedding():
                draw, e = self._perturbation.get(first, _NO_DRAW), self._e
                row = self._weights[first][x[0] * layer.out : (x[0] + 1) * layer.out]
                if not draw.rows:
                    return list(row)
                return [
                    clip(w + ((draw.rows[x[0]] * b) << e))
                    for w, b in zip(row, draw.columns, strict=True)
                ]
            case Gru():
                state = self._gru(first, layer, x, self._states.get(i, [0] * layer.out))
                self._states[i] = state
                return state

    def _product(self, tensor: int, out: int, x: Vector) -> Vector:
        """Sums of a matrix with x, its rank-1 perturbation a (b.x) << e included."""
        matrix, draw = self._weights[tensor], self._perturbation.get(tensor, _NO_DRAW)
        acc = [
            sum(w * v for w, v in zip(matrix[row * len(x) : (row + 1) * len(x)], x, strict=True))
            for row in range(out)
        ]
        if draw.rows:
            projection = sum(b * v for b, v in zip(draw.columns, x, strict=True))
            acc = [v + ((a * projection) << self._e) for v, a in zip(acc, draw.rows, strict=True)]
        return acc

    def _vector(self, tensor: int) -> Vector:
        """A vector tensor under the candidate: w + (sign << e)."""
        draw = self._perturbation.get(tensor, _NO_DRAW)
        vector = self._weights[tensor]
        if not draw.rows:
            return list(vector)
        return [w + (sign << self._e) for w, sign in zip(vector, draw.rows, strict=True)]

    def _biased(self, tensor: int, acc: Vector) -> Vector:
        return [v + (b << BIAS_SHIFT) for v, b in zip(acc, self._vector(tensor), strict=True)]

    def _conv2d(self, first: int, layer: Conv2d, x: Vector, shape: Shape) -> Vector:
        channels, (down, across) = shape[0], window_counts(layer, shape)
        y = [0] * (layer.out * down * across)
        for place in range(down * across):
            patch = [
                0 if at is None else x[at]
                for ci in range(channels)
                for at in _patch(layer, shape, ci, place // across, place % across)
            ]
            acc = self._biased(first + 1, self._product(first, layer.out, patch))
            values = _activated(acc, layer.shift, layer.activation)
            for row, value in enumerate(values):
                y[row * down * across + place] = value
        return y

    def _depthwise(self, first: int, layer: Depthwise, x: Vector, shape: Shape) -> Vector:
        weights, size = self._vector(first), prod(layer.kernel)
        down, across = window_counts(layer, shape)
        acc = [
            sum(
                w * x[at]
                for w, at in zip(
                    weights[ci * size : (ci + 1) * size],
                    _patch(layer, shape, ci, oy, ox),
                    strict=True,
                )
                if at is not None
            )
            + (bias << BIAS_SHIFT)
            for ci, bias in enumerate(self._vector(first + 1))
            for oy in range(down)
            for ox in range(across)
        ]
        return _activated(acc, layer.shift, layer.activation)

    def _gru(self, first: int, layer: Gru, x: Vector, state: Vector) -> Vector:
        """f = clip(Wf x + Uf s + bf), g = f s, h = clip(Wh x + Uh g + bh), s' = s + f (h - s).

        f + 127 is 0..254 and stands for 0..254/256.
        """
        n, k = layer.out, layer.shift

        def gate(at: int, with_state: Vector) -> Vector:
            sums = zip(self._product(at, n, x), self._product(at + 1, n, with_state), strict=True)
            return _activated(self._biased(at + 2, [a + b for a, b in sums]), k, CLIP)

        forget = [f + LARGEST for f in gate(first, state)]
        kept = [(f * s) >> 8 for f, s in zip(forget, state, strict=True)]
        proposed = gate(first + 3, kept)
        return [s + ((f * (h - s)) >> 8) for s, f, h in zip(state, forget, proposed, strict=True)]


def _activated(acc: Vector, shift: int, activation: str) -> Vector:
    if activation == NONE:
        return [v >> shift for v in acc]
    lowest = -LARGEST if activation == CLIP else 0
    return [max(lowest, min(LARGEST, v >> shift)) for v in acc]


def _patch(layer: Window, shape: Shape, ci: int, oy: int, ox: int) -> list[int | None]:
    """Indices of a window's values in channel ci, row by row; None where it is off the image."""
    _, height, width = shape
    pad = layer.pad if isinstance(layer, Conv2d | Depthwise) else (0, 0)
    top, left = oy * layer.stride[0] - pad[0], ox * layer.stride[1] - pad[1]
    return [
        (ci * height + y) * width + x if 0 <= y < height and 0 <= x < width else None
        for y in range(top, top + layer.kernel[0])
        for x in range(left, left + layer.kernel[1])
    ]


def _windows(layer: MaxPool | AvgPool, shape: Shape) -> list[list[int]]:
    """Indices of every window's values, in the order of the output; none is off the image."""
    down, across = window_counts(layer, shape)
    return [
        [at for at in _patch(layer, shape, ci, oy, ox) if at is not None]
        for ci in range(shape[0])
        for oy in range(down)
        for ox in range(across)
    ]
