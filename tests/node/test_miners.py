"""Unmodified miners at a running node: the conversations of cpuminer and bfgminer, real shares."""

from __future__ import annotations

import asyncio
from typing import Any

from stratum.client import ClientJob, ClientSession, NewJob
from tests.node.harness import RawConnection, RunningNode, raw_connection, solve

CPUMINER_USER = "0x" + "c3" * 20 + ".s9"
BFGMINER_USER = "0x" + "d4" * 20 + ".worker"


def job_of(subscribed: dict[str, Any], difficulty: float, notify: list[Any]) -> ClientJob:
    """A notify as a miner reads it."""
    session = ClientSession("user", "agent")
    lines = (
        {"id": 1, "result": subscribed["result"], "error": None},
        {"id": None, "method": "mining.set_difficulty", "params": [difficulty]},
        {"id": None, "method": "mining.notify", "params": notify},
    )
    import json

    events = session.receive_data(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    found = events[-1]
    assert isinstance(found, NewJob)
    return found.job


async def first_job(connection: RawConnection, subscribed: dict[str, Any]) -> ClientJob:
    """set_difficulty comes right before its notify, and both after the replies."""
    while len(connection.notified) < 2:
        await connection.notification("mining.notify")
    difficulty, notify = connection.notified[:2]
    assert (difficulty["method"], notify["method"]) == ("mining.set_difficulty", "mining.notify")
    assert difficulty["id"] is notify["id"] is None
    return job_of(subscribed, difficulty["params"][0], notify["params"])


async def test_cpuminer(running_node: RunningNode) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        connection.send({"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]})
        subscribed = await connection.reply()
        assert subscribed is not None
        assert subscribed["id"] == 1
        (notifications, _, size) = subscribed["result"]
        assert [name for name, _ in notifications] == ["mining.set_difficulty", "mining.notify"]
        assert size == 8
        connection.send({"id": 2, "method": "mining.authorize", "params": [CPUMINER_USER, "x"]})
        assert await connection.reply() == {"id": 2, "result": True, "error": None}
        job = await first_job(connection, subscribed)
        assert job.difficulty == 2.0 ** (10 - 32), "a CPU starts at the job's minimum"
        for en2, nonce, hash_ in solve(job, 0, 5):
            # cpuminer sends the same id with every submit.
            params = [CPUMINER_USER, job.job_id, en2.hex(), f"{job.ntime:08x}", f"{nonce:08x}"]
            connection.send({"method": "mining.submit", "params": params, "id": 4})
            assert await connection.reply() == {"id": 4, "result": True, "error": None}
            await _is_known(running_node, hash_, CPUMINER_USER)


async def test_bfgminer(running_node: RunningNode) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        connection.send(
            {"id": 1, "method": "mining.subscribe", "params": ["bfgminer/5.5.0-34-g866fd36f", "1"]}
        )
        subscribed = await connection.reply()
        assert subscribed is not None
        connection.send(
            {"id": "auth", "method": "mining.authorize", "params": [BFGMINER_USER, "x"]},
            {"id": None, "method": "mining.suggest_target", "params": ["00000000" + "f" * 56]},
        )
        assert await connection.reply() == {"id": "auth", "result": True, "error": None}
        job = await first_job(connection, subscribed)
        connection.send(
            {"params": [job.job_id], "id": "txlist1a", "method": "mining.get_transactions"}
        )
        transactions = await connection.reply()
        assert transactions is not None
        assert transactions["id"] == "txlist1a", "and no answer to what had a null id came before"
        for number, (en2, nonce, hash_) in enumerate(solve(job, 2, 3), 2):
            params = [BFGMINER_USER, job.job_id, en2.hex(), f"{job.ntime:08x}", f"{nonce:08x}"]
            connection.send({"params": params, "id": number, "method": "mining.submit"})
            assert await connection.reply() == {"id": number, "result": True, "error": None}
            await _is_known(running_node, hash_, BFGMINER_USER)


async def test_an_asic_starts_at_difficulty_1024_and_rolls_versions(
    running_node: RunningNode,
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        connection.send(
            {
                "id": 0,
                "method": "mining.configure",
                "params": [["version-rolling"], {"version-rolling.mask": "1fffe000"}],
            },
            {"id": 1, "method": "mining.authorize", "params": [CPUMINER_USER, ""]},
            {"id": 2, "method": "mining.subscribe", "params": ["bmminer/2.0.0/Antminer S19/1"]},
        )
        configured = await connection.reply()
        assert configured is not None
        mask = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
        assert configured["result"] == mask
        assert (await connection.reply() or {})["result"] is True
        subscribed = await connection.reply()
        assert subscribed is not None
        assert (await first_job(connection, subscribed)).difficulty == 1024


async def _is_known(node: RunningNode, hash_: bytes, user: str) -> None:
    """Acknowledged is known, from that moment on."""
    proof = await asyncio.to_thread(node.get, f"/api/v1/proofs/{hash_[::-1].hex()}")
    account, _, worker = user.partition(".")
    assert (proof["miner"], proof["worker"]) == (account, worker)
    assert proof["status"] in ("pending", "recorded", "final")
    assert bytes.fromhex(proof["header"])
