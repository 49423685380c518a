from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stratum.errors import LocalProtocolError, Reject, RejectCode
from stratum.jobs import JobIds
from stratum.messages import MAX_LINE
from stratum.passwords import MAX_PASSWORD
from stratum.session import (
    BlockFound,
    Closed,
    CloseReason,
    JunkReceived,
    ReadyToMine,
    ShareFound,
    ShareRefused,
    State,
    WishesChanged,
)
from stratum.shares import SeenHashes
from stratum.users import MAX_USERS_KNOWN
from tests.stratum.support import (
    ALICE,
    BOB,
    CPUMINER,
    EASIEST,
    NOW,
    NTIME,
    RECORDED,
    Bench,
    account_or_reject,
    job_from_notify,
    line,
    make_job,
    params_of,
    recorded_notify,
)

SUBSCRIBE = {"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}
AUTHORIZE = {"id": 2, "method": "mining.authorize", "params": [f"{ALICE}.s9", "x"]}
CONFIGURE = {
    "id": 3,
    "method": "mining.configure",
    "params": [["version-rolling"], {"version-rolling.mask": "ffffffff"}],
}


def recorded_bench(recorded: dict[str, Any]) -> Bench:
    return Bench(
        extranonce1=bytes.fromhex(recorded["shares"][0]["extranonce1"]),
        job_ids=JobIds(0x1A),
        session_id="1",
    )


def serve(bench: Bench, job: Any, now: float) -> None:
    """Do what an owner does with the events of the last read."""
    for event in bench.events:
        if isinstance(event, ReadyToMine):
            bench.session.send_job(job, now)
        elif isinstance(event, ShareFound):
            bench.session.accept(event)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["client"])
def test_recorded_conversations(recorded: dict[str, Any]) -> None:
    bench = recorded_bench(recorded)
    user = recorded["shares"][0]["submit"][0]
    job = job_from_notify(*recorded_notify(recorded), account=user.partition(".")[0])
    shares = []
    conversation: list[list[Any]] = []
    for way, message in recorded["transcript"]:
        if way == "<":
            conversation.append([message])
        elif str(message["id"]).startswith("txlist"):
            # The recorded pool knew no mining.get_transactions; an empty list is kinder.
            conversation[-1].append({"id": message["id"], "result": [], "error": None})
        else:
            conversation[-1].append(message)
    for request, *replies in conversation:
        got = bench.send(request, now=job.ntime + 1)
        shares += [event.share for event in bench.events if isinstance(event, ShareFound)]
        serve(bench, job, job.ntime + 1)
        assert got + bench.sent() == replies
    assert [share.hash.hex() for share in shares] == [s["hash_le"] for s in recorded["shares"]]
    assert {share.worker for share in shares} == {user.partition(".")[2]}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["client"])
def test_recorded_conversations_cut_anywhere(recorded: dict[str, Any]) -> None:
    """Segments of every size: one byte each up to everything at once."""
    user = recorded["shares"][0]["submit"][0]
    job = job_from_notify(*recorded_notify(recorded), account=user.partition(".")[0])
    requests = [line(message) for way, message in recorded["transcript"] if way == "<"]
    shaking, rest = b"".join(requests[:2]), b"".join(requests[2:])
    expected: bytes | None = None
    for size in (1, 2, 3, 7, 64, 1000, len(rest)):
        bench = recorded_bench(recorded)
        out = b""
        for stream in (shaking, rest):
            for at in range(0, len(stream), size):
                bench.events = bench.session.receive_data(stream[at : at + size], job.ntime + 1)
                serve(bench, job, job.ntime + 1)
                out += bench.session.data_to_send()
        expected = expected or out
        assert sorted(out.splitlines()) == sorted(expected.splitlines())
        assert bench.session.unanswered == 0


@given(st.data())
def test_a_pipelined_handshake_cut_at_any_byte(data: st.DataObject) -> None:
    packet = b"".join(line(message) for message in (CONFIGURE, SUBSCRIBE, AUTHORIZE))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(packet)), max_size=6)))
    bench = Bench()
    replies: list[Any] = []
    ready = 0
    for start, end in itertools.pairwise([0, *cuts, len(packet)]):
        replies += bench.send_raw(packet[start:end])
        ready += bench.events.count(ReadyToMine())
    assert [reply["id"] for reply in replies] == [3, 1, 2]
    assert ready == 1


@given(st.permutations([SUBSCRIBE, AUTHORIZE, CONFIGURE]), st.booleans())
def test_the_handshake_in_any_order(order: list[dict[str, Any]], one_packet: bool) -> None:
    bench = Bench()
    replies: list[Any] = []
    events: list[Any] = []
    for packet in [order] if one_packet else [[message] for message in order]:
        replies += bench.send(*packet)
        events += bench.events
    assert [reply["id"] for reply in replies] == [message["id"] for message in order]
    assert all(reply["error"] is None for reply in replies)
    assert events == [ReadyToMine()]
    assert bench.session.state is State.READY
    assert bench.session.version_mask == 0x1FFFE000
    assert (bench.session.account, bench.session.worker) == (ALICE, "s9")


def test_bitaxe_sends_everything_before_it_reads() -> None:
    bench = Bench()
    replies = bench.send(
        CONFIGURE,
        {"id": 4, "method": "mining.subscribe", "params": ["bitaxe/BM1370/v2.4.5"]},
        AUTHORIZE,
        {"id": 5, "method": "mining.suggest_difficulty", "params": [1000]},
        {"id": 6, "method": "mining.extranonce.subscribe", "params": []},
    )
    assert [(reply["id"], reply["result"]) for reply in replies] == [
        (3, {"version-rolling": True, "version-rolling.mask": "1fffe000"}),
        (
            4,
            [[["mining.set_difficulty", "a0000001"], ["mining.notify", "a0000001"]], "a0000001", 8],
        ),
        (2, True),
        (5, True),
        (6, True),
    ]
    assert bench.session.user_agent == "bitaxe/BM1370/v2.4.5"
    assert bench.session.suggested_difficulty == 1000


def test_vnish_asks_for_three_extensions_in_one_packet() -> None:
    bench = Bench()
    extensions = ["minimum-difficulty", "subscribe-extranonce", "version-rolling"]
    options = {
        "minimum-difficulty.value": 150000,
        "version-rolling.mask": "1fffe000",
        "version-rolling.min-bit-count": 2,
    }
    replies = bench.send(
        {"id": 1, "method": "mining.configure", "params": [extensions, options]},
        {"id": 2, "method": "mining.subscribe", "params": ["xminer-1.2.6"]},
        {"id": 3, "method": "mining.authorize", "params": [f"{ALICE}.v", "x"]},
    )
    assert replies[0]["result"] == {
        "minimum-difficulty": True,
        "subscribe-extranonce": False,
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
    }
    assert bench.session.state is State.READY
    assert bench.session.minimum_difficulty == 150000


def test_version_rolling_may_be_configured_again_while_mining() -> None:
    """S9s configure last; and whatever was agreed last is what a submit is held to."""
    bench, job_id = ready_bench()
    bits = 0
    for mask, good in (("00c00000", True), ("00000001", False), ("1fffe000", True)):
        bits += 0x400000
        [reply] = bench.send(
            CONFIGURE | {"params": [["version-rolling"], {"version-rolling.mask": mask}]}
        )
        assert reply["result"]["version-rolling"] is good
        error = bench.submit(params_of(job_id, bits=f"{bits:08x}"))
        assert (error is None) is good
    assert bench.session.version_mask == 0x1FFFE000
    bench.send(CONFIGURE | {"params": [["info"], {}]})
    assert bench.session.version_mask == 0x1FFFE000  # it was not asked about


@pytest.mark.parametrize("params", [["version-rolling"], [[1]], [{}], [None]])
def test_a_malformed_configure(params: list[Any]) -> None:
    [reply] = Bench().send({"id": 1, "method": "mining.configure", "params": params})
    assert reply["error"] == [20, "Configure takes a list of extensions", None]
    assert reply["result"] is False


def test_subscribing_again_gives_the_same_answer() -> None:
    bench = Bench()
    bench.handshake()
    first, second = bench.send(SUBSCRIBE, SUBSCRIBE)
    assert first == second
    assert bench.events == []


def test_a_user_agent_is_cut_and_cleaned() -> None:
    bench = Bench()
    bench.send({"id": 1, "method": "mining.subscribe", "params": ["a\nb\x1b" + "c" * 500]})
    assert bench.session.user_agent == "ab" + "c" * 124


def test_the_first_account_binds_the_connection() -> None:
    bench = Bench()
    bench.handshake(f"{ALICE}.s9")
    other, worker, spelled, mine = bench.send(
        {"id": 1, "method": "mining.authorize", "params": [BOB, "x"]},
        {"id": 2, "method": "mining.authorize", "params": [f"{ALICE}.s19", "x"]},
        {"id": 3, "method": "mining.authorize", "params": [ALICE.upper().replace("X", "x"), "x"]},
        {"id": 4, "method": "mining.auth", "params": [ALICE]},
    )
    assert other["error"] == [24, "This connection works for another account", None]
    assert other["result"] is False
    assert worker["result"] is spelled["result"] is mine["result"] is True
    assert (bench.session.account, bench.session.worker) == (ALICE, "s9")


@pytest.mark.parametrize("user", ["", "bob", "0x12", ALICE + "." + "w" * 90, ALICE + ".a\nb"])
def test_user_names_that_are_none(user: str) -> None:
    bench = Bench()
    [refused] = bench.send({"id": 1, "method": "mining.authorize", "params": [user, "x"]})
    assert refused["error"][0] == 24
    assert bench.session.account is None
    bench.handshake()  # a refusal binds nothing
    assert bench.session.state is State.READY


def test_passwords_reach_the_owner() -> None:
    asked: list[tuple[str, str]] = []

    def account_of(user: str, password: str) -> str | Reject:
        asked.append((user, password))
        return account_or_reject(user, password)

    bench = Bench(account_of=account_of)
    call = {"id": 1, "method": "mining.authorize"}
    refused, *good = bench.send(
        call | {"params": [ALICE, "wrong"]},
        call | {"params": [ALICE, "btc=1abc,d=8"]},
        call | {"params": [f"{ALICE}.b"]},
        call | {"params": [f"{ALICE}.c", None]},
        call | {"params": [f"{ALICE}.d", 7]},
        SUBSCRIBE,
    )
    assert refused["error"] == [24, "Wrong password", None]
    assert all(reply["error"] is None for reply in good)
    assert asked == [
        (ALICE, "wrong"),
        (ALICE, "btc=1abc,d=8"),
        (f"{ALICE}.b", ""),
        (f"{ALICE}.c", ""),
        (f"{ALICE}.d", ""),
    ]
    asked.clear()
    job_id = bench.give(make_job())
    for _ in range(2):
        bench.submit(params_of(job_id, user=f"{ALICE}.e"))
    assert asked == [(f"{ALICE}.e", "btc=1abc,d=8")]  # a submit has no password of its own


def test_a_password_has_a_bound() -> None:
    bench = Bench()
    call = {"id": 1, "method": "mining.authorize"}
    [fits] = bench.send(call | {"params": [ALICE, "x" * MAX_PASSWORD]})
    [longer] = bench.send(call | {"params": [ALICE, "x" * (MAX_PASSWORD + 1)]})
    assert fits["result"] is True
    assert longer["error"] == [24, "Password is longer than 256 characters", None]


@pytest.mark.parametrize("params", [[], [None], [7, "x"], [[ALICE]]])
def test_a_malformed_authorize(params: list[Any]) -> None:
    [reply] = Bench().send({"id": 1, "method": "mining.authorize", "params": params})
    assert reply["error"][0] == 20


def test_ids_are_echoed_verbatim_and_null_is_not_answered() -> None:
    bench = Bench()
    raw = b"".join(
        b'{"id": %s, "method": "mining.ping"}\n' % text
        for text in (b'"auth"', b"1.50", b"12345678901234567890123456789", b"[1]", b"null")
    )
    bench.session.receive_data(raw + b'{"method":"mining.ping"}\n', NOW)
    assert bench.session.data_to_send().splitlines() == [
        b'{"id":"auth","result":"pong","error":null}',
        b'{"id":1.50,"result":"pong","error":null}',
        b'{"id":12345678901234567890123456789,"result":"pong","error":null}',
        b'{"id":[1],"result":"pong","error":null}',
    ]


def test_requests_with_a_null_id_are_carried_out() -> None:
    """BFGMiner suggests a target and its capabilities so, before it subscribes."""
    bench = Bench()
    target = f"{(0xFFFF << 208) // 64:064x}"
    replies = bench.send(
        {"id": None, "method": "mining.suggest_target", "params": [target]},
        {"id": None, "method": "mining.capabilities", "params": [{"notify": []}]},
        SUBSCRIBE | {"id": None},
        AUTHORIZE | {"id": None},
    )
    assert replies == []
    assert bench.session.suggested_difficulty == pytest.approx(64)
    assert bench.events == [ReadyToMine()]
    bench.give(make_job())
    assert bench.send({"id": None, "method": "mining.submit", "params": params_of("1")}) == []
    [found] = bench.events
    assert isinstance(found, ShareFound)
    bench.session.accept(found)
    assert bench.sent() == []


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("mining.extranonce.subscribe", True),
        ("mining.multi_version", True),
        ("mining.capabilities", True),
        ("mining.suggest_anything", True),
        ("mining.get_transactions", []),
        ("mining.ping", "pong"),
    ],
)
def test_small_methods(method: str, result: object) -> None:
    bench = Bench()
    [reply] = bench.send({"id": 1, "method": method, "params": []})
    assert reply == {"id": 1, "result": result, "error": None}
    assert bench.events == []


def test_unknown_methods_are_refused_and_harmless() -> None:
    bench = Bench()
    for _ in range(10):
        [reply] = bench.send({"id": 1, "method": "eth_submitLogin", "params": []})
        assert reply == {"id": 1, "result": False, "error": [20, "Unsupported method", None]}
    assert bench.session.state is State.CONNECTED


def test_pongs_and_responses_are_ignored() -> None:
    bench = Bench()
    messages = [
        {"id": 7, "method": "pong"},
        {"id": 8, "method": "mining.pong", "params": []},
        {"id": 9, "result": "pong", "error": None},
    ]
    assert bench.send(*messages * 5) == []
    assert bench.events == []


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ({"method": "mining.suggest_difficulty", "params": [1024]}, 1024),
        ({"method": "mining.suggest_difficulty", "params": ["512"]}, 512),
        ({"method": "mining.suggest_difficulty(256)"}, 256),
        ({"method": "mining.suggest_target", "params": [f"{(0xFFFF << 208) // 64:064x}"]}, 64),
        ({"method": f"mining.suggest_target({(0xFFFF << 208) // 64:x})"}, 64),
        ({"method": "mining.suggest_difficulty", "params": ["nan"]}, None),
        ({"method": "mining.suggest_difficulty", "params": []}, None),
        ({"method": "mining.suggest_target", "params": ["0" * 64]}, None),
    ],
)
def test_suggestions(message: dict[str, Any], value: float | None) -> None:
    bench = Bench()
    bench.handshake()
    [reply] = bench.send({"id": 1} | message)
    assert reply == {"id": 1, "result": True, "error": None}
    assert bench.session.suggested_difficulty == value
    assert bench.events == ([] if value is None else [WishesChanged()])


def test_a_wish_that_is_repeated_is_no_event() -> None:
    """NerdMiner keeps its connection alive with the same suggestion every 30 seconds."""
    bench = Bench()
    suggest = {"id": 1, "method": "mining.suggest_difficulty", "params": [0.00015]}
    bench.send(suggest)
    assert bench.events == []  # not ready yet: nobody is to be told
    bench.handshake()
    assert bench.events == [ReadyToMine()]
    for _ in range(5):
        [reply] = bench.send(suggest)
        assert reply["result"] is True
        assert bench.events == []
    bench.send(suggest | {"params": ["0.00015"]}, suggest | {"params": [0]})
    assert bench.events == []
    bench.send(suggest | {"params": [0.00016]}, suggest)
    assert bench.events == [WishesChanged(), WishesChanged()]


def test_difficulties_in_the_password() -> None:
    bench = Bench()
    bench.handshake(f"{ALICE}.s9", "x,D=4096;md=64.5 btc=1abc")
    assert bench.session.fixed_difficulty == 4096
    assert bench.session.minimum_difficulty == 64.5
    assert bench.events == [ReadyToMine()]
    again = {"id": 3, "method": "mining.authorize"}
    bench.send(again | {"params": [ALICE, "x"]})
    assert bench.events == []  # another worker of a proxy, with nothing to say
    bench.send(again | {"params": [BOB, "d=1"]}, again | {"params": [ALICE, "diff=4096"]})
    assert bench.events == []
    bench.send(again | {"params": [ALICE, "diff=8192"]})
    assert bench.events == [WishesChanged()]
    assert bench.session.fixed_difficulty == 8192
    assert bench.session.minimum_difficulty == 64.5


def test_the_larger_minimum_holds() -> None:
    bench = Bench()
    bench.handshake(password="md=1000")
    seen = []
    for value in (500, 2000, 2000, 0, "3000", None):
        options = {"minimum-difficulty.value": value}
        [reply] = bench.send(CONFIGURE | {"params": [["minimum-difficulty"], options]})
        assert reply["result"] == {"minimum-difficulty": value not in {0, None}}
        seen.append((bench.session.minimum_difficulty, bench.events == [WishesChanged()]))
    assert seen == [
        (1000, False),
        (2000, True),
        (2000, False),
        (1000, True),
        (3000, True),
        (1000, True),
    ]


def test_a_first_job_comes_with_its_difficulty_and_is_clean() -> None:
    bench = Bench()
    bench.handshake()
    bench.session.send_job(make_job(difficulty=1024), NOW)
    difficulty, notify = bench.sent()
    assert difficulty == {"id": None, "method": "mining.set_difficulty", "params": [1024]}
    assert notify["id"] is None
    assert notify["method"] == "mining.notify"
    assert notify["params"][8] is True


def test_one_set_difficulty_a_notify_and_only_when_it_changed() -> None:
    bench = Bench()
    bench.handshake()
    methods = []
    for difficulty in (64, 64, 128, 64, 64):
        bench.session.send_job(make_job(difficulty=difficulty), NOW)
        methods.append([(sent["method"].partition(".")[2]) for sent in bench.sent()])
    with_change = ["set_difficulty", "notify"]
    assert methods == [with_change, ["notify"], with_change, with_change, ["notify"]]


def test_a_difficulty_that_is_to_be_repeated_comes_with_the_next_job() -> None:
    bench, _ = ready_bench(difficulty=64)
    bench.session.repeat_difficulty()
    assert bench.sent() == []
    bench.session.send_job(make_job(difficulty=64), NOW)
    difficulty, notify = bench.sent()
    assert difficulty["params"] == [64]
    assert notify["params"][8] is True
    bench.session.send_job(make_job(difficulty=64), NOW)
    assert [sent["method"] for sent in bench.sent()] == ["mining.notify"]


def test_wishes_between_two_jobs_give_one_set_difficulty() -> None:
    bench = Bench()
    bench.handshake()
    bench.give(make_job(difficulty=64))
    for wish in (128, 256):
        replies = bench.send({"id": 1, "method": "mining.suggest_difficulty", "params": [wish]})
        assert [reply["id"] for reply in replies] == [1]
    bench.session.send_job(make_job(difficulty=bench.session.suggested_difficulty), NOW)
    assert bench.sent()[0]["params"] == [256]


def test_a_share_is_judged_by_its_own_jobs_difficulty() -> None:
    bench = Bench()
    bench.handshake()
    easy = bench.give(make_job())
    bench.give(make_job(difficulty=1 << 40, share_target=1, coinb1=bytes(61)))
    assert bench.submit(params_of(easy)) is None


def test_jobs_have_ids_of_their_own_and_clean_only_where_said() -> None:
    bench = Bench()
    bench.handshake()
    ids = [bench.session.send_job(make_job(), NOW) for _ in range(3)]
    ids.append(bench.session.send_job(make_job(clean=True), NOW))
    ids.append(bench.session.send_job(make_job(), NOW, clean=True))
    assert ids == ["1", "2", "3", "4", "5"]
    notifies = [sent["params"] for sent in bench.sent() if sent["method"] == "mining.notify"]
    assert [params[0] for params in notifies] == ids
    assert [params[8] for params in notifies] == [True, False, False, True, True]


def test_jobs_go_to_ready_sessions_of_their_account_only() -> None:
    bench = Bench()
    with pytest.raises(LocalProtocolError, match="connected"):
        bench.session.send_job(make_job(), NOW)
    bench.handshake()
    with pytest.raises(LocalProtocolError, match="another account"):
        bench.session.send_job(make_job(account=BOB), NOW)
    bench.session.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        bench.session.send_job(make_job(), NOW)


def ready_bench(**changes: Any) -> tuple[Bench, str]:
    bench = Bench()
    bench.handshake(f"{ALICE}.s9")
    return bench, bench.give(make_job(**changes))


def test_each_reject_code() -> None:
    unsubscribed = Bench()
    assert unsubscribed.submit(params_of("1"))[0] == RejectCode.NOT_SUBSCRIBED
    unauthorized = Bench()
    unauthorized.send(SUBSCRIBE)
    assert unauthorized.submit(params_of("1"))[0] == RejectCode.UNAUTHORIZED
    bench, job_id = ready_bench()
    assert bench.submit(params_of(job_id, user=BOB))[0] == RejectCode.UNAUTHORIZED
    assert bench.submit(params_of(job_id, user="?"))[0] == RejectCode.UNAUTHORIZED
    assert bench.submit([])[0] == RejectCode.OTHER
    assert bench.submit(params_of("ffff"))[0] == RejectCode.JOB_NOT_FOUND
    assert bench.submit(params_of(job_id)) is None
    assert bench.submit(params_of(job_id))[0] == RejectCode.DUPLICATE
    hard = bench.give(make_job(share_target=1))
    assert bench.submit(params_of(hard, nonce="01"))[0] == RejectCode.LOW_DIFFICULTY
    assert bench.events == [ShareRefused(Reject(RejectCode.LOW_DIFFICULTY, "Low difficulty share"))]


def test_the_form_of_a_submit_is_judged_before_its_sender() -> None:
    assert Bench().submit(["x"])[0] == RejectCode.OTHER


def test_a_job_of_another_connection_is_unknown() -> None:
    ids = JobIds()
    one, other = Bench(job_ids=ids), Bench(job_ids=ids)
    one.handshake()
    other.handshake()
    job_id = one.give(make_job())
    assert other.submit(params_of(job_id))[0] == RejectCode.JOB_NOT_FOUND


def test_forgotten_jobs_are_unknown() -> None:
    bench, old = ready_bench()
    for minute in range(1, 12):
        bench.give(make_job(), NOW + 60 * minute)
    assert bench.submit(params_of(old))[0] == RejectCode.JOB_NOT_FOUND


def test_another_worker_of_the_account_may_submit() -> None:
    bench, job_id = ready_bench()
    for number in range(3 * MAX_USERS_KNOWN):
        user = f"{ALICE}.w{number}"
        bench.send(
            {
                "id": 1,
                "method": "mining.submit",
                "params": params_of(job_id, user=user, nonce=f"{number:x}"),
            }
        )
        [found] = bench.events
        assert isinstance(found, ShareFound)
        assert found.share.worker == f"w{number}"
        assert bench.sent() == []
        check_bounds(bench)


def test_a_share_in_other_clothes_is_a_duplicate() -> None:
    seen, ids = SeenHashes(), JobIds()
    bench, other = Bench(seen=seen, job_ids=ids), Bench(seen=seen, job_ids=ids)
    for each in (bench, other):
        each.handshake()
    job = make_job(ntime=0x6B03F1AC)
    job_id, elsewhere = bench.give(job), other.give(job)
    fields: dict[str, Any] = {
        "ntime": job.ntime,
        "nonce": "000000ab",
        "extranonce2": "00000000000000cd",
    }
    first = params_of(job_id, **fields)
    assert bench.submit(first) is None
    clothes = [
        first,
        [first[0], *(value.upper() if at > 1 else value for at, value in enumerate(first[1:], 1))],
        [f"{ALICE}.other", *first[1:]],
        [ALICE.upper().replace("0X", "0x"), *first[1:]],
        [*first[:4], "ab"],
        [*first, "00000000"],
        [first[0], bench.give(job), *first[2:]],
    ]
    for params in clothes:
        assert bench.submit(params)[0] == RejectCode.DUPLICATE
    assert other.submit(params_of(elsewhere, **fields))[0] == RejectCode.DUPLICATE


def test_version_rolling_in_and_out_of_the_mask() -> None:
    bench, job_id = ready_bench()
    assert bench.submit(params_of(job_id, bits="00002000"))[0] == RejectCode.OTHER
    assert bench.submit(params_of(job_id, bits="00000000")) is None
    bench.send(CONFIGURE)
    assert bench.submit(params_of(job_id, bits="00002000")) is None
    assert bench.submit(params_of(job_id, bits="1fffe000")) is None
    assert bench.submit(params_of(job_id, bits="20000000"))[0] == RejectCode.OTHER
    assert bench.submit(params_of(job_id, bits="00000001"))[0] == RejectCode.OTHER


def test_answers_wait_for_the_owner() -> None:
    bench, job_id = ready_bench()
    requests = [
        {"id": number, "method": "mining.submit", "params": params_of(job_id, nonce=f"{number:x}")}
        for number in range(3)
    ]
    assert bench.send(*requests) == []
    first, second, third = [event for event in bench.events if isinstance(event, ShareFound)]
    assert bench.session.unanswered == 3
    bench.session.accept(third)
    bench.session.reject(first, Reject(RejectCode.OTHER, "Disk full"))
    assert bench.sent() == [
        {"id": 2, "result": True, "error": None},
        {"id": 0, "result": False, "error": [20, "Disk full", None]},
    ]
    with pytest.raises(LocalProtocolError, match="twice"):
        bench.session.accept(third)
    with pytest.raises(LocalProtocolError, match="twice"):
        bench.session.reject(first, Reject(RejectCode.OTHER, "Disk full"))
    bench.session.close()
    bench.session.accept(second)
    assert bench.sent() == []
    assert bench.session.unanswered == 0


@pytest.mark.parametrize("judgement", [RejectCode.DUPLICATE, RejectCode.JOB_NOT_FOUND])
def test_what_the_owner_could_not_keep_may_come_again(judgement: RejectCode) -> None:
    """A judgement stands: a stale share sent over and over must not look like work each time."""
    bench, job_id = ready_bench()
    request = {"id": 1, "method": "mining.submit", "params": params_of(job_id)}
    for code in (RejectCode.OTHER, judgement):
        bench.send(request)
        [found] = bench.events
        assert isinstance(found, ShareFound)
        bench.session.reject(found, Reject(code, "No"))
        bench.sent()
    assert bench.submit(params_of(job_id))[0] == RejectCode.DUPLICATE


def test_a_block_is_reported_before_all_else_and_once() -> None:
    bench, job_id = ready_bench(network_target=EASIEST, share_target=1)
    params = params_of(job_id)
    assert bench.submit(params)[0] == RejectCode.LOW_DIFFICULTY
    block, refused = bench.events
    assert isinstance(block, BlockFound)
    assert block.share.is_block
    assert isinstance(refused, ShareRefused)
    bench.submit(params)
    assert len(bench.events) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user": BOB}, RejectCode.UNAUTHORIZED),
        ({"user": "?"}, RejectCode.UNAUTHORIZED),
        ({"bits": "00002000"}, RejectCode.OTHER),
        ({"ntime": NTIME - 1}, RejectCode.OTHER),
        ({"ntime": NTIME + 7001}, RejectCode.OTHER),
    ],
)
def test_whatever_has_a_header_is_looked_at_for_a_block(
    changes: dict[str, Any], code: RejectCode
) -> None:
    bench, job_id = ready_bench(network_target=EASIEST)
    assert bench.submit(params_of(job_id, **changes))[0] == code
    block, refused = bench.events
    assert isinstance(block, BlockFound)
    assert isinstance(refused, ShareRefused)
    assert len(bench.seen) == 0
    ordinary, job_id = ready_bench()
    assert ordinary.submit(params_of(job_id, **changes))[0] == code
    assert len(ordinary.events) == 1


def test_a_block_that_comes_again_is_a_duplicate_and_no_news() -> None:
    bench, job_id = ready_bench(network_target=EASIEST)
    assert bench.submit(params_of(job_id)) is None
    assert bench.submit(params_of(job_id))[0] == RejectCode.DUPLICATE
    assert [type(event) for event in bench.events] == [ShareRefused]


def test_the_order_of_checks() -> None:
    """Form, subscription, user, job, version bits, ntime, target, duplicate."""
    fields: dict[str, Any] = {"user": BOB, "bits": "20000000", "ntime": NTIME - 1, "nonce": "1"}
    assert Bench().submit([*params_of("ffff", **fields), "more"])[0] == RejectCode.OTHER
    assert Bench().submit(params_of("ffff", **fields))[0] == RejectCode.NOT_SUBSCRIBED
    bench, job_id = ready_bench(share_target=1)
    errors = [bench.submit(params_of("ffff", **fields))]
    del fields["user"]
    errors.append(bench.submit(params_of("ffff", **fields)))
    for solved in ("bits", "ntime", "none"):
        errors.append(bench.submit(params_of(job_id, **fields)))
        fields.pop(solved, None)
    assert [error[:2] for error in errors] == [
        [RejectCode.UNAUTHORIZED, "Unauthorized worker"],
        [RejectCode.JOB_NOT_FOUND, "Job not found"],
        [RejectCode.OTHER, "Version bits outside the agreed mask"],
        [RejectCode.OTHER, "Ntime out of range"],
        [RejectCode.LOW_DIFFICULTY, "Low difficulty share"],
    ]


def test_short_nonces_and_version_bits_are_padded() -> None:
    bench, job_id = ready_bench()
    bench.send(CONFIGURE)
    assert bench.submit(params_of(job_id, nonce="ab", bits="6000")) is None
    [found] = bench.events
    assert isinstance(found, ShareFound)
    assert found.share.nonce_le == b"\xab\x00\x00\x00"
    assert found.share.version_le == bytes.fromhex("00600020")
    for again in ({"nonce": "000000AB"}, {"bits": "00006000"}):
        fields: dict[str, Any] = {"nonce": "ab", "bits": "6000"}
        error = bench.submit(params_of(job_id, **(fields | again)))
        assert error[0] == RejectCode.DUPLICATE


def test_a_share_that_is_a_block_is_both() -> None:
    bench, job_id = ready_bench(network_target=EASIEST)
    assert bench.submit(params_of(job_id)) is None
    block, found = bench.events
    assert isinstance(block, BlockFound)
    assert isinstance(found, ShareFound)
    assert found.share == block.share


def test_reconnect_leaves_the_address_to_the_miner() -> None:
    bench, _ = ready_bench()
    bench.session.reconnect(0)
    bench.session.reconnect(30)
    assert bench.session.data_to_send().splitlines() == [
        b'{"id":null,"method":"client.reconnect","params":[]}',
        b'{"id":null,"method":"client.reconnect","params":[null,null,30]}',
    ]
    for wait in (-1, 3601):
        with pytest.raises(ValueError, match="wait"):
            bench.session.reconnect(wait)
    assert bench.sent() == []


def test_messages_are_one_printable_line() -> None:
    bench, _ = ready_bench()
    bench.session.show_message("Hello\r\n\x1b[31m" + "x" * 500)
    [shown] = bench.sent()
    assert shown == {
        "id": None,
        "method": "client.show_message",
        "params": ["Hello[31m" + "x" * (256 - 12)],
    }


def test_nothing_unasked_before_a_miner_is_ready_nor_after_the_end() -> None:
    """cpuminer takes the first line that comes for the reply to its subscribe."""
    bench = Bench()
    for state in ("connected", "closed"):
        with pytest.raises(LocalProtocolError, match=state):
            bench.session.reconnect(0)
        with pytest.raises(LocalProtocolError, match=state):
            bench.session.show_message("hello")
        assert bench.sent() == []
        bench.session.close()


def test_lines_are_counted_where_they_are_messages() -> None:
    bench = Bench()
    bench.send_raw(b"\n\r\n")
    bench.send_raw(b"junk\n" + line(SUBSCRIBE)[:-1])
    counts = [bench.session.lines]
    bench.send_raw(b"\n" + line({"id": 1, "result": "pong", "error": None}))
    bench.send({"id": None, "method": "mining.ping"}, {"id": 3, "method": "frob"})
    counts.append(bench.session.lines)
    assert counts == [0, 4]


def test_commitments() -> None:
    bench, job_id = ready_bench(tag="the work")
    bare = bench.give(make_job(tag=None))
    ask = {"id": 1, "method": "mining.get_commitment"}
    assert bench.send(ask | {"params": [job_id]})[0]["result"] == {"tag": "the work"}
    assert bench.send(ask | {"params": [bare]})[0]["error"][0] == 20
    for params in ([], ["ffff"], [7], [[job_id]]):
        [reply] = bench.send(ask | {"params": params})
        assert reply["result"] is False
        assert reply["error"][0] == 21


def test_the_fourth_line_of_junk_closes() -> None:
    bench = Bench()
    for number in range(3):
        [reply] = bench.send_raw(b"GET / HTTP/1.1\r\n")
        assert reply == {"id": None, "result": False, "error": [20, "Malformed JSON", None]}
        assert bench.events == [JunkReceived("Malformed JSON")], number
    assert bench.send(SUBSCRIBE)[0]["error"] is None
    bench.send_raw(b'{"id":5}\n' + line(SUBSCRIBE))
    assert bench.events[-1] == Closed(CloseReason.TOO_MUCH_JUNK)
    assert bench.session.state is State.CLOSED
    assert bench.send(SUBSCRIBE) == []
    assert bench.events == []


def test_an_overlong_line_closes_with_a_word() -> None:
    bench = Bench()
    replies = bench.send_raw(line(SUBSCRIBE) + b"x" * (9 * 1024))
    assert [reply["error"] for reply in replies] == [None, [20, "Line too long", None]]
    assert bench.events == [Closed(CloseReason.LINE_TOO_LONG)]


def test_an_extranonce1_has_four_bytes() -> None:
    with pytest.raises(ValueError, match="4"):
        Bench(extranonce1=b"123")


TRANSCRIPT = b"".join(line(message) for way, message in CPUMINER["transcript"] if way == "<")
MUTATION = st.tuples(st.integers(0, len(TRANSCRIPT) - 1), st.integers(0, 40), st.binary(max_size=8))


def check_bounds(bench: Bench) -> None:
    session = bench.session
    assert len(session._line_buffer) <= MAX_LINE + 1
    assert len(session.jobs) <= 256
    assert len(session._users) <= MAX_USERS_KNOWN
    assert len(session.user_agent) <= 128
    assert len(session._out) == 0


def check_output(data: bytes) -> None:
    for text in data.splitlines():
        reply = json.loads(text)
        assert reply.keys() in ({"id", "result", "error"}, {"id", "method", "params"})
        # Never set_extranonce, over which M3 proxies lose shares, nor what cgminer does not know.
        assert reply.get("method") in {None, "mining.set_difficulty", "mining.notify"}


@given(st.lists(MUTATION, min_size=1, max_size=8), st.integers(1, 400))
@example([(TRANSCRIPT.index(b"aa."), 1, b"b")], 400)  # another address, as good as the recorded one
def test_spoiled_transcripts_never_raise(
    mutations: list[tuple[int, int, bytes]], size: int
) -> None:
    stream = bytearray(TRANSCRIPT)
    for at, cut, inserted in mutations:
        stream[at : at + cut] = inserted
    bench = recorded_bench(CPUMINER)
    job = job_from_notify(*recorded_notify(CPUMINER))
    for at in range(0, len(stream), size):
        bench.events = bench.session.receive_data(bytes(stream[at : at + size]), NOW)
        if bench.session.state is State.READY:
            account = bench.session.account or ""
            serve(bench, msgspec.structs.replace(job, account=account), NOW)
        check_output(bench.session.data_to_send())
        check_bounds(bench)


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_noise_never_raises(chunks: list[bytes]) -> None:
    bench = Bench()
    for chunk in chunks:
        bench.session.receive_data(chunk, NOW)
        check_output(bench.session.data_to_send())
        check_bounds(bench)


METHODS = [
    "mining.configure",
    "mining.subscribe",
    "mining.authorize",
    "mining.submit",
    "mining.suggest_difficulty",
    "mining.suggest_target",
    "mining.get_commitment",
    "mining.get_transactions",
]
WIRE_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([ALICE, f"{ALICE}.w", "1", "version-rolling", "version-rolling.mask"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.tuples(st.sampled_from(METHODS), WIRE_VALUE, WIRE_VALUE), max_size=10))
def test_any_params_get_an_answer(calls: list[tuple[str, object, object]]) -> None:
    bench = Bench()
    bench.handshake()
    bench.give(make_job(tag="x"))
    for method, id_, params in calls:
        text = json.dumps({"id": id_, "method": method, "params": params}, ensure_ascii=False)
        bench.session.receive_data(text.encode("utf-8", "surrogatepass") + b"\n", NOW)
        data = bench.session.data_to_send()
        check_output(data)
        if id_ is not None:
            assert data.count(b"\n") == 1
        check_bounds(bench)
