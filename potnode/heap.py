"""The garbage collector's settings for a process that runs for months.

Reference counting frees nearly everything here; the collector is for the few cycles. With its
defaults it walks every object of the process whenever a quarter more have been allocated, and
young ones after each 700: hundreds of thousands of objects of the libraries that never change,
again and again, while miners wait for their answers.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Container objects allocated, less those freed, before the youngest generation is looked at; how
many times it is before the middle one, and that before the oldest."""


def settle_heap() -> None:
    """Have the collector leave alone what exists now, and look at the rest less often.

    To be called once all is started: what is alive then mostly stays. Memory that only cycles hold
    is freed later than by default, some tens of megabytes of it at most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
