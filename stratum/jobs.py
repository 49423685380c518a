"""Jobs: what a miner is given to hash, and which of them one connection still knows.

A `Job` says everything a share of it is judged by, its difficulty included, so a share is judged
by the terms its own job was sent with, whatever was sent since. Where jobs come from and what
their `tag` means is the owner's business.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from stratum.errors import InvalidJobError
from stratum.headers import swap_words

EXTRANONCE1_SIZE: Final = 4
EXTRANONCE2_SIZE: Final = 8
"""S9 register pages say "4 or 8", Whatsminer takes no more: nothing but 4 and 8 is safe."""

VERSION_MASK: Final = 0x1FFFE000
"""Version bits a miner may roll (BIP320; the mask every ASIC asks for)."""

MAX_COINBASE: Final = 755
"""Longest coinbase in bytes, extranonces included, that all firmware takes (S19 stock)."""

MAX_BRANCH: Final = 20
"""Longest merkle branch all firmware takes (Avalon 2)."""

_TARGETS: Final = 1 << 256


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One unit of work for one account; immutable.

    prev_hash_le: 32 bytes, as in the header. coinb1, coinb2: the coinbase in legacy (non-witness)
    form around extranonce1 (4 bytes) and extranonce2 (8 bytes); together at most 755 bytes.
    branch: siblings of the coinbase, 32 bytes each in internal order, at most 20.
    version, nbits, ntime: numbers below 2^32; the bits of VERSION_MASK are zero in version,
    because miners variously OR, XOR or replace them. share_target: a digest read little-endian
    must not exceed it, 1 <= share_target < 2^256; difficulty: the same as the miner is told it.
    network_target: at or below it a share is also a block (0: never). clean: the miner drops
    older work. account: whose job it is, as the pool's account_of names it. tag: the owner's
    own, carried along unread; it must not refer back to the job, which is not garbage-collected.

    Raises InvalidJobError when a field is out of its range.
    """

    prev_hash_le: bytes
    coinb1: bytes
    coinb2: bytes
    branch: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    share_target: int
    difficulty: int | float
    network_target: int
    clean: bool
    account: str
    tag: object

    def __post_init__(self) -> None:
        if len(self.prev_hash_le) != 32:
            raise InvalidJobError(f"prev_hash_le has {len(self.prev_hash_le)} bytes, must have 32")
        size = len(self.coinb1) + EXTRANONCE1_SIZE + EXTRANONCE2_SIZE + len(self.coinb2)
        if size > MAX_COINBASE:
            raise InvalidJobError(f"the coinbase has {size} bytes, firmware takes {MAX_COINBASE}")
        _check_template(self.branch, self.version, self.nbits, self.ntime)
        if not 1 <= self.share_target < _TARGETS:
            raise InvalidJobError("share_target must be 1..2^256 - 1")
        if not 0 <= self.network_target < _TARGETS:
            raise InvalidJobError("network_target must be 0..2^256 - 1")
        if not self.difficulty > 0:
            raise InvalidJobError(f"difficulty is {self.difficulty}, must be positive")

    def notify_params(self, job_id: str, *, clean: bool | None = None) -> list[Any]:
        """Return the params of `mining.notify` for this job under `job_id`.

        `clean` overrides the job's own flag (a connection's first job is always clean).
        """
        return [
            job_id,
            swap_words(self.prev_hash_le).hex(),
            self.coinb1.hex(),
            self.coinb2.hex(),
            [sibling.hex() for sibling in self.branch],
            f"{self.version:08x}",
            f"{self.nbits:08x}",
            f"{self.ntime:08x}",
            self.clean if clean is None else clean,
        ]

    def notify_line(self, job_id: str, *, clean: bool) -> bytes:
        """Return the line of `mining.notify` for this job: notify_params as JSON, quickly.

        A new block goes to every miner at once, and their jobs differ in the coinbase alone, so
        what a template has in common is written once.
        """
        prev_hash, rest = _template_json(
            self.prev_hash_le, self.branch, self.version, self.nbits, self.ntime
        )
        return (
            f'{{"id":null,"method":"mining.notify","params":["{job_id}","{prev_hash}",'
            f'"{self.coinb1.hex()}","{self.coinb2.hex()}",{rest},'
            f"{'true' if clean else 'false'}]}}\n"
        ).encode()


@lru_cache(maxsize=64)
def _check_template(branch: tuple[bytes, ...], version: int, nbits: int, ntime: int) -> None:
    """The checks of what all jobs of a template share, made once."""
    if len(branch) > MAX_BRANCH:
        raise InvalidJobError(f"branch has {len(branch)} hashes, firmware takes {MAX_BRANCH}")
    if any(len(sibling) != 32 for sibling in branch):
        raise InvalidJobError("branch holds something that has not 32 bytes")
    for name, value in (("version", version), ("nbits", nbits), ("ntime", ntime)):
        if not 0 <= value < 1 << 32:
            raise InvalidJobError(f"{name} is {value}, must be 0..2^32 - 1")
    if version & VERSION_MASK:
        raise InvalidJobError(f"version {version:08x} has bits of the rolling mask set")


@lru_cache(maxsize=64)
def _template_json(
    prev_hash_le: bytes, branch: tuple[bytes, ...], version: int, nbits: int, ntime: int
) -> tuple[str, str]:
    siblings = ",".join(f'"{sibling.hex()}"' for sibling in branch)
    numbers = f'"{version:08x}","{nbits:08x}","{ntime:08x}"'
    return swap_words(prev_hash_le).hex(), f"[{siblings}],{numbers}"


class JobIds:
    """Job ids of a whole server: a counter in lower-case hex of at most 8 characters.

    Firmware tells jobs apart by the id alone (S9 by a CRC of it, Bitaxe by equality), and some
    cuts longer ids off, so ids are short and come round again only after 2^32 jobs.
    """

    __slots__ = ("_numbers",)

    def __init__(self, first: int = 1) -> None:
        self._numbers = itertools.count(first)

    def next(self) -> str:
        """Return an id that was not returned before."""
        return f"{next(self._numbers) & 0xFFFFFFFF:x}"


class IssuedJob(msgspec.Struct, gc=False):
    """A job as one connection was sent it at `sent_at` (seconds), with its extranonce1.

    `prepared` is the hasher's own: what all shares of the job have in common, None before the
    first, and again when the job is an old one. Nothing else changes once it is made.
    """

    job_id: str
    job: Job
    sent_at: float
    extranonce1: bytes
    prepared: object = None

    @property
    def coinbase_head(self) -> bytes:
        """The coinbase up to extranonce2."""
        return self.job.coinb1 + self.extranonce1


class JobBook:
    """The jobs one connection still knows, oldest first.

    A job lives `lifetime` seconds from when it was sent, and longer while it is among the last
    `keep_last`; never more than `limit` are held. Miners send shares of the last two or three jobs
    all the time, and cgminer those of up to two minutes ago after a reconnect. What a hasher
    prepared for a job is larger than the job: it goes when two newer ones are there, and is made
    again for the few shares that come later.
    """

    __slots__ = ("_before_newest", "_jobs", "_keep_last", "_lifetime", "_limit", "_newest")

    def __init__(self, *, lifetime: float = 180.0, keep_last: int = 8, limit: int = 256) -> None:
        if not 1 <= keep_last <= limit:
            raise ValueError(f"keep_last is {keep_last}, must be 1..limit ({limit})")
        self._jobs: dict[str, IssuedJob] = {}
        self._newest: IssuedJob | None = None
        self._before_newest: IssuedJob | None = None
        self._lifetime = lifetime
        self._keep_last = keep_last
        self._limit = limit

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, issued: IssuedJob) -> None:
        """Remember a job and forget those whose time is over at `issued.sent_at`."""
        jobs = self._jobs
        jobs[issued.job_id] = issued
        if self._before_newest is not None:
            self._before_newest.prepared = None
        self._before_newest, self._newest = self._newest, issued
        expired = issued.sent_at - self._lifetime
        while len(jobs) > self._keep_last:
            oldest = next(iter(jobs))
            if len(jobs) <= self._limit and jobs[oldest].sent_at >= expired:
                break
            del jobs[oldest]

    def issue(self, job_id: str, job: Job, now: float, extranonce1: bytes) -> None:
        """Remember a job that is sent at `now` with this extranonce1; see `add`."""
        self.add(IssuedJob(job_id, job, now, extranonce1))

    def get(self, job_id: str) -> IssuedJob | None:
        """Return the job of this id, or None when it was never sent or is forgotten."""
        return self._jobs.get(job_id)


@dataclass(frozen=True, slots=True)
class Resumable:
    """What an earlier connection leaves to the one that resumes it.

    extranonce1: 4 bytes, no longer another connection's. jobs: the jobs it was sent, which have
    that extranonce1 in their coinbase. Raises ValueError when extranonce1 has another size.
    """

    extranonce1: bytes
    jobs: JobBook

    def __post_init__(self) -> None:
        check_extranonce1(self.extranonce1)


def check_extranonce1(extranonce1: bytes) -> None:
    """Raise ValueError unless it has 4 bytes."""
    if len(extranonce1) != EXTRANONCE1_SIZE:
        raise ValueError(f"extranonce1 has {len(extranonce1)} bytes, not {EXTRANONCE1_SIZE}")
