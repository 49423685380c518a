"""How the Stratum server does under load: submits a second, how long they take, how fast a new
block reaches every miner, and what a connection costs.

Responsible for which measurements are made, and for the server's process. The pool is in
`potnode.bench.stratum_server`, the load in `potnode.bench.stratum_load`; this process is the load.
Where two CPUs can be had, each process keeps to one, and the load never sleeps on its own.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Final

import msgspec

from potnode.bench.cpus import cpu_model, load_average, pinned, two_cpus
from potnode.bench.limits import allow_files
from potnode.bench.stratum_load import PoolMisbehaved, Swarm
from potnode.bench.stratum_server import Report, Shape
from stratum.errors import RejectCode

COINBASE: Final = 250
SIBLINGS: Final = 11
WARM_UP: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    runs: pairs of connections and submits each has in flight. seconds: of each run, all its rounds
    together. accepted: the same for shares that are stored before they are answered. miners,
    blocks: new blocks told to so many miners. held, jobs: connections held at once, each given so
    many jobs and submitting one share for each; 19 are what a connection knows that gets one every
    10 seconds, as jobs live 180.
    """

    seconds: float = 6.0
    rounds: int = 3
    runs: tuple[tuple[int, int], ...] = ((100, 1), (100, 8), (1000, 1))
    accepted: tuple[int, int] = (100, 8)
    miners: int = 1000
    blocks: int = 21
    held: int = 5000
    jobs: int = 19


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """One run: the figures of its median round, and the best round's rate.

    server_us, load_us: processor time for one submit in microseconds, of the server and of the load
    itself (which counts its waiting where it spins); the server's bounds the rate.
    """

    connections: int
    in_flight: int
    submits_per_s: int
    p50_ms: float
    p99_ms: float
    server_us: float
    load_us: float
    rounds: int
    best_submits_per_s: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on. load_average: of the last minute before, so without the measurement.

    server_cpu, load_cpu: the CPU each process was kept to, None where it could not be. load_spins:
    whether the load asked for replies over and over instead of sleeping until they came.
    """

    cpu: str
    cpus: int
    load_average: float
    server_cpu: int | None
    load_cpu: int | None
    load_spins: bool


@dataclass(frozen=True, slots=True)
class StratumFigures:
    """runs: submits hashed in full and refused. accepted: stored in groups, then answered.

    notify_spread_ms: of a new block's jobs, from the first miner that has one to the last, median
    of the blocks; notify_spread_best_ms: of the best. notify_last_ms, notify_last_best_ms: from the
    decision to tell of the block until the last miner has its job. bytes_per_connection: memory of
    the server for each connection held, with its jobs; held, jobs: how many of both.
    connect_per_s: handshakes to the first job.
    """

    machine: Machine
    runs: tuple[LoadFigures, ...]
    accepted: LoadFigures
    notify_miners: int
    notify_spread_ms: float
    notify_spread_best_ms: float
    notify_last_ms: float
    notify_last_best_ms: float
    held: int
    jobs: int
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
def running_server(*, accept: bool, files: int, cpu: int | None = None) -> Iterator[ServerProcess]:
    """A server on a free port of the loopback, for as long as the context lasts."""
    shape = Shape(coinbase=COINBASE, siblings=SIBLINGS, accept=accept, files=files, cpu=cpu)
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
    """Measure all of it; takes some `plan.seconds` a run and half a minute more."""
    files = max(plan.held, plan.miners, *(connections for connections, _ in plan.runs))
    allow_files(files)
    cpus = two_cpus()
    server_cpu, load_cpu = cpus or (None, None)
    machine = Machine(
        cpu=cpu_model(),
        cpus=os.cpu_count() or 1,
        load_average=round(load_average(), 2),
        server_cpu=server_cpu,
        load_cpu=load_cpu,
        load_spins=cpus is not None,
    )
    spin = machine.load_spins
    with pinned(load_cpu):
        with running_server(accept=False, files=files, cpu=server_cpu) as server:
            runs = tuple(_run(server, *run, plan, accept=False, spin=spin) for run in plan.runs)
            spreads, lasts = _new_blocks(server, plan, spin=spin)
        with running_server(accept=True, files=files, cpu=server_cpu) as server:
            accepted = _run(server, *plan.accepted, plan, accept=True, spin=False)
        with running_server(accept=False, files=files, cpu=server_cpu) as server:
            size, rate = _hold(server, plan)
    return StratumFigures(
        machine=machine,
        runs=runs,
        accepted=accepted,
        notify_miners=plan.miners,
        notify_spread_ms=_ms(statistics.median(spreads)),
        notify_spread_best_ms=_ms(min(spreads)),
        notify_last_ms=_ms(statistics.median(lasts)),
        notify_last_best_ms=_ms(min(lasts)),
        held=plan.held,
        jobs=plan.jobs,
        bytes_per_connection=size,
        connect_per_s=rate,
    )


def _swarm(server: ServerProcess, *, accept: bool, spin: bool = False) -> Swarm:
    expected = None if accept else int(RejectCode.LOW_DIFFICULTY)
    users = (f"0x{number:040x}.bench" for number in itertools.count(1))
    return Swarm("127.0.0.1", server.port, users=users, expected=expected, spin=spin)


def _run(
    server: ServerProcess,
    connections: int,
    in_flight: int,
    plan: Plan,
    *,
    accept: bool,
    spin: bool,
) -> LoadFigures:
    rounds: list[LoadFigures] = []
    with _swarm(server, accept=accept, spin=spin) as swarm:
        swarm.connect(connections)
        for _ in range(plan.rounds):
            answered = swarm.answered
            before = server.report()
            load = swarm.run(in_flight, plan.seconds / plan.rounds, WARM_UP)
            after = server.report()
            answered = swarm.answered - answered
            _check(before, after, answered, accept=accept)
            rounds.append(
                LoadFigures(
                    connections=connections,
                    in_flight=in_flight,
                    submits_per_s=round(load.per_second),
                    p50_ms=_ms(load.percentile(0.5)),
                    p99_ms=_ms(load.percentile(0.99)),
                    server_us=_us((after.cpu_s - before.cpu_s) / answered),
                    load_us=_us(load.cpu_s / answered),
                    rounds=plan.rounds,
                    best_submits_per_s=0,
                )
            )
    rounds.sort(key=lambda figures: figures.submits_per_s)
    return replace(rounds[len(rounds) // 2], best_submits_per_s=rounds[-1].submits_per_s)


def _check(before: Report, after: Report, answered: int, *, accept: bool) -> None:
    """Every submit was judged as it should be, and answered once."""
    if accept:
        judged = after.accepted - before.accepted
    else:
        code = int(RejectCode.LOW_DIFFICULTY)
        judged = after.rejects.get(code, 0) - before.rejects.get(code, 0)
    if judged != answered:
        raise PoolMisbehaved(f"{answered} replies to submits, but {judged} were judged so")


def _new_blocks(
    server: ServerProcess, plan: Plan, *, spin: bool
) -> tuple[list[float], list[float]]:
    """Of each new block: seconds from the first miner's job to the last's, and until the last."""
    spreads, lasts = [], []
    with _swarm(server, accept=False, spin=spin) as swarm:
        swarm.connect(plan.miners)
        for _ in range(plan.blocks):
            server.broadcast()
            times = swarm.new_jobs()
            at = server.began()
            spreads.append(times[-1] - times[0])
            lasts.append(times[-1] - at)
            time.sleep(0.05)
    return spreads, lasts


def _hold(server: ServerProcess, plan: Plan) -> tuple[int, int]:
    """Bytes a connection that is held, and handshakes a second."""
    with _swarm(server, accept=False) as swarm:
        swarm.connect(min(10, plan.held))  # what the first ones load belongs to none of them
    before = server.report().resident_bytes
    with _swarm(server, accept=False) as swarm:
        began = time.perf_counter()
        swarm.connect(plan.held)
        took = time.perf_counter() - began
        swarm.submit_one()
        for _ in range(plan.jobs - 1):
            server.broadcast()
            swarm.new_jobs()
            server.began()
            swarm.submit_one()
        report = server.report()
        if report.connections != plan.held:
            raise PoolMisbehaved(f"{report.connections} of {plan.held} connections are held")
        return round((report.resident_bytes - before) / plan.held), round(plan.held / took)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 2)
