"""Submits of one read: hashed together, and otherwise as if each had come alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stratum.jobs import IssuedJob
from stratum.session import BlockFound, Event, ShareFound
from tests.stratum.support import (
    ALICE,
    BOB,
    EASIEST,
    HASHLIB,
    NTIME,
    Bench,
    line,
    make_job,
    params_of,
)


class CountingHasher:
    """Hashlib's, noting how many shares each call had."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def hash(self, issued: IssuedJob, shares: Sequence[bytes], version_mask: int) -> bytes:
        self.batches.append(len(shares))
        return HASHLIB.hash(issued, shares, version_mask)


def mining(hasher: CountingHasher) -> tuple[Bench, list[str]]:
    """Return a session and the ids of its jobs: easy, impossible, and a block every other time."""
    bench = Bench(hasher=hasher)
    bench.handshake()
    jobs = [
        make_job(coinb1=bytes(60)),
        make_job(coinb1=b"\1" * 60, share_target=1),
        make_job(coinb1=b"\2" * 60, share_target=1, network_target=EASIEST >> 1),
    ]
    return bench, [bench.give(job) for job in jobs]


def submit(number: int, params: list[Any]) -> bytes:
    return line({"id": number, "method": "mining.submit", "params": params})


JOBS = st.sampled_from([0, 0, 1, 2])
LINES = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            JOBS,
            st.integers(0, 3),
            st.sampled_from([ALICE, f"{ALICE}.two", BOB, "nobody"]),
            st.sampled_from([NTIME, NTIME, NTIME - 1]),
        ),
        st.sampled_from(["malformed", "no job", "ping", "configure", "response", "junk"]),
    ),
    max_size=12,
)


def written(number: int, what: Any, job_ids: list[str]) -> bytes:
    match what:
        case ("submit", job, nonce, user, ntime):
            params = params_of(job_ids[job], user=user, nonce=f"{nonce:08x}", ntime=ntime)
            return submit(number, params)
        case "malformed":
            return submit(number, ["x"])
        case "no job":
            return submit(number, params_of("ffff"))
        case "ping":
            return line({"id": number, "method": "mining.ping"})
        case "configure":
            rolling = [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
            return line({"id": number, "method": "mining.configure", "params": rolling})
        case "response":
            return line({"id": number, "result": "pong"})
        case _:
            return b"junk\n"


def told(events: list[Event]) -> list[object]:
    """What events say, without the number that is the session's own; blocks first, as they are."""
    return [
        (event.share, event.request_id) if isinstance(event, ShareFound) else event
        for event in sorted(events, key=lambda event: not isinstance(event, BlockFound))
    ]


@given(LINES)
def test_one_packet_is_answered_as_a_packet_for_each_line(whats: list[Any]) -> None:
    together, job_ids = mining(CountingHasher())
    apart, same_ids = mining(CountingHasher())
    assert job_ids == same_ids
    lines = [written(number, what, job_ids) for number, what in enumerate(whats)]
    replies = together.send_raw(b"".join(lines))
    events = together.events
    each_replies: list[Any] = []
    each_events: list[Event] = []
    for data in lines:
        each_replies += apart.send_raw(data)
        each_events += apart.events
    assert replies == each_replies
    assert told(events) == told(each_events)
    blocks = [isinstance(event, BlockFound) for event in events]
    assert blocks == sorted(blocks, reverse=True)
    assert together.session.state is apart.session.state


def test_neighbours_of_a_job_are_hashed_in_one_call() -> None:
    hasher = CountingHasher()
    bench, (one, two, _) = mining(hasher)
    packet = [submit(n, params_of(one, nonce=f"{n:08x}")) for n in range(3)]
    packet += [submit(n, params_of(two, nonce=f"{n:08x}")) for n in range(3, 5)]
    packet += [line({"id": 5, "method": "mining.ping"})]
    packet += [submit(6, params_of(one, nonce="00000006"))]
    replies = bench.send_raw(b"".join(packet))
    assert hasher.batches == [3, 2, 1]
    assert [reply["id"] for reply in replies] == [3, 4, 5]
    assert [event.request_id for event in bench.events if isinstance(event, ShareFound)] == [
        b"0",
        b"1",
        b"2",
        b"6",
    ]
