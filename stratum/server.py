"""The pool server: sessions on real sockets.

Responsible for connections (accept, time out, bound, flush, close), for what sessions of one
server share (job ids, extranonces, counted hashes, counters), and for calling the `Pool`. What a
share is worth and where jobs come from is the pool's. Everything runs in one event loop's thread:
all lines of one read are handled together, and their replies leave in one write.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from stratum.errors import LocalProtocolError, Reject, RejectCode, Unauthorized
from stratum.jobs import Job, JobIds
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
)
from stratum.shares import SeenHashes, Share

log = logging.getLogger(__name__)

WRITE_LIMIT: Final = 256 * 1024
"""Bytes a client may leave unread before it is dropped."""

HANDSHAKE_TIMEOUT: Final = 60.0
"""Seconds to subscribe and authorise; 15 is too tight behind proxies."""

BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class MinerView:
    """What a pool sees of a ready connection, as of now.

    connection_id: never used twice by one server. account: as the pool's account_of returned it.
    worker: of the first authorised user name ("" without). suggested_difficulty: the last one the
    miner suggested, finite and positive, or None. version_mask: the version bits it may roll.
    peer: its address for logs.
    """

    connection_id: int
    account: str
    worker: str
    user_agent: str
    suggested_difficulty: int | float | None
    version_mask: int
    extranonce1: bytes
    peer: str


Answer = Callable[[Reject | None], None]


class Pool(Protocol):
    """Everything the server needs from outside. All of it is called in the event loop's thread."""

    def account_of(self, user: str) -> str:
        """Return the account of a user name (account[.worker]), the same for every spelling of it.

        Called with whatever a client sent, 1..128 printable characters. Raises Unauthorized, whose
        message the miner gets with code 24.
        """

    def connected(self, miner: MinerView) -> None:
        """Learn of a miner that is ready, before its first job."""

    def disconnected(self, miner: MinerView) -> None:
        """Learn that a miner `connected` was called for is gone."""

    def job_for(self, miner: MinerView) -> Job | None:
        """Return the next job for a miner, None when there is none now.

        Each must have coinbase content no earlier job had: some miners start their extranonce2
        from zero with every job.
        """

    def explain(self, tag: object) -> dict[str, object] | None:
        """Return what the job of this tag commits to, as a JSON object, or None."""

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """Take a good share; call `answer` once, now or later, from the loop's thread.

        `answer(None)` tells the miner true, so the share has to be safe by then; a Reject refuses
        it. Calling it twice raises LocalProtocolError; calling it for a miner that is gone is fine.
        """

    def found_block(self, share: Share, miner: MinerView) -> None:
        """Take a header that solves a block of the network.

        Called before the share is judged otherwise: `submit` follows only if it is a good share
        too. Called once a header.
        """


@dataclass(slots=True)
class Counters:
    """What happened since the server was made; only ever grows.

    rejects holds refusals of submits by code. dropped_slow are clients that did not read,
    timed_out those that did not finish the handshake, junk lines that were no message.
    """

    connections: int = 0
    accepted: int = 0
    blocks: int = 0
    junk: int = 0
    dropped_slow: int = 0
    timed_out: int = 0
    rejects: Counter[RejectCode] = field(default_factory=Counter)


class StratumServer:
    """Serves a `Pool` to miners over TCP.

    clock gives Unix seconds. first_extranonce1 is where their count starts: at random unless it is
    given, so that a restarted server hands out others.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], float] = time.time,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        write_limit: int = WRITE_LIMIT,
        first_extranonce1: int | None = None,
    ) -> None:
        self.counters = Counters()
        self.pool: Final = pool
        self.clock: Final = clock
        self.handshake_timeout: Final = handshake_timeout
        self.write_limit: Final = write_limit
        self._job_ids = JobIds()
        self._seen = SeenHashes()
        self._blocks_seen = SeenHashes(4096)
        self._next_extranonce1 = (
            secrets.randbits(32) if first_extranonce1 is None else first_extranonce1
        )
        self._next_connection = 0
        self._connections: dict[int, _Connection] = {}
        self._extranonces: set[bytes] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listener: asyncio.Server | None = None

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """The port listened on. Raises LocalProtocolError when the server is not started."""
        if self._listener is None or not self._listener.sockets:
            raise LocalProtocolError("the server is not listening")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def miners(self) -> list[MinerView]:
        """Return the ready miners, oldest connection first."""
        return [conn.view() for conn in self._connections.values() if conn.ready]

    async def start(self, host: str, port: int) -> None:
        """Listen. `port` 0 takes any free one. Raises OSError when the address can't be had."""
        if self._listener is not None:
            raise LocalProtocolError("the server was started before")
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _Connection(self), host, port, backlog=BACKLOG
        )
        log.info("listening for miners on %s port %d", host, self.port)

    async def stop(self, grace: float = 2.0) -> None:
        """Stop accepting, send what is to be sent, close; cut off after `grace` seconds."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections.values()):
            connection.close()
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d clients did not take their last bytes, cutting off", len(self))
            for connection in list(self._connections.values()):
                connection.abort()
            await self._empty.wait()
        if self._listener is not None:
            await self._listener.wait_closed()
            self._listener = None

    def broadcast(self, clean: bool) -> int:
        """Give every ready miner a new job, return how many got one.

        With `clean` miners drop older work, whatever the job itself says.
        """
        return sum(conn.new_job(clean) for conn in list(self._connections.values()))

    def refresh(self, connection_id: int) -> bool:
        """Give one miner a new job; False when it is gone, not ready, or there is no job."""
        connection = self._connections.get(connection_id)
        return connection is not None and connection.new_job(clean=False)

    def _open(self, connection: _Connection) -> tuple[int, Session]:
        self._next_connection += 1
        self.counters.connections += 1
        extranonce1 = self._take_extranonce1()
        self._connections[self._next_connection] = connection
        self._empty.clear()
        session = Session(
            extranonce1=extranonce1,
            account_of=self._account_of,
            explain=self.pool.explain,
            seen=self._seen,
            blocks_seen=self._blocks_seen,
            job_ids=self._job_ids,
        )
        return self._next_connection, session

    def _forget(self, connection_id: int, extranonce1: bytes) -> None:
        del self._connections[connection_id]
        self._extranonces.discard(extranonce1)
        if not self._connections:
            self._empty.set()

    def _take_extranonce1(self) -> bytes:
        while True:
            extranonce1 = (self._next_extranonce1 & 0xFFFFFFFF).to_bytes(4, "big")
            self._next_extranonce1 += 1
            if extranonce1 not in self._extranonces:
                self._extranonces.add(extranonce1)
                return extranonce1

    def _account_of(self, user: str) -> str | Reject:
        try:
            return self.pool.account_of(user)
        except Unauthorized as error:
            return Reject(RejectCode.UNAUTHORIZED, str(error))


class _Connection(asyncio.Protocol):
    """One socket and its session."""

    def __init__(self, server: StratumServer) -> None:
        self._server = server
        self._pool = server.pool
        self._view: MinerView | None = None
        self._flush_planned = False
        self._lost = False

    @property
    def ready(self) -> bool:
        return self._session.state is State.READY

    def view(self) -> MinerView:
        """Return the miner as it is now; the same object while nothing changed."""
        session = self._session
        view = self._view
        if (
            view is None
            or view.suggested_difficulty != session.suggested_difficulty
            or view.version_mask != session.version_mask
            or view.user_agent != session.user_agent
        ):
            view = self._view = MinerView(
                connection_id=self._id,
                account=session.account or "",
                worker=session.worker,
                user_agent=session.user_agent,
                suggested_difficulty=session.suggested_difficulty,
                version_mask=session.version_mask,
                extranonce1=session.extranonce1,
                peer=self._peer,
            )
        return view

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream transport is needed, not {type(transport).__name__}")
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._peer = _address(transport.get_extra_info("peername"))
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._id, self._session = self._server._open(self)
        self._connected = False
        self._timeout = self._loop.call_later(self._server.handshake_timeout, self._time_out)
        log.debug("connection %d from %s", self._id, self._peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._timeout.cancel()
        self._session.close()
        self._server._forget(self._id, self._session.extranonce1)
        log.debug("connection %d is gone: %s", self._id, exc or "closed")
        if self._connected:
            self._pool.disconnected(self.view())

    def data_received(self, data: bytes) -> None:
        for event in self._session.receive_data(data, self._server.clock()):
            self._handle(event)
        self._flush()

    def new_job(self, clean: bool) -> bool:
        """Ask the pool for a job and send it; False when not ready or there is none."""
        if not self.ready:
            return False
        job = self._pool.job_for(self.view())
        if job is None:
            return False
        self._session.send_job(job, self._server.clock(), clean=clean)
        self._flush()
        return True

    def close(self) -> None:
        """Send what is to be sent, then close."""
        self._session.close()
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._session.close()
        self._transport.abort()

    def _handle(self, event: Event) -> None:
        counters = self._server.counters
        match event:
            case ShareRefused():
                counters.rejects[event.reject.code] += 1
            case ShareFound():
                self._pool.submit(event.share, self.view(), self._answer_to(event))
            case BlockFound():
                counters.blocks += 1
                self._pool.found_block(event.share, self.view())
            case ReadyToMine():
                self._timeout.cancel()
                self._connected = True
                log.info("connection %d from %s is ready", self._id, self._peer)
                self._pool.connected(self.view())
                self.new_job(clean=False)
            case JunkReceived():
                counters.junk += 1
                log.debug("connection %d sent junk: %s", self._id, event.reason)
            case Closed():
                log.info("closing connection %d from %s: %s", self._id, self._peer, event.reason)
                self.close()

    def _answer_to(self, event: ShareFound) -> Answer:
        def answer(reject: Reject | None) -> None:
            counters = self._server.counters
            if reject is None:
                self._session.accept(event)
                counters.accepted += 1
            else:
                self._session.reject(event, reject)
                counters.rejects[reject.code] += 1
            # One commit answers many shares: their replies leave together, in one write.
            if not self._flush_planned:
                self._flush_planned = True
                self._loop.call_soon(self._flush)

        return answer

    def _flush(self) -> None:
        self._flush_planned = False
        data = self._session.data_to_send()
        if not data or self._lost or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._server.write_limit:
            self._server.counters.dropped_slow += 1
            log.info("dropping connection %d from %s: it does not read", self._id, self._peer)
            self.abort()

    def _time_out(self) -> None:
        self._server.counters.timed_out += 1
        log.info("closing connection %d from %s: no handshake", self._id, self._peer)
        self.close()


def _address(peername: object) -> str:
    match peername:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return "unknown"
