"""JSON-RPC's hexadecimal forms: quantities without leading zeros, data with all of them.

Formatting, and parsing that refuses what the Ethereum JSON-RPC specification refuses.
"""

from __future__ import annotations

import re
from binascii import unhexlify

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})\Z")


class HexError(ValueError):
    """A value is not in the demanded hexadecimal form."""


def quantity(value: int) -> str:
    """A non-negative integer as `0x` and hex without leading zeros."""
    return hex(value)


def data(value: bytes) -> str:
    """Bytes as `0x` and two lower-case digits each."""
    return "0x" + value.hex()


def parse_quantity(value: object) -> int:
    """The integer of a quantity, 0 <= it < 2^256. Raises HexError."""
    if not isinstance(value, str) or not _QUANTITY.match(value):
        raise HexError(f"{_shown(value)} is no quantity: 0x and hex digits without leading zeros")
    return int(value, 16)


def parse_data(value: object, length: int | None = None) -> bytes:
    """The bytes of a data string, of exactly `length` bytes where given. Raises HexError."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise HexError(f"{_shown(value)} is no data: 0x and an even number of hex digits")
    try:
        # Stricter than bytes.fromhex, which lets blanks pass.
        found = unhexlify(value[2:])
    except ValueError as error:
        raise HexError(
            f"{_shown(value)} is no data: 0x and an even number of hex digits"
        ) from error
    if length is not None and len(found) != length:
        raise HexError(f"{_shown(value)} has {len(found)} bytes, {length} are needed")
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
