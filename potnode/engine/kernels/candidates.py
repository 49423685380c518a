"""What each candidate brings along: its signs, in the order and form that the layers want."""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels import fields as f
from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.flavours import OFFSET
from potnode.engine.kernels.vectors import LANES, QUAD

NO_TERM = 4 * QUAD  # offset of the term that is zero
_LARGEST = 127
_BIAS_UNIT = 32


@inlined
def copied(to, values):  # type: ignore[no-untyped-def]
    """As many values as `to` has. A slice assigned to a slice would need memory."""
    for k in range(to.size):
        to[k] = values[k]


@compiled
def _gathered(to, values, sources):  # type: ignore[no-untyped-def]
    for k in range(to.size):
        to[k] = values[sources[k]] if sources[k] >= 0 else 0


@inlined
def _sum(values):  # type: ignore[no-untyped-def]
    total = np.int32(0)
    for k in range(values.size):
        total += np.int32(values[k])
    return total


@inlined
def _offsets(to, rows, biases):  # type: ignore[no-untyped-def]
    """Offset of each row's term in the table of `matrix_terms`, from its two signs."""
    for k in range(to.size):
        to[k] = np.int32(QUAD) * (np.int32(3 * rows[k]) + np.int32(biases[k]) + np.int32(4))


@inlined
def _offsets_2(to, rows):  # type: ignore[no-untyped-def]
    for k in range(to.size):
        to[k] = np.int32(QUAD) * (np.int32(rows[k]) + np.int32(1))


@inlined
def matrix_terms(trained, p, p_at, e, terms):  # type: ignore[no-untyped-def]
    """Rows 3a + b + 4 of LANES: a * (p << e) + (b << (5 + e)) for signs a, b = -1, 0, 1.

    Args:
        trained: which signs there are, MATRIX | BIAS; only their rows are written, and the row of
        two zeros never. p: int32, b.x of each sample, from p_at. terms: int32 [9 * LANES].
    """
    bias = np.int32(_BIAS_UNIT << e)
    if trained & f.MATRIX and trained & f.BIAS:
        for s in range(LANES):
            v = np.int32(p[p_at + s] << e)
            terms[s] = -v - bias
            terms[2 * LANES + s] = bias - v
            terms[6 * LANES + s] = v - bias
            terms[8 * LANES + s] = v + bias
    elif trained & f.MATRIX:
        for s in range(LANES):
            v = np.int32(p[p_at + s] << e)
            terms[LANES + s] = -v
            terms[7 * LANES + s] = v
    elif trained & f.BIAS:
        for s in range(LANES):
            terms[3 * LANES + s] = -bias
            terms[5 * LANES + s] = bias


@inlined
def second_terms(p, e, terms):  # type: ignore[no-untyped-def]
    """Rows a + 1 of LANES: a * (p << e) for a = -1, 1; that of 0 is never written.

    p: int32 [LANES]. terms: int32 [3 * LANES].
    """
    for s in range(LANES):
        v = np.int32(p[s] << e)
        terms[s] = -v
        terms[2 * LANES + s] = v


@inlined
def _dense(op, signs, sources, own, terms, sums, pitch, at):  # type: ignore[no-untyped-def]
    rows, groups, second = op[f.ROWS], op[f.GROUPS], op[f.SECOND]
    start, size = op[f.COLUMNS], 4 * (groups - second)
    columns = own[start : start + size]
    values = signs[op[f.COLUMN_SIGNS] :]
    if op[f.SOURCES] >= 0:
        _gathered(columns, values, sources[op[f.SOURCES] : op[f.SOURCES] + size])
    else:
        copied(columns, values)
    sums[op[f.SUMS] * pitch + at] = -OFFSET * _sum(columns)
    to = op[f.TERMS]
    a, b = op[f.ROW_SIGNS], op[f.BIAS_SIGNS]
    _offsets(terms[to : to + rows], signs[a : a + rows], signs[b : b + rows])
    for k in range(to + rows, to + 4 * op[f.QUADS]):
        terms[k] = NO_TERM
    if second > 0:
        start += size
        columns = own[start : start + 4 * second]
        copied(columns, signs[op[f.COLUMN_SIGNS_2] :])
        sums[(op[f.SUMS] + 1) * pitch + at] = -OFFSET * _sum(columns)
        to, a = op[f.TERMS_2], op[f.ROW_SIGNS_2]
        _offsets_2(terms[to : to + rows], signs[a : a + rows])
        for k in range(to + rows, to + 4 * op[f.QUADS]):
            terms[k] = QUAD


@compiled
def _depthwise(op, signs, weights, starts, own, terms, e):  # type: ignore[no-untyped-def]
    """Each channel's weights in its byte of a quad, and the starts of the sums.

    A weight under a candidate may need a bit more than int8 has; then `groups` is twice the taps,
    and its rest stands with the second time each tap is summed.
    """
    groups, taps = op[f.GROUPS], op[f.COUNT]
    for channel in range(op[f.ROWS]):
        byte = channel & 3
        row = op[f.COLUMNS] + 4 * groups * channel + byte
        total = np.int32(0)
        for tap in range(taps):
            k = channel * taps + tap
            v = np.int32(weights[op[f.WEIGHTS] + k])
            v += np.int32(signs[op[f.ROW_SIGNS] + k]) << e
            total += v
            near = min(max(v, np.int32(-_LARGEST)), np.int32(_LARGEST))
            own[row + 4 * tap] = near
            if groups > taps:
                own[row + 4 * (taps + tap)] = v - near
        bias = starts[op[f.STARTS] + channel]
        bias += np.int32(signs[op[f.BIAS_SIGNS] + channel]) << (5 + e)
        terms[op[f.TERMS] + channel] = bias - OFFSET * total
    for k in range(op[f.ROWS], 4 * op[f.QUADS]):
        terms[op[f.TERMS] + k] = 0


@compiled
def _norm(op, signs, sources, weights, terms, e):  # type: ignore[no-untyped-def]
    """The weights, feature by feature in the order of the quads."""
    for k in range(4 * op[f.QUADS] * op[f.PLACES]):
        source = sources[op[f.SOURCES] + k]
        value = np.int32(0)
        if source >= 0:
            value = np.int32(weights[op[f.WEIGHTS] + source])
            value += np.int32(signs[op[f.ROW_SIGNS] + source]) << e
        terms[op[f.TERMS] + k] = value


@compiled
def prepare(  # type: ignore[no-untyped-def]
    ops, parameters, sources, weights, starts, signs, first, last, own, terms, sums, pitch
):
    """Fill the bytes and numbers of candidates first..last-1.

    Args:
        ops, parameters: see `fields`. sources: int32. weights: int8. starts: int32. signs: int8
        [P * WIDTH]. own: int8 [candidates * COLUMN_WIDTH], zero. terms: int32 [candidates *
        TERM_WIDTH]. sums: int32 [SUM_ROWS * pitch].
    """
    e = np.int32(parameters[f.E])
    for c in range(last - first):
        row = signs[(first + c) * parameters[f.WIDTH] :]
        mine = own[c * parameters[f.COLUMN_WIDTH] :]
        numbers = terms[c * parameters[f.TERM_WIDTH] :]
        for i in range(ops.shape[0]):
            op = ops[i]
            code = op[f.CODE]
            if code == f.DENSE:
                _dense(op, row, sources, mine, numbers, sums, pitch, c)
            elif code == f.DEPTHWISE:
                _depthwise(op, row, weights, starts, mine, numbers, e)
            elif code == f.NORM:
                _norm(op, row, sources, weights, numbers, e)


@compiled
def row_starts(ops, weights, starts):  # type: ignore[no-untyped-def]
    """Take OFFSET times the sum of each row's weights off the starts of the products' sums.

    Args:
        ops: see `fields`. weights: int8. starts: int32, biases as they count.
    """
    for i in range(ops.shape[0]):
        op = ops[i]
        if op[f.CODE] == f.DENSE:
            for r in range(op[f.ROWS]):
                at = op[f.WEIGHTS] + r * op[f.PITCH]
                starts[op[f.STARTS] + r] -= OFFSET * _sum(weights[at : at + op[f.PITCH]])
