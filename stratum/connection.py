"""One socket and its session.

Responsible for what happens to bytes on their way between the two: a PROXY header and TLS in front,
pauses and closing where a limit says so, and the calls to the pool. All lines of one read are
handled together, and their replies leave in one write. What connections share is the server's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from stratum.counters import ConnectionStats
from stratum.errors import Reject, RejectCode
from stratum.front import Front
from stratum.host import Host, Shared
from stratum.limits import RejectLadder, Rung, exempt
from stratum.listener import Listener, peer_name, peer_of, unmapped
from stratum.pool import Answer, MinerView
from stratum.proxy import ProxyError
from stratum.session import (
    BlockFound,
    Closed,
    Event,
    JunkReceived,
    ReadyToMine,
    Session,
    ShareFound,
    ShareRefused,
    State,
    WishesChanged,
)
from stratum.tls import TlsChannel, TlsError
from stratum.valve import Valve
from stratum.watch import Overdue, Watch

log = logging.getLogger(__name__)

READ_SIZE: Final = 64 * 1024
"""Most bytes taken in one read: no connection holds up the others for longer than these take."""

RECONNECT_WAIT: Final = 1
"""Seconds asked of a miner that is told to reconnect."""

_FAULTS: Final = frozenset({RejectCode.OTHER, RejectCode.UNAUTHORIZED, RejectCode.NOT_SUBSCRIBED})


class Connection(asyncio.BufferedProtocol):
    """A miner's connection.

    connection_id: as the host gave it, 0 for one that was not let in. peer: the address for logs,
    the real one once a PROXY header said it.
    """

    connection_id = 0
    peer = "unknown"

    def __init__(self, shared: Shared, host: Host, listener: Listener) -> None:
        limits = shared.limits
        now = shared.monotonic()
        self._shared = shared
        self._host = host
        self._listener = listener
        self._ladder: RejectLadder | None = None
        if limits.reject_patience is not None:
            self._ladder = RejectLadder(limits.reject_patience)
        self._entered = False
        self._admitted = False
        self._watch = Watch(limits, now)
        self._front: Front | None = None
        self._tls: TlsChannel | None = None
        self._view: MinerView | None = None
        self._flush_planned = False
        self._read_at = now
        self._connected_at = shared.clock()
        self._accepted = 0
        self._rejected = 0
        self._last_share_at: float | None = None

    # What the server asks.

    @property
    def ready(self) -> bool:
        """Whether it is mining."""
        return self._session.state is State.READY

    @property
    def session(self) -> Session:
        """The session; only of a connection that was let in."""
        return self._session

    def view(self) -> MinerView:
        """Return the miner as it is now; the same object while nothing changed."""
        session = self._session
        view = self._view
        if (
            view is None
            or view.suggested_difficulty != session.suggested_difficulty
            or view.fixed_difficulty != session.fixed_difficulty
            or view.minimum_difficulty != session.minimum_difficulty
            or view.version_mask != session.version_mask
            or view.user_agent != session.user_agent
            or view.extranonce1 != session.extranonce1
        ):
            view = self._view = MinerView(
                connection_id=self.connection_id,
                account=session.account or "",
                worker=session.worker,
                user_agent=session.user_agent,
                suggested_difficulty=session.suggested_difficulty,
                fixed_difficulty=session.fixed_difficulty,
                minimum_difficulty=session.minimum_difficulty,
                version_mask=session.version_mask,
                extranonce1=session.extranonce1,
                peer=self.peer,
            )
        return view

    def stats(self) -> ConnectionStats:
        """Return this connection's numbers as of now."""
        return ConnectionStats(
            connected_at=self._connected_at,
            accepted=self._accepted,
            rejected=self._rejected,
            last_share_at=self._last_share_at,
            lines=self._session.lines,
            tls=self._tls is not None,
        )

    def prepare_job(self, clean: bool) -> bool:
        """Ask the pool for a job and queue it for `take`; False when there is none to give."""
        if not self.ready:
            return False
        try:
            job = self._shared.pool.job_for(self.view())
            if job is None:
                return False
            self._session.send_job(job, self._shared.clock(), clean=clean)
        except Exception:
            # One miner's trouble must not cost the others their jobs in a broadcast.
            self._shared.counters.pool_errors += 1
            log.exception("connection %d from %s gets no job", self.connection_id, self.peer)
            return False
        return True

    def flush(self) -> None:
        """Send what the session has to send."""
        data = self.take()
        if data:
            self.send(data)

    def take(self) -> bytes:
        """Return what the session has to send as it goes over the wire; it must be sent next."""
        self._flush_planned = False
        data = self._session.data_to_send()
        if not data or self._transport.is_closing():
            return b""
        if self._tls is not None:
            try:
                self._tls.send(data)
            except TlsError as error:
                log.info("dropping connection %d from %s: %s", *self._names(), error)
                self.abort()
                return b""
            data = self._tls.data_to_send()
        return data

    def send(self, data: bytes) -> None:
        """Send what `take` returned; drops the connection when it has left too much unread."""
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._shared.limits.write_limit:
            self._shared.counters.dropped_slow += 1
            log.info("dropping connection %d from %s: it does not read", *self._names())
            self.abort()

    def close(self) -> None:
        """Send what is to be sent, then close."""
        if self._watch.closing_since is not None:
            return
        self._watch.closing_since = self._shared.monotonic()
        self._session.close()
        self.flush()
        if self._tls is not None and self._tls.established and not self._transport.is_closing():
            self._tls.close()
            self._transport.write(self._tls.data_to_send())
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._watch.closing_since = self._shared.monotonic()
        self._session.close()
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Close the connection if its time is over at `now` (monotonic seconds)."""
        counters = self._shared.counters
        overdue = self._watch.overdue(now)
        match overdue:
            case None:
                return
            case Overdue.LAST_BYTES:
                self._transport.abort()
                return
            case Overdue.TLS:
                counters.tls_failed += 1
            case Overdue.HANDSHAKE:
                counters.timed_out += 1
            case Overdue.LIFE:
                counters.idle += 1
        self._end(overdue)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is a place."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream transport is needed, not {type(transport).__name__}")
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._address, port = peer_of(transport.get_extra_info("peername"))
        self.peer = peer_name(self._address, port)
        place = self._host.enter(self)
        if place is None:
            transport.abort()
            return
        self._entered = True
        self.connection_id, self._session = place
        self._valve = self._new_valve()
        listener = self._listener
        log.debug("connection %d from %s", self.connection_id, self.peer)
        believed = listener.believes(self._address)
        if believed or listener.tls is not None:
            self._front = Front(listener, believed=believed)
        if not believed:
            self._admit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell host and pool, if they knew of it."""
        if not self._entered:
            return
        self._valve.close()
        self._session.close()
        if self._admitted and self._address is not None:
            self._shared.addresses.leave(self._address)
        self._host.leave(self)
        log.debug("connection %d is gone: %s", self.connection_id, exc or "closed")
        if self._watch.ready:
            self._shared.pool.disconnected(self.view())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = bytes(self._shared.buffer[:nbytes])
        if self._front is None:
            self._handle_lines(data)
            return
        data = self._unwrap(self._front, data)
        if data:
            self._handle_lines(data)
        if self._tls is not None and self._tls.ended:
            self.close()

    # Inside: what comes before lines.

    def _new_valve(self) -> Valve:
        """Return the valve of the present address."""
        shared = self._shared
        limits = shared.limits
        metered = self._address is None or not exempt(self._address, limits.exempt)
        return Valve(
            self._transport, self._loop, limits, shared.counters, self._read_at, metered=metered
        )

    def _admit(self) -> None:
        """Count the connection at its address; where that is not allowed it is gone."""
        if self._address is None:
            return
        refusal = self._shared.addresses.enter(self._address, self._shared.monotonic())
        if refusal is None:
            self._admitted = True
        else:
            self._shared.counters.refused[refusal] += 1
            log.debug("refusing a connection from %s: %s", self.peer, refusal)
            self.abort()

    def _unwrap(self, front: Front, data: bytes) -> bytes:
        """Return what bytes hold for the session; nothing where that is the connection's end."""
        counters = self._shared.counters
        try:
            data = front.receive(data)
        except ProxyError as error:
            counters.proxy_errors += 1
            log.info("dropping connection %d from proxy %s: %s", *self._names(), error)
            self.abort()
        except TlsError as error:
            counters.tls_failed += 1
            log.info("closing connection %d from %s: %s", *self._names(), error)
            if front.tls is not None:
                self._transport.write(front.tls.data_to_send())  # the alert that says why
            self.close()
        if front.named is not None and not self._admitted:
            address, port = front.named
            self._address = unmapped(address)
            self.peer = peer_name(self._address, port)
            self._valve = self._new_valve()
            self._admit()
        if self._watch.closing_since is not None:
            return b""
        if front.open:
            self._front = None
        elif front.tls is not None:
            if self._tls is None:
                self._tls, self._watch.tls_since = front.tls, self._shared.monotonic()
            if front.tls.established:
                self._watch.tls_since = None
            answer = front.tls.data_to_send()
            if answer:
                self._transport.write(answer)
        return data

    # Inside: lines.

    def _handle_lines(self, data: bytes) -> None:
        shared, session = self._shared, self._session
        counters = shared.counters
        now = self._read_at = shared.monotonic()
        lines = session.lines
        found = refused = faults = junk = 0
        for event in session.receive_data(data, shared.clock()):
            if isinstance(event, ShareRefused):
                refused += 1
                code = event.reject.code
                counters.rejects[code] += 1
                faults += code in _FAULTS
            elif isinstance(event, ShareFound):
                found += 1
                shared.pool.submit(event.share, self.view(), self._answer_to(event, now))
            elif isinstance(event, JunkReceived):
                junk += 1
                log.debug("connection %d sent junk: %s", self.connection_id, event.reason)
            else:
                self._handle(event)
        lines = session.lines - lines
        counters.junk += junk
        if lines:
            self._watch.last_line = now
        if found:
            self._watch.last_share = now
        self._rejected += refused
        if self._ladder is not None and (found or refused) and self.ready:
            self._climb(self._ladder, found, now)
        self.flush()
        if refused:
            counters.submit_latency.add(shared.monotonic() - now, refused)
        if self._watch.closing_since is None and not self._valve.charge(
            now,
            size=len(data),
            lines=lines,
            submits=found + refused,
            junk=junk,
            faults=faults,
            unanswered=session.unanswered,
        ):
            counters.too_costly += 1
            self._end("it costs too much")

    def _handle(self, event: Event) -> None:
        shared = self._shared
        match event:
            case BlockFound():
                shared.counters.blocks += 1
                shared.pool.found_block(event.share, self.view())
            case ReadyToMine():
                self._watch.ready = True
                self._watch.last_share = self._read_at
                log.info("connection %d from %s is ready", *self._names())
                shared.pool.connected(self.view())
                self.prepare_job(clean=False)
            case WishesChanged():
                shared.pool.asked(self.view())
            case Closed():
                self._end(event.reason)

    def _answer_to(self, event: ShareFound, read_at: float) -> Answer:
        def answer(reject: Reject | None) -> None:
            shared = self._shared
            counters = shared.counters
            if reject is None:
                self._session.accept(event)
                counters.accepted += 1
                self._accepted += 1
                self._last_share_at = shared.clock()
            else:
                self._session.reject(event, reject)
                counters.rejects[reject.code] += 1
                self._rejected += 1
            counters.submit_latency.add(shared.monotonic() - read_at)
            if self._valve.choked:
                self._valve.answered(self._session.unanswered)
            # One commit answers many shares: their replies leave together, in one write.
            if not self._flush_planned:
                self._flush_planned = True
                self._loop.call_soon(self.flush)

        return answer

    def _climb(self, ladder: RejectLadder, found: int, now: float) -> None:
        """Do something about a miner that has all of its submits refused.

        Only the session's refusals count: what the pool refuses may be for reasons of its own,
        such as a full disk.
        """
        if found:
            ladder.good()
            return
        match ladder.refused(now):
            case Rung.FRESH_JOB:
                log.info("connection %d from %s gets nothing right, a fresh job", *self._names())
                self._session.repeat_difficulty()
                self.prepare_job(clean=True)
            case Rung.RECONNECT:
                log.info("connection %d from %s is asked to reconnect", *self._names())
                self._session.reconnect(RECONNECT_WAIT)
            case Rung.CLOSE:
                self._shared.counters.only_rejects += 1
                self._end("nothing but refused submits")

    def _end(self, reason: str) -> None:
        log.info("closing connection %d from %s: %s", *self._names(), reason)
        self.close()

    def _names(self) -> tuple[int, str]:
        return self.connection_id, self.peer
