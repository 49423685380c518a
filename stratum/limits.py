"""How much one client, one address and all of them may take: accounting without sockets or clocks.

Responsible for the numbers (`Limits`) and for the sums: token buckets, a session's decaying cost,
the ladder for a miner whose shares are all refused, and what each address has open. What happens
when a limit is reached is the connection's. Every `now` is monotonic seconds; nothing here grows
with what clients send, and each structure says how large it may get.

Miners are never banned, and neither a stale share nor one of low difficulty costs anything but its
place in the submit bucket: a ban for those can't be recovered from by a miner that is merely slow
(Spiral-Pool#18).
"""

from __future__ import annotations

import enum
import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)

LINE_COST: Final = 2.0
"""Cost of a message that is no submit: each may be a look-up, and a miner sends a few in all."""

FAULT_COST: Final = 2.0
"""Cost of a submit refused as malformed, unauthorised or too early (codes 20, 24, 25)."""

JUNK_COST: Final = 50.0
"""Cost of a line that is no message."""

BYTE_COST: Final = 0.25 / 1024
"""Cost of a byte beyond those that submits need."""

SUBMIT_SIZE: Final = 256
"""Bytes of a submit that cost nothing: how many there may be is said by submits_per_second, and a
cost on top would slow down a proxy below the rate it may have."""


OPAQUE_COST: Final = 0.04
"""Cost of a byte inside TLS that no line came of: a key update (RFC 8446, 4.6.3) has 27 and takes
longer than a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit of a server; None switches one off.

    max_clients: connections open at once, whatever their state.
    per_address: connections of one address (an IPv6 /64 counts as one). A farm behind one router
        is one address, so the default is a farm's size.
    connects_per_minute: new connections of one address, as a bucket of this size: a farm whose
        power comes back must get in at once.
    exempt: networks whose connections are neither counted by address nor slowed for their submits
        and cost: who connects from this machine could take its time anyway. Addresses a PROXY
        header comes from are not counted either; the one named in it is.
    submits_per_second, submit_burst: submits of one connection. Reading pauses beyond it, so
        submits are late, not lost.
    soft_cost, hard_cost, cost_decay: cost of one session (bytes, lines, junk, malformed submits),
        which decays by cost_decay a second. Above soft_cost reading pauses until it is back there,
        at most longest_pause seconds a time; above hard_cost the connection is closed.
    max_unanswered: submits of one connection the pool has not answered; reading pauses beyond it.
    write_limit: bytes a client may leave unread before it is dropped.
    handshake_timeout: seconds to subscribe and authorise; 15 is too tight behind proxies.
    tls_timeout: seconds a TLS handshake may take from its first byte.
    idle_line, idle_share: a mining connection is closed when it sent no valid line for idle_line
        seconds and no share for idle_share. Both, for a miner at a high difficulty is quiet.
    reject_patience: seconds of nothing but refused submits before a step up the ladder.
    resume_seconds, resume_sessions: how long and how many ended sessions can be continued; None
        seconds: none can.
    """

    max_clients: int | None = 16_384
    per_address: int | None = 2_048
    connects_per_minute: int | None = 4_096
    exempt: tuple[Network, ...] = LOOPBACK
    submits_per_second: float | None = 200.0
    submit_burst: int = 2_000
    soft_cost: float | None = 4_000.0
    hard_cost: float = 20_000.0
    cost_decay: float = 20.0
    longest_pause: float = 10.0
    max_unanswered: int | None = 2_048
    write_limit: int = 256 * 1024
    handshake_timeout: float | None = 60.0
    tls_timeout: float = 15.0
    idle_line: float | None = 600.0
    idle_share: float = 7_200.0
    reject_patience: float | None = 60.0
    resume_seconds: float | None = 600.0
    resume_sessions: int = 4_096

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not value > 0:
                raise ValueError(f"{field.name} is {value}, must be above 0, or None for no limit")
        if self.soft_cost is not None and self.soft_cost >= self.hard_cost:
            raise ValueError("soft_cost must be below hard_cost")


UNLIMITED: Final = Limits(
    max_clients=None,
    per_address=None,
    connects_per_minute=None,
    submits_per_second=None,
    soft_cost=None,
    max_unanswered=None,
    idle_line=None,
    reject_patience=None,
)
"""For trusted load, such as a benchmark: memory per client stays bounded, nothing else is."""


class Bucket:
    """A token bucket that may be overdrawn; who overdraws it waits until the debt is paid."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """Return the tokens there are; below 0 is debt."""
        return min(self._burst, self._level + max(0.0, now - self._at) * self._rate)

    def full(self, now: float) -> bool:
        """Whether nothing is left to remember of it."""
        return self.level(now) >= self._burst

    def take(self, count: float, now: float) -> float:
        """Take tokens whether they are there or not; return the seconds until none are owed."""
        self._level = self.level(now) - count
        self._at = max(now, self._at)
        return max(0.0, -self._level / self._rate)


class SessionMeter:
    """What one session has cost lately."""

    __slots__ = ("_at", "_cost", "_limits", "_submits")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._cost = 0.0
        self._at = now
        self._submits: Bucket | None = None
        if limits.submits_per_second is not None:
            self._submits = Bucket(limits.submits_per_second, limits.submit_burst, now)

    def cost(self, now: float) -> float:
        """Return what is left of the cost, 0 or more."""
        return max(0.0, self._cost - max(0.0, now - self._at) * self._limits.cost_decay)

    def charge(
        self,
        now: float,
        *,
        size: int,
        lines: int,
        submits: int,
        junk: int = 0,
        faults: int = 0,
        opaque: int = 0,
    ) -> float:
        """Account for one read; return the seconds to pause, infinite when the session must end.

        size: bytes. lines: messages in them, of which `submits` are submits. junk: lines that are
        no message. faults: submits that were refused as malformed or not authorised. opaque: bytes
        inside TLS that said nothing.
        """
        limits = self._limits
        wait = 0.0 if self._submits is None else self._submits.take(submits, now)
        if limits.soft_cost is None:
            return wait
        others = max(0, lines - submits)
        beyond = max(0, size - submits * SUBMIT_SIZE)
        added = beyond * BYTE_COST + others * LINE_COST + junk * JUNK_COST + faults * FAULT_COST
        added += opaque * OPAQUE_COST
        cost = self._cost = self.cost(now) + added
        self._at = max(now, self._at)
        if cost > limits.hard_cost:
            return math.inf
        if cost > limits.soft_cost:
            pause = (cost - limits.soft_cost) / limits.cost_decay
            wait = max(wait, min(limits.longest_pause, pause))
        return wait


class Rung(enum.IntEnum):
    """What is done about a miner that only gets refusals, one after another as ckpool does."""

    FRESH_JOB = 1
    RECONNECT = 2
    CLOSE = 3


class RejectLadder:
    """Climbs a rung for every `patience` seconds in which submits came and all were refused.

    A rung is climbed only by a refusal, so a miner that is quiet after one stale share stays.
    """

    __slots__ = ("_patience", "_rung", "_since")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._rung = 0
        self._since: float | None = None

    def good(self) -> None:
        """Note a share that was none to refuse: back to the ground."""
        self._since = None
        self._rung = 0

    def refused(self, now: float) -> Rung | None:
        """Note a refusal; return the rung it climbs to, if it does."""
        if self._since is None:
            self._since = now
        elif now - self._since >= self._patience and self._rung < Rung.CLOSE:
            self._since = now
            self._rung += 1
            return Rung(self._rung)
        return None


class Refusal(enum.StrEnum):
    """Why a connection was not taken."""

    FULL = "too many clients"
    ADDRESS_FULL = "too many connections of one address"
    TOO_FAST = "too many new connections of one address"


class AddressBook:
    """Open connections and recent ones by address.

    Holds an entry for each address with an open connection and at most `limit` buckets; when there
    are more, those used longest ago are forgotten first.
    """

    def __init__(self, limits: Limits, *, limit: int = 65_536) -> None:
        self._limits = limits
        self._limit = limit
        self._open: dict[int, int] = {}
        self._buckets: OrderedDict[int, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Addresses something is remembered of."""
        return len(self._open.keys() | self._buckets.keys())

    def enter(self, address: Address, now: float) -> Refusal | None:
        """Count a new connection, or say why it may not be; only one let in has to `leave`."""
        limits = self._limits
        if exempt(address, limits.exempt):
            return None
        key = _key(address)
        if limits.connects_per_minute is not None:
            bucket = self._bucket(key, limits.connects_per_minute, now)
            if bucket.level(now) < 1:
                return Refusal.TOO_FAST
            bucket.take(1, now)
        if limits.per_address is not None:
            count = self._open.get(key, 0)
            if count >= limits.per_address:
                return Refusal.ADDRESS_FULL
            self._open[key] = count + 1
        return None

    def leave(self, address: Address) -> None:
        """Count a connection that was let in as gone."""
        if exempt(address, self._limits.exempt):
            return  # its /64 may have others, which are counted
        key = _key(address)
        count = self._open.get(key, 0)
        if count > 1:
            self._open[key] = count - 1
        elif count:
            del self._open[key]

    def sweep(self, now: float) -> None:
        """Forget the buckets that are full again, oldest use first."""
        while self._buckets:
            key = next(iter(self._buckets))
            if not self._buckets[key].full(now):
                break
            del self._buckets[key]

    def _bucket(self, key: int, per_minute: int, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            while len(self._buckets) >= self._limit:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = Bucket(per_minute / 60, per_minute, now)
        else:
            self._buckets.move_to_end(key)
        return bucket


def exempt(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    return any(address in network for network in networks)


def _key(address: Address) -> int:
    """Return a number that stands for an address; hosts get IPv6 in /64s, so those are one."""
    if isinstance(address, ipaddress.IPv6Address):
        return (int(address) >> 64) + (1 << 64)
    return int(address)
