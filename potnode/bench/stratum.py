"""How the Stratum server does under load: submits a second, how long they take, how fast a new
block reaches every miner, and what a connection costs.

Responsible for which measurements are made, and for the server's process. The pool is in
`potnode.bench.stratum_server`, the load in `potnode.bench.stratum_load`; this process is the load.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

import msgspec

from potnode.bench.limits import allow_files
from potnode.bench.stratum_load import PoolMisbehaved, Swarm
from potnode.bench.stratum_server import Report, Shape
from stratum.errors import RejectCode

COINBASE: Final = 250
SIBLINGS: Final = 11
WARM_UP: Final = 0.5
USER: Final = "0x00000000000000000000000000000000000000aa.bench"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    runs: pairs of connections and submits each has in flight. seconds: of each run. accepted: the
    same for shares that are stored before they are answered. miners, blocks: new blocks told to so
    many miners. held, jobs: connections held at once, each given so many jobs.
    """

    seconds: float = 5.0
    runs: tuple[tuple[int, int], ...] = ((100, 1), (100, 8), (1000, 1))
    accepted: tuple[int, int] = (100, 8)
    miners: int = 1000
    blocks: int = 7
    held: int = 5000
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """One run. server_us, load_us: processor time for one submit in microseconds, of the server and
    of the load itself; the greater of them is what bounds the rate on two cores."""

    connections: int
    in_flight: int
    submits_per_s: int
    p50_ms: float
    p99_ms: float
    server_us: float
    load_us: float


@dataclass(frozen=True, slots=True)
class StratumFigures:
    """runs: submits hashed in full and refused. accepted: stored in groups, then answered.

    notify_spread_ms: from the decision to tell of a new block until the last miner has its job,
    median of the blocks; notify_worst_ms: the worst; notify_first_ms: until the first has it.
    bytes_per_connection: memory of the server for each connection held, with its jobs;
    held: how many. connect_per_s: handshakes to the first job.
    """

    runs: tuple[LoadFigures, ...]
    accepted: LoadFigures
    notify_miners: int
    notify_spread_ms: float
    notify_worst_ms: float
    notify_first_ms: float
    held: int
    bytes_per_connection: int
    connect_per_s: int

    def document(self) -> dict[str, Any]:
        """The figures as JSON."""
        return asdict(self)


class ServerProcess:
    """The pool's process, as `potnode.bench.stratum_server` describes it."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands = commands
        self._answers = answers
        self.port: int = self._answer()["port"]

    def broadcast(self) -> None:
        """Have every miner told of a new block, without waiting for it; `began` must follow."""
        self._tell(b"broadcast\n")

    def began(self) -> float:
        """When the broadcast began (monotonic seconds); waits for its end."""
        at: float = self._answer()["at"]
        return at

    def report(self) -> Report:
        """What the server did so far."""
        self._tell(b"report\n")
        return msgspec.convert(self._answer(), Report, strict=False)

    def _tell(self, command: bytes) -> None:
        self._commands.write(command)
        self._commands.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise PoolMisbehaved("the server's process ended; its last words are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running_server(*, accept: bool, files: int) -> Iterator[ServerProcess]:
    """A server on a free port of the loopback, for as long as the context lasts."""
    shape = Shape(coinbase=COINBASE, siblings=SIBLINGS, accept=accept, files=files)
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "potnode.bench.stratum_server",
            msgspec.json.encode(shape).decode(),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for")
        try:
            yield ServerProcess(process.stdin, process.stdout)
            process.stdin.close()
            process.wait(timeout=10)
        finally:
            process.kill()


def measure_stratum(plan: Plan) -> StratumFigures:
    """Measure all of it; takes some `plan.seconds` a run and a few seconds more."""
    files = max(plan.held, plan.miners, *(connections for connections, _ in plan.runs))
    allow_files(files)
    with running_server(accept=False, files=files) as server:
        runs = tuple(
            _run(server, connections, in_flight, plan.seconds, accept=False)
            for connections, in_flight in plan.runs
        )
        spreads, firsts = _new_blocks(server, plan)
    with running_server(accept=True, files=files) as server:
        accepted = _run(server, *plan.accepted, plan.seconds, accept=True)
    with running_server(accept=False, files=files) as server:
        size, rate = _hold(server, plan)
    return StratumFigures(
        runs=runs,
        accepted=accepted,
        notify_miners=plan.miners,
        notify_spread_ms=_ms(statistics.median(spreads)),
        notify_worst_ms=_ms(max(spreads)),
        notify_first_ms=_ms(statistics.median(firsts)),
        held=plan.held,
        bytes_per_connection=size,
        connect_per_s=rate,
    )


def _swarm(server: ServerProcess, *, accept: bool) -> Swarm:
    expected = None if accept else int(RejectCode.LOW_DIFFICULTY)
    return Swarm("127.0.0.1", server.port, user=USER, expected=expected)


def _run(
    server: ServerProcess, connections: int, in_flight: int, seconds: float, *, accept: bool
) -> LoadFigures:
    with _swarm(server, accept=accept) as swarm:
        swarm.connect(connections)
        before = server.report()
        load = swarm.run(in_flight, seconds, WARM_UP)
        after = server.report()
        _check(before, after, swarm.answered, accept=accept)
        return LoadFigures(
            connections=connections,
            in_flight=in_flight,
            submits_per_s=round(load.per_second),
            p50_ms=_ms(load.percentile(0.5)),
            p99_ms=_ms(load.percentile(0.99)),
            server_us=_us((after.cpu_s - before.cpu_s) / swarm.answered),
            load_us=_us(load.cpu_s / swarm.answered),
        )


def _check(before: Report, after: Report, answered: int, *, accept: bool) -> None:
    """Every submit was judged as it should be, and answered once."""
    if accept:
        judged = after.accepted - before.accepted
    else:
        code = int(RejectCode.LOW_DIFFICULTY)
        judged = after.rejects.get(code, 0) - before.rejects.get(code, 0)
    if judged != answered:
        raise PoolMisbehaved(f"{answered} replies to submits, but {judged} were judged so")


def _new_blocks(server: ServerProcess, plan: Plan) -> tuple[list[float], list[float]]:
    """Seconds from each new block to the last miner's job, and to the first's."""
    spreads, firsts = [], []
    with _swarm(server, accept=False) as swarm:
        swarm.connect(plan.miners)
        for _ in range(plan.blocks):
            server.broadcast()
            times = swarm.new_jobs()
            at = server.began()
            spreads.append(times[-1] - at)
            firsts.append(times[0] - at)
            time.sleep(0.05)
    return spreads, firsts


def _hold(server: ServerProcess, plan: Plan) -> tuple[int, int]:
    """Bytes a connection that is held, and handshakes a second."""
    with _swarm(server, accept=False) as swarm:
        swarm.connect(min(10, plan.held))  # what the first ones load belongs to none of them
    before = server.report().resident_bytes
    with _swarm(server, accept=False) as swarm:
        began = time.perf_counter()
        swarm.connect(plan.held)
        took = time.perf_counter() - began
        for _ in range(plan.jobs - 1):
            server.broadcast()
            swarm.new_jobs()
            server.began()
        report = server.report()
        if report.connections != plan.held:
            raise PoolMisbehaved(f"{report.connections} of {plan.held} connections are held")
        return round((report.resident_bytes - before) / plan.held), round(plan.held / took)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 2)
