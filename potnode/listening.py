"""Where miners connect, as `stratum` takes it, from what the operator has configured."""

from __future__ import annotations

import ipaddress
import ssl
from typing import Final

from potnode.config import StratumSettings
from potnode.errors import ConfigError
from potnode.pool import PoolRules
from potnode.terms import PoolTerms
from stratum.difficulty import bits_from_difficulty
from stratum.limits import Limits, Network
from stratum.listener import Listener

SPARE_FILES: Final = 256
"""Descriptors beside the miners': database, chain, API, a bitcoind or two."""


def listeners(settings: StratumSettings) -> list[Listener]:
    """Where to listen: the port, with TLS by its first byte where there is a certificate, and a
    port of TLS alone.

    Raises:
        ConfigError: a certificate, key or network that is none.
    """
    hosts = _names(settings.host)
    tls, proxies = _tls(settings), _networks(settings)
    found = [Listener(host=hosts, port=settings.port, tls=tls, proxies=proxies)]
    if settings.tls_port is not None:
        found.append(
            Listener(host=hosts, port=settings.tls_port, tls=tls, tls_only=True, proxies=proxies)
        )
    return found


def shown(hosts: str, port: int) -> str:
    """Hosts with commas between, each with the port, as URLs have them: `0.0.0.0:1,[::]:1`."""
    names = _names(hosts)
    return ",".join(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names)


def limits(settings: StratumSettings) -> Limits:
    """What one client, one address and all of them may take."""
    return Limits(
        max_clients=settings.max_connections,
        per_address=settings.max_per_address,
        submits_per_second=settings.submits_per_second,
        submit_burst=max(1, int(10 * settings.submits_per_second)),
    )


def rules(settings: StratumSettings) -> PoolRules:
    """What the operator has decided for all miners."""
    return PoolRules(
        PoolTerms(
            shares_per_minute=settings.shares_per_minute,
            start_bits=bits_from_difficulty(settings.start_difficulty),
            cpu_miners=settings.cpu_miners,
        ),
        stale_grace=settings.stale_grace,
    )


def _names(hosts: str) -> list[str]:
    return [host.strip() for host in hosts.split(",")]


def _tls(settings: StratumSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"stratum.tls_certificate and tls_key ({settings.tls_certificate}, "
            f"{settings.tls_key}) cannot be used: {error.strerror or error}"
        ) from error
    # Each renegotiation costs us a handshake and a client nothing; OpenSSL before 3.0 allows them.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _networks(settings: StratumSettings) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in settings.proxies)
    except ValueError as error:
        raise ConfigError(f"stratum.proxies: {error}") from error
