"""A miner for tests: takes a template, hashes until a header is a block."""

from __future__ import annotations

from potnode.spec import work
from potnode.spec.record import MinerRow
from potnode.work.jobs import Commitment, JobMaker
from potnode.work.template import Template
from tests.bitcoin.chain import solve

COMMITMENT = Commitment(b"j" * 32, 7, b"h" * 32, work.work_id(b"j" * 32, 7, b"h" * 32))
MINER = bytes.fromhex("aa" * 20)
BITS = 1


def coinbase_of(template: Template, script: bytes = b"", counter: int = 1) -> bytes:
    """The coinbase as a miner hashes it, by way of the job it is sent."""
    miner = MinerRow(MINER, BITS, script)
    job = JobMaker(template, COMMITMENT).job(
        miner, account="0x" + MINER.hex(), counter=counter, clean=False
    )
    assert job.network_target == template.network_target
    return job.coinb1 + b"\x01" * 4 + b"\x02" * 8 + job.coinb2


def solve_header(template: Template, coinbase: bytes, *, rolled: int = 0) -> bytes:
    """A header over this coinbase that meets the template's own target."""
    return solve(
        (template.version | rolled).to_bytes(4, "little")
        + template.prev_hash_le
        + work.merkle_root(coinbase, template.branch)
        + template.ntime.to_bytes(4, "little")
        + template.nbits.to_bytes(4, "little"),
        target=template.network_target,
    )


def mine_block(template: Template, script: bytes = b"", counter: int = 1) -> bytes:
    """A whole block of the template, as it is handed in."""
    assert template.parent is not None
    coinbase = coinbase_of(template, script, counter)
    header = solve_header(template, coinbase, rolled=0x00AAA000)
    return template.parent.block(header, coinbase)
