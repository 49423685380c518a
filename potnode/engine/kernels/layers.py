"""The layers that are no sums of products, on the quads of a tile.

A quad's bytes are activations + OFFSET; features that fill up a last quad are 0 and stay so.
"""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels import fields as f
from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.flavours import OFFSET
from potnode.engine.kernels.vectors import LANES, QUAD

_LARGEST = 127


@compiled
def relu(out, x):  # type: ignore[no-untyped-def]
    """max(0, x)."""
    for k in range(out.size):
        out[k] = max(x[k], np.uint8(OFFSET))


@compiled
def add(out, x, y):  # type: ignore[no-untyped-def]
    """clip(x + y)."""
    for k in range(out.size):
        v = np.int16(np.int16(np.int16(x[k]) + np.int16(y[k])) - np.int16(OFFSET))
        out[k] = min(max(v, np.int16(OFFSET - _LARGEST)), np.int16(OFFSET + _LARGEST))


@compiled
def keep(out, gate, state):  # type: ignore[no-untyped-def]
    """((f + 127) * s) >> 8."""
    for k in range(out.size):
        by = np.int16(np.int16(gate[k]) - np.int16(1))
        v = np.int16(by * np.int16(np.int16(state[k]) - np.int16(OFFSET)))  # at most 254 * 127
        out[k] = np.int16(np.int16(v >> np.int16(8)) + np.int16(OFFSET))


@compiled
def mix(out, gate, proposed, state):  # type: ignore[no-untyped-def]
    """s + (((f + 127) * (h - s)) >> 8)."""
    for k in range(out.size):
        by = np.int32(np.int32(gate[k]) - np.int32(1))
        v = np.int32(by * np.int32(np.int32(proposed[k]) - np.int32(state[k])))
        out[k] = np.int32(np.int32(state[k]) + np.int32(v >> np.int32(8)))


@compiled
def _larger(out, x):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] = max(out[k], x[k])


@compiled
def _added(out, x):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] = np.int32(out[k] + np.int32(x[k]))


@compiled
def _mean(out, sums, scale, half):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] = np.int32(np.int32(np.int32(sums[k] * scale) + half) >> np.int32(16))


@compiled
def pool(op, arena, offsets, work):  # type: ignore[no-untyped-def]
    """The largest value or the mean of every window. work: int32 [QUAD]."""
    quads, taps = op[f.QUADS], op[f.GROUPS]
    scale = np.int32(65536 // op[f.COUNT])
    # Sums are of bytes with OFFSET in each; the mean has it again.
    half = np.int32(32768 + (OFFSET << 16) - OFFSET * op[f.COUNT] * scale)
    for place in range(op[f.PLACES]):
        for q in range(quads):
            to = op[f.OUT] + (place * quads + q) * QUAD
            out = arena[to : to + QUAD]
            if op[f.CODE] == f.AVG_POOL:
                work[:QUAD] = 0
            else:
                out[:] = 0
            for tap in range(taps):
                at = offsets[op[f.OFFSETS] + place * taps + tap] + q * QUAD
                if op[f.CODE] == f.AVG_POOL:
                    _added(work[:QUAD], arena[at : at + QUAD])
                else:
                    _larger(out, arena[at : at + QUAD])
            if op[f.CODE] == f.AVG_POOL:
                _mean(out, work[:QUAD], scale, half)


@inlined
def _value(word, k):  # type: ignore[no-untyped-def]
    """Feature k of the four in a word of a quad."""
    byte = np.int32(np.uint32(word >> np.uint32(8 * k)) & np.uint32(255))
    return np.int32(byte - np.int32(OFFSET))


@inlined
def _normed(word, k, weight, reciprocal):  # type: ignore[no-untyped-def]
    """Feature k, normed, at its place in a word."""
    v = np.int32(_value(word, k) * weight)
    # Conversion to an integer goes towards zero, which is what the rule wants.
    quotient = np.int32(np.float32(v) * reciprocal)
    kept = min(max(quotient, np.int32(-_LARGEST)), np.int32(_LARGEST))
    return np.uint32(np.uint32(kept + np.int32(OFFSET)) << np.uint32(8 * k))


@compiled
def norm(op, out, x, weights, work, reciprocals):  # type: ignore[no-untyped-def]
    """clip(sign(v) * (|v| div mu)) of v = x * w, mu = max(1, sum |x| div n).

    |v| is below 2^15, so the quotient is the whole part of v * r for r = (1 + 2^-20) / mu in
    float32: the product is never below v / mu, and above it by less than 1 / mu.

    Args:
        out, x: uint32, words of quads. weights: int32, one a feature in the order of the quads.
        work: int32 [LANES]. reciprocals: float32 [LANES].
    """
    quads = op[f.QUADS] * op[f.PLACES]
    work[:LANES] = 0
    for q in range(quads):
        words = x[q * LANES : (q + 1) * LANES]
        for s in range(LANES):
            low = np.int32(abs(_value(words[s], 0)) + abs(_value(words[s], 1)))
            high = np.int32(abs(_value(words[s], 2)) + abs(_value(words[s], 3)))
            work[s] += np.int32(low + high)
    for s in range(LANES):
        mean = max(np.int32(1), np.int32(work[s] // np.int32(op[f.COUNT])))
        reciprocals[s] = np.float32(1 + 2.0**-20) / np.float32(mean)
    for q in range(quads):
        words = x[q * LANES : (q + 1) * LANES]
        normed = out[q * LANES : (q + 1) * LANES]
        w0, w1, w2, w3 = (
            weights[4 * q],
            weights[4 * q + 1],
            weights[4 * q + 2],
            weights[4 * q + 3],
        )
        for s in range(LANES):
            r = reciprocals[s]
            low = _normed(words[s], 0, w0, r) | _normed(words[s], 1, w1, r)
            high = _normed(words[s], 2, w2, r) | _normed(words[s], 3, w3, r)
            normed[s] = np.uint32(low | high)


@compiled
def embedding_table(op, signs, weights, e, table):  # type: ignore[no-untyped-def]
    """The rows of the embedding under a candidate, stored as activations are.

    Args:
        signs: the candidate's. weights: int8, row by row, PITCH from row to row. table: uint8.
    """
    size = 4 * op[f.QUADS]
    columns = signs[op[f.COLUMN_SIGNS] : op[f.COLUMN_SIGNS] + op[f.ROWS]]
    for token in range(256):
        sign = np.int32(signs[op[f.ROW_SIGNS] + token]) << e
        row = table[token * size : token * size + size]
        at = op[f.WEIGHTS] + token * op[f.PITCH]
        own = weights[at : at + op[f.ROWS]]
        for k in range(own.size):
            v = np.int32(own[k]) + sign * np.int32(columns[k])
            row[k] = min(max(v, np.int32(-_LARGEST)), np.int32(_LARGEST)) + OFFSET
        for k in range(own.size, size):
            row[k] = OFFSET


@compiled
def embed(op, out, table, tokens):  # type: ignore[no-untyped-def]
    """The row of each sample's token. out, table: uint32, a quad's four features each."""
    quads = op[f.QUADS]
    for q in range(quads):
        for s in range(LANES):
            out[q * LANES + s] = table[np.uint32(tokens[s]) * np.uint32(quads) + np.uint32(q)]
