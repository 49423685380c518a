"""Calls handed to the event loop: all of them, in order, and few wake-ups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from potnode.handover import Handover


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often another thread woke it."""

    woken = 0

    def _write_to_self(self) -> None:
        self.woken += 1
        super()._write_to_self()  # type: ignore[misc]


def in_a_loop(main: Callable[[CountingLoop], Awaitable[None]]) -> CountingLoop:
    loop = CountingLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
    return loop


def test_calls_that_wait_take_one_wake_up() -> None:
    made: list[int] = []

    async def main(loop: CountingLoop) -> None:
        handover = Handover(loop)

        def ask() -> None:
            for number in range(500):
                handover.call(partial(made.append, number))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert made == [], "nothing is called in the other thread"
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert in_a_loop(main).woken == 1
    assert made == list(range(500))


def test_none_is_lost_while_the_loop_takes_them() -> None:
    made: list[tuple[int, int]] = []

    async def main(loop: CountingLoop) -> None:
        handover = Handover(loop)

        def ask(thread: int) -> None:
            for number in range(5_000):
                handover.call(partial(made.append, (thread, number)))

        threads = [threading.Thread(target=ask, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join, 20) for thread in threads))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    in_a_loop(main)
    for name in range(3):
        assert [number for thread, number in made if thread == name] == list(range(5_000))


def test_one_that_raises_is_reported_and_the_others_are_made() -> None:
    made: list[str] = []
    reported: list[BaseException] = []

    async def main(loop: CountingLoop) -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        handover = Handover(loop)

        def fail() -> None:
            raise RuntimeError("no")

        handover.call(lambda: made.append("before"))
        handover.call(fail)
        handover.call(lambda: made.append("after"))
        for _ in range(3):
            await asyncio.sleep(0)
        handover.call(lambda: made.append("later"))
        await asyncio.sleep(0)

    in_a_loop(main)
    assert made == ["before", "after", "later"]
    assert [str(error) for error in reported] == ["no"]


def test_a_closed_loop_says_so() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        Handover(loop).call(lambda: None)
