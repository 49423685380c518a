"""The pool under measurement: a Stratum server in a process of its own, told what to do by lines.

Responsible for a pool whose jobs are made as a node makes them and have the shape that is measured,
whose shares are refused for their difficulty or stored as a node stores them, and for answering
commands on standard input. Not for load, nor for figures (`potnode.bench.stratum`).

Commands, one a line: `broadcast` sends every miner a job of a new block and answers
`{"at": monotonic seconds before the first is made, "jobs": how many}`; `report` answers a `Report`.
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

from potnode.bench.cpus import pinned
from potnode.bench.limits import allow_files, resident_bytes
from potnode.handover import Handover
from potnode.heap import settle_heap
from potnode.sharehash import fastest_hasher
from potnode.work.address import miner_row
from potnode.work.jobs import Commitment, JobMaker
from potnode.work.template import Template, build_coinbase
from stratum.errors import Reject, RejectCode
from stratum.jobs import Job
from stratum.listener import Listener
from stratum.server import Answer, MinerView, StratumServer
from stratum.shares import Share

Keep = Callable[[bytes], Future[bool]]
"""Makes the share of a hash durable."""

NTIME: Final = 1_700_000_000
BITS: Final = 90
"""Difficulty 2^58: no share will be good."""
_NOT_STORED = Reject(RejectCode.OTHER, "The share could not be stored")


class Shape(msgspec.Struct, frozen=True):
    """What jobs look like, and what becomes of their shares.

    coinbase: bytes of the coinbase, extranonces included. siblings: of the coinbase in the merkle
    tree. accept: every share is good and is stored before it is answered; otherwise none is.
    files: how many descriptors the process may need. cpu: the one it keeps to, None for any.
    """

    coinbase: int
    siblings: int
    accept: bool
    files: int
    cpu: int | None


class Report(msgspec.Struct, frozen=True):
    """What the server did so far: refusals by code, memory in bytes, processor seconds."""

    connections: int
    accepted: int
    rejects: dict[int, int]
    resident_bytes: int
    cpu_s: float


def template(shape: Shape) -> Template:
    """A template of a new block whose coinbase has the shape's size when it is filled in.

    Its outputs are those of a real one: a payout to a witness key, and the witness commitment.
    """
    outputs = [
        (312_500_000, b"\0\x14" + secrets.token_bytes(20)),
        (0, b"\x6a\x24\xaa\x21\xa9\xed" + secrets.token_bytes(32)),
    ]
    rest = shape.coinbase - len(build_coinbase(b"", outputs))
    return Template(
        version=0x20000000,
        prev_hash_le=secrets.token_bytes(32),
        nbits=0x17034219,
        ntime=NTIME,
        coinbase=build_coinbase(secrets.token_bytes(rest), outputs),
        branch=tuple(secrets.token_bytes(32) for _ in range(shape.siblings)),
    )


class BenchPool:
    """`stratum.server.Pool` whose jobs all have one shape and differ in their coinbase."""

    def __init__(self, shape: Shape, keep: Keep | None) -> None:
        self._counter = itertools.count(1)
        self._shape = shape
        self._keep = keep
        self._handover = Handover(asyncio.get_running_loop())
        self.new_block()

    def new_block(self) -> None:
        """Jobs from now on are of another block."""
        step = Commitment(bytes(32), 0, bytes(32), secrets.token_bytes(32))
        self._work = JobMaker(template(self._shape), step)

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
        job = self._work.job(
            miner_row(miner.account, BITS, pays_script=False),
            account=miner.account,
            counter=next(self._counter),
            clean=False,
        )
        if self._shape.accept:
            return msgspec.structs.replace(job, share_target=(1 << 256) - 1)
        return job

    def explain(self, tag: object) -> dict[str, object] | None:
        """As of the port."""
        return None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """As of the port: on disk first, as in a node."""
        if self._keep is None:
            answer(None)
            return
        self._keep(share.hash).add_done_callback(
            lambda done: self._handover.call(lambda: self._answer(done, answer))
        )

    def found_block(self, share: Share, miner: MinerView) -> None:
        """As of the port: no hash meets a target of zero."""

    @staticmethod
    def _answer(done: Future[bool], answer: Answer) -> None:
        answer(None if done.exception() is None and done.result() else _NOT_STORED)


async def serve(shape: Shape, keep: Keep | None) -> None:
    """Serve on a free port of the loopback until standard input ends."""
    allow_files(shape.files)
    settle_heap()
    pool = BenchPool(shape, keep)
    server = StratumServer(pool, clock=lambda: NTIME + 5.0, hasher=fastest_hasher())
    await server.start([Listener(host="127.0.0.1", port=0)])
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    _say({"port": server.port})
    while command := (await commands.readline()).decode().strip():
        if command == "broadcast":
            at = time.monotonic()
            pool.new_block()
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
    with pinned(shape.cpu):
        if not shape.accept:
            asyncio.run(serve(shape, None))
            return
        from potnode.bench.durability import keeping  # brings in much of a node

        with keeping() as keep:
            asyncio.run(serve(shape, keep))


if __name__ == "__main__":
    main()
