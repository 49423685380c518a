"""The pool under measurement: a Stratum server in a process of its own, told what to do by lines.

Responsible for a pool whose jobs have the shape that is measured, whose shares are refused for
their difficulty or stored as a node stores them, and for answering commands on standard input. Not
for load, nor for figures (`potnode.bench.stratum`).

Commands, one a line: `broadcast` sends every miner a job of a new block and answers
`{"at": monotonic seconds before the first byte, "jobs": how many}`; `report` answers a `Report`.
The first line out is `{"port": ...}`. The process ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import msgspec

from potnode.bench.limits import allow_files, resident_bytes
from stratum.errors import Reject, RejectCode
from stratum.jobs import EXTRANONCE1_SIZE, EXTRANONCE2_SIZE, Job
from stratum.listener import Listener
from stratum.server import Answer, MinerView, StratumServer
from stratum.shares import Share

Keep = Callable[[bytes], Future[bool]]
"""Makes the share of a hash durable."""

NTIME: Final = 1_700_000_000
_COINB1: Final = 110
_NOT_STORED = Reject(RejectCode.OTHER, "The share could not be stored")


class Shape(msgspec.Struct, frozen=True):
    """What jobs look like, and what becomes of their shares.

    coinbase: bytes of the coinbase, extranonces included. siblings: of the coinbase in the merkle
    tree. accept: every share is good and is stored before it is answered; otherwise none is.
    files: how many descriptors the process may need.
    """

    coinbase: int
    siblings: int
    accept: bool
    files: int


class Report(msgspec.Struct, frozen=True):
    """What the server did so far: refusals by code, memory in bytes, processor seconds."""

    connections: int
    accepted: int
    rejects: dict[int, int]
    resident_bytes: int
    cpu_s: float


class BenchPool:
    """`stratum.server.Pool` whose jobs all have one shape and differ in their coinbase."""

    def __init__(self, shape: Shape, keep: Keep | None) -> None:
        self._counter = itertools.count(1)
        self._branch = tuple(secrets.token_bytes(32) for _ in range(shape.siblings))
        self._prev_hash_le = secrets.token_bytes(32)
        self._coinb1 = secrets.token_bytes(_COINB1 - 8)
        rest = shape.coinbase - _COINB1 - EXTRANONCE1_SIZE - EXTRANONCE2_SIZE
        self._coinb2 = secrets.token_bytes(rest)
        self._share_target = (1 << 256) - 1 if shape.accept else 1
        self._keep = keep
        self._loop = asyncio.get_running_loop()

    def new_block(self) -> None:
        """Jobs from now on are of another block."""
        self._prev_hash_le = secrets.token_bytes(32)

    def account_of(self, user: str, password: str) -> str:
        """As of the port: any user name is an account."""
        return user.partition(".")[0]

    def connected(self, miner: MinerView) -> None:
        """As of the port."""

    def disconnected(self, miner: MinerView) -> None:
        """As of the port."""

    def asked(self, miner: MinerView) -> None:
        """As of the port."""

    def job_for(self, miner: MinerView) -> Job | None:
        """As of the port."""
        return Job(
            prev_hash_le=self._prev_hash_le,
            coinb1=self._coinb1 + next(self._counter).to_bytes(8, "big"),
            coinb2=self._coinb2,
            branch=self._branch,
            version=0x20000000,
            nbits=0x17034219,
            ntime=NTIME,
            share_target=self._share_target,
            difficulty=1024,
            network_target=0,
            clean=False,
            account=miner.account,
            tag=None,
        )

    def explain(self, tag: object) -> dict[str, object] | None:
        """As of the port."""
        return None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """As of the port: on disk first, as in a node."""
        if self._keep is None:
            answer(None)
            return
        self._keep(share.hash).add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._answer, done, answer)
        )

    def found_block(self, share: Share, miner: MinerView) -> None:
        """As of the port: no hash meets a target of zero."""

    @staticmethod
    def _answer(done: Future[bool], answer: Answer) -> None:
        answer(None if done.exception() is None and done.result() else _NOT_STORED)


async def serve(shape: Shape, keep: Keep | None) -> None:
    """Serve on a free port of the loopback until standard input ends."""
    allow_files(shape.files)
    pool = BenchPool(shape, keep)
    server = StratumServer(pool, clock=lambda: NTIME + 5.0)
    await server.start([Listener(host="127.0.0.1", port=0)])
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    _say({"port": server.port})
    while command := (await commands.readline()).decode().strip():
        if command == "broadcast":
            pool.new_block()
            at = time.monotonic()
            jobs = server.broadcast(clean=True)
            _say({"at": at, "jobs": jobs})
        else:
            gc.collect()
            _say(
                Report(
                    connections=len(server),
                    accepted=server.counters.accepted,
                    rejects={int(code): n for code, n in server.counters.rejects.items()},
                    resident_bytes=resident_bytes(),
                    cpu_s=time.process_time(),
                )
            )
    await server.stop()


def _say(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Run with a Shape in JSON as the only argument."""
    shape = msgspec.convert(json.loads(sys.argv[1]), Shape)
    if not shape.accept:
        asyncio.run(serve(shape, None))
        return
    from potnode.bench.durability import keeping  # brings in much of a node

    with keeping() as keep:
        asyncio.run(serve(shape, keep))


if __name__ == "__main__":
    main()
