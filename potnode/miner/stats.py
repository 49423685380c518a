"""What a miner has done so far, as numbers for people and programs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

RATE_SECONDS = 10.0  # the hash rate is an average over this long


@dataclass(frozen=True, slots=True)
class MinerStats:
    """A snapshot; counts are since the miner was made.

    connected: a pool has accepted the user and sent work. hashes_per_s: over the last seconds.
    accepted: shares the pool answered true. rejected: refused shares by Stratum code (20..25).
    unsubmitted: nonces found too late, the pool had declared their job worthless or was gone.
    unanswered: submits whose connection ended first. difficulty: of the current job, 0 before any.
    last_share_at: Unix seconds of the last accepted share, None before any. connections: how many
    were made. worker_restarts: processes that had died and were replaced. last_error: why the last
    connection failed, empty while none has.
    """

    connected: bool
    hashes: int
    hashes_per_s: float
    accepted: int
    rejected: Mapping[int, int]
    unsubmitted: int
    unanswered: int
    difficulty: int | float
    last_share_at: float | None
    connections: int
    worker_restarts: int
    last_error: str


class Tally:
    """Counts what happens to one miner. clock: Unix seconds; monotonic: seconds, for the rate."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.connected = False
        self.unsubmitted = 0
        self.unanswered = 0
        self.difficulty: int | float = 0
        self.connections = 0
        self.last_error = ""
        self._clock, self._monotonic = clock, monotonic
        self._hashes = 0
        self._marks: deque[tuple[float, int]] = deque([(monotonic(), 0)])
        self._accepted = 0
        self._rejected: Counter[int] = Counter()
        self._last_share_at: float | None = None

    def hashed(self, count: int) -> None:
        """`count` nonces were tried."""
        self._hashes += count
        now = self._monotonic()
        self._marks.append((now, self._hashes))
        # The oldest mark kept is the youngest that is older than the window.
        while self._marks[1][0] <= now - RATE_SECONDS:
            self._marks.popleft()

    def answered(self, reject_code: int | None) -> None:
        """The pool accepted a share (None) or refused it with a code."""
        if reject_code is None:
            self._accepted += 1
            self._last_share_at = self._clock()
        else:
            self._rejected[reject_code] += 1

    def snapshot(self, worker_restarts: int) -> MinerStats:
        """The state now."""
        since, hashes_then = self._marks[0]
        seconds = self._monotonic() - since
        return MinerStats(
            connected=self.connected,
            hashes=self._hashes,
            hashes_per_s=(self._hashes - hashes_then) / seconds if seconds > 0 else 0.0,
            accepted=self._accepted,
            rejected=dict(self._rejected),
            unsubmitted=self.unsubmitted,
            unanswered=self.unanswered,
            difficulty=self.difficulty,
            last_share_at=self._last_share_at,
            connections=self.connections,
            worker_restarts=worker_restarts,
            last_error=self.last_error,
        )
