"""Time as a port, so that everything below the edges can be tested without waiting."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def time(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    def time_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def time_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds since some point."""
        return time.monotonic()
