"""A session against a model of it, under any sequence of calls."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stratum.errors import Reject, RejectCode
from stratum.session import Closed, ReadyToMine, ShareFound, State
from tests.stratum.support import ALICE, BOB, NOW, Bench, line, make_job, params_of

USERS = [ALICE, f"{ALICE}.s9", ALICE.upper().replace("X", "x"), BOB, f"{BOB}.x", "nobody"]


def account(user: str) -> str | None:
    return user.partition(".")[0].lower() if user.startswith("0x") else None


class SessionMachine(RuleBasedStateMachine):
    @initialize()
    def connect(self) -> None:
        self.bench = Bench()
        self.now = NOW
        self.subscribed = False
        self.account: str | None = None
        self.ready_events = 0
        self.closed_events = 0
        self.junk = 0
        self.next_id = 0
        self.jobs: dict[str, bytes] = {}
        self.difficulty: int | None = None
        self.counted: set[tuple[bytes, str]] = set()
        self.waiting: list[ShareFound] = []
        self.incoming = b""

    def send(self, method: str, params: list[Any]) -> Any:
        """Send a request, return its only reply (None where none came)."""
        self.next_id += 1
        text = line({"id": self.next_id, "method": method, "params": params})
        replies = self.receive(text)
        assert all(reply["id"] == self.next_id for reply in replies)
        assert len(replies) <= 1
        return replies[0] if replies else None

    def receive(self, data: bytes) -> list[Any]:
        events = self.bench.session.receive_data(data, self.now)
        self.ready_events += events.count(ReadyToMine())
        self.closed_events += sum(isinstance(event, Closed) for event in events)
        self.waiting += [event for event in events if isinstance(event, ShareFound)]
        sent = self.bench.session.data_to_send()
        assert sent == b"" or sent.endswith(b"\n")
        return [json.loads(text) for text in sent.splitlines()]

    @property
    def open(self) -> bool:
        return self.bench.session.state is not State.CLOSED

    @rule()
    def subscribe(self) -> None:
        reply = self.send("mining.subscribe", [])
        if self.open:
            assert reply["result"][1:] == ["a0000001", 8]
            self.subscribed = True

    @rule(user=st.sampled_from(USERS))
    def authorize(self, user: str) -> None:
        reply = self.send("mining.authorize", [user, "x"])
        if not self.open:
            return
        mine = account(user)
        good = mine is not None and self.account in (None, mine)
        assert reply["result"] is good
        assert good or reply["error"][0] == 24
        if good:
            self.account = mine

    @rule()
    def junk_line(self) -> None:
        was_open = self.open
        replies = self.receive(b"junk\n")
        assert len(replies) == was_open
        self.junk += was_open

    @rule(difficulty=st.sampled_from([1, 64, 128]), later=st.integers(0, 100))
    @precondition(lambda self: self.bench.session.state is State.READY)
    def job(self, difficulty: int, later: int) -> None:
        self.now += later
        coinb1 = len(self.jobs).to_bytes(60, "big")
        job = make_job(coinb1=coinb1, difficulty=difficulty, account=self.account)
        job_id = self.bench.session.send_job(job, self.now)
        assert job_id not in self.jobs
        self.jobs[job_id] = coinb1
        sent = self.bench.sent()
        assert len(sent) == 1 + (difficulty != self.difficulty)
        assert sent[-1]["params"][0] == job_id
        assert sent[-1]["params"][8] is (self.difficulty is None)
        self.difficulty = difficulty

    @rule(user=st.sampled_from(USERS), nonce=st.integers(0, 3), age=st.integers(0, 12))
    def submit(self, user: str, nonce: int, age: int) -> None:
        known = list(self.jobs)
        job_id = known[-1 - age] if age < len(known) else "ffff"
        before = len(self.waiting)
        reply = self.send("mining.submit", params_of(job_id, user=user, nonce=f"{nonce:x}"))
        if not self.open:
            assert reply is None
        elif not self.subscribed:
            assert reply["error"][0] == 25
        elif self.account is None or account(user) != self.account:
            assert reply["error"][0] == 24
        elif job_id == "ffff":
            assert reply["error"][0] == 21
        elif (share := (self.jobs[job_id], f"{nonce:x}")) in self.counted:
            assert reply["error"][0] in (21, 22)  # its job may be forgotten by now
        elif reply is not None:
            assert reply["error"][0] == 21
            assert age >= 8
        else:
            assert len(self.waiting) == before + 1
            self.counted.add(share)

    @rule(at=st.integers(0, 5), good=st.booleans())
    @precondition(lambda self: self.waiting)
    def answer(self, at: int, good: bool) -> None:
        event = self.waiting.pop(at % len(self.waiting))
        if good:
            self.bench.session.accept(event)
        else:
            self.bench.session.reject(event, Reject(RejectCode.DUPLICATE, "Known"))
        replies = self.bench.sent()
        assert len(replies) == self.open
        if replies:
            assert json.dumps(replies[0]["id"]).encode() == event.request_id
            assert replies[0]["result"] is good

    @invariant()
    def state_follows_from_what_came(self) -> None:
        session = self.bench.session
        assert self.open == (self.junk <= 3)
        assert self.closed_events == (not self.open)
        ready = self.subscribed and self.account is not None
        assert self.ready_events == ready
        assert session.account == self.account
        if self.open:
            assert (session.state is State.READY) == ready
        assert session.unanswered == len(self.waiting)
        assert session.data_to_send() == b""


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestSession = SessionMachine.TestCase
