"""A connection that takes up where an earlier one was lost."""

from __future__ import annotations

from typing import Any

import pytest

from stratum.errors import RejectCode
from stratum.jobs import JobIds
from stratum.session import BlockFound, ReadyToMine, Resumable, ShareFound, ShareRefused
from stratum.shares import SeenHashes
from tests.stratum.support import ALICE, BOB, EASIEST, NOW, Bench, make_job, params_of

OLD, NEW = b"\xa0\x00\x00\x01", b"\xa0\x00\x00\x02"


def subscribe(session_id: object) -> dict[str, Any]:
    return {"id": 1, "method": "mining.subscribe", "params": ["whatsminer/v1.0", session_id]}


def authorize(user: str) -> dict[str, Any]:
    return {"id": 2, "method": "mining.authorize", "params": [user, "x"]}


class Lost:
    """A connection that was lost with one job out, and a server that remembers it."""

    def __init__(self, **job: Any) -> None:
        self.seen, self.blocks_seen, self.job_ids = SeenHashes(), SeenHashes(16), JobIds()
        self.asked: list[str] = []
        self.earlier = self.bench(OLD)
        self.earlier.handshake()
        self.job_id = self.earlier.give(make_job(**job))
        self.earlier.session.close()

    def again(self) -> Bench:
        return self.bench(NEW)

    def bench(self, extranonce1: bytes) -> Bench:
        return Bench(
            extranonce1=extranonce1,
            seen=self.seen,
            blocks_seen=self.blocks_seen,
            job_ids=self.job_ids,
            resume=self._resume,
        )

    def _resume(self, session_id: str) -> Resumable | None:
        self.asked.append(session_id)
        session = self.earlier.session
        known = session_id == session.session_id
        return Resumable(session.extranonce1, session.jobs) if known else None


def test_a_known_session_id_brings_back_extranonce1_and_jobs() -> None:
    lost = Lost()
    bench = lost.again()
    [reply] = bench.send(subscribe("a0000001"))
    subscriptions = [["mining.set_difficulty", "a0000001"], ["mining.notify", "a0000001"]]
    assert reply["result"] == [subscriptions, "a0000001", 8]
    assert bench.session.extranonce1 == OLD
    bench.send(authorize(ALICE))
    assert bench.events == [ReadyToMine()]
    assert bench.submit(params_of(lost.job_id)) is None
    [found] = bench.events
    assert isinstance(found, ShareFound)
    assert found.share.extranonce1 == OLD
    assert lost.earlier.session.jobs is bench.session.jobs
    job_id = bench.session.send_job(make_job(coinb1=bytes(61)), NOW)
    difficulty, notify = bench.sent()  # the new connection was told no difficulty yet
    assert difficulty["method"] == "mining.set_difficulty"
    assert notify["params"][0] == job_id != lost.job_id
    assert bench.submit(params_of(job_id)) is None


def test_a_share_counted_before_the_loss_is_a_duplicate() -> None:
    lost = Lost()
    open_again = lost.again()
    open_again.send(subscribe("a0000001"), authorize(ALICE))
    assert open_again.submit(params_of(lost.job_id)) is None
    open_again.session.close()
    once_more = lost.again()
    once_more.send(subscribe("a0000001"), authorize(ALICE))
    assert once_more.submit(params_of(lost.job_id))[0] == RejectCode.DUPLICATE


@pytest.mark.parametrize("session_id", [None, 7, "", "f" * 65, ["a0000001"], {}, True])
def test_what_is_no_session_id_is_not_looked_up(session_id: object) -> None:
    lost = Lost()
    bench = lost.again()
    [reply] = bench.send(subscribe(session_id))
    assert reply["result"][1] == "a0000002"
    assert lost.asked == []


def test_an_unknown_session_id_gets_a_session_of_its_own() -> None:
    """As bmminer and Whatsminer bring the id of whichever pool they were at before."""
    lost = Lost()
    bench = lost.again()
    [reply] = bench.send(subscribe("ae6812eb4cd7735a302a8a9dd95cf71f"))
    assert reply["result"][1] == "a0000002"
    bench.send(authorize(ALICE))
    assert bench.submit(params_of(lost.job_id))[0] == RejectCode.JOB_NOT_FOUND


def test_only_the_first_subscribe_resumes() -> None:
    lost = Lost()
    bench = lost.again()
    first, second = bench.send(subscribe(None), subscribe("a0000001"))
    assert first == second
    assert lost.asked == []
    resumed = lost.again()
    first, second, third = resumed.send(
        subscribe("a0000001"), subscribe("a0000001"), subscribe(None)
    )
    assert first == second == third
    assert first["result"][1] == "a0000001"
    assert lost.asked == ["a0000001"]


def test_jobs_of_another_account_are_not_found() -> None:
    lost = Lost()
    bench = lost.again()
    bench.send(authorize(BOB), subscribe("a0000001"))
    assert bench.events == [ReadyToMine()]
    error = bench.submit(params_of(lost.job_id, user=BOB))
    assert error == [RejectCode.JOB_NOT_FOUND, "Job not found", None]
    assert len(lost.seen) == 0
    mine = bench.give(make_job(account=BOB, coinb1=bytes(61)))
    assert bench.submit(params_of(mine, user=BOB)) is None


def test_a_block_found_with_a_job_of_another_account_is_a_block() -> None:
    lost = Lost(network_target=EASIEST)
    bench = lost.again()
    bench.send(subscribe("a0000001"), authorize(BOB))
    assert bench.submit(params_of(lost.job_id, user=BOB))[0] == RejectCode.JOB_NOT_FOUND
    block, refused = bench.events
    assert isinstance(block, BlockFound)
    assert block.share.job.account == ALICE
    assert isinstance(refused, ShareRefused)


def test_an_extranonce1_to_resume_has_four_bytes() -> None:
    with pytest.raises(ValueError, match="4"):
        Resumable(b"123", Lost().earlier.session.jobs)
