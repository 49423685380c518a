"""One hashing process: `python -m potnode.miner.worker`, started and fed by `potnode.miner.crew`.

Responsible for hashing what it is told in slices so short that a new task is taken up at once, and
for ending when its parent is gone: the parent holds the only other end of standard input, so the
end of that file is the parent's end, however it died. Not for where tasks come from nor for pools.

Both directions are JSON lines, one message of this module each.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable

import msgspec

from potnode.miner.errors import KernelError
from potnode.miner.kernel import NONCES, HeaderScan

SLICE_SECONDS = 0.02  # longest time a new task waits for
REPORT_SECONDS = 0.25  # a report without nonces is sent this often
_FIRST_SLICE = 1 << 16  # about a slice on a machine without vector units
_SMALLEST_SLICE = 1 << 10
_READ_SIZE = 1 << 16


class Task(msgspec.Struct, frozen=True, tag="task"):
    """Hash this header with all nonces from 0 on.

    serial: the parent's name for it, given back in reports. header76: 76 bytes. target: 32 bytes,
    big-endian.
    """

    serial: int
    header76: bytes
    target: bytes


class Rest(msgspec.Struct, frozen=True, tag="rest"):
    """Stop hashing until the next task."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Sent once, when the hashing code is compiled and a task can be taken."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Sent instead of Ready, before the process ends: it can't hash on this machine."""

    reason: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Work done for a task since the last report.

    hashes: nonces tried. nonces: those that met the target. exhausted: all 2^32 have been tried.
    """

    serial: int
    hashes: int
    nonces: list[int]
    exhausted: bool


ToWorker = Task | Rest
FromWorker = Ready | Failed | Report


class Worker:
    """The loop of a hashing process, over two file descriptors."""

    def __init__(self, read_fd: int, write_fd: int, clock: Callable[[], float]) -> None:
        """Args: read_fd: where tasks arrive. write_fd: for reports. clock: monotonic seconds."""
        self._read_fd, self._write_fd, self._clock = read_fd, write_fd, clock
        self._decoder = msgspec.json.Decoder(ToWorker)
        self._encoder = msgspec.json.Encoder()
        self._received = b""
        self._slice = _FIRST_SLICE

    def run(self) -> None:
        """Work until the parent is gone."""
        try:
            HeaderScan(bytes(76))  # compiles
        except KernelError as error:
            self._send(Failed(str(error)))
            return
        self._send(Ready())
        message = self._newest()
        while message is not None:
            message = self._hash(message) if isinstance(message, Task) else self._newest()

    def _hash(self, task: Task) -> ToWorker | None:
        """Work on a task until another message comes, and return that; None: the parent is gone."""
        scan, target = HeaderScan(task.header76), int.from_bytes(task.target, "big")
        at, unreported = 0, 0
        last_report = self._clock()
        while at < NONCES:
            count = min(self._slice, NONCES - at)
            started = self._clock()
            nonces = scan.scan(at, count, target)
            now = self._clock()
            self._adapt(count, now - started)
            at += count
            unreported += count
            interrupted = bool(select.select([self._read_fd], [], [], 0)[0])
            due = at == NONCES or now - last_report >= REPORT_SECONDS
            if nonces or interrupted or due:
                self._send(Report(task.serial, unreported, nonces, exhausted=at == NONCES))
                unreported, last_report = 0, now
            if interrupted:
                break
        return self._newest()

    def _adapt(self, count: int, seconds: float) -> None:
        wanted = int(count * SLICE_SECONDS / max(seconds, SLICE_SECONDS / 8))
        self._slice = max(_SMALLEST_SLICE, min(wanted, 2 * self._slice))

    def _newest(self) -> ToWorker | None:
        """Wait for a message; of several that have arrived the last. None: the parent is gone."""
        while b"\n" not in self._received:
            data = os.read(self._read_fd, _READ_SIZE)
            if not data:
                return None
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        newest: ToWorker = self._decoder.decode(lines[-1])
        return newest

    def _send(self, message: FromWorker) -> None:
        data = self._encoder.encode(message) + b"\n"
        while data:
            data = data[os.write(self._write_fd, data) :]


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="potnode.miner.worker")
    parser.add_argument("--nice", type=int, required=True, help="added to the process's niceness")
    # A Ctrl-C at the terminal is for the parent, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(parser.parse_args().nice)
    try:
        Worker(sys.stdin.fileno(), sys.stdout.fileno(), time.perf_counter).run()
    except BrokenPipeError:
        return  # the parent died between two reads


if __name__ == "__main__":
    main()
