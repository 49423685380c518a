"""The two loops in machine code: a matrix product, and a whole evaluation from there to the loss.

Responsible for the loops; `potnode.engine.network` and `potnode.engine.update` prepare their
arguments. A candidate's activations never leave the cache: samples are the vector lanes, BLOCK of
them at a time. Numbers are carried in floats (float32 or float64, chosen by the caller's bound) but
are integers throughout, so neither the order of additions nor fused multiply-adds can change a
result.

Compiled on first use by numba, in a few seconds, and kept in numba's cache where that can be
written. Kernels run without the interpreter's lock and start no threads. That is also why the
product is here: a BLAS whose threads spin while they wait for each other slows down many times over
once miners share its cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from potnode.engine.loss import FARTHEST, FLOAT_ORIGIN, FLOAT_SHIFT
from potnode.spec.network import BIAS_SHIFT

BLOCK = 64  # samples side by side; a multiple of every vector width

# Columns of the table of layers that the kernel reads.
INPUTS, OUT, SHIFT, LOWEST, MATRIX, BIAS, ROWS, COLUMNS, BIAS_SIGNS = range(9)

_LARGEST = 127
_BIAS_UNIT = 1 << BIAS_SHIFT


def blocked(values: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """[rows, n] values as [blocks, rows, BLOCK] of `dtype`, zero-padded: what the kernels read."""
    rows, n = values.shape
    blocks = -(-n // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), dtype)
    padded[:, :n] = values
    return np.ascontiguousarray(padded.reshape(rows, blocks, BLOCK).transpose(1, 0, 2))


def unblocked(values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Inverse of `blocked`: the first n columns, [rows, n]."""
    blocks, rows, width = values.shape
    return values.transpose(1, 0, 2).reshape(rows, blocks * width)[:, :n]


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile on first use; "contract" allows fused multiply-add, exact here."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}}
    kernel: Callable[..., None]
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder it may write to: compile in every process
        kernel = numba.njit(**options)(function)
    return kernel


@_compiled
def _add_product(a, b, y, first, last):  # type: ignore[no-untyped-def]  # numba types it
    """Add rows first..last-1 of a @ b to those of y. F [m, k], F [k, BLOCK], F [m, BLOCK].

    Four rows and four columns at a time, so that each load from memory serves four products.
    """
    inner = a.shape[1]
    whole = inner // 4 * 4
    fours = first + (last - first) // 4 * 4
    for i in range(first, fours, 4):
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            b0, b1, b2, b3 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
            c0, c1, c2, c3 = a[i + 2, k], a[i + 2, k + 1], a[i + 2, k + 2], a[i + 2, k + 3]
            d0, d1, d2, d3 = a[i + 3, k], a[i + 3, k + 1], a[i + 3, k + 2], a[i + 3, k + 3]
            for s in range(BLOCK):
                x0, x1, x2, x3 = b[k, s], b[k + 1, s], b[k + 2, s], b[k + 3, s]
                y[i, s] += (a0 * x0 + a1 * x1) + (a2 * x2 + a3 * x3)
                y[i + 1, s] += (b0 * x0 + b1 * x1) + (b2 * x2 + b3 * x3)
                y[i + 2, s] += (c0 * x0 + c1 * x1) + (c2 * x2 + c3 * x3)
                y[i + 3, s] += (d0 * x0 + d1 * x1) + (d2 * x2 + d3 * x3)
        for k in range(whole, inner):
            for row in range(i, i + 4):
                a0 = a[row, k]
                for s in range(BLOCK):
                    y[row, s] += a0 * b[k, s]
    for i in range(fours, last):
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            for s in range(BLOCK):
                y[i, s] += (a0 * b[k, s] + a1 * b[k + 1, s]) + (a2 * b[k + 2, s] + a3 * b[k + 3, s])
        for k in range(whole, inner):
            a0 = a[i, k]
            for s in range(BLOCK):
                y[i, s] += a0 * b[k, s]


@_compiled
def product(a, b, out, first, last):  # type: ignore[no-untyped-def]  # numba types it by its arguments
    """Rows first..last-1 of out = a @ b, with the columns of b and out in blocks.

    Args (F is float32 or float64, every partial sum an integer that F holds exactly):
        a: F [m, k]. b: F [blocks, k, BLOCK]. out: F [blocks, m, BLOCK].
    """
    for block in range(b.shape[0]):
        for row in range(first, last):
            for s in range(BLOCK):
                out[block, row, s] = 0
        _add_product(a, b[block], out[block], first, last)


@_compiled
def evaluate(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915  # one loop nest, no calls
    layers,
    scale,
    weights,
    signs,
    base,
    projection,
    targets,
    powers,
    logarithms,
    first,
    last,
    losses,
    hits,
):
    """Add the losses and hits of candidates first..last-1 on some samples to `losses` and `hits`.

    Args (F is float32 or float64, every float an integer that F holds exactly; samples n):
        layers: int64 [layers, 9], columns as named above; places are indices into a row of `signs`
            or into `weights`.
        scale: F, 2^e. weights: F, forward weights of all tensors. signs: int8 [P, width], -1..1.
        base: F [blocks, out of layer 0, BLOCK], W x + (bias << 5) of layer 0.
        projection: F [blocks, P, BLOCK], b.x of layer 0. The last block is padded with anything.
        targets: int32 [n]. powers, logarithms: the tables of `potnode.engine.loss`.
        losses, hits: int64 [P].
    """
    carrier = base.dtype.type
    count = layers.shape[0]
    classes = layers[count - 1, OUT]
    widest = 0
    for layer in range(count):
        widest = max(widest, layers[layer, OUT])
    x = np.empty((widest, BLOCK), base.dtype)
    y = np.empty((widest, BLOCK), base.dtype)
    z = np.empty((classes, BLOCK), np.int32)
    dense = np.empty(weights.size, base.dtype)
    signed = np.empty((3, BLOCK), base.dtype)  # minus, zero and plus the projection
    top = np.empty(BLOCK, np.int32)
    best = np.empty(BLOCK, np.int32)
    total = np.empty(BLOCK, np.int32)
    total_float = np.empty(BLOCK, np.float32)
    total_bits = total_float.view(np.int32)
    samples = targets.size
    for i in range(first, last):
        # Weights and biases of the later layers under this candidate's perturbation.
        for layer in range(1, count):
            inputs, out = layers[layer, INPUTS], layers[layer, OUT]
            for row in range(out):
                at = layers[layer, MATRIX] + row * inputs
                a = scale * carrier(signs[i, layers[layer, ROWS] + row])
                columns = layers[layer, COLUMNS]
                for k in range(inputs):
                    dense[at + k] = weights[at + k] + a * carrier(signs[i, columns + k])
                at = layers[layer, BIAS] + row
                drawn = carrier(signs[i, layers[layer, BIAS_SIGNS] + row])
                dense[at] = (weights[at] + scale * drawn) * carrier(_BIAS_UNIT)
        loss = np.int64(0)
        hit = np.int64(0)
        for block in range(base.shape[0]):
            start = block * BLOCK
            for s in range(BLOCK):
                v = projection[block, i, s] * scale
                signed[0, s] = -v
                signed[1, s] = 0
                signed[2, s] = v
            for layer in range(count):
                inputs, out = layers[layer, INPUTS], layers[layer, OUT]
                factor = carrier(1) / carrier(1 << layers[layer, SHIFT])
                low = carrier(layers[layer, LOWEST])
                for row in range(out):
                    if layer == 0:
                        a = signs[i, layers[0, ROWS] + row] + 1
                        drawn = carrier(signs[i, layers[0, BIAS_SIGNS] + row])
                        bias = drawn * scale * carrier(_BIAS_UNIT)
                        for s in range(BLOCK):
                            y[row, s] = base[block, row, s] + (signed[a, s] + bias)
                    else:
                        bias = dense[layers[layer, BIAS] + row]
                        for s in range(BLOCK):
                            y[row, s] = bias
                if layer > 0:
                    at = layers[layer, MATRIX]
                    matrix = dense[at : at + out * inputs].reshape((out, inputs))
                    _add_product(matrix, x, y, 0, out)
                for row in range(out):
                    if layer < count - 1:
                        for s in range(BLOCK):
                            v = np.floor(y[row, s] * factor)
                            y[row, s] = max(low, min(carrier(_LARGEST), v))
                    else:
                        for s in range(BLOCK):
                            z[row, s] = np.int32(np.floor(y[row, s] * factor))
                x, y = y, x
            for s in range(BLOCK):
                top[s] = z[0, s]
                best[s] = 0
                total[s] = 0
            for c in range(1, classes):
                for s in range(BLOCK):
                    if z[c, s] > top[s]:
                        top[s] = z[c, s]
                        best[s] = c
            for c in range(classes):
                for s in range(BLOCK):
                    total[s] += powers[min(np.uint32(top[s] - z[c, s]), np.uint32(FARTHEST))]
            for s in range(BLOCK):
                total_float[s] = total[s]
            for s in range(min(BLOCK, samples - start)):
                target = targets[start + s]
                index = np.uint32((total_bits[s] >> FLOAT_SHIFT) - FLOAT_ORIGIN)
                loss += logarithms[index] + top[s] - z[target, s]
                hit += best[s] == target
        losses[i] += loss
        hits[i] += hit
