"""Whole nodes for tests: started as users start them, mined by a client that knows its promises.

Nothing here sleeps to let something happen: every wait is for a line, an answer or a state, with a
deadline that only a broken node reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest.mock
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from potnode.access import DATABASE_FILE
from potnode.cli import main
from potnode.config import Settings
from potnode.miner.kernel import HeaderScan
from potnode.node import Node
from potnode.store import Store, sqlite_url
from stratum.client import ClientJob, NewJob, StratumClient, SubmitResult
from stratum.errors import Reject
from stratum.headers import sha256d

ROOT = Path(__file__).parents[2]
ANVIL = ROOT / "contracts" / "tools" / "anvil"
DEADLINE = 90.0
"""Seconds no wait of a working node comes near."""
MINER = "0x" + "a1" * 20
POPULATION = 8
"""Shares of a step."""

_READY = re.compile(r"ready: miners at \S+:(\d+), API at http://\S+:(\d+)")
_JOB = """
dataset = "digits"
[model]
hidden = [8]
[search]
population = 16
candidates_per_share = 2
batch_size = 32
steps = {steps}
validate_every = {validate_every}
min_bits = {min_bits}
window = 64
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without a user's own potnode settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("POTNODE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


@dataclass(frozen=True)
class Done:
    """What a command left: exit status and its two outputs."""

    status: int
    out: str
    err: str


def potnode(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
    """Run a command of `potnode` in this process: importing takes longer than most of them."""
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with (
        unittest.mock.patch.object(sys, "argv", ["potnode", *map(str, arguments)]),
        unittest.mock.patch.dict(os.environ, environment(**(env or {})), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
    assert isinstance(status, int), status
    return Done(status, out.getvalue(), err.getvalue())


def write_job_file(
    folder: Path, *, steps: int, min_bits: int = 8, validate_every: int = 10
) -> Path:
    """A small job on the digits: 8 shares a step, a few milliseconds each."""
    file = folder / "job.toml"
    file.write_text(_JOB.format(steps=steps, min_bits=min_bits, validate_every=validate_every))
    return file


def create_job(
    data_dir: Path, *, steps: int, min_bits: int = 8, env: Mapping[str, str] | None = None
) -> bytes:
    """Create a small job on the chain of a data directory that no node has open; its id."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = write_job_file(data_dir, steps=steps, min_bits=min_bits)
    created = potnode("job", "create", file, "--data-dir", data_dir, "--json", env=env)
    assert created.status == 0, created.err
    return bytes.fromhex(json.loads(created.out)["job"])


@contextlib.contextmanager
def opened_store(data_dir: Path) -> Iterator[Store]:
    """The database of a node that is not running."""
    with Store(sqlite_url(data_dir / DATABASE_FILE)) as store:
        yield store


class RunningNode:
    """`potnode run` as a process of its own. A context manager: it is gone afterwards."""

    def __init__(self, data_dir: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.stratum_port = 0
        self.api_port = 0
        self._options = options
        self._env = env or {}
        self._lines: list[str] = []
        self._heard = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start, and wait until miners can connect."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, unless the test did."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self._finish()

    def start(self) -> None:
        """Start without waiting for anything."""
        command = [sys.executable, "-m", "potnode", "run", "--data-dir", str(self.data_dir)]
        command += ["--stratum-port", "0", "--api-port", "0", *self._options]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**self._env),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait for the line that names the ports."""
        match = self.wait_for_line(_READY)
        self.stratum_port, self.api_port = int(match[1]), int(match[2])

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process, running or not."""
        assert self._process is not None, "the node was not started"
        return self._process

    @property
    def log(self) -> str:
        """Everything it has said so far."""
        with self._heard:
            return "".join(self._lines)

    def wait_for_line(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """The first line of its log that has the pattern; fails when the process ends first."""
        compiled = re.compile(pattern)
        looked_at = 0
        deadline = time.monotonic() + DEADLINE
        while True:
            with self._heard:
                ended = self._reader is None or not self._reader.is_alive()
                for line in self._lines[looked_at:]:
                    if match := compiled.search(line):
                        return match
                looked_at = len(self._lines)
                assert not ended, f"the node ended before it said {pattern}:\n{self._text()}"
                assert time.monotonic() < deadline, f"no {pattern} in:\n{self._text()}"
                self._heard.wait(1.0)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal and wait; exit status and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        self._finish()
        return status, time.monotonic() - started

    def wait_end(self) -> int:
        """Wait until it ends by itself; its exit status."""
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"it does not end:\n{self.log}") from error
        self._finish()
        return status

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(DEADLINE)
        self._finish()

    def get(self, path: str) -> Any:
        """A JSON document of its API; problems are documents too."""
        return get_json(f"http://127.0.0.1:{self.api_port}{path}")

    def training(self) -> dict[str, Any]:
        """How far the job is."""
        found: dict[str, Any] = self.get("/api/v1/pool")["training"]
        return found

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so; fails when the process ends first."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self.process.poll() is None, f"the node ended before {what}:\n{self.log}"
            assert time.monotonic() < deadline, f"never {what}:\n{self.log}"
            time.sleep(0.05)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self._lines.append(line)
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def _text(self) -> str:
        return "".join(self._lines)

    def _finish(self) -> None:
        if self._reader is not None:
            self._reader.join(DEADLINE)
        if self.process.stderr is not None:
            self.process.stderr.close()


def get_json(url: str) -> Any:
    """A JSON document; one of status 4xx or 5xx is returned as well."""
    return requests.get(url, timeout=DEADLINE).json()


def fetch(url: str) -> tuple[int, bytes]:
    """Status and body."""
    response = requests.get(url, timeout=DEADLINE)
    return response.status_code, response.content


def solve(job: ClientJob, extranonce2: int, count: int) -> list[tuple[bytes, int, bytes]]:
    """`count` shares of one header: extranonce2, nonce and hash of each."""
    en2 = extranonce2.to_bytes(job.extranonce2_size, "big")
    header76 = job.header_base(en2)[:76]
    scan = HeaderScan(header76)
    found: list[int] = []
    at, span = 0, 1 << 13
    while len(found) < count:
        found += scan.scan(at, span, job.target)
        at += span
    return [
        (en2, nonce, sha256d(header76 + nonce.to_bytes(4, "little"))) for nonce in found[:count]
    ]


@dataclass
class Digger:
    """A miner that knows which of its shares the pool promised to count.

    acknowledged: hashes answered true, in that order. refused: what the others were answered.
    in_flight: submits without an answer at any time.
    """

    port: int
    user: str = MINER
    agent: str = "cpuminer/2.5.1"
    in_flight: int = 8
    acknowledged: list[bytes] = field(default_factory=list)
    refused: list[Reject] = field(default_factory=list)
    jobs: list[ClientJob] = field(default_factory=list)
    _wanted: int | None = None
    _job: ClientJob | None = None
    _numbers: int = 0
    _asked: dict[int, bytes] = field(default_factory=dict)
    _ready: list[tuple[ClientJob, bytes, int, bytes]] = field(default_factory=list)

    async def dig(self, enough: Callable[[], object]) -> None:
        """Mine until `enough` is true or the pool hangs up; a lost connection is the latter."""
        client = StratumClient("127.0.0.1", self.port, user=self.user, agent=self.agent)
        self._asked.clear()
        self._ready.clear()
        self._job = None
        with contextlib.suppress(ConnectionError):
            async with client:
                async for event in client:
                    match event:
                        case NewJob(job):
                            self.jobs.append(job)
                            self._job = job
                            self._ready.clear()
                        case SubmitResult(number, reject):
                            hash_ = self._asked.pop(number)
                            if reject is None:
                                self.acknowledged.append(hash_)
                            else:
                                self.refused.append(reject)
                    if enough():
                        return
                    self._fill(client)

    async def shares(self, count: int) -> list[bytes]:
        """Mine until so many more are acknowledged, and submit no more than that takes."""
        before = len(self.acknowledged)
        wanted = self._wanted = before + count
        try:
            await asyncio.wait_for(self.dig(lambda: len(self.acknowledged) == wanted), DEADLINE)
        finally:
            self._wanted = None
        assert len(self.acknowledged) == wanted, f"the pool hung up: {self.refused[-3:]}"
        return self.acknowledged[before:]

    def _fill(self, client: StratumClient) -> None:
        room = self.in_flight
        if self._wanted is not None:
            room = min(room, self._wanted - len(self.acknowledged))
        job = self._job
        while job is not None and len(self._asked) < room:
            if not self._ready:
                self._numbers += 1
                solved = solve(job, self._numbers, self.in_flight)
                self._ready = [(job, *share) for share in solved]
            job, en2, nonce, hash_ = self._ready.pop()
            self._asked[client.submit(job, en2, nonce)] = hash_


class Line:
    """A TCP connection that can be cut: it forwards to `target` while it is whole."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._whole = True
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Drop what is open, refuse what comes."""
        with self._lock:
            self._whole = False
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Forward again."""
        with self._lock:
            self._whole = True

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._whole:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                pair = (here, there)
                self._sockets.update(pair)
            ended = [False]
            for one, other in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(one, other, ended), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, ended: list[bool]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with self._lock, contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if ended[0]:  # the other direction is over too
                for one in (source, sink):
                    self._sockets.discard(one)
                    one.close()
            ended[0] = True


class Anvil:
    """An EVM node that mines every transaction at once. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "anvil.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [ANVIL, "--port", str(self.port), "--hardfork", "prague", "--chain-id", "515151"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + DEADLINE
        while "Listening on" not in self._log.read_text("utf-8"):
            assert self.process.poll() is None, self._log.read_text("utf-8")
            assert time.monotonic() < deadline, "anvil does not start"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """End it, also while it is stopped."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(DEADLINE)

    def fund(self, address: str) -> None:
        """Give an address coins for gas."""
        self.request("anvil_setBalance", [address, hex(10**24)])

    def request(self, method: str, params: list[Any]) -> Any:
        """One JSON-RPC call."""
        body: Any = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        document = requests.post(self.url, json=body, timeout=DEADLINE).json()
        assert "error" not in document, document
        return document["result"]


@contextlib.asynccontextmanager
async def raw_connection(port: int) -> AsyncIterator[RawConnection]:
    """A socket to write anything to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@dataclass
class RawConnection:
    """Lines as a test writes them, and the lines that come back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    notified: list[dict[str, Any]] = field(default_factory=list)

    def send(self, *messages: object) -> None:
        """Write messages in one packet: bytes as they are, others as JSON lines."""
        self.writer.write(
            b"".join(
                message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
                for message in messages
            )
        )

    async def reply(self) -> dict[str, Any] | None:
        """The next line that is no notification (those are kept); None: the pool hung up."""
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), DEADLINE)
            except ConnectionError:
                return None
            if not line:
                return None
            message: dict[str, Any] = json.loads(line)
            if "method" not in message:
                return message
            self.notified.append(message)

    async def notification(self, method: str) -> dict[str, Any]:
        """The next notification of a method."""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), DEADLINE)
            assert line, "the pool hung up"
            message: dict[str, Any] = json.loads(line)
            self.notified.append(message)
            if message.get("method") == method:
                return message


@contextlib.asynccontextmanager
async def node_here(data_dir: Path, **node_options: Any) -> AsyncIterator[Node]:
    """A node in this event loop, for tests that reach inside. Nothing of it fails unheard."""
    settings = Settings.model_validate(
        {"data_dir": data_dir, "stratum": {"port": 0}, "api": {"port": 0}}
    ).model_copy(update=node_options.pop("settings", {}))
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    node = Node(settings, **node_options)
    running = asyncio.create_task(node.run())
    ready = asyncio.create_task(node.ready.wait())
    try:
        await asyncio.wait({running, ready}, timeout=DEADLINE, return_when="FIRST_COMPLETED")
        if running.done():
            running.result()
        assert node.ready.is_set()
        yield node
    finally:
        ready.cancel()
        node.stop.set()
        await asyncio.wait_for(running, DEADLINE)
    assert unheard == []


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait in this event loop until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def digging(digger: Digger) -> AsyncIterator[None]:
    """The digger at work; it must not be thrown out meanwhile."""
    task = asyncio.create_task(digger.dig(lambda: False))
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
