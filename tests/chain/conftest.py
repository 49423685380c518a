"""Chains for the tests: the embedded one, anvil, and what the recorder needs beside them."""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from potnode.chain.embedded import EmbeddedChain
from potnode.chain.errors import ChainUnavailable
from potnode.chain.hexes import data, quantity
from potnode.chain.keys import Key
from potnode.chain.ports import OutboxItem, OutboxStatus, Transport
from potnode.chain.recorder import Recorder, RecorderSettings
from potnode.chain.rpc import Connection, EmbeddedTransport, HttpTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from tests.builders import Job, make_chain_of_records, make_job

ANVIL = Path(__file__).parents[2] / "contracts" / "tools" / "anvil"
_SALTS = itertools.count(1)


class MemoryOutbox:
    """An outbox that forgets nothing, as long as the test runs."""

    def __init__(self) -> None:
        self.items: dict[tuple[bytes, int], OutboxItem] = {}

    def add(self, item: OutboxItem) -> None:
        self.items[item.job_id, item.step] = item

    def unfinished(self, limit: int) -> list[OutboxItem]:
        done = (OutboxStatus.FINAL, OutboxStatus.REVERTED)
        return [item for item in self.items.values() if item.status not in done][:limit]

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> None:
        self.items[job_id, step] = replace(
            self.items[job_id, step],
            status=OutboxStatus.SIGNED,
            nonce=nonce,
            raw_tx=raw_tx,
            tx_hash=tx_hash,
        )

    def mark_sent(self, job_id: bytes, step: int) -> None:
        self._set_status(job_id, step, OutboxStatus.SENT)

    def mark_mined(self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int) -> None:
        self.items[job_id, step] = replace(
            self.items[job_id, step],
            status=OutboxStatus.MINED,
            tx_hash=tx_hash,
            block_number=block_number,
        )

    def mark_final(self, job_id: bytes, step: int) -> None:
        self._set_status(job_id, step, OutboxStatus.FINAL)

    def mark_reverted(self, job_id: bytes, step: int) -> None:
        self._set_status(job_id, step, OutboxStatus.REVERTED)

    def statuses(self) -> list[OutboxStatus]:
        return [item.status for item in self.items.values()]

    def _set_status(self, job_id: bytes, step: int, status: OutboxStatus) -> None:
        self.items[job_id, step] = replace(self.items[job_id, step], status=status)


@dataclass
class World:
    """A chain with the contract, a funded key, and an empty outbox.

    `transport` may be wrapped by a test before `recorder` is called.
    """

    name: str
    transport: Transport
    key: Key
    contract: bytes
    gas_limit: int | None
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    now: float = 0.0

    def ledger(self) -> RpcLedger:
        return RpcLedger(Connection(self.transport), self.contract)

    def sender(self) -> Sender:
        return Sender(
            Connection(self.transport),
            self.key,
            gas_limit=self.gas_limit,
            sleep=lambda seconds: time.sleep(min(seconds, 0.02)),
        )

    def recorder(self, settings: RecorderSettings | None = None) -> Recorder:
        return Recorder(
            self.ledger(),
            self.sender(),
            self.outbox,
            settings=settings,
            monotonic=lambda: self.now,
        )

    def new_job(self, **changes: object) -> tuple[Job, bytes]:
        """A job that no other test has, created on the chain."""
        job = make_job(self.key.address, **{"salt": next(_SALTS).to_bytes(32, "big"), **changes})
        return job, self.recorder().create_job(job.params, job.manifest)

    def close_steps(self, job: Job, job_id: bytes, length: int) -> None:
        """Put the first `length` steps of a job into the outbox, as a trainer would."""
        records = make_chain_of_records(job.params, job_id, length)
        for step, (prev_head, step_data) in enumerate(records):
            self.outbox.add(
                OutboxItem(job_id=job_id, step=step, prev_head=prev_head, step_data=step_data)
            )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def anvil_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running anvil that mines every transaction at once."""
    port = free_port()
    log = tmp_path_factory.mktemp("anvil") / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ANVIL, "--port", str(port), "--hardfork", "prague", "--chain-id", "424242"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(
                lambda: process.poll() is not None or "Listening on" in log.read_text("utf-8"),
                "anvil to start",
            )
            assert process.poll() is None, log.read_text("utf-8")
            yield f"http://127.0.0.1:{port}"
            assert process.poll() is None, "anvil ended by itself: " + log.read_text("utf-8")
        finally:
            process.terminate()
            status = process.wait(timeout=20)
    assert status in (0, -15, 143), log.read_text("utf-8")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def key() -> Key:
    return Key.random()


@pytest.fixture
def chain(tmp_path: Path, key: Key) -> Iterator[EmbeddedChain]:
    with EmbeddedChain.open(tmp_path / "chain", fund=[key.address], clock=clock) as opened:
        yield opened


def clock() -> int:
    return int(time.time())


def embedded_world(chain: EmbeddedChain, key: Key) -> World:
    transport = EmbeddedTransport(chain)
    gas_limit = chain.head().gas_limit
    receipt = deploy(Sender(Connection(transport), key, gas_limit=gas_limit))
    assert receipt.contract is not None
    return World("embedded", transport, key, receipt.contract, gas_limit)


def anvil_world(url: str) -> World:
    transport = HttpTransport(url, sleep=lambda _: None)
    key = Key.random()
    transport.request("anvil_setBalance", [data(key.address), quantity(10**24)])
    receipt = deploy(Sender(Connection(transport), key, sleep=lambda _: time.sleep(0.02)))
    assert receipt.contract is not None
    return World("anvil", transport, key, receipt.contract, None)


@pytest.fixture(params=["embedded", "anvil"])
def world(request: pytest.FixtureRequest, key: Key) -> World:
    """The same suite runs on both."""
    if request.param == "embedded":
        return embedded_world(request.getfixturevalue("chain"), key)
    return anvil_world(request.getfixturevalue("anvil_url"))


class Crash(BaseException):
    """Stands for the end of the process: nothing in the code may catch it."""


class Crashing:
    """Wraps a port; call number `at` (from 0, counted over all methods) crashes before or after it
    acts.
    """

    def __init__(self, target: object, counter: Iterator[int], at: int, *, after: bool) -> None:
        self._target = target
        self._counter = counter
        self._at = at
        self._after = after

    def __getattr__(self, name: str) -> object:
        method = getattr(self._target, name)

        def call(*arguments: object, **named: object) -> object:
            crashes = next(self._counter) == self._at
            if crashes and not self._after:
                raise Crash
            result = method(*arguments, **named)
            if crashes:
                raise Crash
            return result

        return call


class Flaky:
    """A transport that is dead while `dead` is set; or dies right after the next transaction it
    passed on.
    """

    def __init__(self, target: Transport) -> None:
        self._target = target
        self.dead = False
        self.die_after_sending = False

    def request(self, method: str, params: object) -> object:
        if self.dead:
            raise ChainUnavailable("the test has cut the line")
        answer = self._target.request(method, params)  # type: ignore[arg-type]
        if self.die_after_sending and method == "eth_sendRawTransaction":
            self.dead = True
            raise ChainUnavailable("the test has cut the line")
        return answer
