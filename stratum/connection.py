"""One socket and its session.

Responsible for what happens to bytes on their way between the two: a PROXY header and TLS in front,
pauses and closing where a limit says so, and the calls to the pool. All lines of one read are
handled together, and their replies leave in one write at the end of the loop's turn. What
connections share is the server's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from stratum.counters import ConnectionStats, Tally
from stratum.errors import Reject, RejectCode
from stratum.front import Front
from stratum.host import Host, Shared
from stratum.limits import RejectLadder, Rung, exempt
from stratum.listener import Listener, peer_name, peer_of, unmapped
from stratum.outlet import Outlet
from stratum.pool import Answer, MinerView
from stratum.proxy import ProxyError
from stratum.session import (
    BlockFound,
    Closed,
    Event,
    JunkReceived,
    ReadyToMine,
    ShareFound,
    ShareRefused,
    State,
    WishesChanged,
)
from stratum.tls import TlsError
from stratum.valve import Valve
from stratum.view import named, view_of
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
    the real one once a PROXY header said it. session: only of a connection that was let in.
    """

    connection_id = 0
    peer = "unknown"

    def __init__(self, shared: Shared, host: Host, listener: Listener) -> None:
        limits = shared.limits
        now = shared.monotonic()
        self._shared = shared
        self._host = host
        self._listener = listener
        patience = limits.reject_patience
        self._ladder = None if patience is None else RejectLadder(patience)
        self._entered = False
        self._admitted = False
        self._watch = Watch(limits, now)
        self._front: Front | None = None
        self._view: MinerView | None = None
        self._viewed_at = 0
        self._flush_planned = False
        self._refused = 0  # submits of the last read whose replies have not left yet
        self._read_at = now
        self._tally = Tally(shared.clock())

    # What the server asks.

    @property
    def ready(self) -> bool:
        """Whether it is mining."""
        return self.session.state is State.READY

    def view(self) -> MinerView:
        """Return the miner as it is now; the same object while nothing changed."""
        view = self._view
        if view is None or self._viewed_at != self.session.requests:
            view = self._view = view_of(self.session, self.connection_id, self.peer, view)
            self._viewed_at = self.session.requests
        return view

    def stats(self) -> ConnectionStats:
        """Return this connection's numbers as of now."""
        return self._tally.stats(self.session.lines, tls=self._outlet.tls is not None)

    def prepare_job(self, now: float, *, clean: bool) -> bool:
        """Queue a job of the pool's for `take`, at `now` (Unix seconds); False without one."""
        if not self.ready:
            return False
        try:
            job = self._shared.pool.job_for(self.view())
            if job is None:
                return False
            self.session.send_job(job, now, clean=clean)
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
        if self._refused:
            shared = self._shared
            shared.counters.submit_latency.add(shared.monotonic() - self._read_at, self._refused)
            self._refused = 0
        data = self.session.data_to_send()
        if not data or self._transport.is_closing():
            return b""
        try:
            return self._outlet.wrap(data)
        except TlsError as error:
            log.info("dropping connection %d from %s: %s", *self._names(), error)
            self.abort()
            return b""

    def send(self, data: bytes) -> None:
        """Send what `take` returned; drops the connection when it has left too much unread."""
        if not self._outlet.send(data):
            self._shared.counters.dropped_slow += 1
            log.info("dropping connection %d from %s: it does not read", *self._names())
            self.abort()

    def close(self) -> None:
        """Send what is to be sent, then close."""
        if self._watch.closing_since is not None:
            return
        self._watch.closing_since = self._shared.monotonic()
        self.session.close()
        self.flush()
        self._outlet.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._watch.closing_since = self._shared.monotonic()
        self.session.close()
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
        self._outlet = Outlet(transport, self._shared.limits.write_limit)
        self._address, port = peer_of(transport.get_extra_info("peername"))
        self.peer = peer_name(self._address, port)
        place = self._host.enter(self)
        if place is None:
            transport.abort()
            return
        self._entered = True
        self.connection_id, self.session = place
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
        self.session.close()
        if self._admitted and self._address is not None:
            self._shared.addresses.leave(self._address)
        self._host.leave(self)
        # Of a miner that left it is worth a line; what never mined may be anybody's probe, and why
        # we closed one was said then.
        left = self._watch.ready and self._watch.closing_since is None
        level = logging.INFO if left else logging.DEBUG
        why = exc or "closed"
        log.log(level, "connection %d from %s is gone, %s: %s", *self._names(), self._tally, why)
        if self._watch.ready:
            self._shared.pool.disconnected(self.view())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = bytes(self._shared.buffer[:nbytes])
        front = self._front
        if front is None:
            self._handle_lines(data)
            return
        data = self._unwrap(front, data)
        if data:
            self._handle_lines(data)
        opaque = front.opaque(nbytes, len(data)) if self._watch.closing_since is None else 0
        if opaque and not self._valve.charge_opaque(self._shared.monotonic(), opaque):
            self._end("it costs too much")
        if self._outlet.tls is not None and self._outlet.tls.ended:
            self.close()

    # Inside: what comes before lines.

    def _new_valve(self) -> Valve:
        """Return the valve of the present address."""
        limits, counters = self._shared.limits, self._shared.counters
        metered = self._address is None or not exempt(self._address, limits.exempt)
        return Valve(self._transport, limits, counters, self._read_at, metered=metered)

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
            log.info("closing connection %d from %s: no TLS (%s)", *self._names(), error)
            self._outlet.tls = front.tls
            self._outlet.handshake()  # the alert that says why
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
            if self._outlet.tls is None:
                self._outlet.tls, self._watch.tls_since = front.tls, self._shared.monotonic()
            if front.tls.established:
                self._watch.tls_since = None
            self.send(front.tls.data_to_send())  # key updates are answered too, without end
        return data

    # Inside: lines.

    def _handle_lines(self, data: bytes) -> None:
        shared, session = self._shared, self.session
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
                log.debug("connection %d from %s sent junk: %s", *self._names(), event.reason)
            else:
                self._handle(event)
        lines = session.lines - lines
        counters.junk += junk
        if lines:
            self._watch.last_line = now
        if found:
            self._watch.last_share = now
        self._tally.rejected += refused
        self._refused += refused
        if self._ladder is not None and (found or refused) and self.ready:
            self._climb(self._ladder, found, now)
        self._flush_later()
        if self._watch.closing_since is None and not self._valve.charge(
            now,
            size=len(data),
            lines=lines,
            submits=found + refused,
            junk=junk,
            faults=faults,
            unanswered=session.unanswered,
        ):
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
                log.info("connection %d from %s mines: %s", *self._names(), named(self.view()))
                shared.pool.connected(self.view())
                self.prepare_job(shared.clock(), clean=False)
            case WishesChanged():
                shared.pool.asked(self.view())
            case Closed():
                self._end(event.reason)

    def _flush_later(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self._shared.turn.add(self)

    def _answer_to(self, event: ShareFound, read_at: float) -> Answer:
        def answer(reject: Reject | None) -> None:
            shared = self._shared
            counters = shared.counters
            if reject is None:
                self.session.accept(event)
                counters.accepted += 1
                self._tally.accept(shared.clock())
            else:
                self.session.reject(event, reject)
                counters.rejects[reject.code] += 1
                self._tally.rejected += 1
            counters.submit_latency.add(shared.monotonic() - read_at)
            if self._valve.choked:
                self._valve.answered(self.session.unanswered)
            self._flush_later()

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
                self.session.repeat_difficulty()
                self.prepare_job(self._shared.clock(), clean=True)
            case Rung.RECONNECT:
                log.info("connection %d from %s is asked to reconnect", *self._names())
                self.session.reconnect(RECONNECT_WAIT)
            case Rung.CLOSE:
                self._shared.counters.only_rejects += 1
                self._end("nothing but refused submits")

    def _end(self, reason: str) -> None:
        log.info("closing connection %d from %s: %s", *self._names(), reason)
        self.close()

    def _names(self) -> tuple[int, str]:
        return self.connection_id, self.peer
