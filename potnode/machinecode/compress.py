"""SHA-256's compression function in LLVM IR, for some messages in step.

Responsible for the one part of hashing that differs between CPUs. What it is applied to is up to
the code that calls it.
"""

from __future__ import annotations

from potnode.machinecode.lines import Lines, constant
from potnode.machinecode.sha256 import K

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
            constants = constant(K[4 * group : 4 * group + 4])
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
        first = op("add", words[t], all_of(K[t]), h, choice, sum1)
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
