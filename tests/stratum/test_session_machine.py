"""A session against a model of it, under any sequence of calls."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stratum.errors import Reject, RejectCode
from stratum.jobs import JobBook
from stratum.session import (
    Closed,
    ReadyToMine,
    Resumable,
    ShareFound,
    State,
    WishesChanged,
)
from tests.stratum.support import ALICE, BOB, NOW, Bench, line, make_job, params_of

USERS = [ALICE, f"{ALICE}.s9", ALICE.upper().replace("X", "x"), BOB, f"{BOB}.x", "nobody"]


WISHES = ("suggested", "fixed", "minimum", "configured")
PASSWORDS: dict[str, dict[str, float | None]] = {
    "x": {},
    "wrong": {},
    "d=64": {"fixed": 64},
    "x;diff=128 , md=32": {"fixed": 128, "minimum": 32},
    "md=0.5": {"minimum": 0.5},
}


def account(user: str) -> str | None:
    return user.partition(".")[0].lower() if user.startswith("0x") else None


class SessionMachine(RuleBasedStateMachine):
    @initialize()
    def connect(self) -> None:
        self.lost = Resumable(b"\xb0\x00\x00\x07", JobBook())
        self.bench = Bench(resume=self.resume)
        self.now = NOW
        self.subscribed = False
        self.extranonce1 = "a0000001"
        self.resumed = 0
        self.mask = 0
        self.wishes: dict[str, float | None] = dict.fromkeys(WISHES)
        self.lines = 0
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

    def resume(self, session_id: str) -> Resumable | None:
        self.resumed += 1
        return self.lost if session_id == "b0000007" else None

    def receive(self, data: bytes) -> list[Any]:
        if self.open:
            self.lines += data != b"junk\n"
        before = self.bench.session.state, self.in_force()
        events = self.bench.session.receive_data(data, self.now)
        changed = before[0] is State.READY and self.in_force() != before[1]
        assert events.count(WishesChanged()) == changed
        self.ready_events += events.count(ReadyToMine())
        self.closed_events += sum(isinstance(event, Closed) for event in events)
        self.waiting += [event for event in events if isinstance(event, ShareFound)]
        sent = self.bench.session.data_to_send()
        assert sent == b"" or sent.endswith(b"\n")
        return [json.loads(text) for text in sent.splitlines()]

    def in_force(self) -> tuple[float | None, ...]:
        session = self.bench.session
        return session.suggested_difficulty, session.fixed_difficulty, session.minimum_difficulty

    @property
    def open(self) -> bool:
        return self.bench.session.state is not State.CLOSED

    @rule(session_id=st.sampled_from([None, "", "b0000007", "ae6812eb4cd7735a302a8a9dd95cf71f"]))
    def subscribe(self, session_id: str | None) -> None:
        reply = self.send("mining.subscribe", ["agent", session_id])
        if not self.open:
            return
        if not self.subscribed and session_id == "b0000007":
            self.extranonce1 = session_id
        sid = self.extranonce1
        subscriptions = [["mining.set_difficulty", sid], ["mining.notify", sid]]
        assert reply["result"] == [subscriptions, sid, 8]
        self.subscribed = True

    @rule(user=st.sampled_from(USERS), password=st.sampled_from(list(PASSWORDS)))
    def authorize(self, user: str, password: str) -> None:
        reply = self.send("mining.authorize", [user, password])
        if not self.open:
            return
        mine = account(user)
        good = mine is not None and self.account in {None, mine} and password != "wrong"
        assert reply["result"] is good
        assert good or reply["error"][0] == 24
        if good:
            self.account = mine
            self.wishes |= PASSWORDS[password]

    @rule(difficulty=st.sampled_from([0.5, 64, "64", 1024, 0, "x", None]))
    def suggest(self, difficulty: object) -> None:
        reply = self.send("mining.suggest_difficulty", [difficulty])
        if self.open:
            assert reply["result"] is True
            if difficulty in {0.5, 64, "64", 1024}:
                self.wishes["suggested"] = float(str(difficulty))

    @rule(
        names=st.lists(st.sampled_from(["version-rolling", "minimum-difficulty", "info"])),
        mask=st.sampled_from(["ffffffff", "00c00000", "00000001"]),
        minimum=st.sampled_from([0, 32, 128]),
    )
    def configure(self, names: list[str], mask: str, minimum: int) -> None:
        options = {"version-rolling.mask": mask, "minimum-difficulty.value": minimum}
        reply = self.send("mining.configure", [names, options])
        if not self.open:
            return
        expected: dict[str, object] = {}
        if "version-rolling" in names:
            self.mask = int(mask, 16) & 0x1FFFE000
            expected["version-rolling"] = self.mask != 0
            if self.mask:
                expected["version-rolling.mask"] = f"{self.mask:08x}"
        if "minimum-difficulty" in names:
            self.wishes["configured"] = minimum or None
            expected["minimum-difficulty"] = minimum > 0
        if "info" in names:
            expected["info"] = True
        assert reply["result"] == expected

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

    @rule(
        user=st.sampled_from(USERS),
        nonce=st.integers(0, 3),
        age=st.integers(0, 12),
        bits=st.sampled_from([0, 0, 0x400000, 0x2000]),
    )
    def submit(self, user: str, nonce: int, age: int, bits: int) -> None:
        known = list(self.jobs)
        job_id = known[-1 - age] if age < len(known) else "ffff"
        before = len(self.waiting)
        params = params_of(job_id, user=user, nonce=f"{nonce:x}", bits=f"{bits:x}")
        reply = self.send("mining.submit", params)
        if not self.open:
            assert reply is None
        elif not self.subscribed:
            assert reply["error"][0] == 25
        elif self.account is None or account(user) != self.account:
            assert reply["error"][0] == 24
        elif job_id == "ffff":
            assert reply["error"][0] == 21
        elif bits & ~self.mask:
            assert reply["error"][0] in {20, 21}  # its job may be forgotten by now
        elif (share := (self.jobs[job_id], f"{nonce:x} {bits:x}")) in self.counted:
            assert reply["error"][0] in {21, 22}  # its job may be forgotten by now
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
        assert session.extranonce1.hex() == session.session_id == self.extranonce1
        assert self.resumed <= 1
        assert session.version_mask == self.mask
        assert session.lines == self.lines
        wishes = self.wishes
        minimums = [wishes[key] or 0 for key in ("minimum", "configured")]
        assert self.in_force() == (wishes["suggested"], wishes["fixed"], max(minimums) or None)


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestSession = SessionMachine.TestCase
