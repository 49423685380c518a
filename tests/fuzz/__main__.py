"""python -m tests.fuzz --inputs 5000000 --seed 1: spoiled transcripts against the session.

Prints how it went. Ends with status 1 when memory grew; an input that does harm is shown with its
traceback, and comes again with the same seed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import Campaign

MAX_GROWTH = 8 << 20
"""Bytes of resident memory by which a run may grow after its first tenth."""


def resident() -> int:
    """Return the bytes of memory this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    campaign = Campaign(arguments.seed)
    started = time.perf_counter()
    campaign.run(arguments.inputs // 10)  # caches and the memory of shares fill
    before = resident()
    campaign.run(arguments.inputs - arguments.inputs // 10)
    took = time.perf_counter() - started
    growth = resident() - before
    counts = ", ".join(f"{count} {name}" for name, count in campaign.events.most_common())
    sys.stdout.write(
        f"seed {arguments.seed}: {campaign.inputs} inputs in {took:.1f} s "
        f"({campaign.inputs / took:.0f}/s), exceptions 0, "
        f"memory {before >> 10} KiB after a tenth, {growth >> 10:+} KiB since\n{counts}\n"
    )
    return int(growth > MAX_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
