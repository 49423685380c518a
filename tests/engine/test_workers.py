"""Work shared among threads."""

from __future__ import annotations

from threading import Barrier, Lock, get_ident

import pytest

from potnode.engine.workers import Workers, available_cores


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize(("grain", "most"), [(8, 1 << 30), (1, 5), (4, 8), (64, 64)])
def test_every_index_is_covered_once(
    threads: int | None, count: int, grain: int, most: int
) -> None:
    seen: list[int] = []
    lock = Lock()

    def work(first: int, last: int) -> None:
        assert first % grain == 0 or threads == 1
        assert first < last <= first + most
        with lock:
            seen.extend(range(first, last))

    Workers(threads).share(work, count, grain, most=most)
    assert sorted(seen) == list(range(count))


def test_an_error_of_a_part_is_raised() -> None:
    def work(first: int, last: int) -> None:
        if last == 100:
            raise RuntimeError("the last part")

    with pytest.raises(RuntimeError, match="the last part"):
        Workers(2).share(work, 100)


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


def test_an_error_in_another_thread_is_raised_too() -> None:
    here, others = get_ident(), Barrier(2)

    def work(first: int, last: int) -> None:
        if first in (0, 8):  # the first two parts wait for each other: two threads have them
            others.wait(10)
        if get_ident() != here:
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        Workers(2).share(work, 64)


def test_a_part_may_share_its_own_work() -> None:
    workers, seen = Workers(3), []

    def inner(first: int, last: int) -> None:
        seen.append((first, last))

    def outer(first: int, last: int) -> None:
        workers.share(inner, last - first, 1)

    workers.share(outer, 100, 1)
    assert sum(last - first for first, last in seen) == 100


def test_little_work_is_not_shared() -> None:
    """A thread that is woken up for it would cost more than it saves."""

    def seen(each: float) -> list[tuple[int, int]]:
        parts: list[tuple[int, int]] = []
        Workers(2).share(lambda first, last: parts.append((first, last)), 64, each=each)
        return sorted(parts)

    assert seen(1_000) == [(0, 64)]
    assert seen(5_000) == [(0, 32), (32, 64)]
    assert len(seen(1_000_000)) == 8
