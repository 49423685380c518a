"""What one connection may do to a server and to the others: limits, ladder, idling, resuming."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from stratum.errors import Reject, RejectCode
from stratum.limits import UNLIMITED, Limits, Refusal
from stratum.listener import raise_file_limit
from stratum.pool import Answer, MinerView
from stratum.shares import Share
from tests.stratum.support import ALICE, BOB, EASIEST, NOW, MemoryPool, line, params_of
from tests.stratum.wires import AUTHORIZE, PING, SUBSCRIBE, Hands, Wire, serving, until, wire

ALL_COUNTED = Limits(exempt=())


def submits(job_id: str, count: int, first: int = 0) -> bytes:
    """Return the lines of `count` different submits, ids from `first`."""
    return b"".join(
        line(
            {
                "id": number,
                "method": "mining.submit",
                "params": params_of(job_id, nonce=f"{number:08x}"),
            }
        )
        for number in range(first, first + count)
    )


async def replies(miner: Wire, count: int) -> list[Any]:
    return [await miner.read() for _ in range(count)]


async def is_served(miner: Wire) -> None:
    await miner.ask(PING)
    assert (await miner.read())["result"] == "pong"


# Who may connect.


async def test_no_more_clients_than_allowed() -> None:
    async with serving(MemoryPool(), limits=Limits(max_clients=2)) as server:
        async with wire(server) as one, wire(server) as two:
            await one.handshake()
            await two.handshake(BOB)
            async with wire(server) as three:
                assert await three.read_to_end() == b""
            assert server.counters.refused == {Refusal.FULL: 1}
            assert server.counters.connections == 2
            await is_served(one)
        await until(lambda: len(server) == 0)
        async with wire(server) as four:
            await four.handshake()


async def test_no_more_connections_of_an_address_than_allowed() -> None:
    async with serving(MemoryPool(), limits=replace(ALL_COUNTED, per_address=1)) as server:
        async with wire(server) as one:
            await one.handshake()
            async with wire(server) as two:
                assert await two.read_to_end() == b""
            await is_served(one)
        assert server.counters.refused == {Refusal.ADDRESS_FULL: 1}
        await until(lambda: len(server) == 0)
        async with wire(server) as three:
            await three.handshake()


async def test_new_connections_of_an_address_are_slowed() -> None:
    hands = Hands()
    limits = replace(ALL_COUNTED, connects_per_minute=2)
    async with serving(MemoryPool(), limits=limits, monotonic=hands) as server:
        for _ in range(2):
            async with wire(server) as miner:
                await miner.handshake()
        async with wire(server) as refused:
            assert await refused.read_to_end() == b""
        assert server.counters.refused == {Refusal.TOO_FAST: 1}
        hands.pass_(30.0)
        async with wire(server) as miner:
            await miner.handshake()


async def test_addresses_are_forgotten_in_time() -> None:
    hands = Hands()
    async with serving(MemoryPool(), limits=ALL_COUNTED, monotonic=hands) as server:
        async with wire(server) as miner:
            await miner.handshake()
            server.sweep()
            assert len(server._shared.addresses) == 1
        await until(lambda: len(server) == 0)
        hands.pass_(60.0)
        server.sweep()
        assert len(server._shared.addresses) == 0


# Floods.


async def test_a_flood_of_submits_is_slowed_and_nothing_is_lost() -> None:
    pool = MemoryPool()
    limits = replace(ALL_COUNTED, submits_per_second=2000.0, submit_burst=100)
    async with serving(pool, limits=limits) as server, wire(server) as bad, wire(server) as good:
        await good.handshake(BOB)
        job_id = (await bad.handshake())[0]
        start = time.monotonic()
        bad.writer.write(submits(job_id, 3000))
        slowest = 0.0
        reading = asyncio.create_task(replies(bad, 3000))
        while not reading.done():
            asked = time.monotonic()
            await is_served(good)
            slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(0.01)
        answers = await reading
        took = time.monotonic() - start
    assert [answer["id"] for answer in answers] == list(range(3000))
    assert all(answer["result"] is True for answer in answers)
    assert len(pool.shares) == server.counters.accepted == 3000
    assert server.counters.throttled >= 2
    # All but a burst and the last read came at the rate; the other miner waited for one read.
    assert took > (3000 - 100 - 700) / 2000
    assert slowest < took / 2


async def test_late_and_easy_shares_are_never_a_reason_to_close() -> None:
    pool = MemoryPool(share_target=1)
    limits = replace(ALL_COUNTED, submits_per_second=None)
    async with serving(pool, limits=limits) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        miner.writer.write(submits(job_id, 2000) + submits("ffff", 2000, 2000))
        answers = await replies(miner, 4000)
        assert {answer["error"][0] for answer in answers} == {21, 23}
        assert server.counters.throttled == server.counters.too_costly == 0
        [stats] = server.stats().values()
        assert (stats.accepted, stats.rejected, stats.last_share_at) == (0, 4000, None)


@pytest.mark.parametrize(
    "params", [["x"], params_of("1", user=BOB), params_of("1", bits="00000001")]
)
async def test_submits_that_could_never_be_right_are_slowed(params: list[Any]) -> None:
    pool = MemoryPool(share_target=1)
    limits = replace(ALL_COUNTED, submits_per_second=None, soft_cost=1000.0, longest_pause=0.05)
    async with serving(pool, limits=limits) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        wrong = {"id": 3, "method": "mining.submit", "params": params}
        assert job_id == "1"
        miner.writer.write(line(wrong) * 1000)
        answers = await replies(miner, 1000)
        assert {answer["error"][0] for answer in answers} <= {20, 24}
        assert server.counters.throttled > 0


async def test_a_flood_of_other_messages_is_slowed_and_then_closed() -> None:
    limits = replace(ALL_COUNTED, soft_cost=500.0, hard_cost=10_000.0, longest_pause=0.05)
    async with (
        serving(MemoryPool(), limits=limits) as server,
        wire(server) as good,
        wire(server) as bad,
    ):
        await good.handshake()
        await bad.handshake(BOB)
        flood = line(PING) * 500
        async with asyncio.timeout(60):
            while server.counters.too_costly == 0:
                bad.writer.write(flood)
                await asyncio.sleep(0.001)
                await bad.reader.read(1 << 16)
        bad.writer.transport.abort()
        assert server.counters.throttled > 0
        await until(lambda: len(server) == 1)
        await is_served(good)


async def test_exempt_addresses_are_not_slowed() -> None:
    pool = MemoryPool()
    limits = Limits(submits_per_second=1.0, submit_burst=1, soft_cost=1.0)
    async with serving(pool, limits=limits) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        await asyncio.gather(miner.ask(*[PING] * 2000), replies(miner, 2000))
        miner.writer.write(submits(job_id, 2000))
        await replies(miner, 2000)
        assert server.counters.throttled == 0


async def test_no_more_unanswered_submits_than_allowed() -> None:
    pool = MemoryPool()
    pool.hold = True
    limits = replace(UNLIMITED, max_unanswered=100)
    async with serving(pool, limits=limits) as server, wire(server) as bad, wire(server) as good:
        await good.handshake(BOB)
        job_id = (await bad.handshake())[0]
        bad.writer.write(submits(job_id, 3000))
        await until(lambda: len(pool.answers) > 100)
        await asyncio.sleep(0.1)
        held = len(pool.answers)
        assert held < 1000  # one read more than allowed
        await is_served(good)
        answered = 0
        while answered < 3000:
            for answer in pool.answers[answered:]:
                answer(None)
                answered += 1
            await asyncio.sleep(0.001)
        assert [reply["id"] for reply in await replies(bad, 3000)] == list(range(3000))
        assert server.counters.throttled >= 3


@pytest.mark.parametrize("answered_first", [True, False])
async def test_reading_goes_on_when_neither_pause_holds(answered_first: bool) -> None:
    """Too many unanswered and too fast at once: whichever ends first must wait for the other."""
    pool = MemoryPool()
    pool.hold = True
    limits = replace(ALL_COUNTED, submits_per_second=1000.0, submit_burst=100, max_unanswered=50)
    async with serving(pool, limits=limits) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        miner.writer.write(submits(job_id, 1500))
        await until(lambda: len(pool.answers) > 50)
        held, answered = len(pool.answers), 0
        assert 200 < held < 1500
        if answered_first:
            for answer in pool.answers[:]:
                answer(None)
            answered = held
            await asyncio.sleep(0.05)
        else:
            await asyncio.sleep((held - 100) / 1000 + 0.2)
        assert len(pool.answers) == held
        while answered < 1500:
            for answer in pool.answers[answered:]:
                answer(None)
                answered += 1
            await asyncio.sleep(0.001)
        assert [reply["id"] for reply in await replies(miner, 1500)] == list(range(1500))


def hostile_bytes(seed: int) -> Iterator[bytes]:
    """What no miner sends, for a while."""
    dice = random.Random(seed)
    whole = line(SUBSCRIBE) + line(AUTHORIZE) + submits("1", 3)
    for _ in range(40):
        match dice.randrange(4):
            case 0:
                yield dice.randbytes(dice.randrange(1, 3000))
            case 1:
                start = dice.randrange(len(whole))
                yield whole[start : start + dice.randrange(1, 300)]
            case 2:
                yield b"[" * dice.randrange(1, 8000) + b"\n"
            case _:
                yield b'{"id":%d,"method":"mining.authorize","params":["%s"]}\n' % (
                    dice.getrandbits(200),
                    b"0" * dice.randrange(200),
                )


@pytest.mark.parametrize("seed", range(5))
async def test_hostile_connections_disturb_no_other(seed: int) -> None:
    pool = MemoryPool()
    async with serving(pool, limits=ALL_COUNTED) as server, wire(server) as good:
        job_id = (await good.handshake())[0]
        for number in range(8):
            async with wire(server) as bad:
                try:
                    for data in hostile_bytes(seed * 100 + number):
                        bad.writer.write(data)
                        await bad.writer.drain()
                except ConnectionError:
                    pass
                bad.writer.transport.abort()
            good.writer.write(submits(job_id, 1, number))
            assert (await good.read())["result"] is True
        await until(lambda: len(server) == 1)
        assert len(pool.shares) == 8
        assert server.counters.pool_errors == 0


# The ladder.


async def test_a_miner_that_gets_nothing_right_climbs_the_ladder() -> None:
    hands, pool = Hands(), MemoryPool()
    async with serving(pool, monotonic=hands) as server, wire(server) as miner:
        await miner.handshake()
        wrong = {"id": 7, "method": "mining.submit", "params": params_of("ffff")}

        async def refused() -> None:
            await miner.ask(wrong)
            assert (await miner.read())["error"][0] == 21

        await refused()
        hands.pass_(59.0)
        await refused()
        hands.pass_(1.0)
        await refused()
        assert (await miner.read())["method"] == "mining.set_difficulty"
        notify = await miner.read()
        assert (notify["method"], notify["params"][8]) == ("mining.notify", True)
        hands.pass_(60.0)
        await refused()
        assert (await miner.read())["method"] == "client.reconnect"
        hands.pass_(59.0)
        await refused()
        await is_served(miner)
        hands.pass_(1.0)
        await miner.ask(wrong)
        assert b'"error":[21,' in await miner.read_to_end()
        assert server.counters.only_rejects == 1


async def test_a_good_share_leads_off_the_ladder() -> None:
    hands, pool = Hands(), MemoryPool()
    async with serving(pool, monotonic=hands) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        for number in range(10):
            miner.writer.write(submits("ffff", 1) + submits(job_id, 1, number))
            assert [answer["result"] for answer in await replies(miner, 2)] == [False, True]
            hands.pass_(59.0)
        await is_served(miner)
        assert server.counters.only_rejects == 0


async def test_what_the_pool_refuses_is_not_the_miners_fault() -> None:
    """A full disk must not send all miners away."""
    hands, pool = Hands(), MemoryPool()
    pool.hold = True
    async with serving(pool, monotonic=hands) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        for number in range(10):
            miner.writer.write(submits(job_id, 1, number))
            await until(lambda: len(pool.answers) > 0)
            pool.answers.pop()(Reject(RejectCode.OTHER, "The disk is full"))
            assert (await miner.read())["error"][0] == 20
            hands.pass_(60.0)
        await is_served(miner)
        assert server.counters.rejects == {RejectCode.OTHER: 10}


# Time.


async def test_handshakes_that_drip_are_ended(caplog: pytest.LogCaptureFixture) -> None:
    """As slowloris does it: many connections that each send a byte now and then."""
    hands, pool = Hands(), MemoryPool()
    async with (
        serving(pool, monotonic=hands) as server,
        wire(server) as good,
        AsyncExitStack() as stack,
    ):
        await good.handshake()
        slow = [await stack.enter_async_context(wire(server)) for _ in range(200)]
        await until(lambda: len(server) == 201)
        for byte in line(SUBSCRIBE)[:59]:
            for each in slow:
                each.writer.write(bytes([byte]))
            await is_served(good)
            hands.pass_(1.0)
        server.sweep()
        assert server.counters.timed_out == 0
        hands.pass_(1.0)
        server.sweep()
        await until(lambda: len(server) == 1)
        assert server.counters.timed_out == 200
        await is_served(good)


async def test_a_quiet_miner_stays_and_a_dead_one_goes() -> None:
    hands, pool = Hands(), MemoryPool()
    async with serving(pool, monotonic=hands) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        hands.pass_(3600.0)
        miner.writer.write(submits(job_id, 1))
        assert (await miner.read())["result"] is True
        hands.pass_(7199.0)  # one share in two hours, and nothing else
        server.sweep()
        await is_served(miner)
        hands.pass_(599.0)
        server.sweep()
        await is_served(miner)
        hands.pass_(600.0)
        server.sweep()
        assert await miner.read_to_end() == b""
        assert server.counters.idle == 1


async def test_junk_is_no_sign_of_life() -> None:
    hands, pool = Hands(), MemoryPool()
    async with serving(pool, monotonic=hands) as server, wire(server) as miner:
        await miner.handshake()
        hands.pass_(7200.0)
        miner.writer.write(b"junk\n")
        await miner.read()
        server.sweep()
        assert await miner.read_to_end() == b""
        assert server.counters.idle == 1


async def test_last_bytes_are_not_waited_for_for_long() -> None:
    hands, pool = Hands(), MemoryPool()
    limits = replace(UNLIMITED, write_limit=1 << 30)
    async with serving(pool, limits=limits, monotonic=hands) as server, wire(server) as bad:
        await bad.handshake()
        bad.reader._transport.pause_reading()  # type: ignore[attr-defined]
        [connection] = server._connections.values()
        async with asyncio.timeout(30):
            while connection._transport.get_write_buffer_size() == 0:
                bad.writer.write(line(PING) * 1000)
                await asyncio.sleep(0)
        connection.close()
        hands.pass_(9.0)
        server.sweep()
        await asyncio.sleep(0.05)
        assert len(server) == 1
        hands.pass_(1.0)
        server.sweep()
        await until(lambda: len(server) == 0)
        bad.writer.transport.abort()


# Resuming.


async def subscribe_as(miner: Wire, session_id: str) -> str:
    """Subscribe naming an earlier session; return the extranonce1 that is given."""
    await miner.ask(SUBSCRIBE | {"params": ["cgminer/4.11", session_id]})
    extranonce1: str = (await miner.read())["result"][1]
    return extranonce1


async def test_a_session_is_resumed_and_its_old_jobs_count() -> None:
    pool = MemoryPool()
    async with serving(pool, first_extranonce1=0x0A) as server:
        async with wire(server) as miner:
            old = (await miner.handshake())[0]
            server.broadcast(clean=False)
        await until(lambda: len(server) == 0)
        async with wire(server) as guessing:  # no id is an extranonce1, nor what follows one
            assert await subscribe_as(guessing, "0000000a") == "0000000b"
        async with wire(server) as again:
            assert await subscribe_as(again, miner.session_id) == "0000000a"
            await again.ask(AUTHORIZE)
            answers = await replies(again, 3)
            assert answers[2]["params"][8] is True
            again.writer.write(submits(old, 1))
            assert (await again.read())["result"] is True
            assert server.counters.resumed == 1
            [(share, view)] = pool.shares
            assert share.extranonce1 == view.extranonce1 == bytes.fromhex("0000000a")
            async with wire(server) as third:  # in use
                assert await subscribe_as(third, miner.session_id) == "0000000d"
        await until(lambda: len(server) == 0)
        async with wire(server) as fourth:  # free again, resumed twice
            assert await subscribe_as(fourth, miner.session_id) == "0000000a"


async def test_a_block_before_it_is_authorised_does_not_hide_who_it_is() -> None:
    pool = MemoryPool(network_target=EASIEST)
    async with serving(pool, first_extranonce1=1) as server:
        async with wire(server) as miner:
            old = (await miner.handshake())[0]
        await until(lambda: len(server) == 0)
        async with wire(server) as again:
            await subscribe_as(again, miner.session_id)
            again.writer.write(submits(old, 1))
            assert (await again.read())["error"][0] == 24
            assert len(pool.blocks) == 1
            await again.ask(AUTHORIZE)
            answers = await replies(again, 3)
            assert answers[2]["method"] == "mining.notify"
            [view] = server.miners()
            assert (view.account, view.worker) == (ALICE, "s9")


async def test_a_resumed_extranonce_is_nobody_elses() -> None:
    async with serving(MemoryPool(), first_extranonce1=1) as server:
        async with wire(server) as miner:
            await miner.handshake()
        await until(lambda: len(server) == 0)
        server._next_extranonce1 = (1 << 32) + 1
        async with wire(server) as other:
            await other.handshake()
            assert [view.extranonce1[3] for view in server.miners()] == [2]
            async with wire(server) as again:
                assert await subscribe_as(again, miner.session_id) == "00000001"
                server._next_extranonce1 = (2 << 32) + 1
                async with wire(server) as third:
                    assert await subscribe_as(third, "ffff") == "00000004"  # 3 was again's first


async def test_sessions_are_forgotten() -> None:
    hands = Hands()
    limits = Limits(resume_sessions=2)
    async with serving(MemoryPool(), limits=limits, monotonic=hands, first_extranonce1=0) as server:
        ids: list[str] = []
        for _ in range(3):
            async with wire(server) as miner:
                await miner.handshake()
                ids.append(miner.session_id)
            await until(lambda: len(server) == 0)
        assert len(set(ids)) == 3
        async with wire(server) as unready:  # leaves nothing
            await subscribe_as(unready, ids[0])
        await until(lambda: len(server) == 0)
        async with wire(server) as miner:
            assert await subscribe_as(miner, ids[0]) == "00000004"
        async with wire(server) as miner:
            assert await subscribe_as(miner, ids[1]) == "00000001"
        await until(lambda: len(server) == 0)
        hands.pass_(600.0)
        async with wire(server) as miner:
            assert await subscribe_as(miner, ids[2]) == "00000006"
        await until(lambda: len(server) == 0)
        server.sweep()
        assert len(server._ended) == len(server._extranonces) == 0


# Many.


async def test_a_thousand_miners_and_more() -> None:
    pool = MemoryPool()
    count = 1200
    raise_file_limit(2 * count + 200)  # both ends are in this process
    async with serving(pool) as server, AsyncExitStack() as stack:
        miners = [await stack.enter_async_context(wire(server)) for _ in range(count)]
        await asyncio.gather(*(miner.handshake() for miner in miners))
        assert len(server) == len(server.miners()) == count
        assert server.broadcast(clean=True) == count
        for miner in miners:
            assert (await miner.read())["params"][8] is True
        counters = server.counters
        assert counters.broadcast_miners == count
        assert 0 < counters.broadcast_write < 5
        assert 0 < counters.broadcast_prepare < 5


class MoodyPool(MemoryPool):
    """Fails to make jobs for one account, and to take its shares."""

    broken = False

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        if miner.account == BOB:
            raise RuntimeError("no share of yours")
        super().submit(share, miner, answer)

    def job_for(self, miner: MinerView) -> Any:
        if self.broken and miner.account == BOB:
            raise RuntimeError("no job for you")
        return super().job_for(miner)


async def test_one_miners_job_that_fails_is_no_others_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = MoodyPool()
    async with (
        serving(pool) as server,
        wire(server) as one,
        wire(server) as two,
        wire(server) as three,
    ):
        await one.handshake()
        await two.handshake(BOB)
        await three.handshake()
        pool.broken = True
        assert server.broadcast(clean=True) == 2
        for miner in (one, three):
            assert (await miner.read())["method"] == "mining.notify"
        assert server.counters.pool_errors == 1
        assert "no job for you" in caplog.text
        await is_served(two)


async def test_a_share_the_pool_fails_on_ends_its_own_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = MoodyPool()
    async with serving(pool) as server, wire(server) as one, wire(server) as two:
        good = (await one.handshake())[0]
        bad = (await two.handshake(BOB))[0]
        await two.ask({"id": 3, "method": "mining.submit", "params": params_of(bad, user=BOB)})
        assert await two.read_to_end() == b""
        assert "no share of yours" in caplog.text
        one.writer.write(submits(good, 1))
        assert (await one.read())["result"] is True
        assert [view.account for view in pool.now_connected.values()] == [ALICE]


async def test_a_share_the_pool_fails_on_costs_no_block_behind_it() -> None:
    pool = MoodyPool()
    async with serving(pool) as server, wire(server) as miner:
        plain = (await miner.handshake(BOB))[0]
        pool.job_fields = {"network_target": EASIEST}
        server.broadcast(clean=False)
        solving = (await miner.read())["params"][0]
        asks = [
            {"id": 3, "method": "mining.submit", "params": params_of(job_id, user=BOB)}
            for job_id in (plain, solving)
        ]
        await miner.ask(*asks)
        assert await miner.read_to_end() == b""
        assert [share.job_id for share in pool.blocks] == [solving]


async def test_a_broadcast_passes_by_those_that_are_gone() -> None:
    async with serving(MemoryPool()) as server, AsyncExitStack() as stack:
        miners = [await stack.enter_async_context(wire(server)) for _ in range(5)]
        for miner in miners:
            await miner.handshake()
        miners[1].writer.transport.abort()
        list(server._connections.values())[3].abort()
        assert server.broadcast(clean=False) in {3, 4}
        for number in (0, 2, 4):
            assert (await miners[number].read())["method"] == "mining.notify"
        await until(lambda: len(server) == 3)


# What is told.


async def test_the_pool_learns_of_changed_wishes() -> None:
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as miner:
        suggest = {"id": 3, "method": "mining.suggest_difficulty", "params": [512]}
        await miner.ask(SUBSCRIBE, AUTHORIZE | {"params": [ALICE, "d=1024,md=64"]})
        await replies(miner, 4)
        [view] = server.miners()
        assert (view.fixed_difficulty, view.minimum_difficulty) == (1024, 64)
        assert pool.asked_by == []
        await miner.ask(suggest, suggest)
        await replies(miner, 2)
        [asked] = pool.asked_by
        assert (asked.suggested_difficulty, asked.account) == (512, ALICE)


class Introduced(MemoryPool):
    """Knows who was introduced and who took leave."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[int] = []

    def disconnected(self, miner: MinerView) -> None:
        self.gone.append(miner.connection_id)
        super().disconnected(miner)


async def test_only_who_was_introduced_takes_leave() -> None:
    pool = Introduced()
    async with serving(pool) as server:
        for message in (SUBSCRIBE, AUTHORIZE):
            async with wire(server) as half:
                await half.ask(message)
                assert (await half.read())["error"] is None
        async with wire(server) as miner:
            await miner.handshake()
        await until(lambda: len(server) == 0)
        assert pool.gone == [3]
        assert pool.now_connected == {}


async def test_the_pool_sees_passwords() -> None:
    async with serving(MemoryPool()) as server, wire(server) as miner:
        await miner.ask(SUBSCRIBE, AUTHORIZE | {"params": [ALICE, "wrong"]})
        assert [json.dumps(each["error"]) for each in await replies(miner, 2)] == [
            "null",
            '[24, "Wrong password", null]',
        ]


async def test_numbers_of_a_connection_and_times_of_submits() -> None:
    hands, pool = Hands(), MemoryPool()
    hands.now = NOW
    pool.hold = True
    async with serving(pool, clock=hands, monotonic=hands) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        hands.pass_(7.0)
        miner.writer.write(submits(job_id, 2) + submits("ffff", 1))
        assert (await miner.read())["error"][0] == 21
        hands.pass_(2.0)
        pool.answers[0](None)
        pool.answers[1](Reject(RejectCode.DUPLICATE, "Known"))
        await replies(miner, 2)
        [(number, stats)] = server.stats().items()
        assert number == server.miners()[0].connection_id
        assert (stats.connected_at, stats.last_share_at) == (NOW, NOW + 9)
        assert (stats.accepted, stats.rejected, stats.lines, stats.tls) == (1, 2, 5, False)
        latency = server.counters.submit_latency
        assert len(latency) == 3
        assert latency.sum == pytest.approx(4.0)
        assert latency.quantile(0.99) == pytest.approx(2.097152)
