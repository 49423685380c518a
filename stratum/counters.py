"""What a server counts, for metrics: totals, how long submits took, and one connection's own.

Everything is bounded: totals by the enumerations they are kept by, times by a fixed row of buckets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from stratum.errors import RejectCode
from stratum.limits import Refusal

_BUCKETS: Final = 26


class LatencyHistogram:
    """Durations in buckets that double: below 1, 2, 4, ... microseconds, up to 33 seconds.

    counts[i] are those below 2^i microseconds that are in no earlier bucket; the last bucket also
    has all longer ones.
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * _BUCKETS
        self.sum = 0.0

    def __len__(self) -> int:
        """How many durations were added."""
        return sum(self.counts)

    def add(self, seconds: float, count: int = 1) -> None:
        """Add `count` durations of so many seconds, 0 or more."""
        index = int(seconds * 1e6).bit_length()
        self.counts[index if index < _BUCKETS else _BUCKETS - 1] += count
        self.sum += seconds * count

    def bounds(self) -> list[float]:
        """Return the upper bound of each bucket in seconds; of the last, where it would end."""
        return [2**index / 1e6 for index in range(_BUCKETS)]

    def quantile(self, part: float) -> float:
        """Return the bound in seconds that this part (0..1) of the durations is below; 0 if none.

        At most double the true value, as buckets double.
        """
        wanted = part * len(self)
        seen = 0
        for count, bound in zip(self.counts, self.bounds(), strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


@dataclass(slots=True)
class Counters:
    """What happened since the server was made; only ever grows, but for the last broadcast's times.

    rejects holds refusals of submits by code, refused connections that were not taken by reason.
    Connections closed by us: dropped_slow did not read, timed_out did not finish the handshake,
    idle sent nothing, only_rejects had all their shares refused, too_costly went over the hard
    limit. junk: lines that were no message. throttled: times reading was paused. resumed: sessions
    that continued an ended one. pool_errors: jobs the pool failed to make. accept_errors: times no
    connection could be accepted, for want of file descriptors mostly. submit_latency: from the read
    of a submit to its answer. The last broadcast: how many got a job, how long making all the jobs
    took, and from the first write to the last, in seconds.
    """

    connections: int = 0
    accepted: int = 0
    blocks: int = 0
    junk: int = 0
    dropped_slow: int = 0
    timed_out: int = 0
    idle: int = 0
    only_rejects: int = 0
    too_costly: int = 0
    throttled: int = 0
    resumed: int = 0
    tls_failed: int = 0
    proxy_errors: int = 0
    pool_errors: int = 0
    accept_errors: int = 0
    broadcast_miners: int = 0
    broadcast_prepare: float = 0.0
    broadcast_write: float = 0.0
    rejects: Counter[RejectCode] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)
    submit_latency: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """One connection's own numbers, as of now.

    Times are Unix seconds; last_share_at is None before the first accepted one. rejected: refused
    submits. lines: messages it sent. tls: whether it is encrypted.
    """

    connected_at: float
    accepted: int
    rejected: int
    last_share_at: float | None
    lines: int
    tls: bool


class Tally:
    """The numbers of one connection that was made at `connected_at`, in Unix seconds."""

    __slots__ = ("_connected_at", "_last_share_at", "accepted", "rejected")

    def __init__(self, connected_at: float) -> None:
        self._connected_at = connected_at
        self._last_share_at: float | None = None
        self.accepted = 0
        self.rejected = 0

    def __str__(self) -> str:
        return f"{self.accepted} accepted, {self.rejected} rejected"

    def accept(self, at: float) -> None:
        """Count a share that was accepted."""
        self.accepted += 1
        self._last_share_at = at

    def stats(self, lines: int, *, tls: bool) -> ConnectionStats:
        """Return the numbers as of now."""
        return ConnectionStats(
            self._connected_at, self.accepted, self.rejected, self._last_share_at, lines, tls
        )
