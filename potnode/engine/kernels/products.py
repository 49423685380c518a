"""The layers that are sums of products, place by place: linear, convolution, gates, depthwise."""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels import fields as f
from potnode.engine.kernels.candidates import matrix_terms, second_terms
from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.vectors import (
    LANES,
    QUAD,
    dot1,
    dot2,
    dot4,
    dot_pack,
    dot_pack2,
    logits,
    pack,
)


@compiled
def shared_sums(  # type: ignore[no-untyped-def]
    ops, parameters, offsets, weights, starts, x, base, first, last
):
    """W x + (bias << 5) of the first operation, which all candidates share.

    Args:
        x: uint8 [blocks * INPUT]. base: int32 [blocks * 4 * QUADS * LANES]. first, last: of its
        rows by fours.
    """
    op = ops[0]
    blocks = x.size // parameters[f.INPUT]
    rows, portable = 4 * op[f.QUADS], parameters[f.PORTABLE]
    for block in range(blocks):
        for r in range(4 * first, 4 * last, 4):
            dot4(
                x, block * parameters[f.INPUT],
                offsets, op[f.OFFSETS], op[f.GROUPS],
                weights, op[f.WEIGHTS] + r * op[f.PITCH], op[f.PITCH],
                starts, op[f.STARTS] + r,
                base, (block * rows + r) * LANES,
                portable,
            )  # fmt: skip


@inlined
def _outputs(op, arena, offsets, at, weights, starts, acc, portable):  # type: ignore[no-untyped-def]
    """Accumulators of all rows of one place, whose offsets begin at `at`."""
    groups, pitch, rows = op[f.GROUPS], op[f.PITCH], op[f.ROWS]
    for r in range(0, rows, 4):
        w, start, to = op[f.WEIGHTS] + r * pitch, op[f.STARTS] + r, r * LANES
        if rows - r > 2:
            dot4(
                arena, 0, offsets, at, groups, weights, w, pitch, starts, start, acc, to, portable,
            )  # fmt: skip
        else:
            dot2(
                arena, 0, offsets, at, groups, weights, w, pitch, starts, start, acc, to, portable,
            )  # fmt: skip


@inlined
def dense(  # type: ignore[no-untyped-def]
    op, c, parameters, arena, offsets, weights, starts, own, terms, sums, pitch, work, z, facts
):
    """Rows of a matrix under candidate c, at every place.

    Args:
        own, terms, sums, pitch: as for `candidates.prepare`. work: int32, aligned: one row for
        b.x, nine and three for terms, then 4 * QUADS rows of accumulators.
    """
    e, portable = np.int32(parameters[f.E]), parameters[f.PORTABLE]
    groups, second, quads, rows = op[f.GROUPS], op[f.SECOND], op[f.QUADS], op[f.ROWS]
    shift, low = np.int32(op[f.SHIFT]), np.int32(op[f.LOW])
    p, table = work[:LANES], work[LANES : 10 * LANES]
    table_2, acc = work[10 * LANES : 13 * LANES], work[13 * LANES :]
    columns = c * parameters[f.COLUMN_WIDTH] + op[f.COLUMNS]
    t = c * parameters[f.TERM_WIDTH] + op[f.TERMS]
    t_2 = c * parameters[f.TERM_WIDTH] + op[f.TERMS_2]
    sums_at = op[f.SUMS] * pitch + c
    for place in range(op[f.PLACES]):
        at = op[f.OFFSETS] + place * groups
        if op[f.TRAINED] & f.MATRIX:
            dot1(
                arena, 0, offsets, at, groups - second, own, columns, 0, sums, sums_at,
                p, 0, portable,
            )  # fmt: skip
        matrix_terms(op[f.TRAINED], p, 0, e, table)
        if op[f.TRAINED] & f.SECOND_MATRIX:
            dot1(
                arena, 0, offsets, at + groups - second, second,
                own, columns + 4 * (groups - second), 0, sums, sums_at + pitch,
                p, 0, portable,
            )  # fmt: skip
            second_terms(p, e, table_2)
        if op[f.LOW] == f.LOGITS:
            _outputs(op, arena, offsets, at, weights, starts, acc, portable)
            logits(acc, 0, table, 0, terms, t, rows, shift, z, 0, facts, 0, portable)
            continue
        for q in range(quads):
            # Always four: rows that fill up are 0, as features that fill up must be.
            w, start = op[f.WEIGHTS] + 4 * q * op[f.PITCH], op[f.STARTS] + 4 * q
            out = op[f.OUT] + (place * quads + q) * QUAD
            if second > 0:
                dot_pack2(
                    arena, 0, offsets, at, groups, weights, w, op[f.PITCH], starts, start,
                    table, 0, terms, t + 4 * q, table_2, 0, terms, t_2 + 4 * q,
                    shift, low, arena, out, portable,
                )  # fmt: skip
            else:
                dot_pack(
                    arena, 0, offsets, at, groups, weights, w, op[f.PITCH], starts, start,
                    table, 0, terms, t + 4 * q, shift, low, arena, out, portable,
                )  # fmt: skip


@inlined
def shared_dense(  # type: ignore[no-untyped-def]
    op, c, parameters, arena, base, b_at, p, p_at, terms, work, z, facts
):
    """`dense` of the first operation: sums are those of `shared_sums`, from `b_at` in `base`.

    p: int32, b.x of the candidate from p_at.
    """
    portable = parameters[f.PORTABLE]
    shift, low = np.int32(op[f.SHIFT]), np.int32(op[f.LOW])
    table = work[LANES : 10 * LANES]
    t = c * parameters[f.TERM_WIDTH] + op[f.TERMS]
    matrix_terms(op[f.TRAINED], p, p_at, np.int32(parameters[f.E]), table)
    if op[f.LOW] == f.LOGITS:
        logits(base, b_at, table, 0, terms, t, op[f.ROWS], shift, z, 0, facts, 0, portable)
        return
    for q in range(op[f.QUADS]):
        pack(
            base, b_at + 4 * q * LANES, table, 0, terms, t + 4 * q, shift, low,
            arena, op[f.OUT] + q * QUAD, portable,
        )  # fmt: skip


@inlined
def depthwise(  # type: ignore[no-untyped-def]
    op, c, parameters, arena, offsets, own, terms, no_terms, work
):
    """Four channels at a time: four rows of weights, each with zeros for the other three.

    no_terms: int32 [4], all NO_TERM.
    """
    portable = parameters[f.PORTABLE]
    shift, low = np.int32(op[f.SHIFT]), np.int32(op[f.LOW])
    table = work[LANES : 10 * LANES]
    groups, quads = op[f.GROUPS], op[f.QUADS]
    columns = c * parameters[f.COLUMN_WIDTH] + op[f.COLUMNS]
    t = c * parameters[f.TERM_WIDTH] + op[f.TERMS]
    for place in range(op[f.PLACES]):
        at = op[f.OFFSETS] + place * 2 * op[f.COUNT]
        for q in range(quads):
            dot_pack(
                arena, q * QUAD, offsets, at, groups,
                own, columns + 16 * groups * q, 4 * groups, terms, t + 4 * q,
                table, 0, no_terms, 0, shift, low,
                arena, op[f.OUT] + (place * quads + q) * QUAD, portable,
            )  # fmt: skip
