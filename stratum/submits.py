"""Submits: who may submit what over one connection, and the order a submit is checked in.

A share's own rules are in `stratum.shares`; this is what comes before them. Whatever has a header
is looked at for a block before it is refused, for a block is one whoever sends it.
"""

from __future__ import annotations

from typing import Any

from stratum.errors import Reject, RejectCode
from stratum.jobs import JobBook
from stratum.shares import RefusedBlock, SeenHashes, Share, judge, parse_submission
from stratum.users import Users

JOB_NOT_FOUND = Reject(RejectCode.JOB_NOT_FOUND, "Job not found")
_NOT_AUTHORIZED = Reject(RejectCode.UNAUTHORIZED, "Unauthorized worker")
_NOT_SUBSCRIBED = Reject(RejectCode.NOT_SUBSCRIBED, "Not subscribed")


def check(
    params: list[Any],
    *,
    subscribed: bool,
    users: Users,
    jobs: JobBook,
    version_mask: int,
    now: float,
    seen: SeenHashes,
) -> Share | Reject | RefusedBlock:
    """Check the params of a `mining.submit`: form, sender, job, then the share itself.

    The form is refused with code 20, then 25 unless `subscribed`, 24 for a user of another account,
    and 21 for a job the connection does not know or whose account it does not work for. `now` is in
    Unix seconds. The hash of a good share is remembered in `seen`.
    """
    submission = parse_submission(params)
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
    result = judge(
        issued,
        submission,
        worker=worker or "",
        version_mask=version_mask,
        now=now,
        seen=seen if reject is None else SeenHashes(2),
    )
    if reject is None:
        return result
    share = result.share if isinstance(result, RefusedBlock) else result
    return RefusedBlock(share, reject) if isinstance(share, Share) and share.is_block else reject
