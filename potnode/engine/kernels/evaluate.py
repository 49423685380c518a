"""A pass over candidates: each one's network on each tile of samples, and its loss.

A candidate's activations on a tile stay in the processor's cache; nothing of the size of candidates
x samples is ever kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.engine.kernels import fields as f
from potnode.engine.kernels import layers, losses
from potnode.engine.kernels.candidates import NO_TERM, copied, prepare
from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.flavours import OFFSET
from potnode.engine.kernels.products import dense, depthwise, shared_dense
from potnode.engine.kernels.vectors import LANES, QUAD, dot4

_TILE = 4  # candidates whose b.x is computed at once where the first sums are shared


def scratch_sizes(parameters: npt.NDArray[np.int64], candidates: int) -> tuple[int, ...]:
    """Elements of `own` (int8), `terms`, `sums` (int32), `arena` (uint8), `numbers` (int32),
    `table` (uint8) and `preferred` (int32) that `evaluate` wants for so many candidates.
    """
    pitch = -(-candidates // _TILE) * _TILE
    rows = _TILE + 3 + 13 + 2 * int(parameters[f.TALLEST])
    return (
        pitch * int(parameters[f.COLUMN_WIDTH]) + 4,
        candidates * int(parameters[f.TERM_WIDTH]) + 4,
        pitch * int(parameters[f.SUM_ROWS]),
        int(parameters[f.ARENA]),
        rows * LANES,
        int(parameters[f.TABLE]),
        candidates * LANES + 4,
    )


@inlined
def _layer(  # type: ignore[no-untyped-def]
    op, c, parameters, arena, offsets, weights, starts, own, terms, sums, pitch, no_terms, work, z,
    facts, table, tokens, t_at,
):  # fmt: skip
    """One operation on a tile of samples at one position."""
    code = op[f.CODE]
    if code == f.DENSE:
        dense(
            op, c, parameters, arena, offsets, weights, starts, own, terms, sums, pitch, work, z,
            facts,
        )  # fmt: skip
        return
    if code == f.DEPTHWISE:
        depthwise(op, c, parameters, arena, offsets, own, terms, no_terms, work)
        return
    if code in (f.MAX_POOL, f.AVG_POOL):
        layers.pool(op, arena, offsets, work)
        return
    size = op[f.QUADS] * op[f.PLACES] * QUAD
    out = arena[op[f.OUT] : op[f.OUT] + size]
    if code == f.EMBEDDING:
        layers.embed(op, out.view(np.uint32), table.view(np.uint32), tokens[t_at : t_at + LANES])
        return
    x = arena[op[f.X] : op[f.X] + size]
    y = arena[op[f.Y] : op[f.Y] + size]
    if code == f.RELU:
        layers.relu(out, x)
    elif code == f.ADD:
        layers.add(out, x, y)
    elif code == f.NORM:
        at = c * parameters[f.TERM_WIDTH] + op[f.TERMS]
        factors = terms[at : at + 4 * op[f.QUADS] * op[f.PLACES]]
        layers.norm(
            op, out.view(np.uint32), x.view(np.uint32), factors, work,
            facts.view(np.float32),
        )  # fmt: skip
    elif code == f.KEEP:
        layers.keep(out, x, y)
    else:  # MIX, in place
        layers.mix(out, x, y, out)


@inlined
def _loss(parameters, block, half, z, facts, targets, preferred, c, powers, logarithms):  # type: ignore[no-untyped-def]
    """Loss and hits of a tile, of the kinds that have one position."""
    task = parameters[f.TASK]
    first = block * LANES
    samples = min(LANES, parameters[f.SAMPLES] - first)
    if task == f.CLASSES:
        return losses.classes(z, facts, targets[first : first + samples], logarithms)
    if task == f.VALUES:
        outputs = parameters[f.OUTPUTS]
        return losses.values(
            z, outputs, targets[first * outputs :], samples, parameters[f.TOLERANCE]
        )
    mine = preferred[c * LANES : c * LANES + LANES]
    if half == 0:
        for s in range(LANES):
            mine[s] = z[s]
        return np.int64(0), np.int64(0)
    return losses.pairs(mine, z, samples, powers, logarithms)


@compiled
def evaluate(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915  # one loop nest
    ops, parameters, offsets, sources, weights, starts, base, x, signs, targets, powers, logarithms,
    first, last, own, terms, sums, arena, numbers, table, preferred, all_losses, hits, features,
):  # fmt: skip
    """Add the losses and hits of candidates first..last-1 to `all_losses` and `hits`.

    Args:
        ops, parameters: int64, see `fields`. offsets: int32, arena offsets of quads. sources,
        weights (int8), starts (int32): see `fields`. base: int32, from `shared_sums`. x: uint8,
        the tiles' quads, INPUT bytes each; of a pair's samples first those preferred. signs: int8
        [P * WIDTH]. targets: int32: classes; values sample by sample; or the bytes of a tile's
        samples position by position, [blocks, WINDOW + 1, LANES]. powers, logarithms: the tables
        of `potnode.engine.loss`. own, terms, sums, arena, numbers, table, preferred: memory, see
        `scratch_sizes`; arena and numbers aligned. all_losses, hits: int64 [P]. features: uint8,
        the last operation's output for every tile, where TASK is FEATURES.
    """
    candidates = last - first
    pitch = (candidates + _TILE - 1) // _TILE * _TILE  # of a row of sums
    own[:] = 0
    prepare(ops, parameters, sources, weights, starts, signs, first, last, own, terms, sums, pitch)
    zeros = parameters[f.ZEROS]
    arena[zeros : zeros + parameters[f.ZERO_BYTES]] = OFFSET
    rows = np.int64(0)
    p = numbers[: _TILE * LANES]
    rows += _TILE
    facts = numbers[rows * LANES : (rows + 3) * LANES]
    rows += 3
    z = numbers[rows * LANES : (rows + parameters[f.TALLEST]) * LANES]
    rows += parameters[f.TALLEST]
    work = numbers[rows * LANES :]
    for s in range(LANES):  # the terms of rows without signs, in the tables of `products`
        work[LANES + NO_TERM // 4 + s] = 0
        work[11 * LANES + s] = 0
    no_terms = preferred[candidates * LANES :]
    no_terms[:] = NO_TERM
    task, window, portable = parameters[f.TASK], parameters[f.WINDOW], parameters[f.PORTABLE]
    blocks = (parameters[f.SAMPLES] + LANES - 1) // LANES
    halves = parameters[f.HALVES]
    size = parameters[f.INPUT]
    shared = parameters[f.SHARED]
    states = parameters[f.STATES]
    for block in range(blocks):
        for half in range(halves):
            tile = half * blocks + block
            if not shared:
                copied(arena[:size], x[tile * size :])
            for c in range(candidates):
                if shared and c % _TILE == 0:
                    dot4(
                        x, tile * size, offsets, ops[0, f.OFFSETS], ops[0, f.GROUPS],
                        own, c * parameters[f.COLUMN_WIDTH] + ops[0, f.COLUMNS],
                        parameters[f.COLUMN_WIDTH], sums, ops[0, f.SUMS] * pitch + c,
                        p, 0, portable,
                    )  # fmt: skip
                arena[states : states + parameters[f.STATE_BYTES]] = OFFSET
                if table.size > 0:
                    row = (first + c) * parameters[f.WIDTH]
                    layers.embedding_table(
                        ops[0], signs[row:], weights, np.int32(parameters[f.E]), table
                    )
                for position in range(window):
                    t_at = (block * (window + 1) + position) * LANES
                    for i in range(ops.shape[0]):
                        if shared and i == 0:
                            b_at = tile * 4 * ops[0, f.QUADS] * LANES
                            shared_dense(
                                ops[0], c, parameters, arena, base, b_at,
                                p, c % _TILE * LANES, terms, work, z, facts,
                            )  # fmt: skip
                        else:
                            _layer(
                                ops[i], c, parameters, arena, offsets, weights, starts, own,
                                terms, sums, pitch, no_terms, work, z, facts, table, targets, t_at,
                            )  # fmt: skip
                    if task == f.BYTES and position >= parameters[f.WARMUP]:
                        samples = min(LANES, parameters[f.SAMPLES] - block * LANES)
                        following = targets[t_at + LANES : t_at + LANES + samples]
                        loss, hit = losses.classes(z, facts, following, logarithms)
                        all_losses[first + c] += loss
                        hits[first + c] += hit
                if task == f.FEATURES:
                    op = ops[ops.shape[0] - 1]
                    out, bytes_ = op[f.OUT], op[f.QUADS] * op[f.PLACES] * QUAD
                    copied(
                        features[tile * bytes_ : tile * bytes_ + bytes_], arena[out : out + bytes_]
                    )
                elif task != f.BYTES:
                    loss, hit = _loss(
                        parameters, block, half, z, facts, targets, preferred, c, powers, logarithms
                    )
                    all_losses[first + c] += loss
                    hits[first + c] += hit
