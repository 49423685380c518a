"""Compiled loops over candidates: float32 activations of many samples side by side, and losses.

An activation is a row of LANES samples, so a sample's sums are made in one fixed order whatever the
number of samples, candidates or threads: the same candidate always has the same loss on a machine.
(Another CPU may fuse other products and sums, and differ in the last bits.) The interpreter's lock
is not held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

LANES: Final = 128
"""Samples of a block."""

KERNEL: Final = 3  # a convolution's side
POOL: Final = 2
CONV, LINEAR = 0, 1
# Columns of a plan's row: kind, side of the input image, its channels, filters or outputs, inputs,
# whether negative results become 0, and where the weights begin among the fixed ones.
KIND, SIDE, CHANNELS, OUTPUTS, INPUTS, RECTIFIED, OFFSET = range(7)

_LOG2_E = np.float32(1.4426950408889634)
_LOWEST = np.float32(-120.0)  # a power of two that is nothing beside 1
# 2^f for -1 < f <= 0, relative error 1e-7: the polynomial through the Chebyshev points.
_C0 = np.float32(0.9999999452374332)
_C1 = np.float32(0.6931432016425487)
_C2 = np.float32(0.2401794894888301)
_C3 = np.float32(0.05529960711734071)
_C4 = np.float32(0.009210875560708598)
_C5 = np.float32(0.0009475536455149928)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}}
    kernel: Callable[..., Any]
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder it may write to: compile in every process
        kernel = numba.njit(**options)(function)
    return kernel


@_compiled
def _convolve(x, w, y, side, channels, filters):  # type: ignore[no-untyped-def]  # numba types it
    """3 x 3 without padding, maximum of 2 x 2, negative ones 0: x [channels * side^2, LANES]."""
    half = (side - KERNEL + 1) // POOL
    area = side * side
    row = np.empty(LANES, np.float32)
    for f in range(filters):
        for py in range(half):
            for px in range(half):
                best = y[(f * half + py) * half + px]
                best[:] = np.float32(0)
                for place in range(POOL * POOL):
                    top = (POOL * py + place // POOL) * side + POOL * px + place % POOL
                    row[:] = np.float32(0)
                    for c in range(channels):
                        at = c * area + top
                        x0, x1, x2 = x[at], x[at + 1], x[at + 2]
                        x3, x4, x5 = x[at + side], x[at + side + 1], x[at + side + 2]
                        at += 2 * side
                        x6, x7, x8 = x[at], x[at + 1], x[at + 2]
                        k = (f * channels + c) * KERNEL * KERNEL
                        w0, w1, w2, w3, w4 = w[k], w[k + 1], w[k + 2], w[k + 3], w[k + 4]
                        w5, w6, w7, w8 = w[k + 5], w[k + 6], w[k + 7], w[k + 8]
                        for i in range(LANES):
                            total = row[i] + w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]
                            total = total + w4 * x4[i] + w5 * x5[i] + w6 * x6[i] + w7 * x7[i]
                            row[i] = total + w8 * x8[i]
                    for i in range(LANES):
                        best[i] = max(best[i], row[i])


@_compiled
def _multiply(x, w, y, inputs, outputs, rectified):  # type: ignore[no-untyped-def]
    """Products of rows of w [outputs * inputs] and x [inputs, LANES]."""
    whole = inputs // 8 * 8
    for m in range(outputs):
        row = y[m]
        row[:] = np.float32(0)
        k = m * inputs
        for n in range(0, whole, 8):
            x0, x1, x2, x3 = x[n], x[n + 1], x[n + 2], x[n + 3]
            x4, x5, x6, x7 = x[n + 4], x[n + 5], x[n + 6], x[n + 7]
            w0, w1, w2, w3 = w[k + n], w[k + n + 1], w[k + n + 2], w[k + n + 3]
            w4, w5, w6, w7 = w[k + n + 4], w[k + n + 5], w[k + n + 6], w[k + n + 7]
            for i in range(LANES):
                total = row[i] + w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]
                row[i] = total + w4 * x4[i] + w5 * x5[i] + w6 * x6[i] + w7 * x7[i]
        for n in range(whole, inputs):
            x0, w0 = x[n], w[k + n]
            for i in range(LANES):
                row[i] += w0 * x0[i]
        if rectified:
            for i in range(LANES):
                row[i] = max(row[i], np.float32(0))


@_compiled
def _cross_entropy(z, targets, valid, powers, powers_as_bits):  # type: ignore[no-untyped-def]
    """Sum over the first `valid` samples of -ln softmax(z)[target]: z [classes, LANES].

    powers, powers_as_bits: float32 and int32 [LANES] of the same memory, for exponents.
    """
    classes = z.shape[0]
    most = np.empty(LANES, np.float32)
    total = np.empty(LANES, np.float32)
    most[:] = z[0]
    total[:] = np.float32(0)
    for c in range(1, classes):
        row = z[c]
        for i in range(LANES):
            most[i] = max(most[i], row[i])
    for c in range(classes):
        row = z[c]
        for i in range(LANES):
            t = max((row[i] - most[i]) * _LOG2_E, _LOWEST)
            powers_as_bits[i] = (np.int32(t) + np.int32(127)) << np.int32(23)
        for i in range(LANES):
            t = max((row[i] - most[i]) * _LOG2_E, _LOWEST)
            f = t - np.float32(np.int32(t))
            p = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * _C5))))
            total[i] += p * powers[i]
    loss = 0.0
    for i in range(valid):
        loss += np.log(np.float64(total[i])) + (most[i] - z[targets[i], i])
    return loss


@_compiled
def _apply(x, w, y, row):  # type: ignore[no-untyped-def]
    """One layer of a plan."""
    if row[KIND] == CONV:
        _convolve(x, w, y, row[SIDE], row[CHANNELS], row[OUTPUTS])
    else:
        _multiply(x, w, y, row[INPUTS], row[OUTPUTS], row[RECTIFIED])


@_compiled
def forward(x, fixed, plan, first, last, scratch):  # type: ignore[no-untyped-def]
    """Activations of one block behind layers first..last-1, each with its fixed weights.

    x: float32 [inputs of layer first, LANES]. fixed: float32, all weights of all layers. plan:
    int64 [layers, 7]. scratch: float32 [2, widest, LANES], part of which the result is: a copy must
    be made before the next call. With first == last it is x.
    """
    for layer in range(first, last):
        y = scratch[layer % 2]
        _apply(x, fixed[plan[layer, OFFSET] :], y, plan[layer])
        x = y
    return x


@_compiled
def losses(  # type: ignore[no-untyped-def]
    blocks, targets, count, weights, layer, fixed, plan, classes, scratch, out
):
    """Mean cross-entropy, in nats, of every candidate for one layer.

    blocks: float32 [blocks, inputs of the layer, LANES]. targets: int64 [blocks, LANES]. count:
    samples, the last block may have fewer than LANES. weights: float32 [candidates, at least the
    layer's weights]. layer: which. classes: outputs of the last layer. scratch, fixed, plan: as of
    `forward`. out: float64 [candidates], the result.
    """
    last = plan.shape[0]
    powers = np.empty(LANES, np.float32)
    powers_as_bits = powers.view(np.int32)
    for candidate in range(weights.shape[0]):
        total = 0.0
        for block in range(blocks.shape[0]):
            y = scratch[layer % 2]
            _apply(blocks[block], weights[candidate], y, plan[layer])
            z = forward(y, fixed, plan, layer + 1, last, scratch)
            valid = min(LANES, count - block * LANES)
            total += _cross_entropy(z[:classes], targets[block], valid, powers, powers_as_bits)
        out[candidate] = total / count
