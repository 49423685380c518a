"""The hashing processes of a miner: started, fed, listened to, and started again when they die.

Responsible for `potnode.miner.worker` processes and the tasks they have. Not for what the tasks are
made of (`potnode.miner.work`) nor for what becomes of nonces found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

import potnode
from potnode.miner.errors import WorkerError, unwrapped
from potnode.miner.worker import Failed, FromWorker, Ready, Report, Rest, Task

DEFAULT_NICE = 10  # a node on the same machine goes first
_MOST_NICE = 19
_LINE_LIMIT = 1 << 22  # bytes of one report: an easy target finds a thousand nonces in a slice
_STARTS_THAT_FAIL = 3  # in a row, before this is no accident
_RESTART_SECONDS = 0.5


def available_cpus() -> int:
    """CPUs this process may use, not what the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Header(Protocol):
    """What a process is given to hash: potnode.miner.work.Assignment, or what else has these."""

    @property
    def header76(self) -> bytes:
        """The header without its nonce."""

    @property
    def target(self) -> int:
        """Largest hash, as a little-endian integer, that is found."""


HeaderT = TypeVar("HeaderT", bound=Header)


class Crew(Generic[HeaderT]):
    """A number of hashing processes, each on a header of its own that one source hands out.

    `on_found(header, nonces)` is awaited before more is read from the process that found them; as
    long as it waits, that process's finds back up and finally stop it. `on_hashes(count)` is called
    with nonces tried. Both only within `running()`.
    """

    def __init__(
        self,
        size: int,
        *,
        on_found: Callable[[HeaderT, list[int]], Awaitable[None]],
        on_hashes: Callable[[int], None],
        nice: int = DEFAULT_NICE,
    ) -> None:
        """Args: size: processes, at least 1. nice: added to their niceness, 0..19."""
        if size < 1:
            raise WorkerError(f"a miner needs at least one worker, not {size}")
        if not 0 <= nice <= _MOST_NICE:
            raise WorkerError(f"niceness must be 0..{_MOST_NICE}, not {nice}")
        self._source: Callable[[], HeaderT] | None = None
        self._slots = [_Slot(self, nice) for _ in range(size)]
        self._on_found, self._on_hashes = on_found, on_hashes

    @property
    def restarts(self) -> int:
        """How often a process that had died was started again."""
        return sum(max(0, slot.starts - 1) for slot in self._slots)

    @property
    def process_ids(self) -> list[int]:
        """Of the processes alive."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Processes live inside this block.

        Raises:
            WorkerError: at once, whatever the block is waiting for: a process can't be started.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(slot.supervise()) for slot in self._slots]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as errors:
            error = unwrapped(errors)
            raise error from error.__cause__

    def work_on(self, source: Callable[[], HeaderT] | None) -> None:
        """Turn all processes to headers of `source`, now and from now on; None: let them rest."""
        self._source = source
        for slot in self._slots:
            slot.assign()

    def next_header(self) -> HeaderT | None:
        """For a process that has none left."""
        return None if self._source is None else self._source()

    async def report(self, header: HeaderT | None, report: Report) -> None:
        """From a process; header None: of a task that it had before another it has reported on."""
        self._on_hashes(report.hashes)
        if header is not None and report.nonces:
            await self._on_found(header, report.nonces)


class _Slot(Generic[HeaderT]):
    """One place in the crew: a process, or its successor."""

    def __init__(self, crew: Crew[HeaderT], nice: int) -> None:
        self._crew, self._nice = crew, nice
        self._serial = 0
        self._headers: dict[int, HeaderT] = {}
        self._ready = False
        self._decoder: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
        self._encoder = msgspec.json.Encoder()
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def supervise(self) -> None:
        """Keep a process running until cancelled."""
        failures = 0
        while True:
            failures = 0 if await self._live() else failures + 1
            if failures == _STARTS_THAT_FAIL:
                raise WorkerError(
                    f"a hashing process ended {failures} times before it was ready; "
                    "its own words, if any, are on standard error"
                )
            await asyncio.sleep(_RESTART_SECONDS)

    async def _live(self) -> bool:
        """One process from start to end; whether it ever became ready."""
        self.process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "potnode.miner.worker", "--nice", str(self._nice)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _import_path()},
            limit=_LINE_LIMIT,
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's affair
        )
        self.starts += 1
        self._ready = False
        try:
            if process.stdout is not None:
                await self._listen(process.stdout)
            return self._ready
        finally:
            self.process = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # it keeps nothing that could be lost
            await process.communicate()

    async def _listen(self, reports: asyncio.StreamReader) -> None:
        while line := await reports.readline():
            if not line.endswith(b"\n"):
                return  # it died while it wrote
            message = self._decoder.decode(line)
            if isinstance(message, Failed):
                raise WorkerError(message.reason)
            if isinstance(message, Ready):
                self._ready = True
                self.assign()
                continue
            for serial in [serial for serial in self._headers if serial < message.serial]:
                del self._headers[serial]  # reports come in the order of tasks
            await self._crew.report(self._headers.get(message.serial), message)
            if message.exhausted and message.serial == self._serial:
                self.assign()

    def assign(self) -> None:
        """Send the process its next assignment; one that is not ready gets it when it is."""
        if self.process is None or self.process.stdin is None or not self._ready:
            return
        header = self._crew.next_header()
        self._serial += 1
        message: Task | Rest = Rest()
        if header is not None:
            self._headers[self._serial] = header
            target = header.target.to_bytes(32, "big")
            message = Task(self._serial, header.header76, target)
        self.process.stdin.write(self._encoder.encode(message) + b"\n")


def _import_path() -> str:
    root = str(Path(potnode.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return root if not inherited else os.pathsep.join([root, inherited])
