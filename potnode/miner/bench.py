"""How many headers a second this machine hashes, measured through the processes that mine."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from dataclasses import dataclass

from potnode.machinecode.compiler import native_lanes
from potnode.miner.crew import Crew
from potnode.miner.errors import WorkerError

_READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class HashRate:
    """hashes_per_s: of all workers together. workers: processes. lanes: nonces each hashes side by
    side. seconds: how long was counted. ready_seconds: from the start until all workers hashed.
    """

    hashes_per_s: float
    workers: int
    lanes: int
    seconds: float
    ready_seconds: float


@dataclass(frozen=True, slots=True)
class _Header:
    header76: bytes
    target: int = 0  # met by no hash


async def hash_rate(seconds: float, workers: int, nice: int = 0) -> HashRate:
    """Hash with `workers` processes for about `seconds` (not counting their start).

    Raises:
        WorkerError: a process can't be started, or none has hashed within two minutes.
    """
    numbers = itertools.count()
    reports: list[tuple[float, int]] = []
    heard = asyncio.Event()

    def on_hashes(count: int) -> None:
        reports.append((time.perf_counter(), count))
        if len(reports) > 2 * workers:
            heard.set()

    async def on_found(header: _Header, nonces: list[int]) -> None:
        raise WorkerError(f"nonces {nonces} of {header.header76.hex()} are said to hash to 0")

    crew = Crew(workers, on_found=on_found, on_hashes=on_hashes, nice=nice)
    crew.work_on(lambda: _Header(hashlib.sha512(next(numbers).to_bytes(8)).digest() + bytes(12)))
    started = time.perf_counter()
    async with crew.running():
        try:
            await asyncio.wait_for(heard.wait(), _READY_SECONDS)
        except TimeoutError as error:
            raise WorkerError(f"no hashes within {_READY_SECONDS:g} s of the start") from error
        ready = time.perf_counter()
        # Reports are lumps of a quarter of a second: what the first holds from before it makes up
        # for what the last has not yet said.
        first = len(reports)
        await asyncio.sleep(seconds)
        counted = time.perf_counter() - ready
    total = sum(count for _, count in reports[first:])
    return HashRate(total / counted, workers, native_lanes(), counted, ready - started)
