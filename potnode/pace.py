"""The pace: how hard each miner's shares must be so that the evaluator can take every one of them.

Pure: rates in, bits out. Difficulty selects nothing by loss; it only thins the flow of candidates,
and pay goes by 2^bits, so a miner whose bits rise earns the same. Bits take effect with the miner's
next notify (docs/protocol.md section 2).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import ceil, exp, log2
from typing import TypeVar

from potnode.spec.work import MAX_BITS

K = TypeVar("K", bound=Hashable)

HEADROOM = 0.8  # of the measured capacity is handed out, so queues drain
BACKLOG_STEPS = 4  # queued populations from which the flow is cut in proportion
MEMORY_SECONDS = 20.0  # time constant of a miner's measured hash rate
HYSTERESIS = 1.5  # bits fall only if a rate this much higher would still fit


def assign(rates: Mapping[K, float], floors: Mapping[K, int], flow: float) -> dict[K, int]:
    """Bits for every miner so that all together send at most `flow` shares a second.

    A cap on the shares a second of any one miner is lowered until the sum fits: small miners stay
    at their floor while large ones are thinned, and no miner crowds out another.

    Args:
        rates: hashes a second of each miner, >= 0. floors: its lowest bits, 0..255.
        flow: shares a second, > 0.

    Returns:
        Bits by miner, floor..255.
    """
    if not flow > 0:
        raise ValueError("the flow must be positive")
    cap = flow
    while True:
        bits = {m: _bits_under(rate, floors[m], cap) for m, rate in rates.items()}
        total = sum(rate / 2.0 ** bits[m] for m, rate in rates.items())
        if total <= flow or all(b == MAX_BITS for b in bits.values()):
            return bits
        cap /= 2


def _bits_under(rate: float, floor: int, cap: float) -> int:
    if rate <= cap * 2.0**floor:
        return floor
    return min(MAX_BITS, max(floor, ceil(log2(rate / cap))))


@dataclass(slots=True)
class _Miner:
    floor: int
    bits: int
    rate: float = 0.0  # hashes a second, decaying mean
    hashes: float = 0.0  # expected hashes behind the shares since `since`
    since: float = 0.0
    born: float = 0.0


@dataclass(slots=True)
class Pace:
    """Measures miners and capacity, and sets bits. Times are monotonic seconds, injected.

    population: candidates a step. flow: shares a second until the first steps are measured.
    """

    population: int
    flow: float
    _miners: dict[Hashable, _Miner] = field(default_factory=dict)
    _step_seconds: float | None = None

    def join(self, miner: Hashable, floor: int, now: float) -> int:
        """A miner comes; the bits it starts with, its floor."""
        self._miners[miner] = _Miner(floor=floor, bits=floor, since=now, born=now)
        return floor

    def leave(self, miner: Hashable) -> None:
        """A miner goes; one that never came is no error, since connections end at any point."""
        self._miners.pop(miner, None)

    def bits(self, miner: Hashable) -> int:
        """The bits of a miner that joined."""
        return self._miners[miner].bits

    def agreed(self, miner: Hashable) -> int | None:
        """The bits of a miner, or None if it is not here."""
        found = self._miners.get(miner)
        return found.bits if found else None

    def share(self, miner: Hashable, bits: int) -> None:
        """An accepted share at `bits`: about 2^bits hashes were done for it."""
        if miner in self._miners:
            self._miners[miner].hashes += 2.0**bits

    def worked(self, seconds: float) -> None:
        """One more step took this much busy time of whatever part of the node is slowest at it."""
        old = self._step_seconds
        self._step_seconds = seconds if old is None else 0.9 * old + 0.1 * seconds

    @property
    def capacity(self) -> float:
        """Shares a second the node can take, as measured."""
        if self._step_seconds is None:
            return self.flow
        return self.population / max(self._step_seconds, 1e-6)

    def hash_rate(self) -> float:
        """Hashes a second of all miners, as their shares show them."""
        return sum(m.rate for m in self._miners.values())

    def adjust(self, backlog: int, now: float) -> list[Hashable]:
        """Set bits anew from what was measured; the miners whose bits changed.

        Args:
            backlog: admitted shares not yet counted.
        """
        for miner in self._miners.values():
            self._measure(miner, now)
        queued = backlog / self.population
        flow = self.capacity * HEADROOM / max(1.0, queued / BACKLOG_STEPS)
        floors = {k: m.floor for k, m in self._miners.items()}
        needed = assign({k: m.rate for k, m in self._miners.items()}, floors, flow)
        enough = assign({k: m.rate * HYSTERESIS for k, m in self._miners.items()}, floors, flow)
        changed = []
        for key, miner in self._miners.items():
            if needed[key] > miner.bits:
                miner.bits = needed[key]
                changed.append(key)
            elif enough[key] < miner.bits and queued <= BACKLOG_STEPS:
                miner.bits -= 1  # one at a time: a rate estimate is noisy
                changed.append(key)
        return changed

    @staticmethod
    def _measure(miner: _Miner, now: float) -> None:
        elapsed = now - miner.since
        if elapsed <= 0:
            return
        # A young miner's mean is over its whole life; later it forgets with the time constant.
        age = now - miner.born
        keep = exp(-elapsed / MEMORY_SECONDS) if age > MEMORY_SECONDS else 1 - elapsed / age
        miner.rate = keep * miner.rate + (1 - keep) * miner.hashes / elapsed
        miner.hashes, miner.since = 0.0, now
