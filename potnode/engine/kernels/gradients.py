"""What a step does to one tensor: the gradient of its candidates, and the update rules."""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels.compiled import compiled
from potnode.engine.kernels.vectors import LANES, QUAD, dot4
from potnode.spec.manifest import MASTER_LIMIT


@compiled
def _signs_quad(out, a, b, c, d):  # type: ignore[no-untyped-def]
    """Signs of four candidates side by side. out: uint32, as many as there are signs."""
    flip = np.uint32(0x80808080)
    for s in range(out.size):
        value = (
            np.uint32(np.uint8(a[s]))
            | np.uint32(np.uint8(b[s])) << np.uint32(8)
            | np.uint32(np.uint8(c[s])) << np.uint32(16)
            | np.uint32(np.uint8(d[s])) << np.uint32(24)
        )
        out[s] = np.uint32(value) ^ flip


@compiled
def matrix_gradient(signs, width, rows, columns, lanes, weighted, starts, x, offsets, out):  # type: ignore[no-untyped-def]
    """Up to LANES columns of G = sum of c a bT: a product over candidates.

    Args:
        signs: int8 [P * width], P a multiple of 4. rows: m, a multiple of 4. columns: where the
        columns' signs begin in a row of signs. lanes: how many they are. weighted: int8 [m * P],
        c a by rows. starts: int32 [m], -OFFSET times the sum of a row. x: uint8, aligned, P / 4
        quads, and offsets: int32 [P / 4], overwritten. out: int32 [m * LANES].
    """
    candidates = signs.size // width
    units = x.view(np.uint32)
    for q in range(candidates // 4):
        offsets[q] = q * QUAD
        at = 4 * q * width + columns
        _signs_quad(
            units[q * LANES : q * LANES + lanes],
            signs[at : at + lanes],
            signs[at + width : at + width + lanes],
            signs[at + 2 * width : at + 2 * width + lanes],
            signs[at + 3 * width : at + 3 * width + lanes],
        )
    for r in range(0, rows, 4):
        dot4(
            x, 0, offsets, 0, candidates // 4, weighted, r * candidates, candidates,
            starts, r, out, r * LANES, 0,
        )  # fmt: skip


@compiled
def _added(out, values, factor):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] += factor * np.int32(values[k])


@compiled
def vector_gradient(signs, width, at, coefficients, out):  # type: ignore[no-untyped-def]
    """G = sum of c a. signs: int8 [P * width], a from `at` in a row. out: int32, zero."""
    for c in range(coefficients.size):
        row = c * width + at
        _added(out, signs[row : row + out.size], coefficients[c])


@compiled
def _momentum(masters, momenta, slopes, eta):  # type: ignore[no-untyped-def]
    limit = np.int64(MASTER_LIMIT)
    for k in range(masters.size):
        momentum = np.int64(momenta[k])
        momentum += (np.int64(slopes[k]) << 4) - ((momentum + 4) >> 3)
        master = np.int64(masters[k]) + ((momentum * eta + 2048) >> 12)
        masters[k] = min(max(master, -limit), limit)
        momenta[k] = momentum


@compiled
def _sign_momentum(masters, momenta, slopes, eta):  # type: ignore[no-untyped-def]
    limit = np.int64(MASTER_LIMIT)
    for k in range(masters.size):
        momentum, slope = np.int64(momenta[k]), np.int64(slopes[k])
        direction = 9 * momentum + (slope << 4)
        moved = np.int64(direction > 0) - np.int64(direction < 0)
        master = np.int64(masters[k]) + eta * moved
        masters[k] = min(max(master, -limit), limit)
        momenta[k] = momentum - ((momentum + 16) >> 5) + (slope << 1)


@compiled
def update_vector(momentum_rule, masters, momenta, slopes, eta):  # type: ignore[no-untyped-def]
    """New masters and momenta in place; int32 all. momentum_rule: else it is "sign_momentum"."""
    if momentum_rule:
        _momentum(masters, momenta, slopes, eta)
    else:
        _sign_momentum(masters, momenta, slopes, eta)


@compiled
def update_matrix(momentum_rule, masters, momenta, count, block, slopes, eta):  # type: ignore[no-untyped-def]
    """`update_vector` of a block of columns of matrices with `count` columns.

    slopes: as `matrix_gradient` leaves them.
    """
    lanes = min(LANES, count - block * LANES)
    for i in range(masters.size // count):
        at = i * count + block * LANES
        update_vector(
            momentum_rule,
            masters[at : at + lanes],
            momenta[at : at + lanes],
            slopes[i * LANES : i * LANES + lanes],
            eta,
        )


@compiled
def forward(masters, shift, levels, scale, out):  # type: ignore[no-untyped-def]
    """Forward weights of masters, int32: clip((M + 2^(shift - 1)) >> shift, levels) << scale."""
    half, bits = np.int32(1 << (shift - 1)), np.int32(shift)
    low, high, more = np.int32(-levels), np.int32(levels), np.int32(scale)
    for k in range(out.size):
        level = np.int32(np.int32(masters[k] + half) >> bits)
        out[k] = np.int32(min(max(level, low), high) << more)
