"""Handing calls from other threads to the event loop, as many as wait at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Handover:
    """Has the loop's thread make calls that other threads ask for, in their order.

    A commit answers hundreds of shares, one after another. `call_soon_threadsafe` would write to
    the loop's wake-up socket for each of them; this does it once for those that come before the
    loop has got there.
    """

    __slots__ = ("_loop", "_planned", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self._planned = False

    def call(self, function: Callable[[], object]) -> None:
        """Have it called soon; from any thread. Raises RuntimeError when the loop is closed."""
        self._waiting.append(function)
        if not self._planned:
            self._planned = True
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        # First: what is added from here on plans another run, unless the loop below gets to it.
        self._planned = False
        waiting = self._waiting
        try:
            while waiting:
                waiting.popleft()()
        finally:
            if waiting:  # a call raised, which is the loop's to report; the others go on
                self._planned = True
                self._loop.call_soon(self._run)
