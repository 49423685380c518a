"""Methods: their names as clients write them, and what is said without knowing the client.

Everything that depends on a connection's state is in `stratum.session`.
"""

from __future__ import annotations

from typing import Any, Final

MAX_MESSAGE: Final = 256
"""Longest text shown to a miner's owner; cgminer prints it in one line of its log."""

MAX_WAIT: Final = 3600
"""Longest time in seconds a miner is sent away for."""

ANSWERS: Final[dict[str, object]] = {
    "mining.extranonce.subscribe": True,  # never used: M3 proxies lose most shares over it
    "mining.multi_version": True,
    "mining.capabilities": True,
    "mining.suggest": True,
    "mining.get_transactions": [],
    "mining.ping": "pong",
}
"""Methods that change nothing, and what is answered."""

UNANSWERED: Final = frozenset({"pong", "mining.pong"})
"""ESP-Miner answers a ping with a request of this name."""

_PREFIXES = (
    ("mining.auth", "mining.authorize"),
    ("mining.suggest_difficulty", "mining.suggest_difficulty"),
    ("mining.suggest_target", "mining.suggest_target"),
    ("mining.suggest", "mining.suggest"),
)


def canonical(method: str) -> str:
    """Return the name a method goes by here.

    Old clients shorten `mining.authorize` and write `mining.suggest_difficulty(64)`; suggestions
    nobody knows are all `mining.suggest`. Any other name stays as it is.
    """
    for prefix, name in _PREFIXES:
        if method.startswith(prefix):
            return name
    return method


def reconnect_params(wait: int) -> list[Any]:
    """Return the params of a `client.reconnect` to the same host and port after `wait` seconds.

    cgminer and BFGMiner stay with the address they have where the first two params are no strings
    (util.c, parse_reconnect); an empty list, as ckpool sends, says so shortest. Raises ValueError
    unless `wait` is 0..3600.
    """
    if not 0 <= wait <= MAX_WAIT:
        raise ValueError(f"wait is {wait} seconds, must be 0..{MAX_WAIT}")
    return [None, None, wait] if wait else []


def message_params(text: str) -> list[Any]:
    """Return the params of a `client.show_message`, in printable characters, at most 256."""
    return [printable(text, MAX_MESSAGE)]


def printable(text: str, longest: int) -> str:
    """Return the first `longest` characters, without those that are not printable."""
    return "".join(char for char in text[:longest] if char.isprintable())
