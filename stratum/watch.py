"""How long a connection may take: for its handshakes, without a sign of life, for its last bytes.

Pure: the connection notes what happens, the sweep asks what is overdue. All times are monotonic
seconds.
"""

from __future__ import annotations

import enum
from typing import Final

from stratum.limits import Limits

LAST_BYTES_SECONDS: Final = 10.0
"""Seconds a connection that is being closed may take to accept what was still to be sent."""


class Overdue(enum.StrEnum):
    """What did not come in time."""

    LAST_BYTES = "it does not take its last bytes"
    TLS = "no TLS handshake"
    HANDSHAKE = "no handshake"
    LIFE = "nothing came for too long"


class Watch:
    """The times of one connection that opened at `now`.

    Attributes to set: tls_since (while a TLS handshake goes on, else None), ready (it is mining),
    last_line (a valid one), last_share (a good one, or when it became ready), closing_since (None
    until it is being closed).
    """

    __slots__ = (
        "_limits",
        "_opened",
        "closing_since",
        "last_line",
        "last_share",
        "ready",
        "tls_since",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._opened = now
        self.tls_since: float | None = None
        self.ready = False
        self.last_line = now
        self.last_share = now
        self.closing_since: float | None = None

    def overdue(self, now: float) -> Overdue | None:
        """Return what is overdue at `now`, if anything is."""
        limits = self._limits
        if self.closing_since is not None:
            late = now - self.closing_since >= LAST_BYTES_SECONDS
            return Overdue.LAST_BYTES if late else None
        if self.ready:
            # Both: a miner at a high difficulty is quiet, and no less alive for it.
            dead = (
                limits.idle_line is not None
                and now - self.last_line >= limits.idle_line
                and now - self.last_share >= limits.idle_share
            )
            return Overdue.LIFE if dead else None
        if self.tls_since is not None and now - self.tls_since >= limits.tls_timeout:
            return Overdue.TLS
        if limits.handshake_timeout is not None and now - self._opened >= limits.handshake_timeout:
            return Overdue.HANDSHAKE
        return None
