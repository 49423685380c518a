"""The node: every part wired to the others, in one task group. The only module that knows them all.

    miners, bitcoinds -> Mining -> TrainingPool -> Store -> Campaign -> Store -> Recording -> chain
    readers -> API -> Store, chain, Campaign

A part that fails ends the node with its error; a set `stop` event ends it in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from textwrap import shorten
from typing import TypeVar

from potnode import access, jobs
from potnode.access import WritableChain
from potnode.api.app import create_app
from potnode.api.server import ApiServer
from potnode.api.writing import WriteRules, write_rules
from potnode.bitcoin import ParentChain
from potnode.campaign import Campaign, Progress, set_within
from potnode.chain.errors import BadChainData, ChainStorageFull, ChainUnavailable, RpcError
from potnode.chain.facade import Facade
from potnode.chain.keys import Key
from potnode.chain.reader import ChainJob
from potnode.chain.rpc import RpcLedger
from potnode.clock import Clock, SystemClock
from potnode.config import Settings
from potnode.data.errors import DataError
from potnode.engine.engine import check_device
from potnode.engine.errors import EngineError
from potnode.errors import JobOver, NodeError
from potnode.listening import shown
from potnode.literal.searches import Searches
from potnode.machinecode.errors import MachineCodeError
from potnode.mining import Mining
from potnode.pool import TrainingPool
from potnode.preparing import prepare, until_stored
from potnode.recording import Recording
from potnode.spec.errors import SpecError
from potnode.store.errors import StoreUnavailable
from potnode.store.lock import DirectoryLock
from potnode.store.rows import JobStatus
from potnode.store.store import Store
from stratum.counters import ConnectionStats
from stratum.errors import LocalProtocolError
from stratum.server import Counters, MinerView

T = TypeVar("T")

log = logging.getLogger(__name__)

SEARCHES_FOLDER = "literal"  # in the data directory
IDLE_SECONDS = 5.0  # between looks for a new job on chain
MAX_PROBLEM = 500  # characters of why a job can't be trained
SHOWN_PROBLEMS = 3  # of the jobs that cannot be trained, on /readyz
STOP_SECONDS = 3.0  # a stopping part that takes longer is left behind


class _Stopped(Exception):
    """Told to stop before everything was open."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a running node is made of."""

    settings: Settings
    key: Key
    chain: WritableChain
    store: Store
    recording: Recording
    mining: Mining
    searches: Searches
    write_rules: WriteRules
    api: ApiServer


@dataclass(slots=True)
class Node:
    """A node on one data directory. `run` it once; the other methods tell how it is doing.

    open_digits: open the digits job when the operator has none to train. digits_steps: its length.
    """

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    open_digits: bool = True
    digits_steps: int | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _parts: Parts | None = None
    _campaign: Campaign | None = None
    _finished: dict[bytes, Progress] = field(default_factory=dict)
    _job_done: asyncio.Event = field(default_factory=asyncio.Event)
    _untrainable: dict[bytes, str] = field(default_factory=dict)
    _draft: jobs.JobDraft | None = None

    async def run(self) -> None:
        """Run until `stop` is set or a part fails; then everything is stored and closed."""
        lock = await asyncio.to_thread(DirectoryLock, self.settings.data_dir)
        with lock:
            mining = Mining(self.settings, self.clock)
            try:
                await mining.start()
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(mining.run(), name="mining")
                    await self._run_parts(mining)
                    following.cancel()
            except BaseExceptionGroup as failed:
                # One part failed and took the others down: its error is what matters.
                raise _first(failed) from None
            finally:
                await mining.close()

    async def _run_parts(self, mining: Mining) -> None:
        try:
            async with self._opened(mining) as parts:
                self._parts = parts
                try:
                    await self._serve(parts)
                finally:
                    self._parts = None
        except _Stopped:
            log.info("stopped before chain and database were there")

    @property
    def parts(self) -> Parts:
        """The parts while the node runs."""
        if self._parts is None:
            raise RuntimeError("the node is not running")
        return self._parts

    @property
    def stratum_port(self) -> int:
        """The port miners connect to."""
        return self.parts.mining.server.port

    @property
    def api_port(self) -> int:
        """The port of the API."""
        return self.parts.api.port

    def progress(self) -> Progress | None:
        """Of the job in training, else of the one that finished last; None before the first."""
        if self._campaign is not None:
            return self._campaign.progress()
        return next(reversed(self._finished.values()), None)

    async def job_finished(self) -> Progress:
        """Wait until a job's last step is on chain."""
        await self._job_done.wait()
        return next(reversed(self._finished.values()))

    # The view of `potnode.api`.

    @property
    def store(self) -> Store:
        """Where shares and steps are."""
        return self.parts.store

    @property
    def ledger(self) -> RpcLedger:
        """Where records are."""
        return self.parts.chain.ledger

    @property
    def facade(self) -> Facade | None:
        """JSON-RPC of the embedded chain, if it is embedded."""
        return self.parts.chain.facade()

    @property
    def operator(self) -> bytes:
        """The operator's 20-byte address."""
        return self.parts.key.address

    @property
    def stratum_address(self) -> tuple[str, int] | None:
        """Host and port miners connect to; None while nobody listens."""
        try:
            return self.settings.stratum.host, self.parts.mining.server.port
        except LocalProtocolError:
            return None

    @property
    def searches(self) -> Searches:
        """Literal searches."""
        return self.parts.searches

    @property
    def write_rules(self) -> WriteRules:
        """Who may write over HTTP."""
        return self.parts.write_rules

    def miners(self) -> Sequence[MinerView]:
        """Connected miners."""
        return self.parts.mining.server.miners()

    def miner_bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection."""
        return self.parts.mining.switch.bits(connection_id)

    def connection_stats(self) -> Mapping[int, ConnectionStats]:
        """Each connected miner's own numbers."""
        return self.parts.mining.server.stats()

    def counters(self) -> Counters:
        """What the Stratum server counted."""
        return self.parts.mining.server.counters

    def last_transaction(self) -> bytes | None:
        """Hash of the last record that came into a block."""
        return self.parts.recording.outbox.last_transaction

    def parent(self) -> ParentChain | None:
        """The bitcoinds and blocks of a node whose templates are real."""
        return self.parts.mining.parent

    def problems(self) -> list[str]:
        """Why the node is not ready for miners; empty when it is."""
        if self._parts is None:
            return ["the node is starting"]
        found = []
        if self._parts.mining.parent is not None:
            found += self._parts.mining.parent.problems()
        if self._campaign is None:
            found.append("there is no job to train")
        elif self._campaign.paused:
            found.append("training waits: the chain or the disk is behind")
        # Others' bad jobs are no fault of a node that has one to train.
        if self._campaign is None:
            found += list(self._untrainable.values())[-SHOWN_PROBLEMS:]
        return found

    # Inside.

    @asynccontextmanager
    async def _opened(self, mining: Mining) -> AsyncIterator[Parts]:
        settings = self.settings
        rules = await asyncio.to_thread(write_rules, settings.api)
        key = await asyncio.to_thread(access.operator_key, settings)
        chain = await self._patiently(lambda: access.open_chain(settings, key))
        try:
            store = await self._patiently(lambda: Store(access.database_url(settings)))
            try:
                confirmations = 0 if chain.embedded else settings.chain.confirmations
                recording = Recording(chain.ledger, chain.sender, store, self.clock, confirmations)
                searches = await asyncio.to_thread(
                    Searches,
                    settings.data_dir / SEARCHES_FOLDER,
                    access.catalog(settings),
                    threads=settings.engine.threads,
                )
                api = ApiServer(create_app(self), settings.api.host, settings.api.port)
                try:
                    searches.start()
                    yield Parts(
                        settings=settings,
                        key=key,
                        chain=chain,
                        store=store,
                        recording=recording,
                        mining=mining,
                        searches=searches,
                        write_rules=rules,
                        api=api,
                    )
                finally:
                    api.close()
                    await asyncio.to_thread(searches.close)
            finally:
                await asyncio.to_thread(store.close)
        finally:
            await asyncio.to_thread(chain.close)

    async def _patiently(self, opened: Callable[[], T]) -> T:
        """What opens; a node whose miners make real blocks waits for what is away, as they mine.

        Raises:
            _Stopped: it was told to stop meanwhile.
        """
        said = False
        while True:
            try:
                return await asyncio.to_thread(opened)
            except (ChainUnavailable, StoreUnavailable) as error:
                if self.settings.work.source == "standalone":
                    raise
                if not said:
                    log.error("training waits, blocks are mined all the same: %s", error)
                    said = True
            await set_within(self.stop, IDLE_SECONDS)
            if self.stop.is_set():
                raise _Stopped

    async def _serve(self, parts: Parts) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                services = [
                    group.create_task(parts.api.run(), name="api"),
                    group.create_task(parts.recording.run(), name="recording"),
                    group.create_task(self._train_jobs(parts), name="training"),
                ]
                group.create_task(self._test_device(), name="device")
                await parts.api.started()
                self.ready.set()
                log.info(
                    "ready: miners at %s, API at http://%s",
                    shown(self.settings.stratum.host, parts.mining.server.port),
                    shown(self.settings.api.host, parts.api.port),
                )
                await self.stop.wait()
                log.info("stopping")
                await parts.mining.server.stop()
                parts.api.stop()
                await asyncio.wait(services[:1], timeout=STOP_SECONDS)
                for service in services:
                    service.cancel()
        finally:
            await parts.mining.server.stop()

    async def _test_device(self) -> None:
        """A machine that computes wrong numbers trains nothing: the node ends with its error.

        Beside all that starts; a job's own model is tested once more before its first step.
        """
        engine = self.settings.engine
        await asyncio.to_thread(check_device, engine.device, engine.threads)

    async def _train_jobs(self, parts: Parts) -> None:
        """One job after another, oldest first."""
        may_open = self.open_digits
        while True:
            try:
                job = await self._next_job(parts)
                if job is None and may_open and parts.chain.embedded is not None:
                    job = await self._open_digits(parts)
                may_open = False  # a finished job is not followed by another of itself
                if job is not None:
                    prepared = await self._prepare(parts, job)
            except (ChainUnavailable, ChainStorageFull, RpcError, BadChainData) as error:
                # As in recording: a chain that is away or talks nonsense may come back.
                log.warning("looking for a job waits: %s", error)
                job = None
            if job is None:
                await asyncio.sleep(IDLE_SECONDS)
            elif prepared is not None:
                await self._train(parts, job, *prepared)

    async def _prepare(self, parts: Parts, job: ChainJob) -> tuple[Campaign, TrainingPool] | None:
        """What trains a job; None if it cannot be trained here."""
        try:
            return await prepare(
                job,
                settings=self.settings,
                clock=self.clock,
                ledger=parts.chain.ledger,
                store=parts.store,
                recording=parts.recording,
                mining=parts.mining,
            )
        except (
            SpecError,
            DataError,
            EngineError,
            MachineCodeError,
            NodeError,
            MemoryError,
        ) as error:
            # Jobs come from outside; one that cannot be trained must not keep others from it. Its
            # manifest's words may be in the message, so it is cut where it is long.
            reason = shorten(str(error) or "there is not enough memory", MAX_PROBLEM)
            log.error("job %s cannot be trained: %s", job.job_id.hex(), reason)
            self._untrainable[job.job_id] = reason
            return None

    async def _open_digits(self, parts: Parts) -> ChainJob | None:
        """Open the digits job: on the embedded chain alone, whose coins have no value."""
        if self._draft is None:  # else an attempt failed on the way, and may have come through
            self._draft = await asyncio.to_thread(
                jobs.digits_draft, parts.key.address, steps=self.digits_steps
            )
        draft = self._draft
        await asyncio.to_thread(parts.recording.recorder.create_job, draft.params, draft.manifest)
        return await self._next_job(parts)

    async def _next_job(self, parts: Parts) -> ChainJob | None:
        return await asyncio.to_thread(
            jobs.next_job,
            parts.chain.ledger,
            parts.key.address,
            from_anyone=self.settings.jobs.from_anyone,
            skip=[*self._untrainable, *self._finished],
        )

    async def _train(
        self, parts: Parts, job: ChainJob, campaign: Campaign, pool: TrainingPool
    ) -> None:
        self._campaign = campaign
        parts.mining.use(pool)
        relieving = asyncio.create_task(
            parts.mining.relieve(pool, lambda: campaign.paused), name="relieving"
        )
        campaign.wake()
        try:
            await campaign.run()
        except JobOver as error:
            log.error("job %s ends here: %s", job.job_id.hex(), error)
            self._untrainable[job.job_id] = str(error)
            self._campaign = None
            return
        finally:
            relieving.cancel()
            parts.mining.use(None)
        await parts.recording.drained()
        await until_stored(lambda: parts.store.set_job_status(job.job_id, JobStatus.FINISHED))
        self._finished[job.job_id] = campaign.progress()
        self._campaign = None
        self._job_done.set()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
