"""Threads for the kernels: ranges of rows or candidates, shared out in small parts.

Parts are taken as threads become free, so a core that is busy with something else delays only the
part it holds. Which thread does what has no influence on a result.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from potnode.engine import kernels

_GRAIN = 8  # rows or candidates of one part


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """A pool of threads. Safe to call from several threads at once, not from its own."""

    def __init__(self, threads: int | None = None) -> None:
        """threads: at least 1; one a core by default."""
        self._threads = threads or available_cores()
        self._pool = ThreadPoolExecutor(self._threads, "potnode-engine")

    def share(self, work: Callable[[int, int], None], count: int) -> None:
        """Call work(first, last) for ranges that cover 0..count-1; its errors are raised here."""
        parts = [(first, min(first + _GRAIN, count)) for first in range(0, count, _GRAIN)]
        if self._threads == 1 or len(parts) == 1:
            work(0, count)
            return
        for future in [self._pool.submit(work, *part) for part in parts]:
            future.result()

    def product(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """a @ b for a [m, k] and b in blocks [blocks, k, BLOCK]; the result is in blocks too."""
        out = np.empty((b.shape[0], a.shape[0], b.shape[2]), a.dtype)
        left = np.ascontiguousarray(a)

        def part(first: int, last: int) -> None:
            kernels.product(left, b, out, first, last)

        self.share(part, a.shape[0])
        return out
