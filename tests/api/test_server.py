from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import requests
from starlette.types import ASGIApp, Receive, Scope, Send

from potnode.api import server as module
from potnode.api.server import ApiServer
from tests.api.serving import served


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def held_until(release: asyncio.Event, entered: asyncio.Event) -> ASGIApp:
    """Answers once it is let."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await release.wait()
        await hello(scope, receive, send)

    return app


def get(url: str) -> tuple[int, bytes]:
    response = requests.get(url, timeout=20)
    return response.status_code, response.content


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_it_serves_on_a_free_port_until_stopped() -> None:
    async with served(hello) as serving:
        assert serving.server.port != 0
        assert await serving.in_thread(get) == (200, b"hello")
        port = serving.server.port
    assert refused(port)


async def test_its_answers_do_not_name_the_software() -> None:
    def header(url: str) -> str | None:
        return requests.get(url, timeout=20).headers.get("server")

    async with served(hello) as serving:
        assert await serving.in_thread(header) is None


async def test_a_port_in_use_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        ApiServer(hello, "127.0.0.1", taken.getsockname()[1])


async def test_stopping_lets_a_running_request_finish() -> None:
    release, entered = asyncio.Event(), asyncio.Event()
    async with served(held_until(release, entered)) as serving:
        answer = asyncio.create_task(serving.in_thread(get))
        await entered.wait()
        serving.server.stop()
        await asyncio.sleep(0)
        assert not serving.task.done()
        release.set()
        assert await answer == (200, b"hello")


async def test_cancelling_ends_it_although_a_request_hangs() -> None:
    release, entered = asyncio.Event(), asyncio.Event()
    server = ApiServer(held_until(release, entered), "127.0.0.1", 0)
    task = asyncio.create_task(server.run())
    await server.started()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert refused(server.port)
    release.set()
    writer.close()
    del reader


async def test_idle_connections_do_not_hold_up_its_end() -> None:
    async with served(hello) as serving:
        _, writer = await asyncio.open_connection("127.0.0.1", serving.server.port)
        _, half = await asyncio.open_connection("127.0.0.1", serving.server.port)
        half.write(b"GET / HT")
        await half.drain()
        serving.server.stop()
        await serving.task
        writer.close()
        half.close()


async def test_stopped_before_it_ran_it_ends_at_once() -> None:
    server = ApiServer(hello, "127.0.0.1", 0)
    server.stop()
    await server.run()
    assert refused(server.port)


async def test_closed_without_having_run_it_gives_its_port_back() -> None:
    server = ApiServer(hello, "127.0.0.1", 0)
    server.close()
    server.close()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


async def test_too_many_readers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    async with served(hello) as serving:
        opened = [await asyncio.open_connection("127.0.0.1", serving.server.port) for _ in range(2)]
        # A connection is counted when the loop has seen it; its own makes three.
        status, _ = await serving.in_thread(get)
        assert status == 503
        for _, writer in opened:
            writer.close()


async def test_signals_stay_with_the_node() -> None:
    import signal

    before: Callable[[int, object], object] | int | None = signal.getsignal(signal.SIGTERM)  # type: ignore[assignment]
    async with served(hello):
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "junk",
    [b"\x00\xff" * 50 + b"\r\n\r\n", b"GET\r\n\r\n", b"G" * 100_000, b"\x16\x03\x01\x02\x00"],
)
async def test_junk_instead_of_a_request_costs_its_connection(junk: bytes) -> None:
    async with served(hello) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.server.port)
        writer.write(junk)
        writer.write_eof()
        answer = await reader.read()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        writer.close()
        assert await serving.in_thread(get) == (200, b"hello")
