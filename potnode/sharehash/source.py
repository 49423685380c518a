"""The code that hashes submitted shares, written out for a CPU.

Responsible for the LLVM IR of one function, `hash`, and for the layout of what it reads and writes.
Not for compiling or calling it (`potnode.sharehash.native`).

A share is some forty applications of SHA-256's compression function, each of which needs the one
before, so a CPU that hashes one share at a time mostly waits. The code therefore hashes `ways`
shares of one job in step: with the SHA extensions of x86 their instructions interleave, without
them each share has a lane of the vector registers (one way: plain scalar code). The compression
function is the only part that differs; what surrounds it is written once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import count
from typing import Final

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

MAX_WAYS: Final = 16
MAX_TEXT: Final = 896
"""Longest padded rest of a coinbase: 64 bytes are whole, 755 is firmware's limit, 9 are padding."""

MAX_BRANCH: Final = 20

# What the code reads of a job: the state after the whole blocks of coinbase before extranonce2; how
# many blocks the padded rest has, where extranonce2 is in it, how many siblings there are; nbits,
# previous hash, siblings, all as words of the message they go into; and the rest itself, as bytes.
JOB: Final = struct.Struct(f"=8I 3I I 8I {8 * MAX_BRANCH}I {MAX_TEXT}s")
_BLOCKS_AT, _PLACE_AT, _SIBLINGS_AT, _NBITS_AT, _PREV_AT = 32, 36, 40, 44, 48
_BRANCH_AT = _PREV_AT + 32
_TEXT_AT = _BRANCH_AT + 32 * MAX_BRANCH

SHARE_SIZE: Final = 20  # extranonce2, ntime, nonce, version bits: as they come, in big-endian order
HASHED_SIZE: Final = 112  # the header, then its hash

_HEADER_STRIDE = 128
_WORDS_STRIDE = 64


class _Lines:
    """Instructions in order, and names for their results."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._numbers = count()

    def do(self, instruction: str) -> None:
        self.text.append("  " + instruction)

    def let(self, instruction: str) -> str:
        name = f"%t{next(self._numbers)}"
        self.do(f"{name} = {instruction}")
        return name

    def label(self, name: str) -> None:
        self.text.append(f"{name}:")

    def at(self, base: str, offset: int | str) -> str:
        """The address so many bytes behind another."""
        return self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

    def load(self, kind: str, base: str, offset: int | str = 0, align: int = 4) -> str:
        return self.let(f"load {kind}, ptr {self.at(base, offset)}, align {align}")

    def store(
        self, kind: str, value: str, base: str, offset: int | str = 0, align: int = 4
    ) -> None:
        self.do(f"store {kind} {value}, ptr {self.at(base, offset)}, align {align}")

    def swapped(self, kind: str, name: str, value: str) -> str:
        """The value with the bytes of each word reversed; `name` is the kind in an intrinsic's."""
        return self.let(f"call {kind} @llvm.bswap.{name}({kind} {value})")


def _constant(words: Iterable[int]) -> str:
    return "<" + ", ".join(f"i32 {word}" for word in words) + ">"


# Both compression functions are `void compress(ptr states, ptr words, i64 stride)`: way w has its
# state of 8 words at states + 32 w and its message of 16 words at words + stride w.


def _compress_sha(ways: int) -> str:
    """With the SHA extensions of x86.

    Their instructions want the state as (f, e, b, a) and (h, g, d, c), low word first, do two
    rounds each and leave the new first half, while the old first half becomes the second.
    """
    four = "<4 x i32>"
    lines = _Lines()
    states: list[tuple[str, str]] = []
    words: list[list[str]] = []
    for way in range(ways):
        low = lines.load(four, "%states", 32 * way)
        high = lines.load(four, "%states", 32 * way + 16)
        pair = f"{four} {low}, {four} {high}, {four}"
        first = lines.let(f"shufflevector {pair} {_constant((5, 4, 1, 0))}")
        second = lines.let(f"shufflevector {pair} {_constant((7, 6, 3, 2))}")
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
                    f"{four} {_constant((1, 2, 3, 4))}"
                )
                total = lines.let(f"add {four} {partly}, {middle}")
                schedule.append(_call_sha(lines, "msg2", total, newest))
            constants = _constant(_K[4 * group : 4 * group + 4])
            keyed = lines.let(f"add {four} {schedule[group]}, {constants}")
            rest = lines.let(
                f"shufflevector {four} {keyed}, {four} {keyed}, {four} {_constant((2, 3, 2, 3))}"
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
        low = lines.let(f"shufflevector {pair} {_constant((3, 2, 7, 6))}")
        high = lines.let(f"shufflevector {pair} {_constant((1, 0, 5, 4))}")
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


def _call_sha(lines: _Lines, name: str, *operands: str) -> str:
    typed = ", ".join(f"<4 x i32> {operand}" for operand in operands)
    return lines.let(f"call <4 x i32> @llvm.x86.sha256{name}({typed})")


def _compress_plain(ways: int) -> str:
    """With ordinary instructions: one word of each way side by side in a vector."""
    kind = f"<{ways} x i32>"
    lines = _Lines()

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
        return _constant([number] * ways)

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


_EIGHT, _SIXTEEN = "<8 x i32>", "<16 x i32>"


class _Hash:
    """The body of `hash`. Its memory are states, words, headers and texts, a part for each way."""

    def __init__(self, ways: int) -> None:
        self.lines = _Lines()
        self._ways = range(ways)

    def _compress(self, words: str = "%words", stride: int = _WORDS_STRIDE) -> None:
        self.lines.do(f"call void @compress(ptr %states, ptr {words}, i64 {stride})")

    def _state(self, way: int) -> str:
        return self.lines.load(_EIGHT, "%states", 32 * way)

    def _begin_anew(self, way: int) -> None:
        self.lines.store(_EIGHT, _constant(_INITIAL), "%states", 32 * way)

    def _message(self, value: str, way: int, offset: int = 0, kind: str = _EIGHT) -> None:
        self.lines.store(kind, value, "%words", _WORDS_STRIDE * way + offset)

    def _hash_state(self) -> None:
        """Replace each state, a digest, by the digest of its 32 bytes."""
        for way in self._ways:
            self._message(self._state(way), way)
            self._message(_constant((0x80000000, 0, 0, 0, 0, 0, 0, 32 * 8)), way, 32)
            self._begin_anew(way)
        self._compress()

    def _give(self, words: str, way: int, offset: int, kind: str, name: str) -> None:
        """Words of a message or digest as bytes of the result."""
        value = self.lines.swapped(kind, name, words)
        self.lines.store(kind, value, "%out", HASHED_SIZE * way + offset, align=1)

    def enter(self) -> None:
        """Memory, what the job says, and a text for each way."""
        lines, ways = self.lines, len(self._ways)
        lines.label("entry")
        for name, size in (
            ("states", 32),
            ("words", _WORDS_STRIDE),
            ("headers", _HEADER_STRIDE),
            ("texts", MAX_TEXT),
        ):
            lines.do(f"%{name} = alloca [{size * ways} x i8], align 64")
        lines.do(f"%midstate = load {_EIGHT}, ptr %job, align 4")
        for name, kind, offset in (
            ("blocks", "i32", _BLOCKS_AT),
            ("place", "i32", _PLACE_AT),
            ("siblings", "i32", _SIBLINGS_AT),
            ("nbits", "i32", _NBITS_AT),
            ("prev", _EIGHT, _PREV_AT),
        ):
            lines.do(f"%{name}_at = getelementptr i8, ptr %job, i64 {offset}")
            lines.do(f"%{name} = load {kind}, ptr %{name}_at, align 4")
        lines.do("%text_size32 = mul i32 %blocks, 64")
        lines.do("%text_size = zext i32 %text_size32 to i64")
        lines.do("%branch_size32 = mul i32 %siblings, 32")
        lines.do("%branch_size = zext i32 %branch_size32 to i64")
        lines.do(f"%branch = getelementptr i8, ptr %job, i64 {_BRANCH_AT}")
        lines.do(f"%text = getelementptr i8, ptr %job, i64 {_TEXT_AT}")
        for way in self._ways:
            mine = lines.at("%texts", MAX_TEXT * way)
            lines.do(
                f"call void @llvm.memcpy.p0.p0.i64(ptr {mine}, ptr %text, i64 %text_size, i1 false)"
            )
        lines.do("%nothing = icmp eq i64 %groups, 0")
        lines.do("br i1 %nothing, label %end, label %group")

    def hash_coinbase(self) -> None:
        """Leave the coinbase's hash in the states."""
        lines = self.lines
        lines.label("group")
        lines.do("%index = phi i64 [0, %entry], [%index_next, %header]")
        lines.do(f"%share_at = mul i64 %index, {SHARE_SIZE * len(self._ways)}")
        lines.do("%share = getelementptr i8, ptr %shares, i64 %share_at")
        lines.do(f"%out_at = mul i64 %index, {HASHED_SIZE * len(self._ways)}")
        lines.do("%out = getelementptr i8, ptr %hashed, i64 %out_at")
        lines.do("%place64 = zext i32 %place to i64")
        for way in self._ways:
            extranonce2 = lines.load("i64", "%share", SHARE_SIZE * way, align=1)
            mine = lines.at("%texts", MAX_TEXT * way)
            lines.store("i64", extranonce2, mine, "%place64", align=1)
            lines.store(_EIGHT, "%midstate", "%states", 32 * way)
        lines.do("br label %coinbase")
        lines.label("coinbase")
        lines.do("%block_at = phi i64 [0, %group], [%block_next, %coinbase]")
        for way in self._ways:
            block = lines.load(_SIXTEEN, lines.at("%texts", MAX_TEXT * way), "%block_at")
            self._message(lines.swapped(_SIXTEEN, "v16i32", block), way, kind=_SIXTEEN)
        self._compress()
        lines.do("%block_next = add i64 %block_at, 64")
        lines.do("%block_more = icmp ult i64 %block_next, %text_size")
        lines.do("br i1 %block_more, label %coinbase, label %leaf")
        lines.label("leaf")
        self._hash_state()
        lines.do("%no_branch = icmp eq i64 %branch_size, 0")
        lines.do("br i1 %no_branch, label %header, label %level")

    def climb(self) -> None:
        """Leave the merkle root in the states."""
        lines = self.lines
        lines.label("level")
        lines.do("%level_at = phi i64 [0, %leaf], [%level_next, %level]")
        lines.do("%sibling_at = getelementptr i8, ptr %branch, i64 %level_at")
        lines.do(f"%sibling = load {_EIGHT}, ptr %sibling_at, align 4")
        for way in self._ways:
            self._message(self._state(way), way)
            self._message("%sibling", way, 32)
            self._begin_anew(way)
        self._compress()
        for way in self._ways:
            self._message(_constant((0x80000000, *[0] * 14, 64 * 8)), way, kind=_SIXTEEN)
        self._compress()
        self._hash_state()
        lines.do("%level_next = add i64 %level_at, 32")
        lines.do("%level_more = icmp ult i64 %level_next, %branch_size")
        lines.do("br i1 %level_more, label %level, label %header")

    def hash_header(self) -> None:
        """Give the header and its hash."""
        lines = self.lines
        lines.label("header")
        for way in self._ways:
            at = _HEADER_STRIDE * way
            # What came big-endian is swapped in the header, and a message's words are big-endian:
            # read as it lies here, it is the word already.
            ntime, nonce, bits = (
                lines.load("i32", "%share", SHARE_SIZE * way + offset, align=1)
                for offset in (8, 12, 16)
            )
            lines.store("i32", lines.let(f"or i32 %fixed, {bits}"), "%headers", at)
            lines.store(_EIGHT, "%prev", "%headers", at + 4)
            lines.store(_EIGHT, self._state(way), "%headers", at + 36)
            lines.store("i32", ntime, "%headers", at + 68)
            lines.store("i32", "%nbits", "%headers", at + 72)
            lines.store("i32", nonce, "%headers", at + 76)
            lines.store("i32", str(0x80000000), "%headers", at + 80)
            lines.store(_EIGHT, "zeroinitializer", "%headers", at + 84)
            lines.store("<3 x i32>", _constant((0, 0, 80 * 8)), "%headers", at + 116)
            for offset in (0, 32):
                words = lines.load(_EIGHT, "%headers", at + offset)
                self._give(words, way, offset, _EIGHT, "v8i32")
            words = lines.load("<4 x i32>", "%headers", at + 64)
            self._give(words, way, 64, "<4 x i32>", "v4i32")
            self._begin_anew(way)
        self._compress("%headers", _HEADER_STRIDE)
        self._compress(lines.at("%headers", 64), _HEADER_STRIDE)
        self._hash_state()
        for way in self._ways:
            self._give(self._state(way), way, 80, _EIGHT, "v8i32")
        lines.do("%index_next = add i64 %index, 1")
        lines.do("%index_more = icmp ult i64 %index_next, %groups")
        lines.do("br i1 %index_more, label %group, label %end")
        lines.label("end")
        lines.do("ret void")


def source(ways: int, *, sha: bool) -> str:
    """LLVM IR of `hash` and `begin`, for little-endian CPUs.

    `void hash(ptr job, ptr shares, i64 groups, i32 fixed, ptr hashed)` hashes groups * ways shares
    of one job: `job` points to a `JOB`, `shares` to SHARE_SIZE bytes for each, `hashed` to
    HASHED_SIZE bytes for each, which it fills. `fixed`: the header's version bytes, read in
    big-endian order, that version bits are ORed into. `void begin(ptr job, ptr text, i64 blocks)`
    sets the job's state to that after so many blocks of 64 bytes.

    Args:
        ways: shares hashed in step: 1, 2, 4, 8 or 16. sha: with x86's SHA extensions.
    """
    body = _Hash(ways)
    body.enter()
    body.hash_coinbase()
    body.climb()
    body.hash_header()
    return "\n".join(
        [
            "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
            "declare <4 x i32> @llvm.bswap.v4i32(<4 x i32>)",
            "declare <8 x i32> @llvm.bswap.v8i32(<8 x i32>)",
            "declare <16 x i32> @llvm.bswap.v16i32(<16 x i32>)",
            _compress_sha(ways) if sha else _compress_plain(ways),
            "define void @hash(ptr %job, ptr %shares, i64 %groups, i32 %fixed, ptr %hashed) {",
            *body.lines.text,
            "}",
            _begin(ways),
        ]
    )


def _begin(ways: int) -> str:
    """`begin` by the same compression function: one way counts, the others hash what is there."""
    return f"""
define void @begin(ptr %job, ptr %text, i64 %blocks) {{
entry:
  %states = alloca [{32 * ways} x i8], align 64
  %words = alloca [{_WORDS_STRIDE * ways} x i8], align 64
  store <8 x i32> {_constant(_INITIAL)}, ptr %states, align 4
  %none = icmp eq i64 %blocks, 0
  br i1 %none, label %end, label %block
block:
  %index = phi i64 [0, %entry], [%next, %block]
  %offset = mul i64 %index, 64
  %at = getelementptr i8, ptr %text, i64 %offset
  %bytes = load <16 x i32>, ptr %at, align 1
  %swapped = call <16 x i32> @llvm.bswap.v16i32(<16 x i32> %bytes)
  store <16 x i32> %swapped, ptr %words, align 4
  call void @compress(ptr %states, ptr %words, i64 0)
  %next = add i64 %index, 1
  %more = icmp ult i64 %next, %blocks
  br i1 %more, label %block, label %end
end:
  %state = load <8 x i32>, ptr %states, align 4
  store <8 x i32> %state, ptr %job, align 4
  ret void
}}
"""
