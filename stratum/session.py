"""One miner's connection as a state machine: bytes in, events out, bytes to send.

No socket, no clock, no task: the owner hands in what arrived and the time, reads the events, and
sends `data_to_send()`. Rules that everything here keeps:

1. Nothing a client sends raises, and none of it is kept without a bound.
2. Each request is answered in its turn, exactly once, unless its id is null or missing. A submit
   that may be good is the exception: it is answered when the owner says so, since only the
   owner knows when it is safely stored. Submits that follow each other in what arrived are hashed
   together, before anything else is answered or changes; they are still judged, and refused, in
   their order.
3. Nothing is sent but replies until the miner is ready, and then little else but
   `mining.set_difficulty` and `mining.notify`: cgminer takes a line it does not know for the
   reply it waits for (util.c, auth_stratum).
4. configure, subscribe and authorize come in any order, and in one packet if they like.
5. The first authorised account binds the connection, because a job's coinbase pays one.

    CONNECTED --subscribe and authorize, in any order--> READY --junk, close()--> CLOSED
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from stratum import methods
from stratum.errors import LocalProtocolError, Reject, RejectCode
from stratum.events import (
    BlockFound,
    Closed,
    CloseReason,
    Event,
    JunkReceived,
    ReadyToMine,
    ShareFound,
    ShareRefused,
    State,
    WishesChanged,
)
from stratum.extensions import agree
from stratum.jobs import EXTRANONCE2_SIZE, Job, JobBook, JobIds, Resumable, check_extranonce1
from stratum.messages import Junk, LineBuffer, Outbox, Request, decode
from stratum.passwords import difficulty_wishes, options
from stratum.shares import Hasher, RefusedBlock, SeenHashes, Share
from stratum.submits import JOB_NOT_FOUND, Submits
from stratum.users import AccountOf, Users
from stratum.wishes import Wishes, suggestion

__all__ = [
    "MAX_JUNK_LINES",
    "BlockFound",
    "CloseReason",
    "Closed",
    "Event",
    "JunkReceived",
    "ReadyToMine",
    "Resumable",
    "Session",
    "ShareFound",
    "ShareRefused",
    "State",
    "WishesChanged",
]

MAX_JUNK_LINES: Final = 3
"""Lines that are no message are answered up to this many; one more closes the connection."""

MAX_AGENT: Final = 128
"""Longest user agent kept, in characters."""

MAX_SESSION_ID: Final = 64
"""Longest session id of an earlier connection that is looked up."""

_MALFORMED_AUTHORIZE = Reject(RejectCode.OTHER, "Authorize takes a user name and a password")
_NO_COMMITMENT = Reject(RejectCode.OTHER, "This job has no commitment to show")
_UNSUPPORTED = Reject(RejectCode.OTHER, "Unsupported method")
_LINE_TOO_LONG = Reject(RejectCode.OTHER, "Line too long")


class Session:
    """The pool's side of one connection.

    extranonce1: 4 bytes no other open connection has. account_of: returns the account a user name
    and password (1..128 and 0..256 characters) mine for, in one spelling however it was written, or
    the Reject it gets. explain: returns what a job's tag commits to as a JSON object, or None.
    seen, blocks_seen, job_ids, hasher: shared by all sessions of a server. session_id: what
    subscribe hands out, extranonce1 in hex by default. resume: hands over what an earlier
    connection of this session id (1..64 characters as written) left, or None; asked at most once.

    Attributes to read: state, account (None until authorised), worker (of the first authorised user
    name), user_agent, version_mask (agreed bits, 0 before any), extranonce1 (changes at most once,
    when subscribe resumes an earlier session), jobs, lines (messages taken so far, junk aside),
    requests (those that were no submit: without a new one, only jobs and lines have changed).
    """

    def __init__(
        self,
        *,
        extranonce1: bytes,
        account_of: AccountOf,
        explain: Callable[[object], dict[str, object] | None],
        seen: SeenHashes,
        blocks_seen: SeenHashes,
        job_ids: JobIds,
        hasher: Hasher,
        session_id: str | None = None,
        resume: Callable[[str], Resumable | None],
    ) -> None:
        check_extranonce1(extranonce1)
        self.extranonce1 = extranonce1
        self.session_id = extranonce1.hex() if session_id is None else session_id
        self.state = State.CONNECTED
        self.account: str | None = None
        self.worker = ""
        self.user_agent = ""
        self.version_mask = 0
        self.jobs = JobBook()
        self.lines = self.requests = 0
        self._users = Users(account_of)
        self._wishes = Wishes()
        self._explain = explain
        self._seen = seen
        self._blocks_seen = blocks_seen
        self._job_ids = job_ids
        self._resume = resume
        self._subscribed = False
        self._line_buffer = LineBuffer()
        self._junk_lines = 0
        self._difficulty_sent: int | float | None = None
        self._unanswered: set[int] = set()
        self._submits = Submits(hasher, seen)
        self._found = 0
        self._out = Outbox()
        self._events: list[Event] = []
        self._now = 0.0

    @property
    def suggested_difficulty(self) -> int | float | None:
        """The last difficulty the miner suggested, positive and finite; None without."""
        return self._wishes.suggested

    @property
    def fixed_difficulty(self) -> int | float | None:
        """The difficulty its password asks to keep (`d=`, `diff=`), None without."""
        return self._wishes.fixed

    @property
    def minimum_difficulty(self) -> int | float | None:
        """The larger of its password's `md=` and the minimum it configured, None without."""
        return self._wishes.minimum

    @property
    def unanswered(self) -> int:
        """How many ShareFound events wait for `accept` or `reject`."""
        return len(self._unanswered)

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes that arrived at `now` (Unix seconds); return what they led to, in order.

        Never raises for anything in `data`. After the session is closed it does nothing.
        """
        self._now = now
        for line in self._line_buffer.feed(data):
            if self.state is State.CLOSED:
                break
            self._handle_line(line)
        self._judge_submits()
        if self._line_buffer.overflowed and self.state is not State.CLOSED:
            self._out.refuse(b"null", _LINE_TOO_LONG)
            self._end(CloseReason.LINE_TOO_LONG)
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes to send, each once; they are whole lines."""
        return self._out.take()

    def send_job(self, job: Job, now: float, *, clean: bool = False) -> str:
        """Give the miner a job at `now` (Unix seconds), return the new id it goes under.

        A `mining.set_difficulty` goes right before it when the difficulty differs from the one
        last sent, and at no other time: cgminer applies the second of two only one job later, and
        S19 counts shares by whatever came last. The miner is told to drop older work if the job
        says so, or `clean` does, or it is the first job. Raises LocalProtocolError when the session
        is not ready, or the job is another account's.
        """
        self._require_ready("a job was sent")
        if job.account != self.account:
            raise LocalProtocolError("a job was sent to a connection of another account")
        first = self._difficulty_sent is None
        if job.difficulty != self._difficulty_sent:
            self._out.notify("mining.set_difficulty", [job.difficulty])
            self._difficulty_sent = job.difficulty
        job_id = self._job_ids.next()
        self.jobs.issue(job_id, job, now, self.extranonce1)
        self._out.notify_line(job.notify_line(job_id, clean=job.clean or clean or first))
        return job_id

    def reconnect(self, wait: int) -> None:
        """Ask the miner to come back to the same host and port after `wait` seconds (0..3600).

        Raises LocalProtocolError when the session is not ready, ValueError for another wait.
        """
        self._require_ready("a reconnect was asked for")
        self._out.notify("client.reconnect", methods.reconnect_params(wait))

    def show_message(self, text: str) -> None:
        """Show the miner's owner a line of text: its first 256 characters, if printable.

        Raises LocalProtocolError when the session is not ready: this would pass for a reply.
        """
        self._require_ready("a message was shown")
        self._out.notify("client.show_message", methods.message_params(text))

    def repeat_difficulty(self) -> None:
        """Tell the difficulty with the next job even where it is the one last sent.

        For a miner that seems to have missed it; the job is clean then, like a first one.
        """
        self._difficulty_sent = None

    def accept(self, event: ShareFound) -> None:
        """Answer a submit with true. Raises LocalProtocolError when it was answered before."""
        self._settle(event)
        if self.state is not State.CLOSED:
            self._out.agree(event.request_id)

    def reject(self, event: ShareFound, reject: Reject) -> None:
        """Refuse a submit. Raises LocalProtocolError when it was answered before.

        Where the owner only failed (code 20) the hash is forgotten, so that the share may come
        again. A judgement stands: the same share sent over and over would count as work each time.
        """
        self._settle(event)
        if reject.code is RejectCode.OTHER:
            self._seen.discard(event.share.hash)
        if self.state is not State.CLOSED:
            self._out.refuse(event.request_id, reject)

    def close(self) -> None:
        """End the session from our side; what was to be sent may still be."""
        self.state = State.CLOSED

    def _require_ready(self, what: str) -> None:
        if self.state is not State.READY:
            raise LocalProtocolError(f"{what} to a connection that is {self.state.value}")

    def _settle(self, event: ShareFound) -> None:
        if event.number not in self._unanswered:
            raise LocalProtocolError("a submit was answered twice, or over another connection")
        self._unanswered.remove(event.number)

    def _end(self, reason: CloseReason) -> None:
        self.state = State.CLOSED
        self._events.append(Closed(reason))

    def _handle_line(self, line: bytes) -> None:
        message = decode(line)
        if isinstance(message, Request) and message.method == "mining.submit":
            self.lines += 1
            self._submit(message)
            return
        self._judge_submits()
        if isinstance(message, Junk):
            self._junk(message)
            return
        self.lines += 1
        # A response is nobody's answer, as we never ask: cgminer and ESP-Miner send some for pongs.
        if isinstance(message, Request):
            self._handle_request(message, methods.canonical(message.method))

    def _handle_request(self, request: Request, method: str) -> None:
        self.requests += 1
        handler = _HANDLERS.get(method)
        if handler is not None:
            handler(self, request)
        elif method in methods.ANSWERS:
            self._out.answer(request.id_json, methods.ANSWERS[method])
        elif method not in methods.UNANSWERED:
            self._out.refuse(request.id_json, _UNSUPPORTED)

    def _junk(self, junk: Junk) -> None:
        self._junk_lines += 1
        self._events.append(JunkReceived(junk.reason))
        self._out.refuse(junk.id_json or b"null", Reject(RejectCode.OTHER, junk.reason))
        if self._junk_lines > MAX_JUNK_LINES:
            self._end(CloseReason.TOO_MUCH_JUNK)

    def _configure(self, request: Request) -> None:
        agreement = agree(request.params)
        if isinstance(agreement, Reject):
            self._out.refuse(request.id_json, agreement)
            return
        if agreement.version_mask is not None:
            self.version_mask = agreement.version_mask
        self._out.answer(request.id_json, agreement.result)
        if agreement.minimum_difficulty is not None:
            self._wish(minimum_configured=agreement.minimum_difficulty or None)

    def _subscribe(self, request: Request) -> None:
        agent, asked = (*request.params, None, None)[:2]
        if isinstance(agent, str):
            self.user_agent = methods.printable(agent, MAX_AGENT)
        if not self._subscribed and isinstance(asked, str) and 1 <= len(asked) <= MAX_SESSION_ID:
            earlier = self._resume(asked)
            if earlier is not None:
                self.extranonce1, self.jobs = earlier.extranonce1, earlier.jobs
                self.session_id = asked
        sid = self.session_id
        subscriptions = [["mining.set_difficulty", sid], ["mining.notify", sid]]
        self._out.answer(request.id_json, [subscriptions, self.extranonce1.hex(), EXTRANONCE2_SIZE])
        self._subscribed = True
        self._become_ready()

    def _authorize(self, request: Request) -> None:
        user, password = (*request.params, None, None)[:2]
        if not isinstance(user, str):
            self._out.refuse(request.id_json, _MALFORMED_AUTHORIZE)
            return
        if not isinstance(password, str):
            password = ""
        reject = self._users.authorize(user, password)
        if reject is not None:
            self._out.refuse(request.id_json, reject)
            return
        self.account, self.worker = self._users.account, self._users.worker
        self._out.agree(request.id_json)
        self._wish(**difficulty_wishes(options(password)))
        self._become_ready()

    def _wish(self, **wishes: int | float | None) -> None:
        """Note what a miner wishes; other wishes stay as they were."""
        before, self._wishes = self._wishes, replace(self._wishes, **wishes)
        if self.state is State.READY and self._wishes.in_force != before.in_force:
            self._events.append(WishesChanged())

    def _become_ready(self) -> None:
        if self.state is State.CONNECTED and self._subscribed and self.account is not None:
            self.state = State.READY
            self._events.append(ReadyToMine())

    def _submit(self, request: Request) -> None:
        reject = self._submits.add(
            request, subscribed=self._subscribed, users=self._users, jobs=self.jobs
        )
        if reject is not None:
            self._judge_submits()
            self._refuse_submit(request.id_json, reject)

    def _judge_submits(self) -> None:
        for id_json, result in self._submits.judge(self.version_mask, self._now):
            if isinstance(result, Reject):
                self._refuse_submit(id_json, result)
            elif isinstance(result, RefusedBlock):
                self._block(result.share)
                self._refuse_submit(id_json, result.reject)
            else:
                if result.is_block:
                    self._block(result)
                self._found += 1
                self._unanswered.add(self._found)
                self._events.append(ShareFound(result, id_json, self._found))

    def _refuse_submit(self, id_json: bytes | None, reject: Reject) -> None:
        self._events.append(ShareRefused(reject))
        self._out.refuse(id_json, reject)

    def _block(self, share: Share) -> None:
        if self._blocks_seen.add(share.hash):
            # Before all else this read led to: an owner that fails on a share must not lose it.
            blocks = sum(isinstance(event, BlockFound) for event in self._events)
            self._events.insert(blocks, BlockFound(share))

    def _suggest(self, request: Request) -> None:
        self._out.agree(request.id_json)
        difficulty = suggestion(request.method, request.params)
        if difficulty is not None:
            self._wish(suggested=difficulty)

    def _get_commitment(self, request: Request) -> None:
        job_id = request.params[0] if request.params else None
        issued = self.jobs.get(job_id) if isinstance(job_id, str) else None
        if issued is None:
            self._out.refuse(request.id_json, JOB_NOT_FOUND)
            return
        commitment = self._explain(issued.job.tag)
        if commitment is None:
            self._out.refuse(request.id_json, _NO_COMMITMENT)
            return
        self._out.answer(request.id_json, commitment)


_HANDLERS: dict[str, Callable[[Session, Request], None]] = {
    "mining.configure": Session._configure,
    "mining.subscribe": Session._subscribe,
    "mining.authorize": Session._authorize,
    "mining.suggest_difficulty": Session._suggest,
    "mining.suggest_target": Session._suggest,
    "mining.get_commitment": Session._get_commitment,
}
