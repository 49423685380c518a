"""Which processor each side of a measurement has to itself, where the system lets one choose.

Server and load are two processes, each of which wants a CPU of its own. A scheduler that saves
power may keep both on one while the other is idle, and then their times add up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def two_cpus() -> tuple[int, int] | None:
    """The numbers of two CPUs of this process, None where there are no two or none can be chosen
    (only Linux lets a process)."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else None


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Keep this process on one CPU for as long as the context lasts; None changes nothing."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def load_average() -> float:
    """Processes that ran or wanted to in the last minute, on average; those of others count too."""
    return os.getloadavg()[0]


def cpu_model() -> str:
    """What the processor calls itself, "unknown" where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "unknown"
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return "unknown"
