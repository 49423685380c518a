from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from potnode.miner import crew as crew_module
from potnode.miner.crew import Crew, available_cpus
from potnode.miner.errors import WorkerError
from potnode.miner.kernel import HeaderScan
from potnode.spec.work import target

EASY = target(16)


@dataclass(frozen=True)
class Header:
    header76: bytes
    target: int = EASY


class Log:
    """What a crew told: finds by header, hashes in total."""

    def __init__(self) -> None:
        self.found: list[tuple[Header, int]] = []
        self.hashes = 0
        self._changed = asyncio.Event()

    async def on_found(self, header: Header, nonces: list[int]) -> None:
        self.found += [(header, nonce) for nonce in nonces]
        self._changed.set()

    def on_hashes(self, count: int) -> None:
        self.hashes += count
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def headers(tag: int) -> Callable[[], Header]:
    numbers = itertools.count()
    return lambda: Header(bytes([tag, next(numbers)]) + bytes(74))


async def test_each_process_hashes_its_own_header_and_finds_are_right() -> None:
    log = Log()
    crew = Crew(2, on_found=log.on_found, on_hashes=log.on_hashes)
    crew.work_on(headers(1))
    async with crew.running():
        await log.until(lambda: len({header for header, _ in log.found}) == 2)
    for header, nonce in log.found:
        assert HeaderScan(header.header76).scan(nonce, 1, EASY) == [nonce]
    firsts = [nonce for header, nonce in log.found if header == log.found[0][0]]
    assert firsts == HeaderScan(log.found[0][0].header76).scan(0, firsts[-1] + 1, EASY)
    assert log.hashes > 0
    assert crew.process_ids == []


async def test_new_work_replaces_old() -> None:
    log = Log()
    crew = Crew(1, on_found=log.on_found, on_hashes=log.on_hashes)
    async with crew.running():
        crew.work_on(headers(1))
        await log.until(lambda: bool(log.found))
        crew.work_on(headers(2))
        await log.until(lambda: log.found[-1][0].header76[0] == 2)
        first_of_2 = next(i for i, (header, _) in enumerate(log.found) if header.header76[0] == 2)
        assert {header.header76[0] for header, _ in log.found[first_of_2:]} == {2}


async def test_a_process_that_dies_is_replaced_and_the_work_goes_on() -> None:
    log = Log()
    crew = Crew(1, on_found=log.on_found, on_hashes=log.on_hashes)
    crew.work_on(headers(1))
    async with crew.running():
        await log.until(lambda: bool(log.found))
        (pid,) = crew.process_ids
        os.kill(pid, signal.SIGKILL)
        old = log.found[-1][0]
        await log.until(lambda: log.found[-1][0] != old)
        assert crew.restarts == 1
        assert crew.process_ids not in ([], [pid])


async def test_finds_wait_for_their_taker() -> None:
    taken: list[int] = []
    gate = asyncio.Event()
    reached = asyncio.Event()

    async def on_found(header: Header, nonces: list[int]) -> None:
        taken.extend(nonces)
        reached.set()
        await gate.wait()

    crew = Crew(1, on_found=on_found, on_hashes=lambda count: None)
    crew.work_on(headers(1))
    async with crew.running():
        await asyncio.wait_for(reached.wait(), 60)
        held = list(taken)
        await asyncio.sleep(0.2)
        assert taken == held
        reached.clear()
        gate.set()
        await asyncio.wait_for(reached.wait(), 60)
    assert taken[: len(held)] == held
    assert taken == sorted(taken)


async def test_an_error_of_the_taker_ends_the_crew() -> None:
    async def on_found(header: Header, nonces: list[int]) -> None:
        raise WorkerError("not these")

    crew = Crew(1, on_found=on_found, on_hashes=lambda count: None)
    crew.work_on(headers(1))
    with pytest.raises(WorkerError, match="not these"):
        async with crew.running():
            await asyncio.sleep(60)
    assert crew.process_ids == []


async def test_a_process_that_can_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(crew_module, "_RESTART_SECONDS", 0.0)
    crew = Crew(1, on_found=Log().on_found, on_hashes=lambda count: None)
    with pytest.raises(WorkerError, match="ended 3 times before it was ready"):
        async with crew.running():
            await asyncio.sleep(60)


def test_a_crew_of_nobody_is_refused() -> None:
    with pytest.raises(WorkerError, match="at least one worker, not 0"):
        Crew(0, on_found=Log().on_found, on_hashes=lambda count: None)
    with pytest.raises(WorkerError, match=r"niceness must be 0\.\.19, not -1"):
        Crew(1, on_found=Log().on_found, on_hashes=lambda count: None, nice=-1)
    assert available_cpus() >= 1


PARENT = """
import asyncio
from dataclasses import dataclass
from potnode.miner.crew import Crew

@dataclass
class Header:
    header76: bytes = bytes(76)
    target: int = 0

async def on_found(header, nonces): pass

async def main():
    crew = None
    heard = asyncio.Event()
    crew = Crew(1, on_found=on_found, on_hashes=lambda count: heard.set())
    crew.work_on(Header)
    async with crew.running():
        await heard.wait()
        print(*crew.process_ids, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_process_outlives_a_parent_that_is_killed() -> None:
    # The worker inherits standard error: it ends only when the last process that has it does.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        worker = int(parent.stdout.readline())
        assert worker != parent.pid
        assert not select.select([parent.stderr], [], [], 0)[0]
        parent.kill()
        parent.wait()
        assert select.select([parent.stderr], [], [], 30)[0]
        assert parent.stderr.read() == ""
