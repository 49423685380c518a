"""The pace: how hard each miner's shares must be so that the evaluator can take every one of them.

Pure: rates in, bits out. Difficulty selects nothing by loss; it only thins the flow of candidates,
and pay goes by 2^bits, so a miner whose bits rise earns the same. Bits take effect with the miner's
next notify (docs/protocol.md section 2). How many shares one miner should send is
`stratum.vardiff`'s, within the miner's terms; this is about all of them together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, exp, ldexp, log2
from typing import Generic, TypeVar

from potnode.spec.work import MAX_BITS
from potnode.terms import Terms
from stratum.vardiff import Vardiff

K = TypeVar("K", bound=Hashable)

HEADROOM = 0.8  # of the measured capacity is handed out, so queues drain
BACKLOG_STEPS = 4  # queued steps from which the flow is cut in proportion
MEMORY_SECONDS = 20.0  # time constant of a miner's measured hash rate
HYSTERESIS = 1.5  # bits fall only if a rate this much higher would still fit
WISH_SECONDS = 30.0  # between changes of difficulty that a miner asks for


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
    level = log2(flow)
    # Bits at which a miner alone sends no more than the flow; each halving of the cap adds one.
    alone = {m: ceil(log2(rate) - level) for m, rate in rates.items() if rate > 0}
    halvings = _halvings(rates, floors, alone, flow)
    while True:
        bits = dict(floors)
        for m, first in alone.items():
            bits[m] = min(MAX_BITS, max(floors[m], first + halvings))
        total = sum(ldexp(rates[m], -bits[m]) for m in alone)
        if total <= flow or all(bits[m] == MAX_BITS for m in alone):
            return bits
        halvings += 1


def _halvings(
    rates: Mapping[K, float], floors: Mapping[K, int], alone: Mapping[K, int], flow: float
) -> int:
    """How often the cap is to be halved; by the rounding of sums it may be once more.

    Miners are summed by the halvings that leave them at their floor: to go through all of them for
    each halving would keep the event loop from thousands of connections.
    """
    at_floor: defaultdict[int, float] = defaultdict(float)  # shares a second of those at it
    above: defaultdict[int, float] = defaultdict(float)  # and of those above it, times 2^halvings
    for m, first in alone.items():
        last = max(-1, floors[m] - first)
        at_floor[last] += ldexp(rates[m], -floors[m])
        above[last] += ldexp(rates[m], -first)
    longest = max(at_floor, default=-1)
    halvings, thinned = 0, above[-1]
    resting = sum(at_floor.values()) - at_floor[-1]
    while (resting if halvings <= longest else 0.0) + ldexp(thinned, -halvings) > flow:
        resting -= at_floor[halvings]
        thinned += above[halvings]
        halvings += 1
    return halvings


@dataclass(slots=True)
class _Miner:
    terms: Terms
    bits: int
    vardiff: Vardiff | None
    asked_at: float  # when its wishes were last followed
    rate: float = 0.0  # hashes a second, decaying mean
    hashes: float = 0.0  # expected hashes behind the shares since `since`
    since: float = 0.0
    born: float = 0.0

    @property
    def wanted(self) -> int:
        """Bits it would have if the node could take any number of shares."""
        return self.vardiff.bits if self.vardiff else self.terms.start


@dataclass(slots=True)
class Pace(Generic[K]):
    """Measures miners and capacity, and sets bits. Times are monotonic seconds, injected.

    Two wills meet in a miner's bits: vardiff's, so many shares a minute of each, and the node's,
    which must be able to take the shares of all. The higher bits hold.

    shares: of the next step, however many candidates each of them has: a step's time counts their
    evaluation. flow: shares a second until the first steps are measured.
    """

    shares: int
    flow: float
    _miners: dict[K, _Miner] = field(default_factory=dict)
    _step_seconds: float | None = None

    def __len__(self) -> int:
        """How many miners are here."""
        return len(self._miners)

    def join(self, miner: K, terms: Terms, now: float, bits: int | None = None) -> int:
        """A miner comes; the bits it starts with.

        Args:
            bits: those it was led to before, None for a new miner. To go back to its start would
                bring the shares of a hall a thousandfold at once.
        """
        if bits is not None and terms.rules is not None:
            terms = replace(terms, start=min(max(bits, terms.floor), terms.ceiling))
        self._miners[miner] = _Miner(
            terms, terms.start, _vardiff(terms, now), now - WISH_SECONDS, since=now, born=now
        )
        return terms.start

    def leave(self, miner: K) -> None:
        """A miner goes; one that never came is no error, since connections end at any point."""
        self._miners.pop(miner, None)

    def ask(self, miner: K, terms: Terms, now: float) -> int | None:
        """A miner wishes for other terms; its bits before, None if it is not here.

        Bits that must not be gone below are kept to at once. A start is a wish, which some send
        every few seconds: it is followed once in WISH_SECONDS. A fixed difficulty always is.
        """
        found = self._miners.get(miner)
        if found is None:
            return None
        before = found.bits
        fixes = terms.rules is None and found.terms.rules is not None
        follow = fixes or now - found.asked_at >= WISH_SECONDS
        start = terms.start if follow else min(max(found.wanted, terms.floor), terms.ceiling)
        found.terms = replace(terms, start=start)
        found.vardiff = _vardiff(found.terms, now)
        if follow:
            found.asked_at = now
            found.bits = start
        found.bits = min(max(found.bits, terms.floor), terms.ceiling)
        return before

    def bits(self, miner: K) -> int:
        """The bits of a miner that joined."""
        return self._miners[miner].bits

    def agreed(self, miner: K) -> int | None:
        """The bits of a miner, or None if it is not here."""
        found = self._miners.get(miner)
        return found.bits if found else None

    @property
    def asics(self) -> bool:
        """Whether a miner is here that loses hashes with every new job."""
        return any(not miner.terms.on_cpu for miner in self._miners.values())

    def share(self, miner: K, bits: int, now: float) -> bool:
        """A share at `bits`: about 2^bits hashes were done for it. True: `adjust` is urgent."""
        found = self._miners.get(miner)
        if found is None:
            return False
        found.hashes += 2.0**bits
        return found.vardiff is not None and found.vardiff.share(bits, now)

    def worked(self, seconds: float, following: int) -> None:
        """One more step took this much busy time of whatever part of the node is slowest at it.

        Args:
            following: shares that the next step takes, at least 1.
        """
        self.shares = following
        old = self._step_seconds
        self._step_seconds = seconds if old is None else 0.9 * old + 0.1 * seconds

    def capacity(self, shortest: float = 0.0) -> float:
        """Shares a second the node can take, as measured, if a step takes `shortest` seconds."""
        seconds = self.shares / self.flow if self._step_seconds is None else self._step_seconds
        return self.shares / max(seconds, shortest, 1e-6)

    def hash_rate(self) -> float:
        """Hashes a second of all miners, as their shares show them."""
        return sum(m.rate for m in self._miners.values())

    def adjust(self, backlog: int, now: float, shortest: float = 0.0) -> list[K]:
        """Set bits anew from what was measured; the miners whose bits changed.

        Args:
            backlog: admitted shares not yet counted.
            shortest: seconds a step takes at least, however little there is to do.
        """
        for miner in self._miners.values():
            self._measure(miner, now)
            if miner.vardiff:
                miner.vardiff.look(now)
        queued = backlog / self.shares
        flow = self.capacity(shortest) * HEADROOM / max(1.0, queued / BACKLOG_STEPS)
        wanted = {k: m.wanted for k, m in self._miners.items()}
        needed = assign({k: m.rate for k, m in self._miners.items()}, wanted, flow)
        enough = assign({k: m.rate * HYSTERESIS for k, m in self._miners.items()}, wanted, flow)
        changed = []
        for key, miner in self._miners.items():
            before = miner.bits
            if needed[key] > before:
                miner.bits = min(needed[key], miner.terms.ceiling)
            elif enough[key] < before and queued <= BACKLOG_STEPS:
                miner.bits -= 1  # one at a time: a rate estimate is noisy
            if miner.bits != before:
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


def _vardiff(terms: Terms, now: float) -> Vardiff | None:
    if terms.rules is None:
        return None
    return Vardiff(terms.rules, bits=terms.start, floor=terms.floor, ceiling=terms.ceiling, now=now)
