"""Shares: from what a miner submits to a checked header, or to the reason why not.

Responsible for reading a submission, rebuilding the header it stands for, and every rule a share is
judged by. Not for who may submit, nor for what an accepted share is worth. All of it is pure
but `SeenHashes`, which remembers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec

from stratum.errors import Reject, RejectCode
from stratum.headers import HEADER_SIZE, header80, merkle_root
from stratum.jobs import EXTRANONCE2_SIZE, IssuedJob, Job

NTIME_AHEAD_OF_JOB: Final = 7000
"""Seconds a miner may roll ntime past its job's (ckpool; drivers roll up to 60)."""

NTIME_AHEAD_OF_NOW: Final = 7200
"""Seconds a header may be ahead of the clock before Bitcoin refuses it as a block."""

PACKED_SIZE: Final = 20
"""Bytes of Submission.packed."""

HASHED_SIZE: Final = 112
"""Bytes a Hasher returns for a share: its header and its hash."""

_MALFORMED = Reject(RejectCode.OTHER, "Submit takes 5 or 6 strings")
_BAD_EXTRANONCE2 = Reject(RejectCode.OTHER, "Extranonce2 is not 16 hex digits")
_BAD_NTIME = Reject(RejectCode.OTHER, "Ntime is not 8 hex digits")
_BAD_NONCE = Reject(RejectCode.OTHER, "Nonce is not 8 hex digits")
_BAD_VERSION = Reject(RejectCode.OTHER, "Version bits are not 8 hex digits")
_VERSION_NOT_ROLLABLE = Reject(RejectCode.OTHER, "Version bits outside the agreed mask")
_NTIME_OUT_OF_RANGE = Reject(RejectCode.OTHER, "Ntime out of range")
LOW_DIFFICULTY: Final = Reject(RejectCode.LOW_DIFFICULTY, "Low difficulty share")
DUPLICATE: Final = Reject(RejectCode.DUPLICATE, "Duplicate share")


class Submission(msgspec.Struct, frozen=True, gc=False):
    """The params of one `mining.submit`, read and in range; nothing is checked against a job.

    user and job_id are as sent. packed: extranonce2 (8 bytes as they stand in the coinbase), ntime,
    nonce and version bits (4 bytes each, big-endian, as sent; zero where no version bits were).
    ntime and version_bits: the same as numbers below 2^32.
    """

    user: str
    job_id: str
    packed: bytes
    ntime: int
    version_bits: int

    @property
    def extranonce2(self) -> bytes:
        """The 8 bytes as they stand in the coinbase."""
        return self.packed[:8]

    @property
    def nonce(self) -> int:
        """The nonce as a number below 2^32."""
        return int.from_bytes(self.packed[12:16], "big")


class Share(msgspec.Struct, frozen=True, gc=False):
    """A header that meets its job's target and was not seen before.

    hash: SHA256d of the header, 32 bytes as they come out (its value is read little-endian; block
    hashes are shown reversed). header80: the 80 bytes hashed. extranonce1, extranonce2: 4 and 8
    bytes. ntime_le, nonce_le, version_le: 4 bytes each, as in the header, the version after
    rolling. worker: what follows the first dot of the user name, "" where there is none.
    is_block: the hash also meets the network's target.
    """

    hash: bytes
    header80: bytes
    job: Job
    job_id: str
    extranonce1: bytes
    extranonce2: bytes
    ntime_le: bytes
    nonce_le: bytes
    version_le: bytes
    worker: str
    is_block: bool

    @property
    def coinbase(self) -> bytes:
        """The coinbase transaction of the header, in legacy form."""
        return self.job.coinb1 + self.extranonce1 + self.extranonce2 + self.job.coinb2


@dataclass(frozen=True, slots=True)
class RefusedBlock:
    """A submission that is refused as a share and is a block all the same."""

    share: Share
    reject: Reject


class Hasher(Protocol):
    """Rebuilds and hashes headers: the one part of judging that costs, and that may be batched."""

    def hash(self, issued: IssuedJob, shares: Sequence[bytes], version_mask: int) -> bytes:
        """Return for each share of one job the 80-byte header it stands for and its hash (32).

        They follow each other, HASHED_SIZE bytes a share, in order; what may follow them means
        nothing. `shares` are Submission.packed, at least one. The version is
        `(job & ~version_mask) | bits` (BIP310), where bits beyond the agreed mask count as rolled
        too: such a share is refused, but it has to be the header that was hashed, for it may be a
        block. Keeps what it likes in `issued.prepared`.
        """
        ...


class HashlibHasher:
    """`Hasher` by the standard library alone."""

    def hash(self, issued: IssuedJob, shares: Sequence[bytes], version_mask: int) -> bytes:
        """As of the port."""
        job = issued.job
        head = issued.prepared
        if not isinstance(head, _SHA256):
            head = issued.prepared = sha256(issued.coinbase_head)
        fixed = job.version & ~version_mask
        nbits_le = _LE32.pack(job.nbits)
        hashed: list[bytes] = []
        for packed in shares:
            coinbase = head.copy()
            coinbase.update(packed[:8] + job.coinb2)
            ntime, nonce, bits = _NUMBERS.unpack_from(packed, 8)
            header = header80(
                version_le=_LE32.pack(fixed | bits),
                prev_hash_le=job.prev_hash_le,
                merkle_root_le=merkle_root(sha256(coinbase.digest()).digest(), job.branch),
                ntime_le=_LE32.pack(ntime),
                nbits_le=nbits_le,
                nonce_le=_LE32.pack(nonce),
            )
            hashed += header, sha256(sha256(header).digest()).digest()
        return b"".join(hashed)


class SeenHashes:
    """Header hashes already counted, shared by all connections of a server.

    A share is its hash: the same header under another worker name, in other hex case or over
    another connection is still the same share. At most `capacity` hashes are held; when they are
    full the older half is forgotten. Only hashes that met their target come in, so filling it
    costs an attacker the work of as many shares.
    """

    __slots__ = ("_new", "_old", "_per_generation")

    def __init__(self, capacity: int = 1 << 18) -> None:
        if capacity < 2:
            raise ValueError(f"capacity is {capacity}, must be at least 2")
        self._per_generation = capacity // 2
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def add(self, digest: bytes) -> bool:
        """Remember a hash; False when it was known."""
        if digest in self._new or digest in self._old:
            return False
        if len(self._new) >= self._per_generation:
            self._old = self._new
            self._new = set()
        self._new.add(digest)
        return True

    def discard(self, digest: bytes) -> None:
        """Forget a hash, so that its share may be submitted again."""
        self._new.discard(digest)
        self._old.discard(digest)


def parse_submission(params: list[Any]) -> Submission | Reject:
    """Read the params of `mining.submit`: user, job id, extranonce2, ntime, nonce, version bits.

    Numbers are big-endian hex in either case; a nonce or version bits shorter than 8 digits are
    padded on the left, as some firmware drops leading zeros. Returns a Reject of code 20 for
    anything else.
    """
    try:
        if len(params) == 5:
            user, job_id, extranonce2, ntime, nonce = params
            bits = "00000000"
        else:
            user, job_id, extranonce2, ntime, nonce, bits = params
        # fromhex skips white space, but then fewer than 20 bytes are left.
        if (
            len(extranonce2) == 16
            and len(ntime) == len(nonce) == len(bits) == 8
            and len(packed := bytes.fromhex(extranonce2 + ntime + nonce + bits)) == PACKED_SIZE
            and type(user) is type(job_id) is str
        ):
            return Submission(user, job_id, packed, *_CHECKED.unpack(packed))
    except (TypeError, ValueError):
        pass  # what is wrong, if it is more than a short number, is found out below
    return _parse_with_care(params)


def judge(
    issued: IssuedJob,
    submission: Submission,
    hashed: bytes,
    *,
    worker: str,
    version_mask: int,
    now: float,
    seen: SeenHashes,
) -> Share | Reject | RefusedBlock:
    """Judge a submission by the job it names, and remember its hash when it is a share.

    `hashed`: its header and hash, as a Hasher returned them for this `version_mask`, which is what
    was agreed with this miner (0: no rolling). `now`: Unix seconds. A submission that is a block is
    one whatever else is wrong with it, so that is settled first.
    """
    job = issued.job
    digest = hashed[HEADER_SIZE:HASHED_SIZE]
    value = int.from_bytes(digest, "little")
    is_block = value <= job.network_target
    reject: Reject | None = None
    if submission.version_bits & ~version_mask:
        reject = _VERSION_NOT_ROLLABLE
    elif (
        not job.ntime <= submission.ntime <= job.ntime + NTIME_AHEAD_OF_JOB
        or submission.ntime > now + NTIME_AHEAD_OF_NOW
    ):
        reject = _NTIME_OUT_OF_RANGE
    elif value > job.share_target:
        reject = LOW_DIFFICULTY
    elif not seen.add(digest):  # behind the target, so that worthless hashes can't fill it
        reject = DUPLICATE
    if reject is not None and not is_block:
        return reject
    header = hashed[:HEADER_SIZE]
    share = Share(
        hash=digest,
        header80=header,
        job=job,
        job_id=issued.job_id,
        extranonce1=issued.extranonce1,
        extranonce2=submission.extranonce2,
        ntime_le=header[68:72],
        nonce_le=header[76:80],
        version_le=header[0:4],
        worker=worker,
        is_block=is_block,
    )
    return share if reject is None else RefusedBlock(share, reject)


_LE32 = struct.Struct("<I")
_NUMBERS = struct.Struct(">III")
_CHECKED = struct.Struct(">8xI4xI")
_SHA256 = type(sha256())


def _parse_with_care(params: list[Any]) -> Submission | Reject:
    if not 5 <= len(params) <= 6:
        return _MALFORMED
    for value in params:
        if type(value) is not str:
            return _MALFORMED
    extranonce2 = _hex_bytes(params[2])
    if extranonce2 is None or len(extranonce2) != EXTRANONCE2_SIZE:
        return _BAD_EXTRANONCE2
    ntime = _hex_bytes(params[3])
    if ntime is None or len(ntime) != 4:
        return _BAD_NTIME
    nonce = _hex_bytes(params[4].rjust(8, "0")) if params[4] else None
    if nonce is None or len(nonce) != 4:
        return _BAD_NONCE
    version_bits: bytes | None = b"\0\0\0\0"
    if len(params) == 6:
        version_bits = _hex_bytes(params[5].rjust(8, "0")) if params[5] else None
    if version_bits is None or len(version_bits) != 4:
        return _BAD_VERSION
    packed = extranonce2 + ntime + nonce + version_bits
    return Submission(params[0], params[1], packed, *_CHECKED.unpack(packed))


def _hex_bytes(text: str) -> bytes | None:
    """Return the bytes of a hex string, None where it is anything but pairs of hex digits."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if 2 * len(data) == len(text) else None  # fromhex skips white space
