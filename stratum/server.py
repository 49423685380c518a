"""The pool server: many connections, and what they share.

Responsible for listening, for who may connect, for what sessions of one server share (job ids,
extranonces, counted hashes, counters, ended sessions that may be continued), for jobs to all of
them, and for the periodic sweep. One connection is `stratum.connection`'s. What a share is worth
and where jobs come from is the pool's. Everything runs in one event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from stratum.connection import READ_SIZE, Connection
from stratum.counters import ConnectionStats, Counters
from stratum.errors import LocalProtocolError, Reject, RejectCode, Unauthorized
from stratum.host import Shared
from stratum.jobs import JobIds
from stratum.limits import AddressBook, Limits, Refusal
from stratum.listener import Acceptor, Listener
from stratum.outlet import Turn
from stratum.pool import Answer, MinerView, Pool
from stratum.session import Resumable, Session
from stratum.shares import Hasher, HashlibHasher, SeenHashes

__all__ = ["Answer", "Counters", "Limits", "Listener", "MinerView", "Pool", "StratumServer"]

log = logging.getLogger(__name__)

DEFAULT_LIMITS: Final = Limits()

SESSION_ID_BYTES: Final = 4
"""Of a session id, which is twice as many hex digits: as long as ckpool's, which firmware keeps."""

SWEEP_SECONDS: Final = 5.0
"""Longest time between two looks for connections whose time is over."""


_POOL_FAILED: Final = Reject(RejectCode.OTHER, "The pool failed; try again")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A session that may be continued until `until` (monotonic seconds)."""

    until: float
    left: Resumable


class StratumServer:
    """Serves a `Pool` to miners over TCP and TLS.

    clock gives Unix seconds, monotonic seconds that never go back. first_extranonce1 is where their
    count starts: at random unless it is given, so that a restarted server hands out others. hasher:
    what hashes shares, hashlib by default.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT_LIMITS,
        first_extranonce1: int | None = None,
        hasher: Hasher | None = None,
    ) -> None:
        self.counters: Final = Counters()
        self.limits: Final = limits
        self._pool = pool
        self._shared = Shared(
            pool=pool,
            limits=limits,
            counters=self.counters,
            addresses=AddressBook(limits),
            clock=clock,
            monotonic=monotonic,
            buffer=memoryview(bytearray(READ_SIZE)),
            turn=Turn(),
        )
        self._job_ids = JobIds()
        self._seen = SeenHashes()
        self._blocks_seen = SeenHashes(4096)
        self._hasher = HashlibHasher() if hasher is None else hasher
        self._next_extranonce1 = (
            secrets.randbits(32) if first_extranonce1 is None else first_extranonce1
        )
        self._next_connection = 0
        self._connections: dict[int, Connection] = {}
        self._extranonces: set[bytes] = set()
        self._owned: dict[int, list[bytes]] = {}
        self._turned_away: set[int] = set()
        self._ended: OrderedDict[str, _Ended] = OrderedDict()
        self._empty = asyncio.Event()
        self._empty.set()
        self._acceptors: list[Acceptor] = []
        self._stopping = False
        self._accepting = True
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """The first listener's port. Raises LocalProtocolError when the server is not started."""
        ports = self.ports()
        if not ports:
            raise LocalProtocolError("the server is not listening")
        return ports[0]

    def ports(self) -> list[int]:
        """Return the port of each listener, in the order they were given."""
        return [acceptor.addresses[0][1] for acceptor in self._acceptors]

    def miners(self) -> list[MinerView]:
        """Return the ready miners, oldest connection first."""
        return [conn.view() for conn in self._connections.values() if conn.ready]

    def stats(self) -> dict[int, ConnectionStats]:
        """Return every ready miner's own numbers by connection id."""
        return {id_: conn.stats() for id_, conn in self._connections.items() if conn.ready}

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Listen. Raises OSError, and listens nowhere, when an address can't be had."""
        if self._acceptors:
            raise LocalProtocolError("the server was started before")
        if not listeners:
            raise ValueError("there is nowhere to listen")
        self._stopping = False
        acceptors: list[Acceptor] = []
        try:
            for listener in listeners:
                factory = partial(Connection, self._shared, self, listener)
                acceptor = Acceptor(listener, factory, self._accept_failed)
                await acceptor.bind()
                acceptors.append(acceptor)
        except OSError:
            for acceptor in acceptors:
                acceptor.close()
            raise
        self._acceptors = acceptors
        self._plan_sweep()
        for acceptor in acceptors:
            acceptor.accept()
            for host, port in acceptor.addresses:
                log.info("listening for miners on %s port %d", host, port)

    async def stop(self, grace: float = 2.0) -> None:
        """Stop accepting, send what is to be sent, close; cut off after `grace` seconds."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.close()
        for acceptor in acceptors:
            await acceptor.wait_closed()
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

    def broadcast(self, clean: bool) -> int:
        """Give every ready miner a new job, return how many got one.

        With `clean` miners drop older work, whatever the job itself says. All jobs are made before
        the first is sent, so that the miners get theirs as close together as can be.
        """
        counters, monotonic = self.counters, self._shared.monotonic
        start, now = monotonic(), self._shared.clock()
        given = [
            (connection, connection.take())
            for connection in list(self._connections.values())
            if connection.prepare_job(now, clean=clean)
        ]
        prepared = monotonic()
        for connection, data in given:
            connection.send(data)
        counters.broadcast_miners = len(given)
        counters.broadcast_prepare = prepared - start
        counters.broadcast_write = monotonic() - prepared
        return len(given)

    def refresh(self, connection_id: int) -> bool:
        """Give one miner a new job; False when it is gone, not ready, or there is no job."""
        connection = self._connections.get(connection_id)
        if connection is None or not connection.prepare_job(self._shared.clock(), clean=False):
            return False
        connection.flush()
        return True

    def show_message(self, connection_id: int, text: str) -> bool:
        """Have a miner show its owner a line of text; False when it is gone or not ready."""
        connection = self._connections.get(connection_id)
        if connection is None or not connection.ready:
            return False
        connection.session.show_message(text)
        connection.flush()
        return True

    def sweep(self) -> None:
        """Close connections whose time is over, and forget what is no longer needed.

        A started server does this by itself, every five seconds or more often.
        """
        now = self._shared.monotonic()
        for connection in list(self._connections.values()):
            connection.sweep(now)
        self._shared.addresses.sweep(now)
        while self._ended and next(iter(self._ended.values())).until <= now:
            self._forget(self._ended.popitem(last=False)[1])

    # What a connection asks (`stratum.host.Host`).

    def enter(self, connection: Connection) -> tuple[int, Session] | None:
        """Take a new connection: its id and session, None when there is no place."""
        if self._stopping:
            return None
        most = self.limits.max_clients
        if most is not None and len(self._connections) >= most:
            self.counters.refused[Refusal.FULL] += 1
            return None
        self._accepting = True
        self._next_connection += 1
        self.counters.connections += 1
        number = self._next_connection
        session = Session(
            extranonce1=self._take_extranonce1(number),
            account_of=partial(self._account_of, connection, number),
            explain=self._explain,
            seen=self._seen,
            blocks_seen=self._blocks_seen,
            job_ids=self._job_ids,
            hasher=self._hasher,
            # Whoever knows it may continue the session: extranonces, in a row, would be guessed.
            session_id=secrets.token_hex(SESSION_ID_BYTES),
            resume=partial(self._resume, number),
        )
        self._connections[number] = connection
        self._empty.clear()
        return number, session

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone; its session may be continued for a while."""
        number, session = connection.connection_id, connection.session
        del self._connections[number]
        self._turned_away.discard(number)
        self._extranonces.difference_update(self._owned.pop(number))
        seconds = self.limits.resume_seconds
        if seconds is not None and len(session.jobs) > 0:
            left = Resumable(session.extranonce1, session.jobs)
            self._forget(self._ended.pop(session.session_id, None))
            self._ended[session.session_id] = _Ended(self._shared.monotonic() + seconds, left)
            self._extranonces.add(left.extranonce1)  # nobody else's while it may come back
            if len(self._ended) > self.limits.resume_sessions:
                self._forget(self._ended.popitem(last=False)[1])
        if not self._connections:
            self._empty.set()

    # Inside.

    def _take_extranonce1(self, number: int) -> bytes:
        while True:
            extranonce1 = (self._next_extranonce1 & 0xFFFFFFFF).to_bytes(4, "big")
            self._next_extranonce1 += 1
            if extranonce1 not in self._extranonces:
                self._extranonces.add(extranonce1)
                self._owned[number] = [extranonce1]
                return extranonce1

    def _resume(self, number: int, session_id: str) -> Resumable | None:
        """Return what an ended session left; from now on it is connection `number`'s."""
        ended = self._ended.pop(session_id, None)
        if ended is None or ended.until <= self._shared.monotonic():
            self._forget(ended)
            return None
        self._owned[number].append(ended.left.extranonce1)
        self.counters.resumed += 1
        return ended.left

    def _forget(self, ended: _Ended | None) -> None:
        """An ended session can't be continued any more: its extranonce1 is free."""
        if ended is not None:
            self._extranonces.discard(ended.left.extranonce1)

    def _account_of(
        self, connection: Connection, number: int, user: str, password: str
    ) -> str | Reject:
        try:
            return self._pool.account_of(user, password)
        except Unauthorized as error:
            if number not in self._turned_away:  # its owner sees no more than that it is dead
                self._turned_away.add(number)
                log.info(
                    "connection %d from %s may not mine as %s: %s",
                    number,
                    connection.peer,
                    user,
                    error,
                )
            return Reject(RejectCode.UNAUTHORIZED, str(error))
        except Exception:
            # Behind this line of the read there may be a block.
            self.counters.pool_errors += 1
            log.exception("the pool failed on a user name")
            return _POOL_FAILED

    def _explain(self, tag: object) -> dict[str, object] | None:
        try:
            return self._pool.explain(tag)
        except Exception:
            self.counters.pool_errors += 1
            log.exception("the pool failed to explain a job")
            return None

    def _accept_failed(self, error: OSError) -> None:
        self.counters.accept_errors += 1
        if self._accepting:  # one line until a client gets in again: it is tried every second
            self._accepting = False
            log.error("no connection can be accepted: %s", error)

    def _plan_sweep(self) -> None:
        limits = self.limits
        times = (limits.handshake_timeout, limits.tls_timeout, limits.idle_line)
        shortest = min(seconds for seconds in times if seconds is not None)
        self._sweeper = asyncio.get_running_loop().call_later(
            min(SWEEP_SECONDS, shortest / 4), self._sweep_again
        )

    def _sweep_again(self) -> None:
        try:
            self.sweep()
        finally:
            self._plan_sweep()
