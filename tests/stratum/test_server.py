"""The server and the client on real sockets of this machine."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from dataclasses import replace

import pytest

from stratum.client import (
    Authorized,
    ClientJob,
    Commitment,
    NewJob,
    StratumClient,
    SubmitResult,
    Subscribed,
)
from stratum.difficulty import difficulty_from_bits, target_from_bits
from stratum.errors import LocalProtocolError, Reject, RejectCode
from stratum.headers import sha256d
from stratum.limits import UNLIMITED, Limits
from stratum.listener import Listener
from stratum.server import StratumServer
from tests.stratum.support import ALICE, BOB, EASIEST, NOW, MemoryPool, line, params_of
from tests.stratum.wires import AUTHORIZE, LOCAL, SUBSCRIBE, serving, until, wire


def mine(job: ClientJob, extranonce2: bytes) -> int:
    """Return a nonce that meets the job's target."""
    base = job.header_base(extranonce2)[:76]
    nonce = 0
    while int.from_bytes(sha256d(base + nonce.to_bytes(4, "little")), "little") > job.target:
        nonce += 1
    return nonce


async def test_shares_are_mined_over_tcp() -> None:
    bits = 14  # 2^-18: one hash in 16,384
    pool = MemoryPool(
        share_target=target_from_bits(bits), difficulty=difficulty_from_bits(bits), tag="work"
    )
    async with (
        serving(pool) as server,
        asyncio.timeout(60),
        StratumClient(
            "127.0.0.1", server.port, user=f"{ALICE}.cpu", agent="potnode/1", version_rolling=True
        ) as client,
    ):
        results: list[SubmitResult] = []
        seen: list[object] = []
        async for event in client:
            match event:
                case NewJob(job=job):
                    assert job.target == target_from_bits(bits)
                    for number in range(2):
                        extranonce2 = number.to_bytes(8, "big")
                        client.submit(job, extranonce2, mine(job, extranonce2))
                    client.get_commitment(job.job_id)
                case SubmitResult():
                    results.append(event)
                    if len(results) == 2:
                        assert server.broadcast(clean=False) == 1
                    if len(results) == 4:
                        break
                case Subscribed() | Authorized() | Commitment():
                    seen.append(event)
        assert [result.reject for result in results] == [None] * 4
        assert Authorized(None) in seen
        assert any(isinstance(e, Commitment) and e.commitment == {"tag": "work"} for e in seen)
        assert len({share.hash for share, _ in pool.shares}) == 4
        for share, miner in pool.shares:
            assert int.from_bytes(share.hash, "little") <= target_from_bits(bits)
            assert (share.worker, miner.account, miner.worker) == ("cpu", ALICE, "cpu")
            assert miner.user_agent == "potnode/1"
        assert server.counters.accepted == 4
    assert pool.now_connected == {}


async def test_replies_and_the_first_job_come_in_order() -> None:
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as miner:
        notify = await miner.handshake()
        assert notify[8] is True
        [view] = server.miners()
        assert (view.account, view.peer.partition(":")[0]) == (ALICE, "127.0.0.1")
        assert pool.now_connected == {view.connection_id: view}


async def test_extranonces_differ() -> None:
    async with (
        serving(MemoryPool(), first_extranonce1=0xFFFFFFFF) as server,
        wire(server) as one,
        wire(server) as two,
    ):
        given = []
        for each in (one, two):
            await each.ask(SUBSCRIBE)
            given.append((await each.read())["result"][1])
        assert sorted(given) == ["00000000", "ffffffff"]


async def test_an_extranonce_is_given_again_only_when_it_is_free() -> None:
    forgets = Limits(resume_seconds=None)
    async with serving(MemoryPool(), limits=forgets, first_extranonce1=0) as server:
        async with wire(server) as one:
            await one.handshake()
            server._next_extranonce1 = 1 << 32  # as if four thousand million others had come
            async with wire(server) as two:
                await two.handshake()
                given = [view.extranonce1.hex() for view in server.miners()]
                assert given == ["00000000", "00000001"]
        await until(lambda: len(server) == 0)
        server._next_extranonce1 = 2 << 32
        async with wire(server) as three:
            await three.handshake()
            assert [view.extranonce1.hex() for view in server.miners()] == ["00000000"]


async def test_a_broadcast_reaches_every_ready_miner() -> None:
    pool = MemoryPool()
    async with (
        serving(pool) as server,
        wire(server) as one,
        wire(server) as two,
        wire(server) as unready,
    ):
        await unready.ask(SUBSCRIBE)
        await unready.read()
        ids = {(await one.handshake())[0], (await two.handshake(BOB))[0]}
        assert server.broadcast(clean=True) == 2
        for miner in (one, two):
            notify = await miner.read()
            assert notify["method"] == "mining.notify"
            assert notify["params"][8] is True
            ids.add(notify["params"][0])
        assert len(ids) == 4
        assert len(server) == 3


async def test_one_miner_can_be_refreshed() -> None:
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as miner:
        first = await miner.handshake()
        [view] = server.miners()
        assert server.refresh(view.connection_id)
        notify = (await miner.read())["params"]
        assert notify[8] is False
        assert (notify[0], notify[2]) != (first[0], first[2])
        assert not server.refresh(view.connection_id + 1)
        pool.open = False
        assert not server.refresh(view.connection_id)
        assert server.broadcast(clean=True) == 0


async def test_a_pool_that_fails_on_a_question_costs_no_more_than_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = MemoryPool(tag="work")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with serving(pool) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        monkeypatch.setattr(pool, "account_of", fail)
        monkeypatch.setattr(pool, "explain", fail)
        await miner.ask(
            {"id": 7, "method": "mining.authorize", "params": [f"{ALICE}.other", "x"]},
            {"id": 8, "method": "mining.get_commitment", "params": [job_id]},
            {"id": 9, "method": "mining.submit", "params": params_of(job_id)},
        )
        failed, unexplained, accepted = [await miner.read() for _ in range(3)]
        assert failed["error"][:2] == [20, "The pool failed; try again"]
        assert unexplained["error"][0] == 20
        assert accepted == {"id": 9, "result": True, "error": None}
        assert server.counters.pool_errors == 2


async def test_one_miner_can_be_told_something() -> None:
    async with serving(MemoryPool()) as server, wire(server) as miner:
        await miner.ask(SUBSCRIBE)
        await miner.read()
        [connection_id] = server._connections
        assert not server.show_message(connection_id, "it would pass for a reply")
        await miner.ask(AUTHORIZE)
        for _ in range(3):
            await miner.read()
        assert server.show_message(connection_id, "Hello")
        told = await miner.read()
        assert (told["method"], told["params"]) == ("client.show_message", ["Hello"])
        assert not server.show_message(connection_id + 1, "nobody")


async def test_a_miner_waits_while_there_is_no_job() -> None:
    pool = MemoryPool()
    pool.open = False
    async with serving(pool) as server, wire(server) as miner:
        await miner.ask(SUBSCRIBE, AUTHORIZE)
        assert (await miner.read())["id"] == 1
        assert (await miner.read())["id"] == 2
        pool.open = True
        assert server.broadcast(clean=False) == 1
        assert (await miner.read())["method"] == "mining.set_difficulty"
        assert (await miner.read())["params"][8] is True


async def test_answers_come_when_the_pool_gives_them() -> None:
    pool = MemoryPool()
    pool.hold = True
    async with serving(pool) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        for number in range(3):
            params = params_of(job_id, nonce=f"{number:x}")
            await miner.ask({"id": 10 + number, "method": "mining.submit", "params": params})
        await until(lambda: len(pool.answers) == 3)
        pool.answers[2](None)
        pool.answers[0](Reject(RejectCode.JOB_NOT_FOUND, "Expired"))
        assert await miner.read() == {"id": 12, "result": True, "error": None}
        assert (await miner.read())["error"] == [21, "Expired", None]
        with pytest.raises(LocalProtocolError, match="twice"):
            pool.answers[2](None)
        miner.writer.close()
        await until(lambda: len(server) == 0)
        pool.answers[1](None)  # the miner is gone, the share is not
        assert server.counters.accepted == 2
        assert server.counters.rejects == {RejectCode.JOB_NOT_FOUND: 1}


async def test_counters_and_blocks() -> None:
    pool = MemoryPool(share_target=1, network_target=EASIEST)
    async with serving(pool) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        for params in (params_of(job_id), params_of("ffff"), []):
            await miner.ask({"id": 3, "method": "mining.submit", "params": params})
            await miner.read()
        await miner.ask({"id": 4, "method": "mining.authorize", "params": ["nobody", "x"]})
        assert (await miner.read())["error"] == [24, "The user name is no 0x address", None]
        counters = server.counters
        assert counters.rejects == {
            RejectCode.LOW_DIFFICULTY: 1,
            RejectCode.JOB_NOT_FOUND: 1,
            RejectCode.OTHER: 1,
        }
        assert (counters.connections, counters.blocks, counters.accepted) == (1, 1, 0)
        [block] = pool.blocks
        assert block.is_block
        assert pool.shares == []


async def test_a_suggestion_is_seen_with_the_next_job() -> None:
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as miner:
        await miner.handshake()
        await miner.ask({"id": 3, "method": "mining.suggest_difficulty", "params": [512]})
        await miner.read()
        [view] = server.miners()
        assert view.suggested_difficulty == 512


@pytest.mark.parametrize("junk", [b"x" * 9 * 1024, b"\x16\x03\x01\n\r\n" * 4 + b"more\n"])
async def test_junk_closes_its_own_connection_only(junk: bytes) -> None:
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as good, wire(server) as bad:
        job_id = (await good.handshake())[0]
        await bad.handshake(BOB)
        bad.writer.write(junk)
        assert b'"error":[20,' in await bad.read_to_end()
        await until(lambda: len(server) == 1)
        await good.ask({"id": 3, "method": "mining.submit", "params": params_of(job_id)})
        assert (await good.read())["result"] is True
        assert [view.account for view in pool.now_connected.values()] == [ALICE]


async def test_a_client_that_does_not_read_is_dropped() -> None:
    pool = MemoryPool()
    async with (
        serving(pool, limits=replace(UNLIMITED, write_limit=4096)) as server,
        wire(server) as good,
        wire(server) as bad,
    ):
        await good.handshake()
        await bad.handshake(BOB)
        bad.reader._transport.pause_reading()  # type: ignore[attr-defined]
        flood = line({"id": 1, "method": "mining.ping"}) * 1000
        async with asyncio.timeout(30):
            while server.counters.dropped_slow == 0:
                bad.writer.write(flood)
                await asyncio.sleep(0)
        await until(lambda: len(server) == 1)
        await good.ask({"id": 3, "method": "mining.ping"})
        assert (await good.read())["result"] == "pong"
        assert server.counters.dropped_slow == 1
        bad.writer.transport.abort()


async def test_a_client_that_does_not_shake_hands_is_closed() -> None:
    pool = MemoryPool()
    async with serving(pool, limits=Limits(handshake_timeout=1.0)) as server, wire(server) as good:
        await good.handshake()
        async with wire(server) as silent:
            await silent.ask(SUBSCRIBE)
            assert json.loads(await silent.read_to_end())["id"] == 1
        assert server.counters.timed_out == 1
        await good.ask({"id": 3, "method": "mining.ping"})
        assert (await good.read())["result"] == "pong"


async def test_stopping_sends_what_is_left_and_closes() -> None:
    pool = MemoryPool()
    server = StratumServer(pool, clock=lambda: NOW)
    with pytest.raises(LocalProtocolError, match="not listening"):
        _ = server.port
    await server.start([LOCAL])
    with pytest.raises(LocalProtocolError, match="started before"):
        await server.start([LOCAL])
    port = server.port
    async with wire(server) as miner:
        await miner.handshake()
        server.broadcast(clean=False)
        await server.stop()
        assert b"mining.notify" in await miner.read_to_end()
    assert len(server) == 0
    assert pool.now_connected == {}
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_does_not_wait_for_one_that_does_not_read() -> None:
    pool = MemoryPool()
    server = StratumServer(pool, clock=lambda: NOW, limits=replace(UNLIMITED, write_limit=1 << 30))
    await server.start([LOCAL])
    async with wire(server) as miner:
        await miner.handshake()
        miner.reader._transport.pause_reading()  # type: ignore[attr-defined]
        flood = line({"id": 1, "method": "mining.ping"}) * 1000
        [connection] = server._connections.values()
        async with asyncio.timeout(30):
            while connection._transport.get_write_buffer_size() == 0:
                miner.writer.write(flood)
                await asyncio.sleep(0)
        await server.stop(grace=0.05)
        assert len(server) == 0
        miner.writer.transport.abort()


async def test_stopping_while_clients_come_in() -> None:
    server = StratumServer(MemoryPool(), clock=lambda: NOW)
    await server.start([LOCAL])
    clients = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(20)]
    [acceptor] = server._acceptors
    for _ in range(1000):
        if acceptor._adoptions:
            break
        await asyncio.sleep(0)
    assert acceptor._adoptions
    await server.stop()
    assert (len(server), len(acceptor._adoptions)) == (0, 0)
    await asyncio.sleep(0)
    for client in clients:
        with client, suppress(ConnectionResetError):
            assert client.recv(1) == b""


async def test_an_address_in_use_is_an_error() -> None:
    async with serving(MemoryPool()) as server:
        other = StratumServer(MemoryPool())
        with pytest.raises(OSError, match="in use"):
            await other.start([Listener(host="127.0.0.1", port=server.port)])


async def test_the_client_ends_when_the_pool_does() -> None:
    pool = MemoryPool()
    async with serving(pool) as server:
        client = StratumClient("127.0.0.1", server.port, user=ALICE, agent="potnode/1")
        async with client, asyncio.timeout(20):
            async for event in client:
                if isinstance(event, NewJob):
                    await server.stop()
    assert client.session.authorized


async def test_the_log_says_who_comes_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(MemoryPool()) as server:
        async with wire(server) as miner:
            await miner.handshake(f"{ALICE}.rig1")
        await until(lambda: len(server) == 0)
        async with wire(server):
            pass  # nobody that ever mined
        await until(lambda: server.counters.connections == 2 and len(server) == 0)
    came, went = (text for text in caplog.messages if text.startswith("connection"))
    assert came.startswith("connection 1 from 127.0.0.1:")
    assert came.endswith(f" mines: {ALICE}.rig1 (cpuminer/2.5.1)")
    assert went.endswith(" is gone, 0 accepted, 0 rejected: closed")


async def test_the_log_says_who_may_not_mine_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(MemoryPool()) as server, wire(server) as miner:
        for user in ("bc1qnobody.rig", "bc1qnobody.rig", "somebody"):
            await miner.ask(AUTHORIZE | {"params": [user, "x"]})
            assert (await miner.read())["error"][0] == RejectCode.UNAUTHORIZED
    [text] = [text for text in caplog.messages if "may not mine" in text]
    assert text.startswith("connection 1 from 127.0.0.1:")
    assert text.endswith(" may not mine as bc1qnobody.rig: The user name is no 0x address")
