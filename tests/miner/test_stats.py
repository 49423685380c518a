from __future__ import annotations

from potnode.miner.stats import RATE_SECONDS, Tally


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def unix(self) -> float:
        return 1_700_000_000 + self.now

    def monotonic(self) -> float:
        return self.now


def test_counts_answers_and_remembers_the_last_share() -> None:
    clock = Clock()
    tally = Tally(clock.unix, clock.monotonic)
    assert tally.snapshot(0).last_share_at is None
    for code in (None, 21, 21, 23):
        clock.now += 1
        tally.answered(code)
    stats = tally.snapshot(worker_restarts=3)
    assert (stats.accepted, stats.rejected, stats.worker_restarts) == (1, {21: 2, 23: 1}, 3)
    assert stats.last_share_at == clock.unix() - 3


def test_a_snapshot_does_not_change_later() -> None:
    clock = Clock()
    tally = Tally(clock.unix, clock.monotonic)
    before = tally.snapshot(0)
    tally.answered(22)
    assert before.rejected == {}


def test_the_rate_is_of_the_last_seconds() -> None:
    clock = Clock()
    tally = Tally(clock.unix, clock.monotonic)
    assert tally.snapshot(0).hashes_per_s == 0
    for _ in range(20):
        clock.now += 1
        tally.hashed(1000)
    assert tally.snapshot(0).hashes_per_s == 1000
    for _ in range(int(RATE_SECONDS) + 1):
        clock.now += 1
        tally.hashed(3000)
    stats = tally.snapshot(0)
    assert stats.hashes_per_s == 3000
    assert stats.hashes == 20_000 + 3000 * (int(RATE_SECONDS) + 1)


def test_the_rate_falls_when_nothing_is_hashed() -> None:
    clock = Clock()
    tally = Tally(clock.unix, clock.monotonic)
    clock.now = 1
    tally.hashed(1000)
    clock.now = 100
    assert tally.snapshot(0).hashes_per_s == 10
