"""Many sessions of one server under spoiled transcripts: none may raise, and nothing may grow."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec

from stratum.errors import Reject, RejectCode
from stratum.jobs import EXTRANONCE1_SIZE, JobIds
from stratum.messages import MAX_LINE
from stratum.session import (
    Closed,
    Event,
    ReadyToMine,
    Resumable,
    Session,
    ShareFound,
    State,
)
from stratum.shares import SeenHashes
from stratum.users import MAX_USERS_KNOWN
from tests.fuzz.mutations import Mutator
from tests.stratum.replay import TIME, TRANSCRIPTS, packet
from tests.stratum.support import EASIEST, HASHLIB, account_or_reject, make_job

SESSIONS = 16
"""Open at a time; one that has closed makes room for another."""

MAX_WAITING = 32
"""Shares of one session whose answer the owner puts off."""

LONGEST_LIFE = 2000
"""Packets after which a session is lost."""

SCRIPTS = [
    [packet(step["client"]) for step in transcript["talk"] if "client" in step]
    for transcript in TRANSCRIPTS
]

# An id comes back as it was written, also where it is a number no float holds.
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_REPLY = {"id", "result", "error"}
_NOTIFICATION = {"id", "method", "params"}


class InputFailed(AssertionError):
    """An input that a session did not survive, or answered wrongly."""


class _Connection:
    def __init__(self, session: Session, script: list[bytes]) -> None:
        self.session = session
        self.script = script
        self.packets = 0
        self.job_id = ""
        self.waiting: list[ShareFound] = []


class Campaign:
    """A seeded run. Attributes to read: inputs (packets sent so far), events (how many of each)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inputs = 0
        self.events: Counter[str] = Counter()
        self._random = Random(seed)
        self._mutator = Mutator(self._random, [data for script in SCRIPTS for data in script])
        self._seen = SeenHashes(1 << 12)
        self._blocks_seen = SeenHashes(1 << 8)
        self._job_ids = JobIds()
        self._opened = 0
        self._jobs = 0
        self._now = TIME
        self._lost: dict[str, Resumable] = {}
        self._connections = [self._open() for _ in range(SESSIONS)]

    def run(self, inputs: int) -> None:
        """Send so many more packets. Raises InputFailed for the first that does harm."""
        for _ in range(inputs):
            slot = int(self._random.random() * SESSIONS)
            connection = self._connections[slot]
            data = self._next_packet(connection)
            self.inputs += 1
            try:
                self._send(connection, data)
                self._check(connection.session)
            except Exception as error:
                raise InputFailed(f"seed {self.seed}, input {self.inputs}: {data!r}") from error
            if connection.session.state is State.CLOSED or connection.packets > LONGEST_LIFE:
                self._lose(connection)
                self._connections[slot] = self._open()

    def _open(self) -> _Connection:
        self._opened += 1
        session = Session(
            extranonce1=self._opened.to_bytes(EXTRANONCE1_SIZE, "big"),
            account_of=account_or_reject,
            explain=lambda tag: {"tag": tag} if isinstance(tag, str) else None,
            seen=self._seen,
            blocks_seen=self._blocks_seen,
            job_ids=self._job_ids,
            hasher=HASHLIB,
            resume=lambda session_id: self._lost.pop(session_id, None),
        )
        return _Connection(session, self._random.choice(SCRIPTS))

    def _lose(self, connection: _Connection) -> None:
        session = connection.session
        session.close()
        for event in connection.waiting:
            session.accept(event)
        self._lost = {"a0000001": Resumable(session.extranonce1, session.jobs)}

    def _next_packet(self, connection: _Connection) -> bytes:
        """Return the next of its script with a job it has, spoiled every other time."""
        data = connection.script[connection.packets % len(connection.script)]
        connection.packets += 1
        if connection.job_id:
            for written in (b'"1"', b'"2"', b'"3"'):
                data = data.replace(written, b'"%s"' % connection.job_id.encode())
        return data if self._random.random() < 1 / 2 else self._mutator.spoil(data)

    def _send(self, connection: _Connection, data: bytes) -> None:
        session, random = connection.session, self._random
        self._now += random.random()
        cut = int(random.random() * 3 * len(data))
        events = session.receive_data(data[:cut], self._now)
        events += session.receive_data(data[cut:], self._now)
        for event in events:
            self._handle(connection, event)
        if session.state is State.READY:
            chance = random.random()
            if chance < 0.1:
                self._send_job(connection)
            elif chance < 0.11:
                session.reconnect(int(random.random() * 10))
            elif chance < 0.12:
                session.show_message("A message")
        while len(connection.waiting) > MAX_WAITING * random.random():
            self._answer(session, connection.waiting.pop())

    def _handle(self, connection: _Connection, event: Event) -> None:
        self.events[type(event).__name__] += 1
        match event:
            case ReadyToMine() if connection.session.state is State.READY:
                self._send_job(connection)
            case ShareFound():
                connection.waiting.append(event)
            case Closed():
                if connection.session.state is not State.CLOSED:
                    raise InputFailed("Closed came from a session that is open")

    def _send_job(self, connection: _Connection) -> None:
        self._jobs += 1
        kind = self._jobs % 4
        session = connection.session
        connection.job_id = session.send_job(
            make_job(
                coinb1=self._jobs.to_bytes(60, "big"),
                account=session.account,
                difficulty=1 << kind,
                share_target=1 if kind == 3 else EASIEST,
                network_target=EASIEST >> 2 if kind == 2 else 0,
                tag="work" if kind else None,
            ),
            self._now,
        )

    def _answer(self, session: Session, event: ShareFound) -> None:
        chance = self._random.random()
        if chance < 0.8:
            session.accept(event)
        else:
            code = RejectCode.OTHER if chance < 0.9 else RejectCode.JOB_NOT_FOUND
            session.reject(event, Reject(code, "No"))

    def _check(self, session: Session) -> None:
        sent = session.data_to_send()
        if sent and not sent.endswith(b"\n"):
            raise InputFailed("half a line was sent")
        for line in sent.splitlines():
            keys = _decode(line).keys()
            if keys not in (_REPLY, _NOTIFICATION):
                raise InputFailed(f"sent a line with {keys}")
        bounds = (
            (len(session._line_buffer), MAX_LINE + 1),
            (len(session.jobs), 256),
            (len(session._users), MAX_USERS_KNOWN),
            (len(session.user_agent), 128),
            (len(session._out), 0),
            (len(session._events), 0),
        )
        for size, most in bounds:
            if size > most:
                raise InputFailed(f"a session holds {bounds}")
