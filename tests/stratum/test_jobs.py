from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.errors import InvalidJobError
from stratum.headers import swap_words
from stratum.jobs import VERSION_MASK, IssuedJob, JobBook, JobIds
from stratum.messages import encode_notification
from tests.stratum.support import RECORDED, job_from_notify, make_job, recorded_notify


def issued(job_id: str, sent_at: float) -> IssuedJob:
    return IssuedJob(job_id, make_job(), sent_at, b"")


@pytest.mark.parametrize("session", RECORDED, ids=lambda session: session["client"])
def test_recorded_notifies_are_rebuilt(session: dict[str, Any]) -> None:
    params, difficulty = recorded_notify(session)
    assert job_from_notify(params, difficulty).notify_params(params[0]) == params


def test_the_previous_hash_is_written_word_by_word() -> None:
    genesis_le = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
    assert (
        swap_words(genesis_le[::-1]).hex()
        == "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000"
    )


@given(
    prev_hash_le=st.binary(min_size=32, max_size=32),
    coinbase=st.tuples(st.binary(max_size=300), st.binary(max_size=300)),
    branch=st.lists(st.binary(min_size=32, max_size=32), max_size=12),
    numbers=st.tuples(*[st.integers(0, (1 << 32) - 1)] * 3),
    clean=st.booleans(),
)
def test_the_line_of_a_job_is_its_params(
    prev_hash_le: bytes,
    coinbase: tuple[bytes, bytes],
    branch: list[bytes],
    numbers: tuple[int, int, int],
    clean: bool,
) -> None:
    job = make_job(
        prev_hash_le=prev_hash_le,
        coinb1=coinbase[0],
        coinb2=coinbase[1],
        branch=tuple(branch),
        version=numbers[0] & ~VERSION_MASK,
        nbits=numbers[1],
        ntime=numbers[2],
    )
    line = encode_notification("mining.notify", job.notify_params("1f", clean=clean))
    assert job.notify_line("1f", clean=clean) == line


def test_half_words_are_refused() -> None:
    with pytest.raises(ValueError, match="whole 4-byte words"):
        swap_words(bytes(30))


def test_numbers_have_eight_digits() -> None:
    params = make_job(version=0, nbits=1, ntime=2).notify_params("1")
    assert params[5:8] == ["00000000", "00000001", "00000002"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prev_hash_le", bytes(31)),
        ("coinb1", bytes(755 - 12 - 70 + 1)),
        ("branch", (bytes(31),)),
        ("branch", (bytes(32),) * 21),
        ("version", 1 << 32),
        ("version", 0x20002000),
        ("nbits", -1),
        ("ntime", 1 << 32),
        ("share_target", 0),
        ("share_target", 1 << 256),
        ("network_target", -1),
        ("difficulty", 0),
        ("difficulty", float("nan")),
    ],
)
def test_jobs_no_miner_could_be_sent(field: str, value: object) -> None:
    with pytest.raises(InvalidJobError):
        make_job(**{field: value})


def test_the_largest_coinbase_is_taken() -> None:
    make_job(coinb1=bytes(755 - 12 - 70))


def test_job_ids_are_short_and_lower_case() -> None:
    ids = JobIds(0xFFFFFFFE)
    assert [ids.next() for _ in range(3)] == ["fffffffe", "ffffffff", "0"]
    assert JobIds().next() == "1"


def test_jobs_live_three_minutes() -> None:
    book = JobBook(keep_last=2)
    for second in range(0, 400, 10):
        book.add(issued(str(second), float(second)))
    assert book.get("200") is None
    assert book.get("210") is not None
    assert len(book) == 19


def test_the_last_jobs_live_however_old() -> None:
    book = JobBook(keep_last=3)
    for hour in range(5):
        book.add(issued(str(hour), hour * 3600.0))
    assert [book.get(str(hour)) is not None for hour in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@given(st.lists(st.floats(0, 1000), max_size=80), st.integers(1, 5), st.integers(5, 20))
def test_a_book_is_bounded(times: list[float], keep_last: int, limit: int) -> None:
    book = JobBook(keep_last=keep_last, limit=limit)
    for number, sent_at in enumerate(times):
        book.add(issued(str(number), sent_at))
        assert len(book) <= limit
        for recent in range(max(0, number - keep_last + 1), number + 1):
            assert book.get(str(recent)) is not None


def test_a_book_keeps_at_least_one_job() -> None:
    with pytest.raises(ValueError, match="keep_last"):
        JobBook(keep_last=0)


def test_only_the_newest_jobs_stay_prepared() -> None:
    book = JobBook()
    jobs = [issued(f"{number:x}", 0.0) for number in range(4)]
    for number, job in enumerate(jobs):
        job.prepared = "large"
        book.add(job)
        kept = [older.prepared is not None for older in jobs[: number + 1]]
        assert kept == [False] * (number - 1) + [True] * min(number + 1, 2)
    assert len(book) == 4, "the jobs themselves are still known"
