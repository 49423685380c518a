"""How golden data is written down: the JSON forms of values, and the text of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable

from potnode.spec.hashing import be32, sha256

MAX_NUMBER = 1 << 53  # readers that keep numbers as doubles are exact below it


def hexed(data: bytes) -> str:
    """0x-hex of bytes."""
    return "0x" + data.hex()


def hexes(items: Iterable[bytes]) -> list[str]:
    """0x-hex of each."""
    return [hexed(item) for item in items]


def number(value: int) -> int | str:
    """An integer as a JSON number, or as a decimal string where a double may not hold it."""
    return value if abs(value) < MAX_NUMBER else str(value)


def pattern(count: int, label: str) -> bytes:
    """Deterministic filler bytes, so that no field of golden data is blank by accident."""
    blocks = (sha256(label.encode() + be32(i)) for i in range(count // 32 + 1))
    return b"".join(blocks)[:count]


def text(value: object) -> str:
    """A file: objects and arrays of arrays over several lines, arrays of plain values on one."""
    return _lines(value, "") + "\n"


def _lines(value: object, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        parts = [inner + _lines(item, inner) for item in value]
        return "[\n" + ",\n".join(parts) + f"\n{indent}]"
    return json.dumps(value)
