from __future__ import annotations

import pytest

from potnode.machinecode.compiler import native_lanes
from potnode.miner.bench import hash_rate
from potnode.miner.errors import WorkerError


async def test_measures_what_the_processes_hash() -> None:
    rate = await hash_rate(seconds=1.0, workers=1)
    assert rate.hashes_per_s > 0
    assert rate.seconds >= 1
    assert rate.ready_seconds > 0
    assert (rate.workers, rate.lanes) == (1, native_lanes())


async def test_needs_a_worker() -> None:
    with pytest.raises(WorkerError, match="at least one"):
        await hash_rate(seconds=1.0, workers=0)
