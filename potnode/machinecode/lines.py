"""Lines of LLVM IR, written in order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count


class Lines:
    """Instructions in order, and names for their results."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._numbers = count()

    def do(self, instruction: str) -> None:
        """One without a result."""
        self.text.append("  " + instruction)

    def let(self, instruction: str) -> str:
        """One with a result; returns its name."""
        name = f"%t{next(self._numbers)}"
        self.do(f"{name} = {instruction}")
        return name

    def label(self, name: str) -> None:
        """Begin a block."""
        self.text.append(f"{name}:")

    def at(self, base: str, offset: int | str) -> str:
        """The address so many bytes behind another."""
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

    def load(self, kind: str, base: str, offset: int | str = 0, align: int = 4) -> str:
        """The value at an address."""
        return self.let(f"load {kind}, ptr {self.at(base, offset)}, align {align}")

    def store(
        self, kind: str, value: str, base: str, offset: int | str = 0, align: int = 4
    ) -> None:
        """Put a value at an address."""
        self.do(f"store {kind} {value}, ptr {self.at(base, offset)}, align {align}")

    def swapped(self, kind: str, name: str, value: str) -> str:
        """The value with the bytes of each word reversed; `name` is the kind in an intrinsic's."""
        return self.let(f"call {kind} @llvm.bswap.{name}({kind} {value})")


def constant(words: Iterable[int]) -> str:
    """A vector of words as it is written."""
    return "<" + ", ".join(f"i32 {word}" for word in words) + ">"
