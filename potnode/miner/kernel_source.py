"""The miner's SHA256d code, written out for a vector unit of a given width.

Responsible for the LLVM IR of one function, `scan`, and for the arithmetic it is written with. Not
for compiling or calling it (`potnode.miner.kernel`).

The compression function is written once, over words that are either known (Python integers), the
same for all nonces (computed once, before the loop) or different in every lane (computed in the
loop). What is known is folded while generating. So the parts of the message schedule and of the
first rounds that don't depend on the nonce leave the loop by themselves, and what only the words of
the result that are never looked at depend on is dead code, which LLVM drops.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import cast

_MASK = 0xFFFFFFFF

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
_INITIAL = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Value:
    """A 32-bit word that is not known while generating the code: its name there, and whether it
    differs by nonce (a vector, computed in the loop) or not (a scalar, computed before it)."""

    name: str
    is_vector: bool


_Word = int | _Value


@dataclass(slots=True)
class _Program:
    """Arithmetic on words that folds what is known now, computes in `entry` what does not depend on
    the nonce, and in `loop` only what does. With integers alone it is plain arithmetic."""

    lanes: int
    entry: list[str] = field(default_factory=list)
    loop: list[str] = field(default_factory=list)
    _splats: dict[_Word, str] = field(default_factory=dict)

    @property
    def vector_type(self) -> str:
        return f"<{self.lanes} x i32>"

    def _name(self) -> str:
        return f"%v{len(self.entry)}_{len(self.loop)}"

    def splat(self, word: _Word) -> str:
        """The operand text of `word` in all lanes."""
        if isinstance(word, _Value) and word.is_vector:
            return word.name
        if isinstance(word, int):
            return "<" + ", ".join([f"i32 {word}"] * self.lanes) + ">"
        if word not in self._splats:
            one, all_, t = self._name() + "one", self._name() + "all", self.vector_type
            self.entry += [
                f"{one} = insertelement {t} poison, i32 {word.name}, i32 0",
                f"{all_} = shufflevector {t} {one}, {t} poison, {t} zeroinitializer",
            ]
            self._splats[word] = all_
        return self._splats[word]

    def emit(self, form: str, *words: _Word) -> _Value:
        """One instruction. `form` has {0}, {1} for operands, {t} for their type and {n} for the
        type as it stands in an intrinsic's name."""
        name = self._name()
        if any(isinstance(word, _Value) and word.is_vector for word in words):
            operands = [self.splat(word) for word in words]
            text = form.format(*operands, t=self.vector_type, n=f"v{self.lanes}i32")
            self.loop.append(f"{name} = {text}")
            return _Value(name, True)
        operands = [str(word) if isinstance(word, int) else word.name for word in words]
        self.entry.append(f"{name} = {form.format(*operands, t='i32', n='i32')}")
        return _Value(name, False)

    def add(self, *words: _Word) -> _Word:
        known = sum(word for word in words if isinstance(word, int)) & _MASK
        unknown = [word for word in words if isinstance(word, _Value)]
        total: _Word = known
        for word in sorted(unknown, key=lambda word: word.is_vector):
            total = word if total == 0 else self.emit("add {t} {0}, {1}", total, word)
        return total

    def xor(self, *words: _Word) -> _Word:
        total: _Word = 0
        for word in words:
            if isinstance(total, int) and isinstance(word, int):
                total ^= word
            else:
                total = word if total == 0 else self.emit("xor {t} {0}, {1}", total, word)
        return total

    def both(self, left: _Word, right: _Word) -> _Word:
        if isinstance(left, int) and isinstance(right, int):
            return left & right
        return self.emit("and {t} {0}, {1}", left, right)

    def rotate(self, word: _Word, count: int) -> _Word:
        if isinstance(word, int):
            return (word >> count | word << (32 - count)) & _MASK
        return self.emit("call {t} @llvm.fshr.{n}({t} {0}, {t} {0}, {t} {1})", word, count)

    def shift(self, word: _Word, count: int) -> _Word:
        return (
            word >> count if isinstance(word, int) else self.emit("lshr {t} {0}, {1}", word, count)
        )

    def swap(self, word: _Value) -> _Value:
        """The word with its four bytes reversed."""
        return self.emit("call {t} @llvm.bswap.{n}({t} {0})", word)

    def compress(self, state: list[_Word], block: list[_Word]) -> list[_Word]:
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
            first = self.add(_K[t], words[t], h, choice, sum1)
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


def prepare(header76: bytes) -> list[int]:
    """What the code needs of a header: the state after its first 64 bytes, then its next 3 words.

    Args:
        header76: the header without its last four bytes, the nonce.
    """
    first: list[_Word] = list(struct.unpack(">16I", header76[:64]))
    midstate = _Program(lanes=1).compress(list(_INITIAL), first)
    return [*cast(list[int], midstate), *struct.unpack(">3I", header76[64:])]


def source(lanes: int) -> str:
    """LLVM IR of `i64 scan(ptr prepared, i32 nonce, i64 blocks, i32 top, ptr mask)`.

    `prepared` is the uint32[11] of `prepare`. The function tries `blocks` blocks of `lanes`
    successive nonces from `nonce` on (modulo 2^32), and stops at the first block with a hash whose
    top 32 bits (of its value as a little-endian integer) are at most `top`. It returns how many
    blocks it passed before that one (`blocks`: all, there was none), and sets in `mask` (uint64)
    the bit i of each lane i that has such a hash.

    Args:
        lanes: nonces in a block: 4, 8, 16, 32 or 64.
    """
    program = _Program(lanes)
    vector = program.vector_type
    prepared: list[_Word] = []
    for i in range(11):
        program.entry.append(f"%p{i} = getelementptr i32, ptr %prepared, i64 {i}")
        program.entry.append(f"%w{i} = load i32, ptr %p{i}")
        prepared.append(_Value(f"%w{i}", False))
    nonce_be = program.swap(_Value("%nonces", True))
    padding: list[_Word] = [0x80000000, *[0] * 10, 80 * 8]
    inner = program.compress(prepared[:8], [*prepared[8:], nonce_be, *padding])
    outer = program.compress(list(_INITIAL), [*inner, 0x80000000, *[0] * 6, 32 * 8])
    top = program.swap(cast(_Value, outer[7]))
    limit = program.splat(_Value("%top", False))
    start = program.splat(_Value("%nonce", False))
    steps = ", ".join(f"i32 {i}" for i in range(lanes))
    lines = "\n  ".join
    return f"""
declare i32 @llvm.fshr.i32(i32, i32, i32)
declare {vector} @llvm.fshr.v{lanes}i32({vector}, {vector}, {vector})
declare {vector} @llvm.bswap.v{lanes}i32({vector})
define i64 @scan(ptr %prepared, i32 %nonce, i64 %blocks, i32 %top, ptr %mask) {{
entry:
  {lines(program.entry)}
  %first = add {vector} {start}, <{steps}>
  %none = icmp eq i64 %blocks, 0
  br i1 %none, label %done, label %loop
loop:
  %block = phi i64 [0, %entry], [%next, %go_on]
  %nonces = phi {vector} [%first, %entry], [%following, %go_on]
  {lines(program.loop)}
  %low = icmp ule {vector} {top.name}, {limit}
  %bits = bitcast <{lanes} x i1> %low to i{lanes}
  %miss = icmp eq i{lanes} %bits, 0
  br i1 %miss, label %go_on, label %hit
go_on:
  %next = add i64 %block, 1
  %following = add {vector} %nonces, {program.splat(lanes)}
  %more = icmp ult i64 %next, %blocks
  br i1 %more, label %loop, label %done
hit:
  %wide = zext i{lanes} %bits to i64
  store i64 %wide, ptr %mask
  ret i64 %block
done:
  ret i64 %blocks
}}
"""
