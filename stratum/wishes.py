"""Wishes: the difficulties a miner asks for, and every form it asks in.

Responsible for reading a difficulty out of whatever a client wrote and for keeping what one miner
asked for. What the miner gets is the pool's to decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from stratum.difficulty import MAX_BITS, difficulty_from_bits, difficulty_from_target

SMALLEST_DIFFICULTY: Final = difficulty_from_bits(0)
LARGEST_DIFFICULTY: Final = difficulty_from_bits(MAX_BITS)
"""A wish beyond what targets reach is read as the end it lies beyond."""

_NUMBER = re.compile(r"[0-9]{1,80}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_TARGET = re.compile(r"(0[xX])?([0-9a-fA-F]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one miner asked for, each None where it did not.

    suggested: by mining.suggest_difficulty or suggest_target. fixed: by its password. The minimum
    comes from its password or from mining.configure; the larger one holds.
    """

    suggested: int | float | None = None
    fixed: int | float | None = None
    minimum_by_password: int | float | None = None
    minimum_configured: int | float | None = None

    @property
    def minimum(self) -> int | float | None:
        """The larger of both minimums, None without any."""
        return max(
            (
                minimum
                for minimum in (self.minimum_by_password, self.minimum_configured)
                if minimum is not None
            ),
            default=None,
        )

    @property
    def in_force(self) -> tuple[int | float | None, ...]:
        """All that matters to a pool: suggested, fixed, minimum."""
        return self.suggested, self.fixed, self.minimum


def difficulty_of(value: object) -> int | float | None:
    """Read a difficulty: a JSON number, or a string of one as several firmwares write it.

    Returns it within 2^-32..2^223, an int for a whole number written as one. None for anything that
    is not positive and finite.
    """
    if isinstance(value, str):
        value = _number(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < _INFINITE:
        return None
    return min(max(value, SMALLEST_DIFFICULTY), LARGEST_DIFFICULTY)


def suggestion(method: str, params: list[Any]) -> int | float | None:
    """Read a suggested difficulty, None where there is none.

    `mining.suggest_difficulty` takes a difficulty, `mining.suggest_target` up to 64 hex digits,
    big-endian. Old clients write the value into the name: `mining.suggest_difficulty(64)`.
    """
    written: object = params[0] if params else method.partition("(")[2].rstrip(") ").strip(" \"'")
    if not method.startswith("mining.suggest_target"):
        return difficulty_of(written)
    match = _TARGET.fullmatch(written) if isinstance(written, str) else None
    target = int(match[2], 16) if match else 0
    return difficulty_of(difficulty_from_target(target)) if target else None


_INFINITE = float("inf")


def _number(text: str) -> int | float | None:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.isdigit() else float(text)
