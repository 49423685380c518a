"""The demonstration: node, embedded chain, CPU miner, digits job: from nothing to an audited model.

It is the node of `potnode run` and the miner of `potnode mine`, over a real TCP connection; nothing
in it is simulated.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar

from rich.console import Console
from rich.live import Live
from rich.table import Table

from potnode import access
from potnode.audit.auditor import Auditor
from potnode.audit.export import export_audited
from potnode.audit.report import AuditReport
from potnode.campaign import Progress
from potnode.chain.reader import state_root
from potnode.config import ChainSettings, JobSettings, KeySettings, Settings, StoreSettings
from potnode.errors import NodeError
from potnode.node import Node
from potnode.signals import cancel_on_signals, stop_on_signals

T = TypeVar("T")

REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
MINER_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demonstration showed.

    accuracy: held-out, at the last step. rebuilt_state_root: by the audit, from chain and dataset
    alone; audit: "passed" or "failed".
    """

    accuracy: float | None
    steps: int
    shares: int
    evaluations: int
    expired: int
    seconds: float
    first_proof_seconds: float | None
    audit_seconds: float
    contract: str
    chain_id: int
    job: str
    state_root: str
    rebuilt_state_root: str
    audit: str
    model: str

    @property
    def passed(self) -> bool:
        """Whether the audit passed and the rebuilt model is the recorded one."""
        return self.audit == "passed" and self.state_root == self.rebuilt_state_root

    def to_json(self) -> str:
        """One object for programs."""
        return json.dumps(asdict(self), indent=2)

    def to_text(self) -> str:
        """Lines for people."""
        accuracy = "-" if self.accuracy is None else f"{self.accuracy:.2%}"
        times = f"{self.seconds:.0f} s training, {self.audit_seconds:.0f} s audit"
        return "\n".join(
            [
                f"accuracy             {accuracy} on held-out images",
                f"steps                {self.steps}, one transaction each",
                f"shares               {self.shares} counted, {self.expired} expired",
                f"time                 {times}",
                f"contract             {self.contract} on chain {self.chain_id}",
                f"job                  {self.job}",
                f"state root           {self.state_root}",
                f"rebuilt from chain   {self.rebuilt_state_root}",
                f"audit                {self.audit}",
                f"model                {self.model}",
            ]
        )


class Demo:
    """One demonstration. Data stay in `data_dir` where it is given, else nowhere."""

    def __init__(
        self,
        settings: Settings,
        data_dir: Path | None,
        *,
        workers: int | None,
        steps: int | None,
        model: Path,
        quiet: bool,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        # One core is left to the node: what the miner finds beyond its capacity trains nothing.
        self._workers = workers or max(1, (os.cpu_count() or 1) - 1)
        self._steps = steps
        self._model = model
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._first_proof: float | None = None

    async def run(self) -> Summary:
        """Train, stop, audit, export."""
        async with AsyncExitStack() as stack:
            directory = self._data_dir or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="potnode-demo-"))
            )
            settings = _with_free_ports(_own_world(self._settings, directory))
            started = time.monotonic()
            progress = await self._train(settings, started)
            trained = time.monotonic() - started
            self._console.print("training is done and on chain; auditing it from the chain alone")
            report, contract, chain_id, root = await asyncio.to_thread(
                self._audit, settings, progress.job_id
            )
            if report.passed:
                await asyncio.to_thread(export_audited, report, self._model)
            else:
                self._console.print(report.text())
            return Summary(
                accuracy=report.accuracy,
                steps=report.steps,
                shares=report.shares,
                evaluations=report.shares,
                expired=progress.expired,
                seconds=round(trained, 1),
                first_proof_seconds=self._first_proof,
                audit_seconds=round(report.seconds, 1),
                contract="0x" + contract.hex(),
                chain_id=chain_id,
                job=progress.job_id.hex(),
                state_root=root.hex(),
                rebuilt_state_root=report.root_text,
                audit="passed" if report.passed else "failed",
                model=str(self._model) if report.passed else "",
            )

    async def _train(self, settings: Settings, started: float) -> Progress:
        node = Node(settings, digits_steps=self._steps)
        stop_on_signals(node.stop)
        running = asyncio.create_task(node.run())
        try:
            await _unless_stopped(node.ready.wait(), running)
            self._console.print(
                f"pool  stratum+tcp://{settings.stratum.host}:{node.stratum_port}\n"
                f"API   http://{settings.api.host}:{node.api_port}/docs\n"
                f"data  {settings.data_dir}"
            )
            async with self._miner(settings, node) as mining:
                finished = asyncio.create_task(node.job_finished())
                showing = asyncio.create_task(self._show(node, started))
                try:
                    progress = await _unless_stopped(finished, running, mining)
                finally:
                    showing.cancel()
                    with suppress(asyncio.CancelledError):
                        await showing
        finally:
            node.stop.set()
            await running
        # From here a signal cancels what is left, so that the temporary directory goes as well.
        current = asyncio.current_task()
        if current is not None:
            cancel_on_signals(current)
        return progress

    @asynccontextmanager
    async def _miner(self, settings: Settings, node: Node) -> AsyncIterator[asyncio.Task[None]]:
        """`potnode mine` beside us; the task fails if that process ends by itself.

        Its standard input is a pipe from this process, so it ends with us however we end.
        """
        with tempfile.TemporaryFile() as said:
            miner = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "potnode",
                "mine",
                f"stratum+tcp://{settings.stratum.host}:{node.stratum_port}",
                "--user",
                f"0x{node.operator.hex()}.demo",
                "--workers",
                str(self._workers),
                "--stop-on-eof",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
            )
            watching = asyncio.create_task(_ended(miner, said))
            try:
                yield watching
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                with suppress(ProcessLookupError):
                    miner.terminate()
                try:
                    async with asyncio.timeout(MINER_STOP_SECONDS):
                        await miner.wait()
                except TimeoutError:
                    miner.kill()
                    await miner.wait()

    async def _show(self, node: Node, started: float) -> None:
        """Live figures on a terminal, a line now and then elsewhere."""
        live = Live(console=self._console, refresh_per_second=4, transient=True)
        next_line = 0.0
        with live if self._console.is_terminal else nullcontext():
            while True:
                await asyncio.sleep(REFRESH_SECONDS)
                progress, elapsed = node.progress(), time.monotonic() - started
                transaction = node.last_transaction()
                if transaction is not None and self._first_proof is None:
                    self._first_proof = round(elapsed, 1)
                if progress is None:
                    continue
                rows = _figures(progress, elapsed, transaction)
                if self._console.is_terminal:
                    table = Table.grid(padding=(0, 2))
                    for name, value in rows:
                        table.add_row(name, value)
                    live.update(table)
                elif elapsed >= next_line:
                    self._console.print(", ".join(f"{name} {value}" for name, value in rows))
                    next_line = elapsed + LINE_SECONDS

    def _audit(self, settings: Settings, job_id: bytes) -> tuple[AuditReport, bytes, int, bytes]:
        with access.read_ledger(settings) as ledger:
            report = Auditor(
                ledger,
                access.catalog(settings),
                device=settings.engine.device,
                threads=settings.engine.threads,
            ).audit(job_id)
            return report, ledger.contract, ledger.chain.chain_id, state_root(ledger, job_id)


def _figures(p: Progress, elapsed: float, transaction: bytes | None) -> list[tuple[str, str]]:
    return [
        ("time", f"{elapsed:.0f} s"),
        ("step", f"{p.step}/{p.step_limit}"),
        ("shares", f"{p.shares}"),
        ("shares/s", f"{p.shares / elapsed:.0f}"),
        ("hash rate", f"{p.hash_rate / 1e6:.1f} MH/s"),
        ("evaluations/s", f"{p.evaluations_per_s:.0f}"),
        ("loss", "-" if p.loss is None else f"{p.loss:.3f} bits"),
        ("accuracy", "-" if p.accuracy is None else f"{p.accuracy:.2%}"),
        ("waiting", f"{p.waiting}"),
        ("expired", f"{p.expired}"),
        ("chain behind", f"{p.recorder_lag} steps"),
        ("last transaction", "-" if transaction is None else f"0x{transaction.hex()}"),
    ]


async def _unless_stopped(wanted: Awaitable[T], *running: asyncio.Task[None]) -> T:
    """The result of `wanted`; if a part ends first, its error, or NodeError if it was stopped."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    for part in running:
        if part.done():
            part.result()
    raise NodeError("the demonstration was stopped before the job was finished")


async def _ended(miner: asyncio.subprocess.Process, said: IO[bytes]) -> None:
    status = await miner.wait()
    said.seek(0)
    last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise NodeError(f"the miner ended with status {status}: {last or 'it said nothing'}")


def _own_world(settings: Settings, directory: Path) -> Settings:
    """Settings of a node that shares nothing with the one this machine may be configured for."""
    return settings.model_copy(
        update={
            "data_dir": directory,
            "chain": ChainSettings(),
            "store": StoreSettings(),
            "keys": KeySettings(),
            "jobs": JobSettings(),
        }
    )


def _with_free_ports(settings: Settings) -> Settings:
    """The configured ports, or any where another program has them."""
    stratum, api = settings.stratum, settings.api
    if not _is_free(stratum.host, stratum.port):
        stratum = stratum.model_copy(update={"port": 0})
    if not _is_free(api.host, api.port):
        api = api.model_copy(update={"port": 0})
    return settings.model_copy(update={"stratum": stratum, "api": api})


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port)):
            return True
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
