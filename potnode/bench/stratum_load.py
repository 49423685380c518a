"""Load on any Stratum pool: many connections that keep submits in flight, from one thread.

Responsible for connecting miners, keeping them busy, and what each reply took. Written to cost less
than the pool: raw sockets on one epoll, submits made by filling in a line, replies counted by their
line ends; one read in many is looked at in full, to see that replies say what they should.
"""

from __future__ import annotations

import json
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from potnode.errors import PotnodeError

PATIENCE: Final = 60.0
"""Seconds to wait for what has to come: handshakes, the last replies, a notify."""

_READ: Final = 65_536
_EVENTS: Final = 1_024
_SAMPLE: Final = 64  # one read in so many is parsed


class PoolMisbehaved(PotnodeError):
    """The pool closed a connection, was silent, or answered with something else."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run showed: replies inside its seconds, what each of them took, ascending, and the
    processor time that the load itself took for all of them, warm-up included."""

    seconds: float
    latencies: Sequence[float]
    cpu_s: float

    @property
    def per_second(self) -> float:
        """Submits answered a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The time in seconds within which this share (0..1) of the submits was answered."""
        last = len(self.latencies) - 1
        return self.latencies[round(share * last)] if last >= 0 else 0.0


class _Miner:
    """One connection. `tail` is a line that has not ended, `sent` when each unanswered one left."""

    __slots__ = ("job_id", "line", "number", "sent", "socket", "tail", "user")

    def __init__(self, sock: socket.socket, user: str) -> None:
        self.socket = sock
        self.user = user
        self.tail = b""
        self.job_id = ""
        self.line = b""
        self.number = 0
        self.sent: deque[float] = deque()

    def take_job(self, params: list[Any]) -> None:
        """Submit for this job from now on."""
        self.job_id = params[0]
        fields = json.dumps([self.user, self.job_id, "NUMBER", params[7], "00000000"])
        line = '{"id":%d,"method":"mining.submit","params":' + fields + "}\n"
        self.line = line.replace("NUMBER", "%016x").encode()

    def submit(self, count: int) -> None:
        """Send so many submits in one packet, each with a new extranonce2."""
        first = self.number + 1
        self.number += count
        line = self.line
        lines = [line % (number, number) for number in range(first, first + count)]
        # A pool that follows has room for what is in flight: one that has not is no use here.
        data = b"".join(lines)
        self.sent.extend([time.perf_counter()] * count)
        if self.socket.send(data) != len(data):
            raise PoolMisbehaved("the pool does not read what it is sent")


def _hello(user: str) -> bytes:
    messages = [
        {"id": 1, "method": "mining.subscribe", "params": ["potnode-bench"]},
        {"id": 2, "method": "mining.authorize", "params": [user, "x"]},
    ]
    return "".join(json.dumps(message) + "\n" for message in messages).encode()


class Swarm:
    """Connected miners of one pool.

    users: as many user names as there will be miners. expected: the code of the error that each
    reply must have, None where it must be true. answered: replies to submits so far. last_job:
    params of the notify that came last, to any miner. spin: ask for replies over and over instead
    of sleeping until they come; only where this process has a CPU to itself. Use it as a context
    manager; methods raise PoolMisbehaved or OSError.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        users: Iterable[str],
        expected: int | None,
        spin: bool = False,
    ) -> None:
        self._address = (host, port)
        self._spin = spin
        self._users = iter(users)
        self._expected = expected
        self._poll = select.epoll()
        self._miners: dict[int, _Miner] = {}
        self._reads = 0
        self.answered = 0
        self.last_job: list[Any] = []

    def __len__(self) -> int:
        return len(self._miners)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for miner in self._miners.values():
            miner.socket.close()
        self._miners.clear()
        self._poll.close()

    def connect(self, count: int) -> None:
        """Add so many miners and wait until each has its first job."""
        waiting: set[int] = set()
        for _ in range(count):
            sock = socket.create_connection(self._address, timeout=PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            user = next(self._users)
            self._miners[sock.fileno()] = _Miner(sock, user)
            self._poll.register(sock.fileno(), select.EPOLLIN)
            waiting.add(sock.fileno())
            sock.send(_hello(user))
        while waiting:
            for fd, _ in self._events():
                miner = self._miners[fd]
                self._greet(miner)
                if miner.job_id:
                    waiting.discard(fd)

    def new_jobs(self) -> list[float]:
        """Wait until a notify came to every miner, return when (monotonic seconds), ascending.

        No submits are in flight. What came is looked at when all have it, so that reading it late
        is not taken for sending it late.
        """
        waiting = set(self._miners)
        times: list[float] = []
        while waiting:
            for fd, _ in self._events():
                miner = self._miners[fd]
                data = miner.socket.recv(_READ)
                if not data:
                    raise PoolMisbehaved("the pool closed a connection")
                miner.tail += data
                if data.endswith(b"\n") and b'"mining.notify"' in miner.tail:
                    times.append(time.monotonic())
                    waiting.discard(fd)
        for miner in self._miners.values():
            data, miner.tail = miner.tail, b""
            self._look_at(miner, data)
        return times

    def run(self, in_flight: int, seconds: float, warm_up: float) -> Load:
        """Keep so many submits of every miner unanswered, for `seconds` after the warm-up."""
        cpu_s = time.process_time()
        for miner in self._miners.values():
            miner.submit(in_flight)
        begin = time.perf_counter() + warm_up
        end = begin + seconds
        latencies = array("d")
        now = 0.0
        while now < end:
            for fd, _ in self._events():
                miner = self._miners[fd]
                count = self._read(miner)
                now = time.perf_counter()
                if not count:
                    continue
                sent = miner.sent
                if now < begin:
                    for _ in range(count):
                        sent.popleft()
                elif now < end:
                    latencies.extend([now - sent.popleft() for _ in range(count)])
                else:
                    for _ in range(count):
                        sent.popleft()
                    continue
                miner.submit(count)
        self._drain()
        cpu_s = time.process_time() - cpu_s
        return Load(seconds, sorted(latencies), cpu_s)

    def submit_one(self) -> None:
        """Have each miner submit once, and wait for the replies."""
        for miner in self._miners.values():
            miner.submit(1)
        self._drain()

    def _drain(self) -> None:
        """Take the replies that are still to come."""
        while any(miner.sent for miner in self._miners.values()):
            for fd, _ in self._events():
                miner = self._miners[fd]
                for _ in range(self._read(miner)):
                    miner.sent.popleft()

    def _events(self) -> list[tuple[int, int]]:
        poll = self._poll.poll
        events = poll(0 if self._spin else PATIENCE, _EVENTS)
        if not events and self._spin:
            until = time.perf_counter() + PATIENCE
            while not (events := poll(0, _EVENTS)) and time.perf_counter() < until:
                pass
        if not events:
            raise PoolMisbehaved(f"nothing came for {PATIENCE:.0f} s")
        return events

    def _read(self, miner: _Miner) -> int:
        """Read once, return how many replies to submits came."""
        data = miner.socket.recv(_READ)
        if not data:
            raise PoolMisbehaved("the pool closed a connection")
        if miner.tail:
            data = miner.tail + data
            miner.tail = b""
        if data[-1] != 10:
            data, _, miner.tail = data.rpartition(b"\n")
            if not data:
                return 0
            data += b"\n"
        self._reads += 1
        if b'"method"' in data or self._reads % _SAMPLE == 0:
            count = self._look_at(miner, data)
        else:
            count = data.count(b"\n")
        self.answered += count
        return count

    def _look_at(self, miner: _Miner, data: bytes) -> int:
        replies = 0
        for line in data.splitlines():
            message = json.loads(line)
            if message.get("method") == "mining.notify":
                self._take_job(miner, message["params"])
            elif "method" not in message:
                replies += 1
                error = message["error"]
                code = None if error is None else error[0]
                if code != self._expected or message["result"] is not (code is None):
                    raise PoolMisbehaved(f"the pool answered a submit with {line!r}")
        return replies

    def _take_job(self, miner: _Miner, params: list[Any]) -> None:
        self.last_job = params
        miner.take_job(params)

    def _greet(self, miner: _Miner) -> None:
        """Read a part of the handshake: replies to it are no replies to submits."""
        miner.tail += miner.socket.recv(_READ)
        *lines, miner.tail = miner.tail.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("method") == "mining.notify":
                self._take_job(miner, message["params"])
            elif message.get("error"):
                raise PoolMisbehaved(f"the pool refused a miner: {line!r}")
