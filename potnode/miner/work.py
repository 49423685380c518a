"""From a Stratum job to headers, and what a nonce found in one is submitted with.

Responsible for never handing out the same header twice: each assignment rolls extranonce2 and
covers all 2^32 nonces. Not for verifying what a job commits to (`potnode.miner.commitment`) nor
for hashing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stratum.client import ClientJob

_NONCE_SIZE = 4


@dataclass(frozen=True, slots=True)
class Assignment:
    """A header to be tried with every nonce.

    generation: of the job's tip, see `Miner`. extranonce2: as submitted. header76: the header
    without its nonce. target: a hash, read as a little-endian integer, is a share if at most this.
    """

    job: ClientJob
    generation: int
    extranonce2: bytes
    header76: bytes
    target: int


class AssignmentSource:
    """Assignments of one job, no two alike.

    `numbers` counts extranonce2 up. One counter should serve all jobs of a miner: then not even a
    pool that sends the same job twice gets the same share twice.
    """

    __slots__ = ("_generation", "_job", "_numbers")

    def __init__(self, job: ClientJob, generation: int, numbers: Iterator[int]) -> None:
        self._job, self._generation, self._numbers = job, generation, numbers

    def next_assignment(self) -> Assignment:
        """The next header; extranonce2 starts again from 0 only after all its values were used."""
        size = self._job.extranonce2_size
        extranonce2 = (next(self._numbers) % (1 << 8 * size)).to_bytes(size, "little")
        header76 = self._job.header_base(extranonce2)[:-_NONCE_SIZE]
        return Assignment(self._job, self._generation, extranonce2, header76, self._job.target)
