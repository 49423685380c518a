"""Listening sockets: where miners connect, and what the process needs for many of them.

Responsible for binding, accepting, socket options and the number of open files. What is said on a
connection is the protocol's the acceptor is given. asyncio's own accept loop is not used: for want
of file descriptors, up to Python 3.11 at least, it logs and sets a timer once for each place in the
backlog.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stratum.limits import Address, Network, exempt

log = logging.getLogger(__name__)

BACKLOG: Final = 4096
"""Connections the kernel holds until they are accepted: a farm's whole comes back at once."""

ACCEPTS_AT_ONCE: Final = 128
"""Connections accepted before the loop turns to others."""

RETRY_SECONDS: Final = 1.0
"""Pause after a failure to accept: the descriptor stays readable, so the loop would spin."""

KEEPALIVE_IDLE: Final = 60
KEEPALIVE_INTERVAL: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A peer that vanished is noticed after two minutes, where the kernel's default is two hours."""


_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One place to listen at, and what is spoken there.

    host: an address or name, several of them, or "" for all of IPv4 and IPv6. port: 0 takes any
    free one, the same for all hosts. tls: with it, clients whose first byte begins a TLS handshake
    get TLS; tls_only: all do. proxies: networks whose PROXY header is believed; from elsewhere such
    a header is junk. proxy_required: connections of these networks must begin with one.

    Raises ValueError for tls_only without tls, or proxy_required without proxies.
    """

    host: str | Sequence[str]
    port: int
    tls: ssl.SSLContext | None = None
    tls_only: bool = False
    proxies: tuple[Network, ...] = ()
    proxy_required: bool = False

    def __post_init__(self) -> None:
        if self.tls_only and self.tls is None:
            raise ValueError("tls_only is set, and there is no certificate")
        if self.proxy_required and not self.proxies:
            raise ValueError("proxy_required is set, and no proxy is trusted")

    def believes(self, address: Address | None) -> bool:
        """Whether a PROXY header of this address counts."""
        return address is not None and exempt(address, self.proxies)


class Acceptor:
    """The sockets of one listener: `bind`, `accept`, and `close` at the end.

    factory makes the protocol of each connection; `failed` learns of each failure to accept.
    """

    def __init__(
        self,
        listener: Listener,
        factory: Callable[[], asyncio.BaseProtocol],
        failed: Callable[[OSError], None],
    ) -> None:
        self._listener = listener
        self._factory = factory
        self._failed = failed
        self._sockets: list[socket.socket] = []
        self._retries: dict[int, asyncio.TimerHandle] = {}
        self._adoptions: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every socket."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def bind(self) -> None:
        """Take the addresses. Raises OSError, with nothing left open, when one can't be had."""
        hosts = self._listener.host
        self._loop = asyncio.get_running_loop()
        port = self._listener.port
        try:
            for family, address, needed in await self._resolve(
                [hosts] if isinstance(hosts, str) else hosts
            ):
                try:
                    sock = _bound(family, (address, port))
                except OSError as error:
                    if needed or error.errno not in _NO_SUCH_FAMILY:
                        raise
                    continue
                self._sockets.append(sock)
                port = port or sock.getsockname()[1]
        except OSError:
            self.close()
            raise

    def accept(self) -> None:
        """Accept connections from now on; those that came since `bind` are waiting."""
        for sock in self._sockets:
            self._watch(sock)

    def close(self) -> None:
        """Stop listening; what was accepted goes on."""
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    async def wait_closed(self) -> None:
        """Wait for accepted sockets that have no protocol yet; call `close` before."""
        if self._adoptions:
            await asyncio.wait(self._adoptions)

    async def _resolve(self, hosts: Sequence[str]) -> list[tuple[int, str, bool]]:
        """Return family and address of what to bind, and whether it must be there.

        "" stands for all addresses of the families this system has.
        """
        found: list[tuple[int, str, bool]] = []
        for host in hosts:
            try:
                infos = await self._loop.getaddrinfo(
                    host or None,
                    self._listener.port,
                    type=socket.SOCK_STREAM,
                    flags=socket.AI_PASSIVE,
                )
            except socket.gaierror as error:
                text = f"cannot listen at {host}: {error.strerror}"
                raise OSError(error.errno, text) from None
            found += [(info[0], str(info[4][0]), bool(host)) for info in infos]
        found.sort(key=lambda each: each[0] == socket.AF_INET6)
        return list(dict.fromkeys(found))

    def _watch(self, sock: socket.socket) -> None:
        self._retries.pop(sock.fileno(), None)
        self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, _address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._failed(error)
                self._loop.remove_reader(sock)
                self._retries[sock.fileno()] = self._loop.call_later(
                    RETRY_SECONDS, self._watch, sock
                )
                return
            adoption = self._loop.create_task(self._adopt(connection))
            self._adoptions.add(adoption)
            adoption.add_done_callback(self._adoptions.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            tune(connection)
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError as error:  # the client is gone already
            log.debug("an accepted connection is gone: %s", error)
            connection.close()


def tune(sock: socket.socket) -> None:
    """Set the options of a miner's connection: send at once, notice a peer that vanished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        option = getattr(socket, name, None)  # macOS names the first otherwise
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def peer_of(peername: object) -> tuple[Address | None, int]:
    """Return address and port of what a socket calls its peer; None where it has no address."""
    match peername:
        case (str() as host, int() as port, *_):
            return unmapped(ipaddress.ip_address(host.partition("%")[0])), port
        case _:
            return None, 0


def unmapped(address: Address) -> Address:
    """Return the IPv4 address an IPv6 one stands for (RFC 4291, 2.5.5.2), any other as it is.

    HAProxy names clients so where one side of its connection is IPv6 and the other is not.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def peer_name(address: Address | None, port: int) -> str:
    """Return a peer as logs show it."""
    if address is None:
        return "unknown"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def raise_file_limit(wanted: int) -> int:
    """Let this process open `wanted` files if the system permits; return how many it may open.

    Each connection is one. Never lowers the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError) as error:  # macOS has a ceiling below its own hard limit
        log.warning("the limit of open files stays at %d: %s", soft, error)
        return soft
    return most


def _bound(family: int, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno is None:
            raise
        host, port = address
        reason = errno.errorcode.get(error.errno, "")
        text = f"cannot listen at {host} port {port}: {error.strerror} ({reason})"
        raise OSError(error.errno, text) from None
    return sock
