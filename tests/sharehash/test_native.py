from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.machinecode.compiler import host_has_sha
from potnode.sharehash import NativeHasher, ShareHashError, fastest_hasher, native
from potnode.sharehash.source import MAX_WAYS
from stratum.headers import header80, merkle_root, sha256d
from stratum.jobs import MAX_BRANCH, MAX_COINBASE, VERSION_MASK, IssuedJob, Job
from stratum.shares import HASHED_SIZE, Hasher, HashlibHasher
from tests.stratum.support import RECORDED, job_from_notify, make_job, recorded_notify

KINDS = [(ways, False) for ways in (1, 2, 4, 8, 16)]
if host_has_sha():
    KINDS += [(ways, True) for ways in (1, 2, 4, 8)]
kinds = pytest.mark.parametrize(
    ("ways", "sha"), KINDS, ids=[f"{ways}{'-sha' if sha else ''}" for ways, sha in KINDS]
)


def issue(job: Job, extranonce1: bytes = b"\xa0\x00\x00\x01") -> IssuedJob:
    return IssuedJob("1", job, 0.0, extranonce1)


def slowly(issued: IssuedJob, packed: bytes, version_mask: int) -> bytes:
    """What the port says, written down once more."""
    job = issued.job
    coinbase = job.coinb1 + issued.extranonce1 + packed[:8] + job.coinb2
    version = job.version & ~version_mask | int.from_bytes(packed[16:20], "big")
    header = header80(
        version_le=version.to_bytes(4, "little"),
        prev_hash_le=job.prev_hash_le,
        merkle_root_le=merkle_root(sha256d(coinbase), job.branch),
        ntime_le=packed[8:12][::-1],
        nbits_le=job.nbits.to_bytes(4, "little"),
        nonce_le=packed[12:16][::-1],
    )
    return header + sha256d(header)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    size = draw(st.integers(0, MAX_COINBASE - 12))
    cut = draw(st.integers(0, size))
    coinbase = draw(st.binary(min_size=size, max_size=size))
    words = st.integers(0, (1 << 32) - 1)
    return make_job(
        prev_hash_le=draw(st.binary(min_size=32, max_size=32)),
        coinb1=coinbase[:cut],
        coinb2=coinbase[cut:],
        branch=tuple(draw(st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_BRANCH))),
        version=draw(words) & ~VERSION_MASK,
        nbits=draw(words),
        ntime=draw(words),
    )


masks = st.sampled_from([0, VERSION_MASK, 0x00C0_0000, 0xFFFF_FFFF])


@kinds
@settings(max_examples=60)
@given(
    job=jobs(),
    shares=st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=2 * MAX_WAYS + 1),
    mask=masks,
)
def test_machine_code_hashes_as_hashlib_does(
    ways: int, sha: bool, job: Job, shares: list[bytes], mask: int
) -> None:
    issued = issue(job)
    expected = [slowly(issued, packed, mask) for packed in shares]
    hashers: list[Hasher] = [NativeHasher(ways=[ways], sha=sha), HashlibHasher(), fastest_hasher()]
    for hasher in hashers:  # each prepares the job anew in place of the one before
        for batch in (shares, shares[:1]):
            hashed = hasher.hash(issued, batch, mask)
            for number, _ in enumerate(batch):
                start = HASHED_SIZE * number
                assert hashed[start : start + HASHED_SIZE] == expected[number]


@kinds
@pytest.mark.parametrize("head", [0, 51, 52, 59, 60, 63, 64, 115, 116, 123, 124, 188, 700])
@pytest.mark.parametrize("rest", [0, 3, 34, 43])
def test_every_place_of_the_extranonce_and_of_the_padding(
    ways: int, sha: bool, head: int, rest: int
) -> None:
    coinbase = bytes(range(256)) * 3
    issued = issue(make_job(coinb1=coinbase[:head], coinb2=b"\x5a" * rest))
    packed = bytes(range(20))
    hashed = NativeHasher(ways=[ways], sha=sha).hash(issued, [packed], 0)
    assert hashed[:HASHED_SIZE] == slowly(issued, packed, 0)


def test_recorded_shares_hash_to_their_header() -> None:
    hasher = fastest_hasher()
    count = 0
    for session in RECORDED:
        job = job_from_notify(*recorded_notify(session))
        for share in session["shares"]:
            packed = bytes.fromhex("".join(share["submit"][2:5]) + "00000000")
            hashed = hasher.hash(issue(job, bytes.fromhex(share["extranonce1"])), [packed], 0)
            assert hashed[:80].hex() == share["header"]
            assert hashed[80:HASHED_SIZE].hex() == share["hash_le"]
            count += 1
    assert count == 20


def test_a_batch_larger_than_any_number_of_ways() -> None:
    issued = issue(make_job())
    shares = [hashlib.sha256(bytes([number])).digest()[:20] for number in range(200)]
    hashed = NativeHasher().hash(issued, shares, 0)
    assert hashed[: HASHED_SIZE * 200] == HashlibHasher().hash(issued, shares, 0)


def test_says_so_when_the_code_can_not_be_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "source", lambda ways, sha: f"no code for {ways} and {sha}")
    native._compiled.cache_clear()
    with pytest.raises(ShareHashError, match="could not compile"):
        NativeHasher()
    hasher = fastest_hasher()
    assert isinstance(hasher, HashlibHasher)
    assert "hashlib does it" in caplog.text
    monkeypatch.undo()
    native._compiled.cache_clear()
