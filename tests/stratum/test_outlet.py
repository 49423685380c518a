"""What leaves a server, and when."""

from __future__ import annotations

import asyncio

import pytest

from stratum.outlet import Turn
from tests.stratum.support import MemoryPool, line, params_of
from tests.stratum.wires import serving, until, wire


class Writer:
    """Notes that it was flushed; one of them can't be."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order = order
        self.name = name

    def flush(self) -> None:
        self.order.append(self.name)
        if self.name == "bad":
            raise RuntimeError("no")


async def test_a_turn_ends_with_all_flushed_whatever_one_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order: list[str] = []
    turn = Turn()
    for name in ("one", "bad", "two"):
        turn.add(Writer(order, name))
    assert order == []
    await asyncio.sleep(0)
    assert order == ["one", "bad", "two"]
    assert "could not be flushed" in caplog.text
    turn.add(Writer(order, "next turn"))
    await asyncio.sleep(0)
    assert order == ["one", "bad", "two", "next turn"]


async def test_who_has_more_to_say_meanwhile_waits_for_the_next_turn() -> None:
    order: list[str] = []
    turn, later = Turn(), Writer(order, "later")

    class Busy(Writer):
        def flush(self) -> None:
            super().flush()
            turn.add(later)

    turn.add(Busy(order, "busy"))
    turn.add(Writer(order, "now"))
    await asyncio.sleep(0)
    assert order == ["busy", "now"]
    await asyncio.sleep(0)
    assert order == ["busy", "now", "later"]


async def test_replies_of_many_shares_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    pool = MemoryPool()
    async with serving(pool) as server, wire(server) as miner:
        job_id = (await miner.handshake())[0]
        pool.hold = True
        await miner.ask(
            *(
                {"id": n, "method": "mining.submit", "params": params_of(job_id, nonce=f"{n:08x}")}
                for n in range(20)
            )
        )
        await until(lambda: len(pool.answers) == 20)
        [connection] = server._connections.values()
        send = connection.send

        def noting(data: bytes) -> None:
            writes.append(data)
            send(data)

        monkeypatch.setattr(connection, "send", noting)
        for answer in pool.answers:
            answer(None)
        assert writes == []
        assert [(await miner.read())["id"] for _ in range(20)] == list(range(20))
        assert len(writes) == 1
        assert len(server.counters.submit_latency) == 20
        await miner.ask({"id": 99, "method": "mining.ping"})
        assert (await miner.read())["id"] == 99
        assert line({"id": 99, "result": "pong", "error": None}) == writes[1]
