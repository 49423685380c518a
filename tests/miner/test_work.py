from __future__ import annotations

import itertools
from dataclasses import replace

from potnode.miner.work import AssignmentSource
from potnode.spec.hashing import sha256d
from stratum.client import ClientJob

JOB = ClientJob(
    job_id="1a",
    prev_hash_le=bytes(range(32)),
    coinb1=b"head",
    coinb2=b"tail",
    branch=(bytes([7]) * 32, bytes([8]) * 32),
    version=0x20000000,
    nbits=0x1D00FFFF,
    ntime=0x65000000,
    clean=True,
    difficulty=1,
    target=0xFFFF << 208,
    extranonce1=b"\xa0\0\0\1",
    extranonce2_size=8,
    version_mask=0,
)


def test_the_header_is_made_of_the_job_and_the_extranonce() -> None:
    assignment = AssignmentSource(JOB, 5, itertools.count(3)).next_assignment()
    assert assignment.extranonce2 == b"\3" + bytes(7)
    assert (assignment.job, assignment.generation) == (JOB, 5)
    assert assignment.target == JOB.target
    root = sha256d(b"head" + b"\xa0\0\0\1" + assignment.extranonce2 + b"tail")
    for sibling in JOB.branch:
        root = sha256d(root + sibling)
    assert assignment.header76.hex() == (
        "00000020" + JOB.prev_hash_le.hex() + root.hex() + "00000065" + "ffff001d"
    )


def test_no_header_is_handed_out_twice_even_if_a_job_comes_twice() -> None:
    numbers = itertools.count()
    first = AssignmentSource(JOB, 0, numbers)
    again = AssignmentSource(replace(JOB, job_id="1b"), 0, numbers)
    sources = [first, again, first, again]
    assert len({source.next_assignment().header76 for source in sources}) == 4


def test_a_short_extranonce_uses_all_its_values() -> None:
    source = AssignmentSource(replace(JOB, extranonce2_size=1), 0, itertools.count())
    values = [source.next_assignment().extranonce2 for _ in range(257)]
    assert len(set(values)) == 256
    assert values[256] == values[0] == b"\0"
