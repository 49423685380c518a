from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.client import (
    MAX_LINE_FROM_POOL,
    Authorized,
    ClientJob,
    ClientSession,
    Commitment,
    Configured,
    NewJob,
    StratumClient,
    SubmitResult,
    Subscribed,
)
from stratum.difficulty import target_from_difficulty
from stratum.errors import LocalProtocolError, Reject, RejectCode, RemoteProtocolError
from stratum.headers import sha256d
from stratum.session import ShareFound
from tests.stratum.support import (
    ALICE,
    NOW,
    RECORDED,
    Bench,
    line,
    make_job,
    recorded_notify,
)

SUBSCRIPTION = {"id": 1, "result": [[], "a0000001", 8], "error": None}


def subscribed_session() -> ClientSession:
    session = ClientSession(ALICE, "potnode/1")
    session.data_to_send()
    session.receive_data(line(SUBSCRIPTION))
    return session


def sent(session: ClientSession) -> list[Any]:
    return [json.loads(text) for text in session.data_to_send().splitlines()]


def test_the_handshake_in_the_order_every_pool_understands() -> None:
    session = ClientSession(ALICE, "potnode/1", password="x", version_rolling=True)
    assert sent(session) == [
        {
            "id": 1,
            "method": "mining.configure",
            "params": [["version-rolling"], {"version-rolling.mask": "1fffe000"}],
        },
        {"id": 2, "method": "mining.subscribe", "params": ["potnode/1"]},
        {"id": 3, "method": "mining.authorize", "params": [ALICE, "x"]},
    ]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["client"])
def test_recorded_jobs_give_the_recorded_headers(recorded: dict[str, Any]) -> None:
    session = ClientSession(recorded["shares"][0]["submit"][0], "potnode/1")
    session.data_to_send()
    extranonce1 = recorded["shares"][0]["extranonce1"]
    params, difficulty = recorded_notify(recorded)
    events = session.receive_data(
        line(SUBSCRIPTION | {"result": [[], extranonce1, 8]})
        + line({"id": None, "method": "mining.set_difficulty", "params": [difficulty]})
        + line({"id": None, "method": "mining.notify", "params": params})
    )
    assert events[0] == Subscribed(bytes.fromhex(extranonce1), 8)
    job = events[1].job if isinstance(events[1], NewJob) else None
    assert job is not None
    assert job.target == target_from_difficulty(difficulty)
    for share in recorded["shares"]:
        _, _, extranonce2, ntime, nonce = share["submit"]
        base = job.header_base(bytes.fromhex(extranonce2), ntime=int(ntime, 16))
        assert base[76:] == bytes(4)
        header = base[:76] + bytes.fromhex(nonce)[::-1]
        assert header.hex() == share["header"]
        assert int.from_bytes(sha256d(header), "little") <= job.target
        session.submit(job, bytes.fromhex(extranonce2), int(nonce, 16), ntime=int(ntime, 16))
        [submit] = sent(session)
        assert submit["params"] == share["submit"]


class Pair:
    """Both sides of a connection, each fed with what the other sends."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.miner = ClientSession(f"{ALICE}.cpu", "potnode/1", version_rolling=True)

    def exchange(self) -> list[Any]:
        """Let the miner's bytes reach the pool and the answers come back."""
        for event in self.bench.session.receive_data(self.miner.data_to_send(), NOW):
            if isinstance(event, ShareFound):
                self.bench.session.accept(event)
        return self.miner.receive_data(self.bench.session.data_to_send())


def test_client_and_pool_understand_each_other() -> None:
    pair = Pair()
    assert pair.exchange() == [
        Configured(0x1FFFE000),
        Subscribed(b"\xa0\x00\x00\x01", 8),
        Authorized(None),
    ]
    assert pair.miner.subscribed
    assert pair.miner.authorized
    pair.bench.session.send_job(make_job(difficulty=64, tag="work", clean=True), NOW)
    [new] = pair.exchange()
    job: ClientJob = new.job
    assert (job.difficulty, job.clean, job.version_mask) == (64, True, 0x1FFFE000)
    pair.miner.suggest_difficulty(2)
    pair.miner.get_commitment(job.job_id)
    pair.miner.get_commitment("ffff")
    extranonce2 = bytes(range(8))
    plain = pair.miner.submit(job, extranonce2, 0x11223344, ntime=job.ntime + 1)
    rolled = pair.miner.submit(job, extranonce2, 0x11223344, version_bits=0x2000)
    again = pair.miner.submit(job, extranonce2, 0x11223344, version_bits=0x2000)
    events = pair.bench.session.receive_data(pair.miner.data_to_send(), NOW)
    shares = [event for event in events if isinstance(event, ShareFound)]
    for share in shares:
        pair.bench.session.accept(share)
    nonce = bytes.fromhex("44332211")
    assert [found.share.header80 for found in shares] == [
        job.header_base(extranonce2, ntime=job.ntime + 1)[:76] + nonce,
        job.header_base(extranonce2, version_bits=0x2000)[:76] + nonce,
    ]
    assert shares[0].share.coinbase == job.coinbase(extranonce2)
    assert pair.bench.session.suggested_difficulty == 2
    answers = pair.exchange()
    assert set(map(repr, answers)) == {
        repr(answer)
        for answer in (
            Commitment(job.job_id, {"tag": "work"}, None),
            Commitment("ffff", None, Reject(RejectCode.JOB_NOT_FOUND, "Job not found")),
            SubmitResult(plain, None),
            SubmitResult(rolled, None),
            SubmitResult(again, Reject(RejectCode.DUPLICATE, "Duplicate share")),
        )
    }


def test_a_difficulty_judges_the_jobs_after_it() -> None:
    session = subscribed_session()
    notify = line({"id": None, "method": "mining.notify", "params": make_job().notify_params("1")})
    difficulty = line({"id": None, "method": "mining.set_difficulty", "params": [512]})
    first, second = session.receive_data(notify + difficulty + notify)
    assert isinstance(first, NewJob)
    assert isinstance(second, NewJob)
    assert (first.job.difficulty, second.job.difficulty) == (1, 512)


@pytest.mark.parametrize(
    ("answer", "reject"),
    [
        ({"result": True, "error": None}, None),
        ({"result": False, "error": [24, "No", None]}, Reject(RejectCode.UNAUTHORIZED, "No")),
        ({"result": None, "error": [-3, "What", None]}, Reject(RejectCode.OTHER, "What")),
        ({"result": False}, Reject(RejectCode.OTHER, "Refused without a reason")),
        ({"result": None, "error": "bad"}, Reject(RejectCode.OTHER, "bad")),
        ({"error": {"code": 1}}, Reject(RejectCode.OTHER, "{'code': 1}")),
    ],
)
def test_answers_of_other_pools(answer: dict[str, Any], reject: Reject | None) -> None:
    session = subscribed_session()
    assert session.receive_data(line({"id": 2} | answer)) == [Authorized(reject)]
    assert session.authorized is (reject is None)


@pytest.mark.parametrize(
    ("result", "mask"),
    [
        ({"version-rolling": True, "version-rolling.mask": "ffffffff"}, 0x1FFFE000),
        ({"version-rolling": True, "version-rolling.mask": "2000"}, 0x2000),
        ({"version-rolling": False}, 0),
        (None, 0),
    ],
)
def test_version_bits_agreed(result: object, mask: int) -> None:
    session = ClientSession(ALICE, "potnode/1", version_rolling=True)
    answer = line({"id": 1, "result": result, "error": None})
    assert session.receive_data(answer) == [Configured(mask)]
    assert session.version_mask == mask


def test_what_is_unknown_is_passed_over_and_pings_are_answered() -> None:
    session = subscribed_session()
    assert (
        session.receive_data(
            line({"id": None, "method": "client.show_message", "params": ["hello"]})
            + line({"id": 99, "result": True, "error": None})
            + line({"id": None, "result": True, "error": None})
            + line({"id": 7, "method": "mining.ping", "params": []})
        )
        == []
    )
    assert sent(session) == [{"id": 7, "result": "pong", "error": None}]


NOTIFY = make_job().notify_params("1")


@pytest.mark.parametrize(
    "data",
    [
        b"<html>\n",
        line({"id": 1, "result": None, "error": [20, "No", None]}),
        line({"id": 1, "result": [[], "xyz", 8], "error": None}),
        line({"id": 1, "result": [[], "a0000001", 0], "error": None}),
        line({"id": 1, "result": True, "error": None}),
        line({"id": None, "method": "mining.notify", "params": NOTIFY}),
        b"x" * (MAX_LINE_FROM_POOL + 1),
    ],
)
def test_a_pool_that_speaks_no_stratum_before_subscribing(data: bytes) -> None:
    session = ClientSession(ALICE, "potnode/1")
    with pytest.raises(RemoteProtocolError):
        session.receive_data(data)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("mining.set_difficulty", []),
        ("mining.set_difficulty", [0]),
        ("mining.set_difficulty", ["1"]),
        ("mining.notify", NOTIFY[:8]),
        ("mining.notify", ["1", "00" * 31, *NOTIFY[2:]]),
        ("mining.notify", [*NOTIFY[:4], ["00"], *NOTIFY[5:]]),
        ("mining.notify", [*NOTIFY[:4], [7], *NOTIFY[5:]]),
        ("mining.notify", [*NOTIFY[:5], "2000", *NOTIFY[6:]]),
        ("mining.notify", [*NOTIFY[:2], "zz", *NOTIFY[3:]]),
    ],
)
def test_a_pool_whose_jobs_are_malformed(method: str, params: list[Any]) -> None:
    session = subscribed_session()
    with pytest.raises(RemoteProtocolError):
        session.receive_data(line({"id": None, "method": method, "params": params}))


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_a_pool_can_raise_one_error_only(chunks: list[bytes]) -> None:
    session = subscribed_session()
    try:
        for chunk in chunks:
            assert session.receive_data(chunk) == []
    except RemoteProtocolError as error:
        assert str(error).startswith("the pool")  # noqa: PT017 - it need not raise


def test_an_extranonce2_of_another_size_is_refused() -> None:
    session = subscribed_session()
    notify = line({"id": None, "method": "mining.notify", "params": NOTIFY})
    [new] = session.receive_data(notify)
    assert isinstance(new, NewJob)
    with pytest.raises(ValueError, match="wants 8"):
        new.job.coinbase(bytes(4))


async def test_a_client_that_is_not_connected_says_so() -> None:
    client = StratumClient("127.0.0.1", 1, user=ALICE, agent="potnode/1")
    with pytest.raises(LocalProtocolError, match="async with"):
        client.get_commitment("1")
    with pytest.raises(LocalProtocolError, match="async with"):
        await anext(aiter(client))
