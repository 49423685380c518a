"""Dot products and nothing else, to learn what a processor can do."""

from __future__ import annotations

from potnode.engine.kernels.compiled import compiled
from potnode.engine.kernels.vectors import dot4


@compiled
def products(x, offsets, w, start, out, count):  # type: ignore[no-untyped-def]
    """`dot4` over and over, `count` times: arguments as for it, all from index 0."""
    groups = offsets.size
    for _ in range(count):
        dot4(x, 0, offsets, 0, groups, w, 0, 4 * groups, start, 0, out, 0, 0)
