"""Vardiff: how hard one miner's shares should be, from how many of them come.

Pure: shares and times in, `bits` out. A difficulty is 2^(bits - 32), so it moves by powers of two
alone: firmware rounds anything else down to one, and a pool that judges by the unrounded number
refuses a quarter of such a miner's shares (c2pool#773). Nothing here sends anything; a change takes
effect with the miner's next job, because that is what commits to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, sqrt
from typing import Final

from stratum.difficulty import MAX_BITS

MAX_RISE: Final = 6
"""Bits a single look may add: a burst of resent shares must not put a miner out of reach."""

SHORTEST: Final = 1.0
"""Seconds a rate is taken over at least: shares arrive in packets, and after a reconnect in one."""


@dataclass(frozen=True, slots=True)
class VardiffRules:
    """What a miner's flow of shares should be like.

    shares_per_minute: aimed at, > 0. window: seconds a flow is measured for before it is judged.
    hysteresis: bits move only when it is so many times too high or too low, > 1. jump_shares: from
    so many shares on, a flow too high by more than chance explains is judged at once. idle: seconds
    without a share after which a difficulty is halved.
    """

    shares_per_minute: float
    window: float = 30.0
    hysteresis: float = 2.0
    jump_shares: int = 8
    idle: float = 60.0

    def __post_init__(self) -> None:
        if not self.shares_per_minute > 0:
            raise ValueError(f"shares_per_minute is {self.shares_per_minute}, must be positive")
        if not self.hysteresis > 1:
            raise ValueError(f"hysteresis is {self.hysteresis}, must be above 1")

    @property
    def per_second(self) -> float:
        """Shares a second aimed at."""
        return self.shares_per_minute / 60

    @property
    def longest_look(self) -> float:
        """Seconds after which a flow is judged however few its shares: enough for eight of them."""
        return max(self.window, self.jump_shares / self.per_second)


class Vardiff:
    """The bits one miner should have. Times are seconds of any clock that never goes back.

    Read `bits`; it is within floor..ceiling and changes in `look` alone.
    """

    __slots__ = ("_ceiling", "_floor", "_shares", "_since", "_work", "bits", "rules")

    def __init__(
        self, rules: VardiffRules, *, bits: int, floor: int, now: float, ceiling: int = MAX_BITS
    ) -> None:
        if not 0 <= floor <= bits <= ceiling <= MAX_BITS:
            raise ValueError(f"bits {bits} must be within {floor}..{ceiling}, and those in 0..255")
        self.rules = rules
        self.bits = bits
        self._floor = floor
        self._ceiling = ceiling
        self._restart(now)

    def share(self, bits: int, now: float) -> bool:
        """Note a share of a job of so many bits; True when `look` should not wait.

        A share counts as the work its own job asked for: those of jobs from before a change say
        as much about the miner as later ones.
        """
        self._shares += 1
        self._work += 2.0**bits
        return self._too_fast(now)

    def look(self, now: float) -> int:
        """Judge the flow if there is enough to judge, and return the bits it should have."""
        rules = self.rules
        elapsed = now - self._since
        if not self._shares:
            if elapsed >= max(rules.idle, rules.longest_look):
                self._move(self.bits - 1, now)
            return self.bits
        if elapsed < rules.longest_look and not self._too_fast(now):
            return self.bits
        excess = self._shares_now() / self._expected(now)
        if excess >= rules.hysteresis:
            self._move(self.bits + min(MAX_RISE, int(log2(excess))), now)
        elif excess * rules.hysteresis <= 1:
            self._move(self.bits - int(log2(1 / excess)), now)
        else:
            self._restart(now)
        return self.bits

    def _too_fast(self, now: float) -> bool:
        """Whether the flow is above what hysteresis allows, by four standard deviations."""
        if self._shares < self.rules.jump_shares:
            return False
        allowed = self.rules.hysteresis * self._expected(now)
        shares = self._shares_now()
        # Shares of harder jobs are few and weigh much: their sum scatters the more.
        weight = max(1.0, shares / self._shares)
        return shares >= allowed + 4 * sqrt(allowed * weight)

    def _shares_now(self) -> float:
        """Shares that came, in shares at the present bits."""
        return self._work / 2.0**self.bits

    def _expected(self, now: float) -> float:
        """Shares that should have come."""
        return max(now - self._since, SHORTEST) * self.rules.per_second

    def _move(self, bits: int, now: float) -> None:
        self.bits = min(max(bits, self._floor), self._ceiling)
        self._restart(now)

    def _restart(self, now: float) -> None:
        self._since = now
        self._shares = 0
        self._work = 0.0
