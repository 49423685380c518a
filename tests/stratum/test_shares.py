from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.errors import Reject, RejectCode
from stratum.headers import header80, merkle_root, sha256d, swap_words
from stratum.jobs import VERSION_MASK
from stratum.shares import RefusedBlock, SeenHashes, Share, Submission, parse_submission
from tests.stratum.support import (
    BITAXE,
    EASIEST,
    NOW,
    NTIME,
    RECORDED,
    job_from_notify,
    judge_params,
    make_job,
    params_of,
    recorded_notify,
)

ALL_SHARES = [
    pytest.param(session, share, id=f"{session['client']}-{number}")
    for session in RECORDED
    for number, share in enumerate(session["shares"])
]


@pytest.mark.parametrize(("session", "recorded"), ALL_SHARES)
def test_recorded_shares_rebuild_to_their_header(
    session: dict[str, Any], recorded: dict[str, Any]
) -> None:
    extranonce1 = bytes.fromhex(recorded["extranonce1"])
    params = recorded["submit"]
    result = judge_params(
        job_from_notify(*recorded_notify(session)), params, extranonce1=extranonce1
    )
    assert isinstance(result, Share)
    assert result.header80.hex() == recorded["header"]
    assert result.hash.hex() == recorded["hash_le"]
    assert result.extranonce1 == extranonce1
    assert result.extranonce2.hex() == params[2]
    assert result.ntime_le == bytes.fromhex(params[3])[::-1]
    assert result.nonce_le == bytes.fromhex(params[4])[::-1]
    assert result.version_le == bytes.fromhex("00000020")
    assert merkle_root(sha256d(result.coinbase), result.job.branch) == result.header80[36:68]
    assert not result.is_block


def bitaxe_header(version: int) -> bytes:
    recorded = bytes.fromhex(BITAXE["header"])
    return header80(
        version_le=version.to_bytes(4, "little"),
        prev_hash_le=swap_words(bytes.fromhex(BITAXE["prevhash"])),
        merkle_root_le=recorded[36:68],  # its template is not recorded
        ntime_le=bytes.fromhex(BITAXE["ntime"])[::-1],
        nbits_le=recorded[72:76],
        nonce_le=bytes.fromhex(BITAXE["nonce"])[::-1],
    )


def test_the_share_of_a_real_bitaxe() -> None:
    header = bitaxe_header(int(BITAXE["version"], 16) | int(BITAXE["version_bits"], 16))
    assert header.hex() == BITAXE["header"]
    assert sha256d(header)[::-1].hex() == BITAXE["hash_display"]


def test_version_bits_replace_those_under_the_mask() -> None:
    job = make_job()
    for bits in ("00002000", "1fffe000", "00000000"):
        share = judge_params(job, params_of("1", bits=bits), version_mask=VERSION_MASK)
        assert isinstance(share, Share)
        assert int.from_bytes(share.version_le, "little") == 0x20000000 | int(bits, 16)
        assert share.header80[:4] == share.version_le


@pytest.mark.parametrize(
    ("mask", "bits"), [(0, "00002000"), (VERSION_MASK, "20000000"), (0xC00000, "00002000")]
)
def test_version_bits_outside_the_mask(mask: int, bits: str) -> None:
    result = judge_params(make_job(), params_of("1", bits=bits), version_mask=mask)
    assert result == Reject(RejectCode.OTHER, "Version bits outside the agreed mask")


def test_no_version_bits_are_none_rolled() -> None:
    share = judge_params(make_job(), params_of("1"), version_mask=VERSION_MASK)
    assert share.version_le == bytes.fromhex("00000020")


GOOD = params_of("1a", bits="00002000")


def test_a_submission_is_read() -> None:
    params = [GOOD[0], "1a", "00112233445566FF", "6b03F15c", "A4a66500", "1FFfe000"]
    submission = parse_submission(params)
    packed = bytes.fromhex("00112233445566ff6b03f15ca4a665001fffe000")
    assert submission == Submission(GOOD[0], "1a", packed, 0x6B03F15C, 0x1FFFE000)
    assert submission.extranonce2 == packed[:8]
    assert submission.nonce == 0xA4A66500


def test_short_nonces_and_version_bits_are_padded() -> None:
    submission = parse_submission([*GOOD[:4], "7", "2000"])
    assert isinstance(submission, Submission)
    assert (submission.nonce, submission.version_bits) == (7, 0x2000)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 1),
        (1, None),
        (2, "00"),
        (2, "000000000000000g"),
        (2, "00 00 00 00 00 00 0"),
        (2, "00000000000000  "),
        (2, "000000000000000000"),
        (2, 16),
        (3, "6b03f15"),
        (3, "0x6b03f1"),
        (3, "6b03f15c00"),
        (4, ""),
        (4, "-1"),
        (4, "123456789"),
        (4, "\u0661" * 8),
        (4, ["00000000"]),
        (5, ""),
        (5, "zz"),
        (5, 0),
    ],
)
def test_malformed_params_are_code_20(at: int, value: object) -> None:
    params: list[Any] = list(GOOD)
    params[at] = value
    result = parse_submission(params)
    assert isinstance(result, Reject)
    assert result.code is RejectCode.OTHER


@given(
    st.lists(
        st.text(alphabet="0123456789abcdefABCDEF xg\u0661", max_size=18)
        | st.from_regex(r"[0-9a-fA-F]{8}|[0-9a-f]{16}", fullmatch=True)
        | st.none(),
        min_size=4,
        max_size=7,
    )
)
def test_any_params_are_read_by_the_same_rules(params: list[Any]) -> None:
    """Well-formed ones take a shorter way through the code; it lets nothing else pass."""
    sizes = (None, None, 16, 8, 8, 8)[: len(params)]
    well_formed = 5 <= len(params) <= 6 and all(
        isinstance(value, str)
        and (size is None or re.fullmatch(f"[0-9a-fA-F]{{{size}}}", _padded(at, value)))
        for at, (value, size) in enumerate(zip(params, sizes, strict=False))
    )
    result = parse_submission(params)
    assert isinstance(result, Submission) is well_formed
    if isinstance(result, Submission):
        digits = params[2] + params[3] + "".join(text.rjust(8, "0") for text in params[4:])
        assert result.packed == bytes.fromhex(digits.ljust(40, "0"))
        assert (result.user, result.job_id) == (params[0], params[1])
        assert result.ntime == int(params[3], 16)
        assert result.version_bits == (int(params[5], 16) if len(params) == 6 else 0)


def _padded(at: int, value: str) -> str:
    return value.rjust(8, "0") if at >= 4 and value else value


@pytest.mark.parametrize("params", [[], GOOD[:4], [*GOOD, "x"]])
def test_a_submit_has_five_or_six_params(params: list[Any]) -> None:
    assert parse_submission(params) == Reject(RejectCode.OTHER, "Submit takes 5 or 6 strings")


@given(st.lists(st.none() | st.integers() | st.text(max_size=20), max_size=8))
def test_no_params_raise(params: list[Any]) -> None:
    assert isinstance(parse_submission(params), Submission | Reject)


@pytest.mark.parametrize(
    ("ntime", "good"),
    [(NTIME - 1, False), (NTIME, True), (NTIME + 7000, True), (NTIME + 7001, False)],
)
def test_ntime_may_be_rolled_forward_only(ntime: int, good: bool) -> None:
    result = judge_params(make_job(), params_of("1", ntime=ntime))
    assert isinstance(result, Share) is good
    assert good or result == Reject(RejectCode.OTHER, "Ntime out of range")


def test_ntime_stays_where_bitcoin_takes_it() -> None:
    job = make_job(ntime=int(NOW) + 7000)
    assert isinstance(judge_params(job, params_of("1", ntime=int(NOW) + 7200)), Share)
    assert isinstance(judge_params(job, params_of("1", ntime=int(NOW) + 7201)), Reject)


def test_the_target_is_inclusive() -> None:
    value = int.from_bytes(judge_params(make_job(), params_of("1")).hash, "little")
    assert isinstance(judge_params(make_job(share_target=value), params_of("1")), Share)
    result = judge_params(make_job(share_target=value - 1), params_of("1"))
    assert result == Reject(RejectCode.LOW_DIFFICULTY, "Low difficulty share")


def test_a_low_share_is_not_remembered() -> None:
    seen = SeenHashes()
    for _ in range(2):
        result = judge_params(make_job(share_target=1), params_of("1"), seen=seen)
        assert result.code is RejectCode.LOW_DIFFICULTY
    assert len(seen) == 0


def test_a_header_counts_once() -> None:
    seen = SeenHashes()
    assert isinstance(judge_params(make_job(), params_of("1"), seen=seen), Share)
    # The hash is the share's identity: under another job id it is the same.
    result = judge_params(make_job(), params_of("2"), seen=seen)
    assert result == Reject(RejectCode.DUPLICATE, "Duplicate share")
    assert isinstance(judge_params(make_job(), params_of("1", nonce="01"), seen=seen), Share)


@pytest.mark.parametrize(
    ("changes", "params", "code"),
    [
        ({"share_target": 1}, params_of("1"), RejectCode.LOW_DIFFICULTY),
        ({}, params_of("1", ntime=NTIME - 1), RejectCode.OTHER),
        ({}, params_of("1", bits="00002000"), RejectCode.OTHER),
    ],
)
def test_a_block_is_one_whatever_else_is_wrong(
    changes: dict[str, Any], params: list[str], code: RejectCode
) -> None:
    result = judge_params(make_job(network_target=EASIEST, **changes), params)
    assert isinstance(result, RefusedBlock)
    assert result.reject.code is code
    assert result.share.is_block
    assert result.share.hash == sha256d(result.share.header80)
    if len(params) == 6:  # the bits were not agreed upon, but they were hashed
        assert result.share.version_le == bytes.fromhex("00200020")


def test_a_share_can_be_a_block() -> None:
    share = judge_params(make_job(network_target=EASIEST), params_of("1"))
    assert isinstance(share, Share)
    assert share.is_block


def test_seen_hashes_are_bounded_and_forget_the_older_half() -> None:
    seen = SeenHashes(8)
    for number in range(100):
        assert seen.add(number.to_bytes(32, "big"))
        assert not seen.add(number.to_bytes(32, "big"))
        assert len(seen) <= 8
        for recent in range(max(0, number - 3), number):
            assert not seen.add(recent.to_bytes(32, "big"))


def test_a_hash_can_be_given_back() -> None:
    seen = SeenHashes(4)
    for number in range(4):
        seen.add(bytes([number]))
    for number in range(4):
        seen.discard(bytes([number]))
    assert len(seen) == 0
    with pytest.raises(ValueError, match="at least 2"):
        SeenHashes(1)
