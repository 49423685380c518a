"""Signals of a running node: the first asks it to stop, the second ends it at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

log = logging.getLogger(__name__)

FORCED_STATUS = 130  # as a shell reports an interrupted program
STOP_LIMIT = 4.0  # seconds a node may take to end


def stop_on_signals(stop: asyncio.Event, *, limit: float | None = None) -> None:
    """On SIGTERM or SIGINT set `stop`; on the next one leave without another word.

    What was acknowledged is on disk at any moment, so leaving at once loses nothing. That is also
    done `limit` seconds after the first, with status 0: a chain that does not answer holds a
    thread for longer than a supervisor waits.
    """
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(FORCED_STATUS)
        log.info("%s: stopping; once more to leave at once", number.name)
        stop.set()
        if limit is not None:
            loop.call_later(limit, leave)

    def leave() -> None:
        log.warning("not everything ended within %.1f s: leaving without it", limit)
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def cancel_on_signals(task: asyncio.Task[object]) -> None:
    """On SIGTERM or SIGINT cancel a task, in place of what was arranged before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
