"""The miner: one pool connection, kept up, and a crew of processes that hash for it.

Responsible for the conversation (whom to mine for, which job, what is submitted when) and for
starting work on a job only once it is known to be ours. Not for hashing (`potnode.miner.crew`) nor
for the protocol on the wire (`stratum.client`).

The pool is trusted with nothing: `potnode.miner.commitment` says what is checked and what that is
worth. `verify=False` mines for pools that don't know `mining.get_commitment`, that is for any
other Stratum pool; the user name is then whatever that pool takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable

import potnode
from potnode.miner.address import PoolAddress, payout_address
from potnode.miner.commitment import check_commitment
from potnode.miner.crew import DEFAULT_NICE, Crew, available_cpus
from potnode.miner.errors import CommitmentError, RefusedError, unwrapped
from potnode.miner.stats import MinerStats, Tally
from potnode.miner.work import Assignment, AssignmentSource
from stratum.client import (
    Authorized,
    ClientEvent,
    ClientJob,
    Commitment,
    NewJob,
    StratumClient,
    SubmitResult,
)
from stratum.errors import ProtocolError

log = logging.getLogger(__name__)

MAX_UNANSWERED = 256  # submits; with more, hashing waits for the pool
CONNECT_SECONDS = 20.0
SILENCE_SECONDS = 120.0  # pools send a job at least once a minute; cpuminer gives up here, too
STOP_SECONDS = 1.0  # for answers to what was submitted
STATS_SECONDS = 1.0
_REASONS = 16  # codes of rejects that are said; those of a pool that makes them up are endless

OnStats = Callable[[MinerStats], None]


_jitter = secrets.SystemRandom().random


class Backoff:
    """Waiting times between connections: doubling from `first` to `cap` seconds, jittered.

    jitter: a number in [0, 1), drawn anew for each wait, so that the miners of a pool that comes
    back don't all come back at once.
    """

    def __init__(
        self,
        first: float = 1.0,
        cap: float = 30.0,
        jitter: Callable[[], float] = _jitter,
    ) -> None:
        self._first, self._cap, self._jitter = first, cap, jitter
        self._next = first

    def reset(self) -> None:
        """Something worked: begin again with the shortest wait."""
        self._next = self._first

    def wait(self) -> float:
        """Seconds to wait now: between half of the current step and all of it."""
        step = self._next
        self._next = min(self._cap, 2 * step)
        return step * (0.5 + 0.5 * self._jitter())


class Miner:
    """Mines for one user at one pool until it is stopped.

    Work has a generation: it goes up with each connection and each job that the pool calls clean.
    Shares of older generations would be refused, so they are not submitted. Within a generation
    shares of earlier jobs count, as docs/protocol.md section 2 promises.
    """

    def __init__(
        self,
        url: str,
        user: str,
        *,
        password: str = "x",  # noqa: S107 - what Stratum pools are sent where none is asked for
        workers: int | None = None,
        verify: bool = True,
        nice: int = DEFAULT_NICE,
        on_stats: OnStats | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Check what can be checked without a pool.

        Args:
            url: `stratum+tcp://host:port` or `host:port`.
            user: `0x<40 hex digits>[.worker]`; with verify=False anything the pool takes.
            workers: hashing processes; by default one for each CPU available.
            verify: work on a job only once its marker is known to be made of this user's address.
            nice: added to the niceness of the hashing processes, 0..19.
            on_stats: called in the event loop once a second and at the end.

        Raises:
            AddressError: url or user is malformed. WorkerError: fewer than one worker.
        """
        self.pool = PoolAddress.parse(url)
        self.user = user
        self._password = password
        self._address = payout_address(user) if verify else None
        self._crew = Crew[Assignment](
            available_cpus() if workers is None else workers,
            on_found=self._submit,
            on_hashes=self._hashed,
            nice=nice,
        )
        self._on_stats = on_stats
        self._backoff = Backoff() if backoff is None else backoff
        self._tally = Tally(time.time, time.monotonic)
        self._told: set[int] = set()  # codes of rejects that were said
        self._numbers = itertools.count()
        self._generation = 0
        self._client: StratumClient | None = None
        self._unchecked: dict[str, ClientJob] = {}
        self._unanswered: set[int] = set()
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def stats(self) -> MinerStats:
        """What was done so far."""
        return self._tally.snapshot(self._crew.restarts)

    def stop(self) -> None:
        """Have `run` end; call it from the event loop's thread, as often as you like."""
        self._stopping.set()

    async def run(self) -> MinerStats:
        """Mine until `stop`; connections that fail are made again. Returns the final figures.

        Raises:
            RefusedError: the pool does not take this user.
            CommitmentError: a job is not this user's work (only with verify).
            WorkerError: processes can't be started.
        """
        try:
            async with self._crew.running(), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._stay_connected()),
                    group.create_task(self._tell_stats()),
                ]
                await self._stopping.wait()
                await self._finish()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            error = unwrapped(errors)
            raise error from error.__cause__
        finally:
            self._tell()
        return self.stats

    async def _finish(self) -> None:
        """Find no more, and wait a little for answers."""
        self._crew.work_on(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._unanswered:
                    self._room.clear()
                    await self._room.wait()

    async def _tell_stats(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(STATS_SECONDS)

    def _tell(self) -> None:
        if self._on_stats is not None:
            self._on_stats(self.stats)

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._converse()
                problem = "the pool closed the connection"
            except (OSError, ProtocolError) as error:
                problem = str(error) or type(error).__name__
            self._tally.last_error = problem
            delay = self._backoff.wait()
            log.warning("%s: %s; connecting again in %.1f s", self.pool, problem, delay)
            await asyncio.sleep(delay)

    async def _converse(self) -> None:
        """One connection, from the first byte until the pool ends it."""
        client = StratumClient(
            self.pool.host,
            self.pool.port,
            user=self.user,
            agent=f"potnode/{potnode.__version__}",
            password=self._password,
        )
        try:
            async with _open(client):
                self._client = client
                self._tally.connections += 1
                self._begin_generation()
                try:
                    await self._listen(client)
                finally:
                    # Before the connection is closed, which takes time in which shares are found.
                    self._client = None
                    self._begin_generation()
        except TimeoutError as error:
            raise ConnectionError("the pool does not answer") from error
        finally:
            self._tally.connected = False
            self._tally.unanswered += len(self._unanswered)
            self._unanswered.clear()
            self._room.set()

    async def _listen(self, client: StratumClient) -> None:
        events = aiter(client)
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                event = await anext(events, None)
            if event is None:
                return
            self._handle(client, event)

    def _begin_generation(self) -> None:
        """From now on earlier jobs are worthless, and there is no other yet."""
        self._generation += 1
        self._unchecked.clear()
        self._crew.work_on(None)
        self._room.set()

    def _handle(self, client: StratumClient, event: ClientEvent) -> None:
        match event:
            case NewJob(job):
                if job.clean:
                    self._begin_generation()
                if self._address is None:
                    self._work_on(job)
                else:
                    self._unchecked[job.job_id] = job
                    client.get_commitment(job.job_id)
            case Commitment():
                self._check(event)
            case SubmitResult(number, reject):
                self._unanswered.discard(number)
                self._room.set()
                self._tally.answered(None if reject is None else int(reject.code))
                if reject is not None:
                    self._warn(int(reject.code), reject.text)
            case Authorized(reject) if reject is not None:
                raise RefusedError(f"{self.pool} refuses user {self.user}: {reject.text}")

    def _warn(self, code: int, text: str) -> None:
        """Say once why shares are refused: it may happen thousands of times a minute."""
        if code not in self._told and len(self._told) < _REASONS:
            self._told.add(code)
            log.warning("%s rejects a share: %r", self.pool, text)

    def _check(self, answer: Commitment) -> None:
        job = self._unchecked.pop(answer.job_id, None)
        if job is None or self._address is None:
            return  # of a job that a clean one has made worthless since
        if answer.reject is not None:
            raise CommitmentError(
                "reply", f"the pool won't say what its job commits to: {answer.reject.text}"
            )
        check_commitment(answer.commitment, job, self._address)
        self._work_on(job)

    def _work_on(self, job: ClientJob) -> None:
        source = AssignmentSource(job, self._generation, self._numbers)
        self._crew.work_on(source.next_assignment)
        self._tally.connected = True
        self._tally.difficulty = job.difficulty
        self._backoff.reset()

    def _hashed(self, count: int) -> None:
        self._tally.hashed(count)

    async def _submit(self, found: Assignment, nonces: list[int]) -> None:
        """Submit, waiting while too much is unanswered; a process waits with its finds."""
        for nonce in nonces:
            while len(self._unanswered) >= MAX_UNANSWERED and found.generation == self._generation:
                self._room.clear()
                await self._room.wait()
            if found.generation != self._generation or self._client is None:
                self._tally.unsubmitted += 1
                continue
            self._unanswered.add(self._client.submit(found.job, found.extranonce2, nonce))


@contextlib.asynccontextmanager
async def _open(client: StratumClient) -> AsyncIterator[None]:
    """The client connected, with neither connecting nor closing left to a pool's leisure."""
    async with asyncio.timeout(CONNECT_SECONDS):
        await client.__aenter__()
    try:
        yield
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await client.__aexit__(None, None, None)


def run_miner(
    url: str,
    user: str,
    *,
    password: str = "x",  # noqa: S107 - as in Miner
    workers: int | None = None,
    verify: bool = True,
    nice: int = DEFAULT_NICE,
    on_stats: OnStats | None = None,
) -> MinerStats:
    """Mine until SIGINT or SIGTERM; a second signal ends the process at once. Args as of `Miner`.

    Returns the final figures; raises what `Miner` and `Miner.run` raise.
    """

    async def mine() -> MinerStats:
        miner = Miner(
            url,
            user,
            password=password,
            workers=workers,
            verify=verify,
            nice=nice,
            on_stats=on_stats,
        )
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)

        def stop() -> None:
            for number in signals:
                loop.remove_signal_handler(number)
            miner.stop()

        for number in signals:
            loop.add_signal_handler(number, stop)
        return await miner.run()

    return asyncio.run(mine())
