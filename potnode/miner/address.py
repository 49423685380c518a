"""The two addresses a miner is started with: where the pool is, and whom it pays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from potnode.miner.errors import AddressError

DEFAULT_PORT = 3333
_SCHEME = "stratum+tcp"
_USER = re.compile(r"0x([0-9a-fA-F]{40})(\..*)?")


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Where a pool listens. host: name or IP address without brackets. port: 1..65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `stratum+tcp://host:port` or `host:port`; without a port it is 3333.

        Raises:
            AddressError: another scheme, no host, or a port that is none.
        """
        parts = urlsplit(url if "://" in url else f"{_SCHEME}://{url}")
        if parts.scheme != _SCHEME:
            raise AddressError(f"{url!r}: {parts.scheme} is not spoken here, {_SCHEME} is")
        try:
            port = DEFAULT_PORT if parts.port is None else parts.port
        except ValueError as error:
            raise AddressError(f"{url!r}: {error}") from error
        if not parts.hostname or not port:
            raise AddressError(f"{url!r}: must be {_SCHEME}://host:port or host:port")
        return cls(parts.hostname, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{_SCHEME}://{host}:{self.port}"


def payout_address(user: str) -> bytes:
    """The 20 bytes that a user name `0x<40 hex digits>[.worker]` is paid at.

    Raises:
        AddressError: the name has another form.
    """
    match = _USER.fullmatch(user)
    if match is None:
        raise AddressError(f"user {user!r} must be 0x and 40 hex digits, then .worker or nothing")
    return bytes.fromhex(match[1])
