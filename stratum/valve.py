"""Reading from one connection, and its pauses.

Responsible for pausing and resuming the transport as `SessionMeter` and the number of unanswered
submits say. Nothing is dropped: what is not read waits in the kernel, and then at the client.
"""

from __future__ import annotations

import asyncio
import math

from stratum.counters import Counters
from stratum.limits import Limits, SessionMeter


class Valve:
    """Lets a transport read or not. Must be closed with the connection.

    metered: False for an exempt address, of which only the unanswered submits are bounded.
    """

    __slots__ = ("_counters", "_loop", "_meter", "_most", "_pause", "_transport", "choked")

    def __init__(
        self,
        transport: asyncio.ReadTransport,
        limits: Limits,
        counters: Counters,
        now: float,
        *,
        metered: bool,
    ) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._counters = counters
        self._most = limits.max_unanswered
        self._meter: SessionMeter | None = None
        unlimited = limits.submits_per_second is None and limits.soft_cost is None
        if metered and not unlimited:
            self._meter = SessionMeter(limits, now)
        self._pause: asyncio.TimerHandle | None = None
        self.choked = False

    def charge(
        self,
        now: float,
        *,
        size: int,
        lines: int,
        submits: int,
        junk: int,
        faults: int,
        unanswered: int,
    ) -> bool:
        """Account for one read as `SessionMeter.charge` does; False when the session must end."""
        if self._meter is not None:
            wait = self._meter.charge(
                now, size=size, lines=lines, submits=submits, junk=junk, faults=faults
            )
            if not self._wait(wait):
                return False
        if self._most is not None and unanswered > self._most and not self.choked:
            self._counters.throttled += 1
            self.choked = True
            self._transport.pause_reading()
        return True

    def charge_opaque(self, now: float, size: int) -> bool:
        """Account for bytes inside TLS that said nothing; False when the session must end."""
        if self._meter is None:
            return True
        return self._wait(self._meter.charge(now, size=0, lines=0, submits=0, opaque=size))

    def answered(self, unanswered: int) -> None:
        """Read again, if it was stopped for them, once half of the unanswered are answered."""
        if self.choked and (self._most is None or unanswered <= self._most // 2):
            self.choked = False
            if self._pause is None:
                self._transport.resume_reading()

    def close(self) -> None:
        """Forget the pause: the connection is gone."""
        if self._pause is not None:
            self._pause.cancel()

    def _wait(self, seconds: float) -> bool:
        """Read nothing for so long; False where that is for ever."""
        if seconds == math.inf:
            self._counters.too_costly += 1
            return False
        if seconds > 0:
            self.close()  # one read may be charged twice, and the second says how long
            self._counters.throttled += 1
            self._transport.pause_reading()
            self._pause = self._loop.call_later(seconds, self._go_on)
        return True

    def _go_on(self) -> None:
        self._pause = None
        if not self.choked:
            self._transport.resume_reading()
