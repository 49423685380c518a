"""TLS and PROXY headers in front of a session, on real sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from stratum.limits import Limits, Network, Refusal
from stratum.listener import Listener
from stratum.proxy import V2_SIGNATURE
from tests.stratum.certificates import contexts
from tests.stratum.support import ALICE, MemoryPool, params_of, proxy_v1, proxy_v2
from tests.stratum.wires import LOCAL, PING, Hands, Wire, serving, until, wire

HERE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE: tuple[Network, ...] = (ipaddress.ip_network("192.0.2.0/24"),)
FARM = ipaddress.ip_address("203.0.113.9")
MAPPED = ipaddress.ip_address("::ffff:203.0.113.9")
FARM6 = ipaddress.ip_address("2001:db8::9")
BEHIND = replace(LOCAL, proxies=HERE)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder: Path = tmp_path_factory.mktemp("tls")
    return contexts(folder)


async def submit(miner: Wire, job_id: str) -> None:
    await miner.ask({"id": 3, "method": "mining.submit", "params": params_of(job_id)})
    assert (await miner.read())["result"] is True


# TLS.


async def test_tls_and_plain_on_one_port(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    pool = MemoryPool()
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(pool, listener) as server,
        wire(server) as plain,
        wire(server, tls=both[1]) as secret,
    ):
        await submit(plain, (await plain.handshake())[0])
        await submit(secret, (await secret.handshake())[0])
        assert server.broadcast(clean=True) == 2
        for miner in (plain, secret):
            assert (await miner.read())["method"] == "mining.notify"
        assert sorted(stats.tls for stats in server.stats().values()) == [False, True]
        assert server.counters.tls_failed == 0


async def test_tls_on_a_port_of_its_own(
    both: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    own = replace(LOCAL, tls=both[0], tls_only=True)
    async with serving(MemoryPool(), LOCAL, own) as server:
        async with wire(server, port=server.ports()[1], tls=both[1]) as secret:
            await submit(secret, (await secret.handshake())[0])
        async with wire(server, port=server.ports()[1]) as plain:
            await plain.ask(PING)
            assert b"pong" not in await plain.read_to_end()
        async with wire(server) as plain:
            await plain.handshake()
        assert server.counters.tls_failed == 1
        assert "closing connection 2 from 127.0.0.1:" in caplog.text
        assert ": no TLS (" in caplog.text


async def test_much_over_tls(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Reads that end anywhere in a record, and more than one record a write."""
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(), listener, limits=Limits(soft_cost=None)) as server,
        wire(server, tls=both[1]) as miner,
    ):
        await miner.handshake()
        await asyncio.gather(miner.ask(*[PING] * 5000), _pongs(miner, 5000))


async def _pongs(miner: Wire, count: int) -> None:
    for _ in range(count):
        assert (await miner.read())["result"] == "pong"


async def test_stopping_says_farewell(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    listener = replace(LOCAL, tls=both[0])
    async with serving(MemoryPool(), listener) as server, wire(server, tls=both[1]) as miner:
        await miner.handshake()
        server.broadcast(clean=False)
        await server.stop()
        assert b"mining.notify" in await miner.read_to_end()


async def test_a_farewell_is_understood(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    listener = replace(LOCAL, tls=both[0])
    async with serving(MemoryPool(), listener) as server:
        async with wire(server, tls=both[1]) as miner:
            await miner.handshake()
        await until(lambda: len(server) == 0)
        assert server.counters.tls_failed == 0


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 100, b"\x16\x03\x01" + b"\xff" * 70_000]
)
async def test_what_only_begins_like_tls(
    both: tuple[ssl.SSLContext, ssl.SSLContext], data: bytes
) -> None:
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(), listener) as server,
        wire(server) as good,
        wire(server) as bad,
    ):
        await good.handshake()
        bad.writer.write(data)
        assert b"{" not in await bad.read_to_end()
        assert server.counters.tls_failed == 1
        await until(lambda: len(server) == 1)
        await good.ask(PING)
        assert (await good.read())["result"] == "pong"


async def test_a_client_that_distrusts_the_certificate(
    both: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path
) -> None:
    listener = replace(LOCAL, tls=both[0])
    async with serving(MemoryPool(), listener) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with wire(server, tls=contexts(tmp_path)[1]):
                raise AssertionError
        await until(lambda: len(server) == 0)


async def test_a_tls_handshake_that_drips_is_ended(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    hands = Hands()
    listener = replace(LOCAL, tls=both[0])
    async with serving(MemoryPool(), listener, monotonic=hands) as server, wire(server) as bad:
        await until(lambda: len(server) == 1)
        hands.pass_(30.0)  # nothing yet: it may be a miner that takes its time
        server.sweep()
        assert len(server) == 1
        [connection] = server._connections.values()
        for byte in b"\x16\x03\x01\x02\x00":
            bad.writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        await until(lambda: connection._outlet.tls is not None)
        hands.pass_(15.0)
        server.sweep()
        assert await bad.read_to_end() == b""
        assert (server.counters.tls_failed, server.counters.timed_out) == (1, 0)


async def test_a_miner_that_is_through_with_tls_has_the_rest_of_its_minute(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    hands = Hands()
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(), listener, monotonic=hands) as server,
        wire(server, tls=both[1]) as miner,
    ):
        await until(lambda: len(server) == 1)
        await miner.ask(PING)
        await miner.read()
        hands.pass_(59.0)
        server.sweep()
        await miner.ask(PING)
        assert (await miner.read())["result"] == "pong"
        hands.pass_(1.0)
        server.sweep()
        assert await miner.read_to_end() == b""
        assert (server.counters.tls_failed, server.counters.timed_out) == (0, 1)


async def test_who_cannot_have_tls_is_told_so(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with (
        serving(MemoryPool(), replace(LOCAL, tls=both[0])) as server,
        wire(server) as bad,
    ):
        bad.writer.write(b"\x16\x03\x01\x00\x05hello")
        alert = await bad.read_to_end()
        assert (alert[:1], len(alert)) == (
            b"\x15",
            7,
        )  # RFC 8446, 6: type, version, length, 2 bytes


async def test_records_that_say_nothing_are_slowed_and_then_ended(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Empty lines and key updates cost a server a record each, and no line is counted for them."""
    limits = Limits(exempt=(), soft_cost=500.0, hard_cost=4000.0, longest_pause=0.05)
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(), listener, limits=limits) as server,
        wire(server) as good,
        wire(server, tls=both[1]) as bad,
    ):
        await good.handshake()
        await bad.handshake()
        async with asyncio.timeout(30):
            while server.counters.too_costly == 0:
                for _ in range(200):
                    bad.writer.write(b"\n")
                await asyncio.sleep(0)
        bad.writer.transport.abort()
        assert server.counters.throttled > 0
        await until(lambda: len(server) == 1)
        await good.ask(PING)
        assert (await good.read())["result"] == "pong"


async def test_a_line_a_record_is_what_miners_send(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    limits = Limits(exempt=(), soft_cost=100.0, cost_decay=1.0)
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(share_target=1), listener, limits=limits) as server,
        wire(server, tls=both[1]) as miner,
    ):
        job_id = (await miner.handshake())[0]
        message = {"id": 3, "method": "mining.submit", "params": params_of(job_id)}
        for _ in range(1000):
            await miner.ask(message)
        for _ in range(1000):
            await miner.read()
        assert server.counters.throttled == 0


async def test_without_a_certificate_tls_is_junk() -> None:
    async with serving(MemoryPool()) as server, wire(server) as bad:
        bad.writer.write(b"\x16\x03\x01\n" * 4)
        assert b'"error":[20,' in await bad.read_to_end()
        assert server.counters.junk == 4


async def test_without_a_handshake_the_slow_are_dropped_over_tls_too(
    both: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    limits = Limits(write_limit=4096, soft_cost=None)
    listener = replace(LOCAL, tls=both[0])
    async with (
        serving(MemoryPool(), listener, limits=limits) as server,
        wire(server, tls=both[1]) as bad,
    ):
        await bad.handshake()
        bad.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            while server.counters.dropped_slow == 0:
                await bad.ask(*[PING] * 500)
                await asyncio.sleep(0)
        bad.writer.transport.abort()
        await until(lambda: len(server) == 0)


# PROXY.


@pytest.mark.parametrize(
    "header",
    [proxy_v1(FARM, 4444), proxy_v2(FARM, 4444), proxy_v1(MAPPED, 4444), proxy_v2(MAPPED, 4444)],
)
async def test_the_peer_behind_a_proxy_is_the_real_one(header: bytes) -> None:
    async with serving(MemoryPool(), BEHIND) as server, wire(server) as miner:
        miner.writer.write(header)
        await miner.handshake()
        [view] = server.miners()
        assert view.peer == "203.0.113.9:4444"


@pytest.mark.parametrize("header", [proxy_v1(FARM6, 1), proxy_v2(FARM6, 1, b"\x04\x00\x01x")])
async def test_a_header_that_comes_byte_by_byte(header: bytes) -> None:
    async with serving(MemoryPool(), BEHIND) as server, wire(server) as miner:
        sock = miner.writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header:
            miner.writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        await miner.handshake()
        assert server.miners()[0].peer == "[2001:db8::9]:1"


async def test_a_proxy_in_front_of_tls(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    listener = replace(BEHIND, tls=both[0])
    async with serving(MemoryPool(), listener) as server:
        for header in (proxy_v1(FARM, 7), proxy_v2(FARM, 7)):
            loop = asyncio.get_running_loop()
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.setblocking(False)
            await loop.sock_sendall(sock, header)
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=both[1], server_hostname="localhost"
            )
            miner = Wire(reader, writer)
            await submit(miner, (await miner.handshake())[0])
            assert server.miners()[0].peer == "203.0.113.9:7"
            [stats] = server.stats().values()
            assert stats.tls
            writer.close()
            await until(lambda: len(server) == 0)
        async with wire(server) as plain:
            plain.writer.write(proxy_v1(FARM, 8))
            await plain.handshake()


async def test_a_trusted_proxy_may_leave_the_header_out_unless_it_must_not() -> None:
    required = replace(BEHIND, proxy_required=True)
    async with serving(MemoryPool(), BEHIND, required) as server:
        async with wire(server) as miner:
            await miner.handshake()
            assert server.miners()[0].peer.startswith("127.0.0.1:")
        async with wire(server, port=server.ports()[1]) as miner:
            await miner.ask(PING)
            assert await miner.read_to_end() == b""
        async with wire(server, port=server.ports()[1]) as miner:
            miner.writer.write(proxy_v1(FARM, 1))
            await miner.handshake()
        assert server.counters.proxy_errors == 1


async def test_a_proxys_own_checks_are_let_through() -> None:
    required = replace(BEHIND, proxy_required=True)
    async with serving(MemoryPool(), required) as server, wire(server) as check:
        check.writer.write(V2_SIGNATURE + b"\x20\x00\x00\x00")
        await check.ask(PING)
        assert (await check.read())["result"] == "pong"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY " + b"x" * 200,
        V2_SIGNATURE + b"\x21\x11\xff\xff",
        V2_SIGNATURE + b"\x21\x11\x00\x00",
    ],
)
async def test_a_malformed_header_ends_its_own_connection(header: bytes) -> None:
    async with (
        serving(MemoryPool(), BEHIND) as server,
        wire(server) as good,
        wire(server) as bad,
    ):
        await good.handshake()
        bad.writer.write(header)
        assert await bad.read_to_end() == b""
        await good.ask(PING)
        assert (await good.read())["result"] == "pong"
        assert server.counters.proxy_errors == 1


async def test_from_elsewhere_a_header_is_junk() -> None:
    listener = replace(LOCAL, proxies=ELSEWHERE)
    async with serving(MemoryPool(), listener) as server, wire(server) as liar:
        liar.writer.write(proxy_v1(FARM, 4444))
        assert (await liar.read())["error"][0] == 20
        await liar.handshake()
        assert server.miners()[0].peer.startswith("127.0.0.1:")
        assert server.counters.junk == 1
        assert server.counters.proxy_errors == 0


async def test_limits_count_the_real_address() -> None:
    limits = Limits(per_address=1, exempt=())
    async with (
        serving(MemoryPool(), BEHIND, limits=limits) as server,
        wire(server) as one,
        wire(server) as two,
        wire(server) as three,
    ):
        for miner, address in ((one, FARM), (two, FARM6)):
            miner.writer.write(proxy_v1(address, 1))
            await miner.handshake(ALICE)
        three.writer.write(proxy_v2(FARM, 2))
        assert await three.read_to_end() == b""
        assert server.counters.refused == {Refusal.ADDRESS_FULL: 1}
        one.writer.close()
        await until(lambda: len(server) == 1)
        async with wire(server) as four:
            four.writer.write(proxy_v2(FARM, 2))
            await four.handshake()


async def test_who_is_behind_an_exempt_proxy_is_not_exempt() -> None:
    limits = Limits(soft_cost=1.0, longest_pause=0.01)
    async with serving(MemoryPool(), BEHIND, limits=limits) as server:
        for header, slowed in ((b"", False), (proxy_v1(FARM, 1), True)):
            async with wire(server) as miner:
                miner.writer.write(header)
                await miner.handshake()
                await miner.ask(PING)
                await miner.read()
                assert (server.counters.throttled > 0) is slowed


async def test_a_header_that_never_ends_is_ended() -> None:
    hands = Hands()
    async with serving(MemoryPool(), BEHIND, monotonic=hands) as server, wire(server) as bad:
        bad.writer.write(b"PROXY TCP4 ")
        await until(lambda: len(server) == 1)
        hands.pass_(60.0)
        server.sweep()
        assert await bad.read_to_end() == b""
        assert server.counters.timed_out == 1


async def test_listeners_have_proxies_of_their_own() -> None:
    inner = Listener(host="127.0.0.2", port=0, proxies=HERE)
    async with (
        serving(MemoryPool(), LOCAL, inner) as server,
        wire(server, host="127.0.0.2", port=server.ports()[1]) as miner,
    ):
        miner.writer.write(proxy_v1(FARM, 1))
        await miner.handshake()
        assert server.miners()[0].peer == "203.0.113.9:1"
