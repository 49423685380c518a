"""Submits: who may submit what over one connection, and the order a submit is checked in.

A share's own rules are in `stratum.shares`; this is what comes before them, and what brings the
submits of one read together, since hashing them is most of the work and is cheaper in batches.
Whatever has a header is looked at for a block before it is refused, for a block is one whoever
sends it.
"""

from __future__ import annotations

from stratum.errors import Reject, RejectCode
from stratum.jobs import IssuedJob, JobBook
from stratum.messages import Request
from stratum.shares import (
    HASHED_SIZE,
    Hasher,
    RefusedBlock,
    SeenHashes,
    Share,
    Submission,
    judge,
    parse_submission,
)
from stratum.users import Users

JOB_NOT_FOUND = Reject(RejectCode.JOB_NOT_FOUND, "Job not found")
_NOT_AUTHORIZED = Reject(RejectCode.UNAUTHORIZED, "Unauthorized worker")
_NOT_SUBSCRIBED = Reject(RejectCode.NOT_SUBSCRIBED, "Not subscribed")

Judged = Share | Reject | RefusedBlock


class Submits:
    """The submits of one connection that wait to be hashed together.

    hasher: what hashes them. The hash of a good share is remembered in `seen`.
    """

    __slots__ = ("_hasher", "_seen", "_waiting")

    def __init__(self, hasher: Hasher, seen: SeenHashes) -> None:
        self._hasher = hasher
        self._seen = seen
        self._waiting: list[tuple[bytes | None, IssuedJob, Submission, str, Reject | None]] = []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(
        self, request: Request, *, subscribed: bool, users: Users, jobs: JobBook
    ) -> Reject | None:
        """Take a `mining.submit`, or say at once why it is refused where it has no header.

        The form is refused with code 20, then 25 unless `subscribed`, 24 for a user of another
        account, and 21 for a job the connection does not know or whose account it does not work
        for. Of the last two those that have a header are taken, and refused when they are judged.
        """
        submission = parse_submission(request.params)
        if isinstance(submission, Reject):
            return submission
        if not subscribed:
            return _NOT_SUBSCRIBED
        worker = users.worker_of(submission.user)
        reject = _NOT_AUTHORIZED if worker is None else None
        issued = jobs.get(submission.job_id)
        if issued is None:
            return reject or JOB_NOT_FOUND
        if reject is None and issued.job.account != users.account:
            reject = JOB_NOT_FOUND  # it came with a resumed session, and was for somebody else
        self._waiting.append((request.id_json, issued, submission, worker or "", reject))
        return None

    def judge(self, version_mask: int, now: float) -> list[tuple[bytes | None, Judged]]:
        """Judge those that wait, in their order: the id of each, and what became of it.

        Those of the same job that follow each other are hashed in one call. version_mask: agreed
        bits. now: Unix seconds. None waits afterwards.
        """
        waiting, self._waiting = self._waiting, []
        judged: list[tuple[bytes | None, Judged]] = []
        first = 0
        while first < len(waiting):
            issued = waiting[first][1]
            last = first + 1
            while last < len(waiting) and waiting[last][1] is issued:
                last += 1
            batch = waiting[first:last]
            hashed = self._hasher.hash(issued, [item[2].packed for item in batch], version_mask)
            start = 0
            for id_json, _, submission, worker, reject in batch:
                result = judge(
                    issued,
                    submission,
                    hashed[start : start + HASHED_SIZE],
                    worker=worker,
                    version_mask=version_mask,
                    now=now,
                    seen=self._seen if reject is None else SeenHashes(2),
                )
                judged.append((id_json, result if reject is None else _refused(result, reject)))
                start += HASHED_SIZE
            first = last
        return judged


def _refused(result: Judged, reject: Reject) -> Judged:
    """What a submit is whose sender or job is refused: a block all the same, if it is one."""
    share = result.share if isinstance(result, RefusedBlock) else result
    return RefusedBlock(share, reject) if isinstance(share, Share) and share.is_block else reject
