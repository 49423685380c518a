"""One miner's connection as a state machine: bytes in, events out, bytes to send.

No socket, no clock, no task: the owner hands in what arrived and the time, reads the events, and
sends `data_to_send()`. Rules that everything here keeps:

1. Nothing a client sends raises, and none of it is kept without a bound.
2. Each request is answered in its turn, exactly once, unless its id is null or missing. A submit
   that may be good is the exception: it is answered when the owner says so, since only the
   owner knows when it is safely stored.
3. Between replies nothing is sent but `mining.set_difficulty` and `mining.notify`: cgminer
   takes any other line for the reply it waits for (util.c, auth_stratum).
4. configure, subscribe and authorize come in any order, and in one packet if they like.
5. The first authorised account binds the connection, because a job's coinbase pays one.

    CONNECTED --subscribe and authorize, in any order--> READY --junk, close()--> CLOSED
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stratum.difficulty import difficulty_from_target
from stratum.errors import LocalProtocolError, Reject, RejectCode
from stratum.jobs import (
    EXTRANONCE1_SIZE,
    EXTRANONCE2_SIZE,
    VERSION_MASK,
    IssuedJob,
    Job,
    JobBook,
    JobIds,
)
from stratum.messages import (
    Junk,
    LineBuffer,
    Request,
    decode,
    encode_notification,
    encode_reject,
    encode_result,
    encode_true,
)
from stratum.shares import RefusedBlock, SeenHashes, Share, judge, parse_submission

MAX_JUNK_LINES: Final = 3
"""Lines that are no message are answered up to this many; one more closes the connection."""

MAX_USER: Final = 128
"""Longest user name: cgminer and ESP-Miner build a whole submit in 1,024 bytes."""

MAX_USERS_KNOWN: Final = 16
"""User names of one connection whose account is remembered; others are looked up each time."""

_MALFORMED_AUTHORIZE = Reject(RejectCode.OTHER, "Authorize takes a user name and a password")
_MALFORMED_CONFIGURE = Reject(RejectCode.OTHER, "Configure takes a list of extensions")
_BAD_USER = Reject(RejectCode.UNAUTHORIZED, f"User name is not 1..{MAX_USER} printable characters")
_OTHER_ACCOUNT = Reject(RejectCode.UNAUTHORIZED, "This connection works for another account")
_NOT_AUTHORIZED = Reject(RejectCode.UNAUTHORIZED, "Unauthorized worker")
_NOT_SUBSCRIBED = Reject(RejectCode.NOT_SUBSCRIBED, "Not subscribed")
_JOB_NOT_FOUND = Reject(RejectCode.JOB_NOT_FOUND, "Job not found")
_NO_COMMITMENT = Reject(RejectCode.OTHER, "This job has no commitment to show")
_UNSUPPORTED = Reject(RejectCode.OTHER, "Unsupported method")
_LINE_TOO_LONG = Reject(RejectCode.OTHER, "Line too long")


class State(enum.Enum):
    """Where a connection stands; see the drawing above."""

    CONNECTED = "connected"
    READY = "ready"
    CLOSED = "closed"


class CloseReason(enum.StrEnum):
    """Why a session ended itself."""

    LINE_TOO_LONG = "line too long"
    TOO_MUCH_JUNK = "too many lines that are no message"


@dataclass(frozen=True, slots=True)
class ReadyToMine:
    """The miner has subscribed and an account is authorised: send it a job. Comes once."""


@dataclass(frozen=True, slots=True)
class ShareFound:
    """A good share, not answered yet: give this event to `accept` or `reject`, once."""

    share: Share
    request_id: bytes | None
    number: int


@dataclass(frozen=True, slots=True)
class BlockFound:
    """A header that solves a block of the network. Comes before the share is judged otherwise."""

    share: Share


@dataclass(frozen=True, slots=True)
class ShareRefused:
    """A submit was refused, and has been answered."""

    reject: Reject


@dataclass(frozen=True, slots=True)
class JunkReceived:
    """A line was no message."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: send what is left of `data_to_send()` and close the connection."""

    reason: CloseReason


Event = ReadyToMine | ShareFound | BlockFound | ShareRefused | JunkReceived | Closed


def split_user(user: str) -> tuple[str, str]:
    """Return account and worker of a user name: what is before and after its first dot."""
    account, _, worker = user.partition(".")
    return account, worker


class Session:
    """The pool's side of one connection.

    extranonce1: 4 bytes no other open connection has. account_of: returns the account a user name
    mines for, in one spelling however it was written, or the Reject it gets. explain: returns what
    a job's tag commits to as a JSON object, or None. seen, blocks_seen, job_ids: shared by all
    sessions of a server. session_id: what subscribe hands out, extranonce1 in hex by default.

    Attributes to read: state, account (None until authorised), worker (of the first authorised user
    name), user_agent, suggested_difficulty (last one suggested, None without), version_mask (agreed
    bits, 0 before any), unanswered (submits the owner has not answered).
    """

    def __init__(
        self,
        *,
        extranonce1: bytes,
        account_of: Callable[[str], str | Reject],
        explain: Callable[[object], dict[str, object] | None],
        seen: SeenHashes,
        blocks_seen: SeenHashes,
        job_ids: JobIds,
        session_id: str | None = None,
    ) -> None:
        if len(extranonce1) != EXTRANONCE1_SIZE:
            raise ValueError(f"extranonce1 has {len(extranonce1)} bytes, not {EXTRANONCE1_SIZE}")
        self.extranonce1 = extranonce1
        self.session_id = extranonce1.hex() if session_id is None else session_id
        self.state = State.CONNECTED
        self.account: str | None = None
        self.worker = ""
        self.user_agent = ""
        self.suggested_difficulty: int | float | None = None
        self.version_mask = 0
        self.jobs = JobBook()
        self._account_of = account_of
        self._explain = explain
        self._seen = seen
        self._blocks_seen = blocks_seen
        self._job_ids = job_ids
        self._subscribed = False
        self._workers: dict[str, str] = {}
        self._lines = LineBuffer()
        self._junk_lines = 0
        self._difficulty_sent: int | float | None = None
        self._unanswered: set[int] = set()
        self._submits = 0
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._now = 0.0

    @property
    def unanswered(self) -> int:
        """How many ShareFound events wait for `accept` or `reject`."""
        return len(self._unanswered)

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes that arrived at `now` (Unix seconds); return what they led to, in order.

        Never raises for anything in `data`. After the session is closed it does nothing.
        """
        self._now = now
        for line in self._lines.feed(data):
            if self.state is State.CLOSED:
                break
            self._handle_line(line)
        if self._lines.overflowed and self.state is not State.CLOSED:
            self._out.append(encode_reject(b"null", _LINE_TOO_LONG))
            self._end(CloseReason.LINE_TOO_LONG)
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes to send, each once; they are whole lines."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send_job(self, job: Job, now: float, *, clean: bool = False) -> str:
        """Give the miner a job at `now` (Unix seconds), return the new id it goes under.

        A `mining.set_difficulty` goes right before it when the difficulty differs from the one
        last sent, and at no other time: cgminer applies the second of two only one job later, and
        S19 counts shares by whatever came last. The miner is told to drop older work if the job
        says so, or `clean` does, or it is the first job. Raises LocalProtocolError when the session
        is not ready, or the job is another account's.
        """
        if self.state is not State.READY:
            raise LocalProtocolError(f"a job was sent to a connection that is {self.state.value}")
        if job.account != self.account:
            raise LocalProtocolError("a job was sent to a connection of another account")
        first = self._difficulty_sent is None
        if job.difficulty != self._difficulty_sent:
            self._out.append(encode_notification("mining.set_difficulty", [job.difficulty]))
            self._difficulty_sent = job.difficulty
        job_id = self._job_ids.next()
        self.jobs.add(IssuedJob(job_id, job, now, job.coinb1 + self.extranonce1, self.extranonce1))
        params = job.notify_params(job_id, clean=job.clean or clean or first)
        self._out.append(encode_notification("mining.notify", params))
        return job_id

    def accept(self, event: ShareFound) -> None:
        """Answer a submit with true. Raises LocalProtocolError when it was answered before."""
        self._settle(event)
        if event.request_id is not None and self.state is not State.CLOSED:
            self._out.append(encode_true(event.request_id))

    def reject(self, event: ShareFound, reject: Reject) -> None:
        """Refuse a submit. Raises LocalProtocolError when it was answered before.

        Where the owner only failed (code 20) the hash is forgotten, so that the share may come
        again. A judgement stands: the same share sent over and over would count as work each time.
        """
        self._settle(event)
        if reject.code is RejectCode.OTHER:
            self._seen.discard(event.share.hash)
        if event.request_id is not None and self.state is not State.CLOSED:
            self._out.append(encode_reject(event.request_id, reject))

    def close(self) -> None:
        """End the session from our side; what was to be sent may still be."""
        self.state = State.CLOSED

    def _settle(self, event: ShareFound) -> None:
        if event.number not in self._unanswered:
            raise LocalProtocolError("a submit was answered twice, or over another connection")
        self._unanswered.remove(event.number)

    def _end(self, reason: CloseReason) -> None:
        self.state = State.CLOSED
        self._events.append(Closed(reason))

    def _handle_line(self, line: bytes) -> None:
        message = decode(line)
        if isinstance(message, Request):
            method = message.method
            if method == "mining.submit":
                self._submit(message)
                return
            handler = _HANDLERS.get(method)
            if handler is None:
                handler = _handler_by_prefix(method)
            handler(self, message)
        elif isinstance(message, Junk):
            self._junk(message)
        # A response is nobody's answer: we never ask. ESP-Miner sends such lines for pongs.

    def _junk(self, junk: Junk) -> None:
        self._junk_lines += 1
        self._events.append(JunkReceived(junk.reason))
        reject = Reject(RejectCode.OTHER, junk.reason)
        self._out.append(encode_reject(junk.id_json or b"null", reject))
        if self._junk_lines > MAX_JUNK_LINES:
            self._end(CloseReason.TOO_MUCH_JUNK)

    def _reply(self, request: Request, result: object) -> None:
        if request.id_json is not None:
            self._out.append(encode_result(request.id_json, result))

    def _refuse(self, request: Request, reject: Reject) -> None:
        if request.id_json is not None:
            self._out.append(encode_reject(request.id_json, reject))

    def _configure(self, request: Request) -> None:
        """Answer the requested extensions alone: Whatsminer reconnects over any other key."""
        names = request.params[0] if request.params else []
        options = request.params[1] if len(request.params) > 1 else {}
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._refuse(request, _MALFORMED_CONFIGURE)
            return
        result: dict[str, object] = {}
        for name in names:
            if name == "version-rolling":
                mask = _asked_mask(options) & VERSION_MASK
                self.version_mask = mask
                result[name] = mask != 0
                if mask:
                    result["version-rolling.mask"] = f"{mask:08x}"
            else:
                result[name] = name == "info"
        self._reply(request, result)

    def _subscribe(self, request: Request) -> None:
        if request.params and isinstance(request.params[0], str):
            agent = request.params[0][:MAX_USER]
            self.user_agent = "".join(char for char in agent if char.isprintable())
        sid = self.session_id
        subscriptions = [["mining.set_difficulty", sid], ["mining.notify", sid]]
        self._reply(request, [subscriptions, self.extranonce1.hex(), EXTRANONCE2_SIZE])
        self._subscribed = True
        self._become_ready()

    def _authorize(self, request: Request) -> None:
        if not request.params or not isinstance(request.params[0], str):
            self._refuse(request, _MALFORMED_AUTHORIZE)
            return
        user = request.params[0]
        account = self._lookup(user)
        if isinstance(account, Reject):
            self._refuse(request, account)
            return
        if self.account is None:
            self.account = account
            self.worker = split_user(user)[1]
        elif account != self.account:
            self._refuse(request, _OTHER_ACCOUNT)
            return
        self._remember(user)
        self._reply(request, True)
        self._become_ready()

    def _become_ready(self) -> None:
        if self.state is State.CONNECTED and self._subscribed and self.account is not None:
            self.state = State.READY
            self._events.append(ReadyToMine())

    def _lookup(self, user: str) -> str | Reject:
        if not 1 <= len(user) <= MAX_USER or not user.isprintable():
            return _BAD_USER
        return self._account_of(user)

    def _remember(self, user: str) -> None:
        if len(self._workers) < MAX_USERS_KNOWN:
            self._workers[user] = split_user(user)[1]

    def _submit(self, request: Request) -> None:
        result = self._judge(request.params)
        if isinstance(result, RefusedBlock):
            self._block(result.share)
            result = result.reject
        if isinstance(result, Reject):
            self._events.append(ShareRefused(result))
            self._refuse(request, result)
            return
        if result.is_block:
            self._block(result)
        self._submits += 1
        self._unanswered.add(self._submits)
        self._events.append(ShareFound(result, request.id_json, self._submits))

    def _judge(self, params: list[Any]) -> Share | Reject | RefusedBlock:
        submission = parse_submission(params)
        if isinstance(submission, Reject):
            return submission
        if not self._subscribed:
            return _NOT_SUBSCRIBED
        worker = self._workers.get(submission.user)
        if worker is None:  # not authorised under this very name: another worker is fine
            if self.account is None or self._lookup(submission.user) != self.account:
                return _NOT_AUTHORIZED
            self._remember(submission.user)
            worker = split_user(submission.user)[1]
        issued = self.jobs.get(submission.job_id)
        if issued is None:
            return _JOB_NOT_FOUND
        return judge(
            issued,
            submission,
            worker=worker,
            version_mask=self.version_mask,
            now=self._now,
            seen=self._seen,
        )

    def _block(self, share: Share) -> None:
        if self._blocks_seen.add(share.hash):
            self._events.append(BlockFound(share))

    def _suggest_difficulty(self, request: Request) -> None:
        """Note the wish; also written `mining.suggest_difficulty(1024)` by old clients."""
        value: object = request.params[0] if request.params else None
        if value is None:
            value = request.method.partition("(")[2].rstrip(")")
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._note_suggestion(value)
        self._reply(request, True)

    def _suggest_target(self, request: Request) -> None:
        value = request.params[0] if request.params else None
        if isinstance(value, str) and _is_hex(value, 64) and int(value, 16) > 0:
            self._note_suggestion(difficulty_from_target(int(value, 16)))
        self._reply(request, True)

    def _note_suggestion(self, difficulty: int | float) -> None:
        if 0 < difficulty < 1 << 256:  # neither NaN nor infinite, and no target is beyond it
            self.suggested_difficulty = difficulty

    def _get_commitment(self, request: Request) -> None:
        job_id = request.params[0] if request.params else None
        issued = self.jobs.get(job_id) if isinstance(job_id, str) else None
        if issued is None:
            self._refuse(request, _JOB_NOT_FOUND)
            return
        commitment = self._explain(issued.job.tag)
        if commitment is None:
            self._refuse(request, _NO_COMMITMENT)
            return
        self._reply(request, commitment)

    def _yes(self, request: Request) -> None:
        self._reply(request, True)

    def _no_transactions(self, request: Request) -> None:
        self._reply(request, [])

    def _ping(self, request: Request) -> None:
        self._reply(request, "pong")

    def _ignore(self, request: Request) -> None:
        """Say nothing: ESP-Miner answers a ping with a request named pong."""

    def _unsupported(self, request: Request) -> None:
        self._refuse(request, _UNSUPPORTED)


Handler = Callable[[Session, Request], None]

_HANDLERS: dict[str, Handler] = {
    "mining.configure": Session._configure,
    "mining.subscribe": Session._subscribe,
    "mining.authorize": Session._authorize,
    "mining.suggest_difficulty": Session._suggest_difficulty,
    "mining.suggest_target": Session._suggest_target,
    "mining.extranonce.subscribe": Session._yes,
    "mining.multi_version": Session._yes,
    "mining.capabilities": Session._yes,
    "mining.get_transactions": Session._no_transactions,
    "mining.get_commitment": Session._get_commitment,
    "mining.ping": Session._ping,
    "mining.pong": Session._ignore,
    "pong": Session._ignore,
}


def _handler_by_prefix(method: str) -> Handler:
    if method.startswith("mining.auth"):
        return Session._authorize
    if method.startswith("mining.suggest_difficulty"):
        return Session._suggest_difficulty
    if method.startswith("mining.suggest"):
        return Session._yes
    return Session._unsupported


def _asked_mask(options: object) -> int:
    """Return the version-rolling mask asked for: everything where none is named, 0 where bad."""
    if not isinstance(options, dict) or "version-rolling.mask" not in options:
        return VERSION_MASK
    asked = options["version-rolling.mask"]
    return int(asked, 16) if isinstance(asked, str) and _is_hex(asked, 8) else 0


def _is_hex(text: str, longest: int) -> bool:
    return 1 <= len(text) <= longest and not text.strip("0123456789abcdefABCDEF")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
