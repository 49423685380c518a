"""Samples of a batch as tiles of quads."""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.flavours import OFFSET
from potnode.engine.kernels.vectors import LANES


@inlined
def _planes(rows, width, first, planes):  # type: ignore[no-untyped-def]
    """Each value of LANES samples side by side, then a plane of zeros."""
    planes[:] = OFFSET
    for s in range(min(LANES, rows.size // width - first)):
        row = rows[(first + s) * width : (first + s + 1) * width]
        for k in range(width):
            planes[k * LANES + s] = np.uint8(row[k]) ^ np.uint8(OFFSET)


@inlined
def _place(planes, value):  # type: ignore[no-untyped-def]
    return planes.size - LANES if value < 0 else value * LANES


@inlined
def _quad(out, planes, a, b, c, d):  # type: ignore[no-untyped-def]
    for s in range(LANES):
        out[s] = (
            np.uint32(planes[a + s])
            | np.uint32(planes[b + s]) << np.uint32(8)
            | np.uint32(planes[c + s]) << np.uint32(16)
            | np.uint32(planes[d + s]) << np.uint32(24)
        )


@compiled
def tiled(rows, width, table, straight, x, planes, first, last):  # type: ignore[no-untyped-def]
    """Tiles first..last-1 of samples.

    Args:
        rows: int8 [n * width], each sample's values. table: int64, which of them each feature of
        the quads is, -1 for zero. straight: whether they come in their own order. x: uint8 [tiles *
        quads * QUAD]. planes: uint8 [(width + 1) * LANES], overwritten, or empty if straight.
    """
    quads = table.size // 4
    out = x.view(np.uint32)
    for tile in range(first, last):
        if straight:
            to = out[tile * quads * LANES : (tile + 1) * quads * LANES]
            to[:] = np.uint32(0x80808080)
            for s in range(min(LANES, rows.size // width - tile * LANES)):
                row = rows[(tile * LANES + s) * width : (tile * LANES + s + 1) * width].view(
                    np.uint8
                )
                whole = width // 4
                for q in range(whole):
                    value = (
                        np.uint32(row[4 * q])
                        | np.uint32(row[4 * q + 1]) << np.uint32(8)
                        | np.uint32(row[4 * q + 2]) << np.uint32(16)
                        | np.uint32(row[4 * q + 3]) << np.uint32(24)
                    )
                    to[q * LANES + s] = value ^ np.uint32(0x80808080)
                value = np.uint32(0)
                for k in range(4 * whole, width):
                    value |= np.uint32(row[k]) << np.uint32(8 * (k - 4 * whole))
                if width > 4 * whole:
                    to[whole * LANES + s] = value ^ np.uint32(0x80808080)
            continue
        _planes(rows, width, tile * LANES, planes)
        for q in range(quads):
            _quad(
                out[(tile * quads + q) * LANES : (tile * quads + q + 1) * LANES],
                planes,
                _place(planes, table[4 * q]),
                _place(planes, table[4 * q + 1]),
                _place(planes, table[4 * q + 2]),
                _place(planes, table[4 * q + 3]),
            )
