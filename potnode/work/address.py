"""Miner user names: a payout address and an optional worker name (docs/protocol.md section 2)."""

from __future__ import annotations

import re

from stratum.errors import Unauthorized

_USER = re.compile(r"0x([0-9a-fA-F]{40})(?:\.(.*))?", re.DOTALL)


def account_of(user: str) -> str:
    """The account of `0x<40 hex>[.worker]`: the address in lower case.

    Raises:
        stratum.errors.Unauthorized: any other user name, with what a miner should use instead.
    """
    match = _USER.fullmatch(user)
    if match is None:
        raise Unauthorized(
            "the user name must be 0x + 40 hex digits (an EVM address), then .worker"
        )
    return "0x" + match.group(1).lower()


def address_bytes(account: str) -> bytes:
    """The 20 bytes of an account `account_of` returned."""
    return bytes.fromhex(account[2:])
