from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from potnode.miner.errors import KernelError
from potnode.miner.kernel import HeaderScan
from potnode.miner.worker import Failed, FromWorker, Ready, Report, Rest, Task, ToWorker, Worker
from potnode.spec.work import target

EASY = target(16)


class Parent:
    """The other end of a worker's pipes; the worker runs in a thread."""

    def __init__(self) -> None:
        read_tasks, self.tasks = os.pipe()
        self.reports, write_reports = os.pipe()
        self._fds = [read_tasks, self.tasks, self.reports, write_reports]
        self._buffer = b""
        worker = Worker(read_tasks, write_reports, time.perf_counter)
        self.thread = threading.Thread(target=worker.run, daemon=True)
        self.thread.start()

    def send(self, *messages: ToWorker) -> None:
        os.write(self.tasks, b"".join(msgspec.json.encode(message) + b"\n" for message in messages))

    def hear(self) -> FromWorker:
        while b"\n" not in self._buffer:
            self._buffer += os.read(self.reports, 1 << 16)
        line, self._buffer = self._buffer.split(b"\n", 1)
        return msgspec.json.decode(line, type=FromWorker)  # type: ignore[no-any-return]

    def is_silent(self, seconds: float) -> bool:
        return not self._buffer and not select.select([self.reports], [], [], seconds)[0]

    def leave(self) -> None:
        os.close(self.tasks)
        self._fds.remove(self.tasks)
        deadline = time.monotonic() + 30
        while self.thread.is_alive() and time.monotonic() < deadline:
            if select.select([self.reports], [], [], 0.01)[0]:
                os.read(self.reports, 1 << 16)  # what it was about to say

    def close(self) -> None:
        if self.tasks in self._fds:
            self.leave()
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    made.close()


def task(serial: int, target_: int = EASY) -> Task:
    return Task(serial, bytes([serial]) * 76, target_.to_bytes(32, "big"))


def hear_found(parent: Parent) -> Report:
    while True:
        message = parent.hear()
        if isinstance(message, Report) and message.nonces:
            return message


def test_reports_every_nonce_found_and_every_hash_done(parent: Parent) -> None:
    assert isinstance(parent.hear(), Ready)
    parent.send(task(1))
    nonces: list[int] = []
    hashes = 0
    while len(nonces) < 20:
        report = parent.hear()
        assert isinstance(report, Report)
        assert (report.serial, report.exhausted) == (1, False)
        hashes += report.hashes
        nonces += report.nonces
    assert nonces == HeaderScan(task(1).header76).scan(0, hashes, EASY)


def test_takes_the_newest_of_several_tasks(parent: Parent) -> None:
    parent.send(task(1), task(2), task(3))
    assert isinstance(parent.hear(), Ready)
    assert hear_found(parent).serial == 3


def test_a_new_task_is_taken_up_within_a_slice(parent: Parent) -> None:
    parent.send(task(1))
    assert hear_found(parent).serial == 1
    parent.send(task(2))
    while (report := hear_found(parent)).serial == 1:
        assert report.hashes < 1 << 32  # of one slice, not of the whole task
    assert report.serial == 2
    assert report.nonces == HeaderScan(task(2).header76).scan(0, report.hashes, EASY)


def test_rests_when_told_to(parent: Parent) -> None:
    parent.send(task(1, target_=0))
    assert isinstance(parent.hear(), Ready)
    assert isinstance(parent.hear(), Report)  # without nonces: reports come regularly
    parent.send(Rest())
    for _ in range(10):
        if parent.is_silent(0.5):
            break
        assert isinstance(parent.hear(), Report)
    assert parent.is_silent(0.5)
    parent.send(task(2))
    assert hear_found(parent).serial == 2


@pytest.mark.parametrize("at_work", [False, True])
def test_ends_when_the_parent_is_gone(parent: Parent, at_work: bool) -> None:
    assert isinstance(parent.hear(), Ready)
    if at_work:
        parent.send(task(1))
        hear_found(parent)
    parent.leave()
    assert not parent.thread.is_alive()


def test_says_when_it_has_tried_all_nonces(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(parent.hear(), Ready)
    monkeypatch.setattr("potnode.miner.worker.NONCES", 100_000)
    parent.send(task(1))
    hashes, report = 0, None
    while report is None or not report.exhausted:
        message = parent.hear()
        assert isinstance(message, Report)
        report = message
        hashes += report.hashes
    assert hashes == 100_000
    parent.send(task(2, target_=target(8)))
    assert hear_found(parent).serial == 2


def test_says_why_it_can_not_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_scan(header76: bytes) -> HeaderScan:
        raise KernelError(f"no code for these {len(header76)} bytes")

    monkeypatch.setattr("potnode.miner.worker.HeaderScan", no_scan)
    parent = Parent()
    assert parent.hear() == Failed("no code for these 76 bytes")
    parent.close()
    assert not parent.thread.is_alive()
