"""Clients that break every rule at a running node, while somebody else mines."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stratum.client import ClientJob, ClientSession, NewJob
from stratum.messages import MAX_LINE
from tests.node.harness import (
    MINER,
    Digger,
    RawConnection,
    RunningNode,
    digging,
    eventually,
    fetch,
    raw_connection,
    solve,
)

VICTIM = "0x" + "b2" * 20


@pytest.fixture
async def honest(running_node: RunningNode) -> AsyncIterator[Digger]:
    """A miner that must not notice anything."""
    digger = Digger(running_node.stratum_port, user=VICTIM, in_flight=2)
    async with digging(digger):
        await eventually(lambda: len(digger.acknowledged) >= 3, "the honest miner's first shares")
        yield digger
        at = len(digger.acknowledged)
        await eventually(lambda: len(digger.acknowledged) >= at + 3, "more of them")
    assert {reject.text for reject in digger.refused} <= {
        "Stale: no step in its window has room for it"
    }


async def mining(connection: RawConnection, user: str = MINER) -> ClientJob:
    """Take the handshake as cpuminer does; the first job."""
    session = ClientSession(user, "cpuminer/2.5.1")
    connection.writer.write(session.data_to_send())
    while True:
        line = await asyncio.wait_for(connection.reader.readline(), 30)
        for event in session.receive_data(line):
            if isinstance(event, NewJob):
                return event.job


def submit(job: ClientJob, en2: bytes, nonce: int, /, **changes: Any) -> dict[str, Any]:
    fields = {
        "user": MINER,
        "job": job.job_id,
        "extranonce2": en2.hex(),
        "ntime": f"{job.ntime:08x}",
        "nonce": f"{nonce:08x}",
    }
    return {"id": 7, "method": "mining.submit", "params": list((fields | changes).values())}


async def refusal(connection: RawConnection, message: object) -> tuple[int, str]:
    """Code and text a message is refused with."""
    connection.send(message)
    reply = await connection.reply()
    assert reply is not None
    assert not reply["result"]
    code, text, _ = reply["error"]
    return code, text


@pytest.mark.parametrize(
    "junk",
    [
        b"{]\n" * 5,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        + random.Random(1).randbytes(5000)
        + b"\n" * 5,
        b'"x"\n17\n[]\nnull\ntrue\n',
        b'{"id": 1, "method": 5}\n' * 5,
        b"A" * (MAX_LINE + 1),
        b'{"id":1,"method":"' + b"[" * MAX_LINE,
        b"[" * MAX_LINE + b"\n" + b"[" * 100_000,
        b"GET / HTTP/1.1\r\nHost: pool\r\nA: b\r\nC: d\r\n\r\n",
    ],
)
async def test_junk_costs_its_own_connection(
    running_node: RunningNode, honest: Digger, junk: bytes
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        connection.send(junk)
        replies = []
        while (reply := await connection.reply()) is not None:
            replies.append(reply)
    assert all(reply["error"][0] == 20 for reply in replies)


async def test_requests_that_make_no_sense_are_refused_by_type(
    running_node: RunningNode, honest: Digger
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        params = [MINER, "a", "00" * 8, "00000000", "00000000"]
        early = {"id": 1, "method": "mining.submit", "params": params}
        assert (await refusal(connection, early))[0] == 25
        job = await mining(connection)
        (en2, nonce, _), *_ = solve(job, 1, 1)
        for message, code in (
            ({"id": 7, "method": "mining.unheard_of", "params": []}, 20),
            ({"id": 7, "method": "eth_sendTransaction", "params": [{}]}, 20),
            ({"id": 7, "method": "mining.authorize", "params": [{"a": 1}, 2]}, 20),
            ({"id": 7, "method": "mining.authorize", "params": ["nobody", "x"]}, 24),
            ({"id": 7, "method": "mining.authorize", "params": [VICTIM, "x"]}, 24),
            ({"id": 7, "method": "mining.submit", "params": [1, 2, 3, 4, 5]}, 20),
            ({"id": 7, "method": "mining.submit", "params": []}, 20),
            (submit(job, en2, nonce, user=VICTIM), 24),
            (submit(job, en2, nonce, job="ffffffff"), 21),
            (submit(job, en2, nonce, extranonce2="00"), 20),
            (submit(job, en2, nonce, nonce="xyz"), 20),
            (submit(job, en2, nonce, ntime="00000000"), 20),
            ({"id": 7, "method": "mining.get_commitment", "params": ["ffffffff"]}, 21),
            ({"id": 7, "method": "mining.get_commitment", "params": [5]}, 21),
        ):
            found, text = await refusal(connection, message)
            assert found == code, (message, text)
            assert VICTIM not in text
        connection.send(submit(job, en2, nonce))
        accepted = await connection.reply()
        assert accepted == {"id": 7, "result": True, "error": None}, "it may go on mining"


async def test_another_miner_s_job_is_no_job_of_ours(
    running_node: RunningNode, honest: Digger
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        job = await mining(connection)
        stolen = honest.jobs[-1]
        en2, nonce, _ = solve(stolen, 99, 1)[0]
        assert (await refusal(connection, submit(stolen, en2, nonce)))[0] == 21
        # Passed off as a share of our own job it is a hash of another header, and no share.
        code, _ = await refusal(connection, submit(job, en2, nonce))
        assert code == 23


async def test_one_hash_is_one_share_in_whatever_clothes(
    running_node: RunningNode, honest: Digger
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        job = await mining(connection)
        en2, nonce, hash_ = solve(job, 1, 1)[0]
        connection.send(submit(job, en2, nonce))
        first = await connection.reply()
        assert first is not None
        assert first["result"] is True
        for clothes in (
            {},
            {"user": MINER + ".other"},
            {"user": MINER.upper().replace("0X", "0x")},
            {"nonce": f"{nonce:08X}"},
            {"extranonce2": en2.hex().upper()},
        ):
            code, text = await refusal(connection, submit(job, en2, nonce, **clothes))
            assert (code, text) == (22, "Duplicate share"), clothes
        # As one packet, before the first of them is on disk.
        en2, nonce, twice = solve(job, 2, 1)[0]
        connection.send(*[submit(job, en2, nonce)] * 5)
        results = [await connection.reply() for _ in range(5)]
        assert [bool(r and r["result"]) for r in results].count(True) == 1
        assert [r["error"][0] for r in results if r and r["error"]] == [22] * 4
    proof = running_node.get(f"/api/v1/proofs/{hash_[::-1].hex()}")
    assert (proof["miner"], proof["hash"]) == (MINER, hash_[::-1].hex())
    assert running_node.get(f"/api/v1/proofs/{twice[::-1].hex()}")["hash"] == twice[::-1].hex()


async def test_a_share_below_its_target_is_refused(
    running_node: RunningNode, honest: Digger
) -> None:
    async with raw_connection(running_node.stratum_port) as connection:
        job = await mining(connection)
        shares = {nonce for _, nonce, _ in solve(job, 1, 4)}
        en2 = (1).to_bytes(job.extranonce2_size, "big")
        for nonce in range(5):
            if nonce not in shares:
                code, text = await refusal(connection, submit(job, en2, nonce))
                assert code == 23, text


async def test_many_at_once_change_nothing(running_node: RunningNode, honest: Digger) -> None:
    async def pest(seed: int) -> None:
        random_ = random.Random(seed)
        async with raw_connection(running_node.stratum_port) as connection:
            for _ in range(20):
                connection.send(
                    random_.choice(
                        [
                            b'{"id":1,"method":"mining.subscribe"}\n',
                            json.dumps({"id": None, "method": "mining.submit"}).encode() + b"\n",
                            b'{"id":"x","method":"mining.submit","params":["a","b","c","d","e"]}\n',
                            b'{"id":1,"method":"mining.configure","params":[[1],{}]}\n',
                        ]
                    )
                )
            connection.send(b"\0" * 20_000)
            while await connection.reply() is not None:
                pass

    await asyncio.gather(*(pest(seed) for seed in range(30)))
    status, metrics = await asyncio.to_thread(
        fetch, f"http://127.0.0.1:{running_node.api_port}/metrics"
    )
    assert status == 200
    counted = dict(line.rsplit(" ", 1) for line in metrics.decode().splitlines() if line[0] != "#")
    assert float(counted["potnode_stratum_junk_total"]) > 0
    assert float(counted["potnode_miners"]) == 1, "only the honest one is left"
