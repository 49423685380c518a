"""Threads for the kernels: ranges of rows or candidates, shared out in small parts.

Parts are taken as threads become free, so a core that is busy with something else delays only the
part it holds. Which thread does what has no influence on a result.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

_PARTS = 4  # of a thread, where there is enough to share
# Nanoseconds. A thread that is woken up for less work than this, or a call for less, costs more
# than it saves: both are some tens of microseconds, in part under the interpreter's lock.
_WORTH_A_THREAD, _WORTH_A_CALL = 150_000, 200_000


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """A pool of threads. Safe to call from several threads at once, its own among them."""

    def __init__(self, threads: int | None = None) -> None:
        """threads: at least 1, the calling one counts; one a core by default."""
        self.threads = threads or available_cores()
        self._pool = ThreadPoolExecutor(max(1, self.threads - 1), "potnode-engine")

    def share(
        self,
        work: Callable[[int, int], None],
        count: int,
        grain: int = 8,
        *,
        most: int = 1 << 30,
        each: float = _WORTH_A_CALL,
    ) -> None:
        """Call work(first, last) for ranges that cover 0..count-1; its errors are raised here.

        The calling thread works too, and waits for no thread that has not begun: where all cores
        are busy, being woken up would take longer than the work.

        Args:
            grain: fewest of one range, if there are so many; ranges begin at multiples of it.
            most: of one range, a multiple of `grain`. each: nanoseconds that one of `count` takes,
            roughly: little work is not worth sharing.
        """
        threads = max(1, min(self.threads, int(count * each / _WORTH_A_THREAD)))
        wanted = max(threads, min(_PARTS * threads, int(count * each / _WORTH_A_CALL)))
        size = -(-count // wanted) if threads > 1 else count
        size = min(most, max(grain, -(-size // grain) * grain))
        parts = deque((first, min(first + size, count)) for first in range(0, count, size))

        def run() -> None:
            while parts:
                try:
                    part = parts.popleft()
                except IndexError:  # another thread has just taken the last one
                    return
                try:
                    work(*part)
                except BaseException:
                    parts.clear()
                    raise

        helpers = [self._pool.submit(run) for _ in range(min(threads, len(parts)) - 1)]
        try:
            run()
        finally:
            wait([helper for helper in helpers if not helper.cancel()])
        for helper in helpers:
            if not helper.cancelled():
                helper.result()
