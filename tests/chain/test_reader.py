"""Reading a job from the chain, and what a lying node gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from potnode.chain import reader
from potnode.chain.errors import BadChainData, JobUnknown
from potnode.chain.ports import Transport
from tests.chain.conftest import World


@pytest.fixture
def job(world: World) -> reader.ChainJob:
    """A job of three recorded steps."""
    created, job_id = world.new_job()
    world.close_steps(created, job_id, 3)
    recorder = world.recorder()
    for _ in range(6):
        recorder.step_once()
    return reader.read_job(world.ledger(), job_id)


def test_all_of_a_job_is_read(world: World, job: reader.ChainJob) -> None:
    ledger = world.ledger()
    items = [world.outbox.items[job.job_id, step] for step in range(3)]
    steps = list(reader.read_steps(ledger, job))
    assert [(s.step, s.step_data, s.tx_hash, s.block_number) for s in steps] == [
        (i.step, i.step_data, i.tx_hash, i.block_number) for i in items
    ]
    assert [reader.read_step(ledger, job, step) for step in range(4)] == [*steps, None]
    assert job in list(reader.list_jobs(ledger))
    state = reader.job_state(ledger, job.job_id)
    assert state is not None
    assert (state.steps, state.owner, state.operator) == (3, world.key.address, world.key.address)
    assert (state.population, state.min_bits) == (job.params.population, job.params.min_bits)


def test_steps_up_to_a_block(world: World, job: reader.ChainJob) -> None:
    ledger = world.ledger()
    steps = list(reader.read_steps(ledger, job))
    until = steps[1].block_number
    assert list(reader.read_steps(ledger, job, last_block=until)) == steps[:2]


def test_an_unknown_job(world: World) -> None:
    with pytest.raises(JobUnknown, match="no job 0xabab"):
        reader.read_job(world.ledger(), b"\xab" * 32)
    assert reader.job_state(world.ledger(), b"\xab" * 32) is None
    assert reader.proof_count(world.ledger(), b"\xab" * 32) == 0


class Lying:
    """Changes the logs a node answers with."""

    def __init__(self, honest: Transport, lie: Callable[[list[Any]], list[Any]]) -> None:
        self._honest = honest
        self._lie = lie

    def request(self, method: str, params: Sequence[Any]) -> Any:
        answer = self._honest.request(method, params)
        return self._lie(answer) if method == "eth_getLogs" else answer


def with_data(log: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {**log, "data": change(log["data"])}


@pytest.mark.parametrize(
    ("lie", "step", "field"),
    [
        (lambda logs: logs[1:], 0, "step"),
        (lambda logs: [logs[0], logs[2]], 1, "step"),
        (lambda logs: [logs[1], logs[0], logs[2]], 0, "step"),
        (lambda logs: [logs[0], *logs], 1, "step"),
        (lambda logs: logs[:2], 2, "steps"),
        (lambda logs: [], 0, "steps"),
        (
            lambda logs: [with_data(logs[0], lambda d: d[:-400] + "f" + d[-399:]), *logs[1:]],
            0,
            "new_head",
        ),
        (lambda logs: [with_data(logs[0], lambda d: d + "00" * 32), *logs[1:]], 0, "data"),
        (lambda logs: [logs[0], {**logs[0], "topics": logs[1]["topics"]}, logs[2]], 1, "prev_head"),
        (lambda logs: [{**logs[0], "data": "0x0"}], None, None),
        (lambda logs: [{**logs[0], "topics": None}], None, None),
        (lambda logs: [7], None, None),
        (lambda logs: None, None, None),
    ],
)
def test_a_lying_node_is_found_out(
    world: World,
    job: reader.ChainJob,
    lie: Callable[[list[Any]], list[Any]],
    step: int | None,
    field: str | None,
) -> None:
    world.transport = Lying(world.transport, lie)
    with pytest.raises(BadChainData) as caught:
        list(reader.read_steps(world.ledger(), job))
    assert (caught.value.step, caught.value.field) == (step, field)


def test_a_consistent_forgery_breaks_on_the_contracts_head(
    world: World, job: reader.ChainJob
) -> None:
    """Bytes and head of the last step may fit each other and still not be what the contract has."""
    from potnode.chain.contract import head_after
    from potnode.chain.rpc import RpcLedger

    ledger = world.ledger()

    class Forged:
        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def logs(self, *arguments: Any, **named: Any) -> Any:
            for log in RpcLedger.logs(ledger, *arguments, **named):
                data = bytearray(log.data)
                if int.from_bytes(log.topics[2], "big") == 2:
                    length = int.from_bytes(data[96:128], "big")
                    data[128 + length - 1] ^= 1
                    data[32:64] = head_after(bytes(data[:32]), bytes(data[128 : 128 + length]))
                yield replace(log, data=bytes(data))

    with pytest.raises(BadChainData) as caught:
        list(reader.read_steps(Forged(), job))
    assert (caught.value.step, caught.value.field) == (2, "head")
    with pytest.raises(BadChainData, match="not bound"):
        reader.read_step(Forged(), job, 2)


def test_a_hidden_or_doubled_creation(world: World, job: reader.ChainJob) -> None:
    honest = world.transport
    lies: list[Callable[[list[Any]], list[Any]]] = [lambda logs: [], lambda logs: logs * 2]
    for lie in lies:
        world.transport = Lying(honest, lie)
        with pytest.raises(BadChainData, match="events of its creation"):
            reader.read_job(world.ledger(), job.job_id)
