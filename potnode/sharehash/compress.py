"""SHA-256's compression function in LLVM IR, for some messages in step, and lines of IR in general.

Responsible for the one part of hashing that differs between CPUs. What it is applied to is
`potnode.sharehash.source`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

# FIPS 180-4, section 4.2.2 and 5.3.3
_K = (
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
)  # fmt: skip
INITIAL = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip


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


# Both functions define `void compress(ptr states, ptr words, i64 stride)`: way w has its
# state of 8 words at states + 32 w and its message of 16 words at words + stride w.


def compress_sha(ways: int) -> str:
    """With the SHA extensions of x86.

    Their instructions want the state as (f, e, b, a) and (h, g, d, c), low word first, do two
    rounds each and leave the new first half, while the old first half becomes the second.
    """
    four = "<4 x i32>"
    lines = Lines()
    states: list[tuple[str, str]] = []
    words: list[list[str]] = []
    for way in range(ways):
        low = lines.load(four, "%states", 32 * way)
        high = lines.load(four, "%states", 32 * way + 16)
        pair = f"{four} {low}, {four} {high}, {four}"
        first = lines.let(f"shufflevector {pair} {constant((5, 4, 1, 0))}")
        second = lines.let(f"shufflevector {pair} {constant((7, 6, 3, 2))}")
        states.append((first, second))
        mine = lines.at("%words", lines.let(f"mul i64 %stride, {way}"))
        words.append([lines.load(four, mine, 16 * i) for i in range(4)])
    begun = list(states)
    for group in range(16):
        for way in range(ways):
            schedule = words[way]
            if group >= 4:
                oldest, old, recent, newest = schedule[group - 4 : group]
                partly = _call_sha(lines, "msg1", oldest, old)
                middle = lines.let(
                    f"shufflevector {four} {recent}, {four} {newest}, "
                    f"{four} {constant((1, 2, 3, 4))}"
                )
                total = lines.let(f"add {four} {partly}, {middle}")
                schedule.append(_call_sha(lines, "msg2", total, newest))
            constants = constant(_K[4 * group : 4 * group + 4])
            keyed = lines.let(f"add {four} {schedule[group]}, {constants}")
            rest = lines.let(
                f"shufflevector {four} {keyed}, {four} {keyed}, {four} {constant((2, 3, 2, 3))}"
            )
            first, second = states[way]
            middle = _call_sha(lines, "rnds2", second, first, keyed)
            states[way] = _call_sha(lines, "rnds2", first, middle, rest), middle
    for way in range(ways):
        first, second = (
            lines.let(f"add {four} {new}, {old}")
            for new, old in zip(states[way], begun[way], strict=True)
        )
        pair = f"{four} {first}, {four} {second}, {four}"
        low = lines.let(f"shufflevector {pair} {constant((3, 2, 7, 6))}")
        high = lines.let(f"shufflevector {pair} {constant((1, 0, 5, 4))}")
        lines.store(four, low, "%states", 32 * way)
        lines.store(four, high, "%states", 32 * way + 16)
    return "\n".join(
        [
            "declare <4 x i32> @llvm.x86.sha256msg1(<4 x i32>, <4 x i32>)",
            "declare <4 x i32> @llvm.x86.sha256msg2(<4 x i32>, <4 x i32>)",
            "declare <4 x i32> @llvm.x86.sha256rnds2(<4 x i32>, <4 x i32>, <4 x i32>)",
            "define internal void @compress(ptr %states, ptr %words, i64 %stride) noinline {",
            *lines.text,
            "  ret void",
            "}",
        ]
    )


def _call_sha(lines: Lines, name: str, *operands: str) -> str:
    typed = ", ".join(f"<4 x i32> {operand}" for operand in operands)
    return lines.let(f"call <4 x i32> @llvm.x86.sha256{name}({typed})")


def compress_plain(ways: int) -> str:
    """With ordinary instructions: one word of each way side by side in a vector."""
    kind = f"<{ways} x i32>"
    lines = Lines()

    def together(base: str, offsets: list[str]) -> str:
        vector = "poison"
        for way, offset in enumerate(offsets):
            word = lines.load("i32", base, offset)
            vector = lines.let(f"insertelement {kind} {vector}, i32 {word}, i32 {way}")
        return vector

    def op(name: str, first: str, *others: str) -> str:
        for other in others:
            first = lines.let(f"{name} {kind} {first}, {other}")
        return first

    def all_of(number: int) -> str:
        return constant([number] * ways)

    def rotated(word: str, bits: int) -> str:
        operands = f"{kind} {word}, {kind} {word}, {kind} {all_of(bits)}"
        return lines.let(f"call {kind} @llvm.fshr.v{ways}i32({operands})")

    mine = [lines.let(f"mul i64 %stride, {way}") for way in range(ways)]
    words = [
        together("%words", [lines.let(f"add i64 {at}, {4 * i}") for at in mine]) for i in range(16)
    ]
    begun = [together("%states", [str(32 * way + 4 * i) for way in range(ways)]) for i in range(8)]
    a, b, c, d, e, f, g, h = begun
    for t in range(64):
        if t >= 16:
            near, far = words[t - 2], words[t - 15]
            sigma1 = op("xor", rotated(near, 17), rotated(near, 19), op("lshr", near, all_of(10)))
            sigma0 = op("xor", rotated(far, 7), rotated(far, 18), op("lshr", far, all_of(3)))
            words.append(op("add", words[t - 16], words[t - 7], sigma0, sigma1))
        sum1 = op("xor", rotated(e, 6), rotated(e, 11), rotated(e, 25))
        choice = op("xor", g, op("and", e, op("xor", f, g)))
        sum0 = op("xor", rotated(a, 2), rotated(a, 13), rotated(a, 22))
        majority = op("xor", b, op("and", op("xor", a, b), op("xor", b, c)))
        first = op("add", words[t], all_of(_K[t]), h, choice, sum1)
        h, g, f, e, d, c, b, a = (
            g,
            f,
            e,
            op("add", d, first),
            c,
            b,
            a,
            op("add", first, sum0, majority),
        )
    for i, (old, new) in enumerate(zip(begun, (a, b, c, d, e, f, g, h), strict=True)):
        total = op("add", old, new)
        for way in range(ways):
            word = lines.let(f"extractelement {kind} {total}, i32 {way}")
            lines.store("i32", word, "%states", 32 * way + 4 * i)
    return "\n".join(
        [
            f"declare {kind} @llvm.fshr.v{ways}i32({kind}, {kind}, {kind})",
            "define internal void @compress(ptr %states, ptr %words, i64 %stride) noinline {",
            *lines.text,
            "  ret void",
            "}",
        ]
    )
