"""What the operating system lets a measuring process have, and what it has."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from potnode.errors import PotnodeError
from stratum.listener import raise_file_limit

_SPARE_FILES = 100


def allow_files(count: int) -> None:
    """Make room for so many descriptors. Raises PotnodeError where the hard limit is lower."""
    needed = count + _SPARE_FILES
    allowed = raise_file_limit(needed)
    if allowed < needed:
        raise PotnodeError(
            f"{needed} open files are needed, the system allows {allowed} (ulimit -Hn)"
        )


def resident_bytes() -> int:
    """Memory of this process that is resident now (where the system does not tell: at most so far,
    in bytes as Linux counts them)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
