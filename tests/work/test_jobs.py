"""Templates and jobs: the coinbase has the form of the rules and commits to what it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.errors import InvalidCoinbase
from potnode.spec.parent import compact_target, standalone_parent
from potnode.spec.record import MinerRow
from potnode.spec.work import MAX_COINBASE
from potnode.work.jobs import NO_WORK, Commitment, JobMaker, template_row
from potnode.work.standalone import Standalone
from potnode.work.template import Template, build_coinbase, height_script, payout_place
from stratum.errors import InvalidJobError

COMMITMENT = Commitment(b"j" * 32, 7, b"h" * 32, work.work_id(b"j" * 32, 7, b"h" * 32))
MINER = MinerRow(bytes.fromhex("aa" * 20), 14)


def _coinbase_of(template: Template, miner: MinerRow, counter: int) -> bytes:
    job = JobMaker(template, COMMITMENT).job(
        miner, account="0x" + miner.miner.hex(), counter=counter, clean=False
    )
    assert job.share_target == work.target(miner.bits)
    return job.coinb1 + b"\x01" * 4 + b"\x02" * 8 + job.coinb2


@given(counter=st.integers(0, 2**33), bits=st.integers(0, 255))
def test_a_standalone_job_commits_to_step_miner_and_bits(counter: int, bits: int) -> None:
    miner = MinerRow(MINER.miner, bits)
    template = Standalone(COMMITMENT.job_id).current(1_800_000_000)
    coinbase = _coinbase_of(template, miner, counter)
    assert work.marker_of(coinbase) == work.marker(COMMITMENT.work, miner.miner, bits)
    form = work.coinbase_form(coinbase)
    extranonce = coinbase[form.extranonce_at : form.extranonce_at + 16]
    assert extranonce == (counter % 2**32).to_bytes(4, "big") + b"\x01" * 4 + b"\x02" * 8
    assert work.MIN_COINBASE <= len(coinbase) <= work.MAX_COINBASE


SCRIPT = bytes.fromhex("0014") + b"\x11" * 20


def _paying_template(
    branch: tuple[bytes, ...] = (), more: Sequence[tuple[int, bytes]] = ()
) -> Template:
    """One whose block pays the miner's own script."""
    head = height_script(840_000) + b"/t/"
    return Template(
        version=0x20000000,
        prev_hash_le=b"p" * 32,
        nbits=0x1D00FFFF,
        ntime=1,
        coinbase=build_coinbase(head, [(5_000_000_000, None), *more]),
        script_at=payout_place(head),
        branch=branch,
    )


@pytest.mark.parametrize("script", [b"", SCRIPT])
def test_the_job_hashes_to_what_the_record_will_rebuild(script: bytes) -> None:
    template = (
        _paying_template((b"b" * 32, b"c" * 32))
        if script
        else Standalone(COMMITMENT.job_id).current(1)
    )
    assert template is not None
    miner = MinerRow(MINER.miner, 20, script)
    coinbase = _coinbase_of(template, miner, 9)
    rebuilt = work.fill_coinbase(
        template.coinbase,
        template.script_at,
        (9).to_bytes(4, "big") + b"\x01" * 4 + b"\x02" * 8,
        work.marker(COMMITMENT.work, miner.miner, 20),
        script,
    )
    assert coinbase == rebuilt
    assert bytes([len(script)]) + script in coinbase


def test_a_script_and_its_place_need_each_other() -> None:
    for template, script in ((_paying_template(), b""), (_standalone(), SCRIPT)):
        with pytest.raises(InvalidCoinbase, match="place"):
            _coinbase_of(template, MinerRow(MINER.miner, 20, script), 1)


def test_a_coinbase_that_firmware_would_cut_is_no_job() -> None:
    template = _paying_template(more=[(0, bytes(180))] * 3)
    script = bytes(MAX_COINBASE - len(template.coinbase) - 1)
    assert len(_coinbase_of(template, MinerRow(MINER.miner, 20, script), 1)) == MAX_COINBASE
    with pytest.raises(InvalidJobError, match="firmware takes 755"):
        _coinbase_of(template, MinerRow(MINER.miner, 20, script + b"\x51"), 1)


def test_work_that_trains_nothing_commits_to_nothing() -> None:
    job = JobMaker(_standalone(), None).job(MINER, account="0x", counter=1, clean=False)
    assert work.marker_of(job.coinb1 + bytes(12) + job.coinb2) == NO_WORK
    tag: Any = job.tag
    assert tag.explain() is None


def _standalone() -> Template:
    template = Standalone(COMMITMENT.job_id).current(1)
    assert template is not None
    return template


def test_standalone_templates_differ_by_job_and_stay_the_same_over_time() -> None:
    first, later = (Standalone(b"a" * 32).current(now) for now in (1, 2))
    assert first.prev_hash_le == later.prev_hash_le
    assert template_row(first) == template_row(later)
    assert first.prev_hash_le != Standalone(b"b" * 32).current(1).prev_hash_le


def test_a_standalone_template_has_the_parent_that_is_none_and_no_easy_target() -> None:
    template = Standalone(b"a" * 32).current(1)
    assert template.prev_hash_le == standalone_parent(b"a" * 32)
    assert template.network_target == 0
    # Harder than any share a miner is given, so that firmware takes none for a block.
    difficulty = work.target(32) / compact_target(template.nbits)
    assert 1.4e14 < difficulty < 1.5e14


@pytest.mark.parametrize(
    ("height", "script"),
    # Bitcoin Core, `CScript() << nHeight`: heights of mainnet and the small ones of regtest.
    [(0, "00"), (1, "51"), (16, "60"), (17, "0111"), (128, "028000"), (840_000, "0340d10c")],
)
def test_height_script_is_bip34(height: int, script: str) -> None:
    assert height_script(height).hex() == script


def test_explain_names_what_the_marker_is_made_of() -> None:
    job = JobMaker(_standalone(), COMMITMENT).job(MINER, account="0x", counter=1, clean=False)
    tag: Any = job.tag
    told = tag.explain()
    rebuilt = work.marker(
        work.work_id(bytes.fromhex(told["job"]), told["step"], bytes.fromhex(told["head"])),
        bytes.fromhex(told["miner"][2:]),
        told["bits"],
    )
    assert rebuilt == work.marker(COMMITMENT.work, MINER.miner, MINER.bits)
