"""What the garbage collector is told once all is started."""

from __future__ import annotations

import subprocess
import sys

from potnode.heap import THRESHOLDS

SCRIPT = """
import gc
from potnode.heap import settle_heap
everything = [[number] for number in range(100_000)]
settle_heap()
print(gc.get_freeze_count() >= 100_000, gc.get_threshold())
class Node: pass
node = Node(); node.self = node
import weakref
gone = weakref.ref(node)
del node
gc.collect()
print(gone() is None)
"""


def test_what_exists_is_left_alone_and_new_cycles_are_still_found() -> None:
    # In a process of its own: the settings are the whole process's.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"True {THRESHOLDS}", "True"]
