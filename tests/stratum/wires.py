"""Bare lines over real sockets: a served pool, and clients that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from stratum.listener import Listener
from stratum.server import StratumServer
from tests.stratum.support import ALICE, NOW, MemoryPool, line

LOCAL = Listener(host="127.0.0.1", port=0)
SUBSCRIBE = {"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}
AUTHORIZE = {"id": 2, "method": "mining.authorize", "params": [f"{ALICE}.s9", "x"]}
PING = {"id": 3, "method": "mining.ping"}


@asynccontextmanager
async def serving(
    pool: MemoryPool, *listeners: Listener, **options: Any
) -> AsyncIterator[StratumServer]:
    server = StratumServer(pool, **({"clock": lambda: NOW} | options))
    await server.start(listeners or [LOCAL])
    try:
        yield server
    finally:
        await server.stop()


class Wire:
    """A client of bare lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session_id = ""

    async def ask(self, *messages: object) -> None:
        self.writer.write(b"".join(line(message) for message in messages))
        await self.writer.drain()

    async def read(self) -> Any:
        async with asyncio.timeout(20):
            return json.loads(await self.reader.readline())

    async def read_to_end(self) -> bytes:
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def handshake(self, user: str = ALICE) -> Any:
        """Return the params of the first notify."""
        await self.ask(SUBSCRIBE, AUTHORIZE | {"params": [user, "x"]})
        sent = [await self.read() for _ in range(4)]
        assert [m.get("method", m["id"]) for m in sent] == [
            1,
            2,
            "mining.set_difficulty",
            "mining.notify",
        ]
        self.session_id = sent[0]["result"][0][0][1]
        return sent[3]["params"]


@asynccontextmanager
async def wire(
    server: StratumServer,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(
        host,
        server.port if port is None else port,
        ssl=tls,
        server_hostname="localhost" if tls else None,
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


class Hands:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
