"""Arithmetic on 32-bit words in LLVM IR, folded as far as words are known.

Responsible for `Program`, with which SHA-256's compression function is written once, over words
that are known (Python integers), the same in all lanes or different in every lane, and computed
before a loop or in it. What is known is folded while generating, and what does not change in the
loop is computed before it. So the parts of the message schedule and of the first rounds that don't
depend on what changes leave the loop by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from potnode.machinecode.sha256 import K

_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Value:
    """A 32-bit word that is not known while generating the code: its name there, whether it differs
    by lane (a vector) or not (a scalar), and whether it changes from pass to pass of the loop."""

    name: str
    is_vector: bool
    in_loop: bool


Word = int | Value


def _cost(word: Value) -> tuple[bool, bool]:
    """Sums begin with what is computed once, and with scalars."""
    return word.in_loop, word.is_vector


@dataclass(slots=True)
class Program:
    """Instructions before a loop (`entry`) and in it (`loop`). With integers alone it is plain
    arithmetic and emits nothing."""

    lanes: int
    entry: list[str] = field(default_factory=list)
    loop: list[str] = field(default_factory=list)
    _splats: dict[Word, str] = field(default_factory=dict)

    @property
    def vector_type(self) -> str:
        """A word of every lane."""
        return f"<{self.lanes} x i32>"

    def name(self) -> str:
        """A name not used yet; one only, until an instruction is added."""
        return f"%v{len(self.entry)}_{len(self.loop)}"

    def splat(self, word: Word) -> str:
        """The operand text of `word` in all lanes."""
        if isinstance(word, Value) and word.is_vector:
            return word.name
        if isinstance(word, int):
            return "<" + ", ".join([f"i32 {word}"] * self.lanes) + ">"
        if word not in self._splats:
            one, all_, t = self.name() + "one", self.name() + "all", self.vector_type
            place = self.loop if word.in_loop else self.entry
            place += [
                f"{one} = insertelement {t} poison, i32 {word.name}, i32 0",
                f"{all_} = shufflevector {t} {one}, {t} poison, {t} zeroinitializer",
            ]
            self._splats[word] = all_
        return self._splats[word]

    def emit(self, form: str, *words: Word) -> Value:
        """One instruction. `form` has {0}, {1} for operands, {t} for their type and {n} for the
        type as it stands in an intrinsic's name."""
        values = [word for word in words if isinstance(word, Value)]
        is_vector = any(word.is_vector for word in values)
        in_loop = any(word.in_loop for word in values)
        if is_vector:
            operands = [self.splat(word) for word in words]
            text = form.format(*operands, t=self.vector_type, n=f"v{self.lanes}i32")
        else:
            operands = [str(word) if isinstance(word, int) else word.name for word in words]
            text = form.format(*operands, t="i32", n="i32")
        name = self.name()
        (self.loop if in_loop else self.entry).append(f"{name} = {text}")
        return Value(name, is_vector, in_loop)

    def add(self, *words: Word) -> Word:
        """The sum modulo 2^32."""
        known = sum(word for word in words if isinstance(word, int)) & _MASK
        unknown = [word for word in words if isinstance(word, Value)]
        total: Word = known
        for word in sorted(unknown, key=_cost):
            total = word if total == 0 else self.emit("add {t} {0}, {1}", total, word)
        return total

    def xor(self, *words: Word) -> Word:
        """Bits that an odd number of the words have."""
        total: Word = 0
        for word in words:
            if isinstance(total, int) and isinstance(word, int):
                total ^= word
            else:
                total = word if total == 0 else self.emit("xor {t} {0}, {1}", total, word)
        return total

    def both(self, left: Word, right: Word) -> Word:
        """Bits that both words have."""
        if isinstance(left, int) and isinstance(right, int):
            return left & right
        return self.emit("and {t} {0}, {1}", left, right)

    def either(self, left: Word, right: Word) -> Word:
        """Bits that one of the words has, or both."""
        if isinstance(left, int) and isinstance(right, int):
            return left | right
        if 0 in (left, right):
            return left if right == 0 else right
        return self.emit("or {t} {0}, {1}", left, right)

    def rotate(self, word: Word, count: int) -> Word:
        """The word rotated right by 1 to 31 bits."""
        if isinstance(word, int):
            return (word >> count | word << (32 - count)) & _MASK
        return self.emit("call {t} @llvm.fshr.{n}({t} {0}, {t} {0}, {t} {1})", word, count)

    def shift(self, word: Word, count: int) -> Word:
        """The word shifted right."""
        return (
            word >> count if isinstance(word, int) else self.emit("lshr {t} {0}, {1}", word, count)
        )

    def swap(self, word: Value) -> Value:
        """The word with its four bytes reversed."""
        return self.emit("call {t} @llvm.bswap.{n}({t} {0})", word)

    def compress(self, state: list[Word], block: list[Word]) -> list[Word]:
        """SHA-256's compression function: 8 words of state and 16 of message to 8 of state."""
        words = list(block)
        for t in range(16, 64):
            near, far = words[t - 2], words[t - 15]
            sigma1 = self.xor(self.rotate(near, 17), self.rotate(near, 19), self.shift(near, 10))
            sigma0 = self.xor(self.rotate(far, 7), self.rotate(far, 18), self.shift(far, 3))
            words.append(self.add(words[t - 16], words[t - 7], sigma0, sigma1))
        a, b, c, d, e, f, g, h = state
        for t in range(64):
            sum1 = self.xor(self.rotate(e, 6), self.rotate(e, 11), self.rotate(e, 25))
            choice = self.xor(g, self.both(e, self.xor(f, g)))
            sum0 = self.xor(self.rotate(a, 2), self.rotate(a, 13), self.rotate(a, 22))
            majority = self.xor(b, self.both(self.xor(a, b), self.xor(b, c)))
            first = self.add(K[t], words[t], h, choice, sum1)
            a, b, c, d, e, f, g, h = (
                self.add(first, sum0, majority),
                a,
                b,
                c,
                self.add(d, first),
                e,
                f,
                g,
            )
        return [self.add(x, y) for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True)]

    def declarations(self) -> list[str]:
        """Of the intrinsics that instructions may use."""
        vector, lanes = self.vector_type, self.lanes
        return [
            "declare i32 @llvm.fshr.i32(i32, i32, i32)",
            "declare i32 @llvm.bswap.i32(i32)",
            f"declare {vector} @llvm.fshr.v{lanes}i32({vector}, {vector}, {vector})",
            f"declare {vector} @llvm.bswap.v{lanes}i32({vector})",
        ]
