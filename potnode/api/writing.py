"""Who may write: a token's holder, or on a node that only this machine reaches, its users.

Responsible for `guard`, the dependency of every route that changes something, and for what it goes
by. A node bound to a loopback address takes writes without a token from programs of this machine. A
web page in a browser here is no such program, though it can send requests here: it is known by its
Origin, or, where a name of its own leads to this address (DNS rebinding), by its Host.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

from fastapi import Request

from potnode.api.errors import Forbidden, Unauthorized
from potnode.api.problems import documented
from potnode.config import ApiSettings
from potnode.errors import ConfigError

MIN_TOKEN = 16
"""Characters of a token, at least."""

_CROSS_SITE = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True)
class WriteRules:
    """What `guard` goes by.

    token: what writers must show; None where none is set. loopback: whether only this machine can
    reach the API. hosts: names, lower-case, under which it is reached, beside loopback ones.
    """

    token: str | None
    loopback: bool
    hosts: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Without the token."""
        return f"WriteRules(loopback={self.loopback}, hosts={sorted(self.hosts)})"


class Ruled(Protocol):
    """Of a node, what `guard` needs; the node may still be starting when it is made."""

    @property
    def write_rules(self) -> WriteRules:
        """Who may write."""
        ...


def write_rules(settings: ApiSettings) -> WriteRules:
    """The rules of a configuration.

    Raises:
        ConfigError: the token's file can't be read, or the token is no token.
    """
    token, source = None, "api.token"
    if settings.token is not None:
        token = settings.token.get_secret_value()
    elif settings.token_file is not None:
        source = f"api.token_file {settings.token_file}"
        try:
            lines = settings.token_file.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source}: {error}") from error
        token = lines[0].strip() if lines else ""
    if token is not None and (
        len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token
    ):
        raise ConfigError(
            f"{source}: a token is {MIN_TOKEN} or more visible ASCII characters; "
            "`openssl rand -hex 32` makes one"
        )
    return WriteRules(
        token=token,
        loopback=_is_loopback(settings.host),
        hosts=frozenset(host.lower() for host in (settings.host, *settings.hosts)),
    )


def documented_writes(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`documented` for a route with a guard."""
    return documented(401, 403, *statuses)


def guard(node: Ruled) -> Callable[[Request], None]:
    """The dependency of a route that writes: `dependencies=[Depends(guard(node))]`.

    Raises, before the body is read:
        Unauthorized: a token is set, and the request has none or another. Forbidden: it comes from
        another site's page, names a host that is none of ours, or no token is set on a node that
        others reach.
    """

    def check(request: Request) -> None:
        rules = node.write_rules
        host = request.headers.get("host", "")
        _refuse_pages_of_others(request, host)
        if rules.token is not None:
            _require_token(request, rules.token)
        elif not rules.loopback:
            raise Forbidden(
                "this node can be reached from elsewhere and has no token for writing: "
                "set api.token or api.token_file"
            )
        elif not _is_ours(host, rules):
            raise Forbidden(
                "the Host header names neither this machine nor one of api.hosts: "
                "use http://127.0.0.1, or set api.hosts"
            )

    return check


def _refuse_pages_of_others(request: Request, host: str) -> None:
    """Browsers say where a page is from whenever it sends something elsewhere."""
    origin = request.headers.get("origin")
    same = origin is None or urlsplit(origin).netloc.lower() == host.lower() != ""
    if not same or request.headers.get("sec-fetch-site", "") in _CROSS_SITE:
        raise Forbidden("another site's page may not write here")


def _require_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8"), token.encode("ascii"))
    if scheme.lower() != "bearer" or not right:
        raise Unauthorized("writing needs the header `Authorization: Bearer TOKEN` (api.token)")


def _is_ours(host: str, rules: WriteRules) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return _is_loopback(name) or name in rules.hosts


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
