from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stratum import listener as module
from stratum.listener import Listener, peer_name, peer_of, tune
from tests.stratum.support import MemoryPool
from tests.stratum.wires import LOCAL, PING, serving, until, wire

HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "lo" in Path("/proc/net/if_inet6").read_text()
DUAL = Listener(host="", port=0)


@pytest.mark.parametrize(
    ("peername", "name"),
    [
        (("192.0.2.1", 5), "192.0.2.1:5"),
        (("2001:db8::1", 5, 0, 0), "[2001:db8::1]:5"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1:5"),
        (("fe80::1%eth0", 5, 0, 2), "[fe80::1]:5"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_peers(peername: object, name: str) -> None:
    assert peer_name(*peer_of(peername)) == name


@pytest.mark.parametrize("wrong", [{"tls_only": True}, {"proxy_required": True}])
def test_listeners_that_make_no_sense(wrong: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="is set, and"):
        replace(LOCAL, **wrong)  # type: ignore[arg-type]


def test_a_listener_believes_its_proxies() -> None:
    listener = replace(LOCAL, proxies=(ipaddress.ip_network("10.0.0.0/8"),))
    assert listener.believes(ipaddress.ip_address("10.1.2.3"))
    assert not listener.believes(ipaddress.ip_address("11.1.2.3"))
    assert not listener.believes(ipaddress.ip_address("::1"))
    assert not listener.believes(None)


def test_options_of_a_connection() -> None:
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


FILES = """
import resource, sys
from stratum.listener import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
assert raise_file_limit(50) == 100
assert raise_file_limit(150) == 150
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (150, 200)
assert raise_file_limit(10_000) == 200
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)
"""


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes() -> None:
    subprocess.run([sys.executable, "-c", FILES], check=True, timeout=60)


async def test_both_families_on_one_port() -> None:
    async with serving(MemoryPool(), DUAL) as server:
        for host in ["127.0.0.1", *(["::1"] if HAS_IPV6 else [])]:
            async with wire(server, host=host) as miner:
                await miner.handshake()
                [view] = server.miners()
                assert view.peer.startswith("[::1]:" if ":" in host else "127.0.0.1:")
            await until(lambda: len(server) == 0)
        assert server.counters.connections == 1 + HAS_IPV6


async def test_several_listeners_and_hosts() -> None:
    two = Listener(host=["127.0.0.1", "127.0.0.2"], port=0)
    async with serving(MemoryPool(), LOCAL, two) as server:
        first, second = server.ports()
        assert server.port == first != second
        for host, port in (("127.0.0.1", first), ("127.0.0.1", second), ("127.0.0.2", second)):
            async with wire(server, host=host, port=port) as miner:
                await miner.handshake()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.2", first)


async def test_all_addresses_or_none() -> None:
    async with serving(MemoryPool()) as server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        taken = Listener(host="127.0.0.1", port=server.port)
        with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {server.port}.*in use"):
            async with serving(MemoryPool(), Listener(host="127.0.0.1", port=port), taken):
                raise AssertionError
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as caught:
        async with serving(MemoryPool(), Listener(host="192.0.2.1", port=0)):
            raise AssertionError
    assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen at 256\.0\.0\.1: "):
        async with serving(MemoryPool(), Listener(host=["127.0.0.1", "256.0.0.1"], port=0)):
            raise AssertionError


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Leave this process none to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


async def test_want_of_file_descriptors_is_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    async with serving(MemoryPool()) as server, wire(server) as good:
        await good.handshake()
        waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        with no_file_descriptors():
            await until(lambda: server.counters.accept_errors >= 3)
            await good.ask(PING)
            assert (await good.read())["result"] == "pong"
        await until(lambda: len(server) == 6)
        for sock in waiting:
            sock.close()
        lines = [record for record in caplog.records if "can be accepted" in record.message]
        assert len(lines) == 1
