"""Machine code that hashes the shares of one job, many at a time.

Responsible for compiling `potnode.sharehash.source` for the CPU it runs on, and for `NativeHasher`,
which is `stratum.shares.Hasher`. Not for what the hashes are good for.
"""

from __future__ import annotations

import ctypes
import logging
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from potnode.errors import PotnodeError
from potnode.machinecode.compiler import Compiled, host_has_sha, native_lanes
from potnode.machinecode.errors import MachineCodeError
from potnode.sharehash.source import HASHED_SIZE, JOB, SHARE_SIZE, source
from stratum.jobs import IssuedJob
from stratum.shares import Hasher, HashlibHasher

log = logging.getLogger(__name__)

# The interpreter's lock is kept: a call takes microseconds, and giving the lock back costs more.
_HASH = ctypes.PYFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_void_p
)
_BEGIN = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64)


class ShareHashError(PotnodeError):
    """No code that hashes shares could be made for this machine."""


@dataclass(frozen=True, slots=True)
class _Code:
    """Machine code, and its owner."""

    ways: int
    owner: Compiled
    hash: Callable[..., None]
    begin: Callable[..., None]


@cache
def _compiled(ways: int, sha: bool) -> _Code:
    if sys.byteorder != "little":
        raise ShareHashError("the code that hashes shares needs a little-endian CPU")
    try:
        code = Compiled(source(ways, sha=sha), optimisation=2)
    except MachineCodeError as error:
        raise ShareHashError(f"there is no code that hashes shares: {error}") from error
    return _Code(ways, code, _HASH(code.address("hash")), _BEGIN(code.address("begin")))


class _Prepared:
    """A job as the code reads it."""

    __slots__ = ("job", "version")

    def __init__(self, job: bytes, version: int) -> None:
        self.job = job
        self.version = version


class NativeHasher:
    """`stratum.shares.Hasher` in machine code."""

    def __init__(self, *, ways: Sequence[int] | None = None, sha: bool | None = None) -> None:
        """Compile if no hasher of this kind was made before; it takes a fraction of a second.

        Args:
            ways: shares that may be hashed in step, ascending (of 1, 2, 4, 8, 16), by default what
                this CPU is best at. A batch takes the first that holds all of it, or the last.
            sha: with x86's SHA extensions, by default where they are there.

        Raises:
            ShareHashError: no code could be made for this machine.
        """
        sha = host_has_sha() if sha is None else sha
        if ways is None:
            ways = (1, 2, 4) if sha else (1, 8) if native_lanes() > 4 else (1, 4)
        self._codes = [_compiled(number, sha) for number in ways]

    def hash(self, issued: IssuedJob, shares: Sequence[bytes], version_mask: int) -> bytes:
        """As of the port."""
        prepared = issued.prepared
        if type(prepared) is not _Prepared:
            prepared = issued.prepared = _Prepared(self._packed(issued), issued.job.version)
        version = prepared.version & ~version_mask
        fixed = int.from_bytes(version.to_bytes(4, "little"), "big")
        count = len(shares)
        for code in self._codes:
            if code.ways >= count:
                break
        groups = -(-count // code.ways)
        missing = groups * code.ways - count
        packed = b"".join(shares) + bytes(SHARE_SIZE * missing)
        # Filled in place: nobody else has seen this object, and a copy would cost as much again.
        hashed = bytes(HASHED_SIZE * groups * code.ways)
        code.hash(prepared.job, packed, groups, fixed, hashed)
        return hashed

    def _packed(self, issued: IssuedJob) -> bytes:
        job = issued.job
        head = issued.coinbase_head
        whole = len(head) // 64
        size = len(head) + 8 + len(job.coinb2)
        text = head[64 * whole :] + bytes(8) + job.coinb2 + b"\x80"
        text += bytes(-(len(text) + 8) % 64) + (8 * size).to_bytes(8, "big")
        state = (ctypes.c_uint32 * 8)()
        self._codes[0].begin(ctypes.addressof(state), head, whole)
        branch = b"".join(job.branch)
        words = struct.unpack(f">{len(branch) // 4}I", branch)
        fixed = JOB.pack(
            *state,
            len(text) // 64,
            len(head) - 64 * whole,
            len(job.branch),
            int.from_bytes(job.nbits.to_bytes(4, "little"), "big"),
            *struct.unpack(">8I", job.prev_hash_le),
        )
        return fixed + struct.pack(f"={len(words)}I", *words) + text


def fastest_hasher() -> Hasher:
    """Machine code where it can be made, hashlib elsewhere: both give the same, bit for bit."""
    try:
        return NativeHasher()
    except ShareHashError as error:
        log.warning("%s; hashlib does it, some ten times slower", error)
        return HashlibHasher()
