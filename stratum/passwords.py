"""Passwords: the one field of a miner's settings in which its owner can tell the pool something.

Firmware asks for a URL, a user name and a password and for nothing else, so pools read options out
of the password: `x,d=1024` or `md=64;anything`. This module reads them and knows the ones that are
about difficulty; a pool may have others of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from stratum.wishes import difficulty_of

MAX_PASSWORD: Final = 256
"""Longest password in characters; firmware cuts its own at 64 to 128."""

MAX_OPTIONS: Final = 16

_SEPARATORS = re.compile(r"[,;\s]+")
_OPTION = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31})=(\S{1,128})", re.ASCII)


def options(password: str) -> dict[str, str]:
    """Return the `key=value` pairs of a password, keys in lower case.

    Pairs are separated by commas, semicolons or white space. Whatever is no pair is skipped: most
    passwords are "x" or "123". A key is up to 32 letters, digits and `_.-`, a value 1..128
    printable characters as written. Of one key the last value counts. At most 16 keys are returned,
    of the first 256 characters.
    """
    found: dict[str, str] = {}
    for word in _SEPARATORS.split(password[:MAX_PASSWORD]):
        match = _OPTION.fullmatch(word)
        if match and match[2].isprintable():
            key = match[1].lower()
            if key in found or len(found) < MAX_OPTIONS:
                found[key] = match[2]
    return found


def difficulty_wishes(of: Mapping[str, str]) -> dict[str, int | float]:
    """Return what options say about difficulty, by the names of `Wishes`; nothing for the rest.

    `d=` or else `diff=` is the difficulty to keep, `md=` the one not to go below.
    """
    found = {
        "fixed": difficulty_of(of.get("d", of.get("diff"))),
        "minimum_by_password": difficulty_of(of.get("md")),
    }
    return {name: difficulty for name, difficulty in found.items() if difficulty is not None}
