"""The code that hashes many short messages, written out for a CPU.

Responsible for the LLVM IR of one function, `hash`. Not for compiling or calling it
(`potnode.machinecode.hashing`).

A message is a head and a tail, and with its padding one block. Every head is hashed with every
tail, and what depends on the head alone is computed once for all of them. Two kinds of code do it,
and which of them is faster is the CPU's matter:

- Lanes: each head has a lane of the vector registers. The compression function is written for the
  sizes of head and tail, so that what is known of the block (padding and length) is folded.
- The SHA extensions of x86: some heads in step, because an instruction waits for the one before.
"""

from __future__ import annotations

from itertools import count
from typing import Final

from potnode.machinecode.compress import compress_sha
from potnode.machinecode.lines import constant
from potnode.machinecode.sha256 import INITIAL
from potnode.machinecode.words import Program, Value, Word

MAX_SIZE: Final = 55
"""Bytes of the longest message of one block: 64 less the padding's first byte and the length."""

DIGEST_SIZE: Final = 32
_BLOCK = 64
_MIDDLE = 1 << 23  # of the 24 bits of a weight

_HEAD = """\
define void @hash(ptr %heads, i64 %count, ptr %tails, i64 %tail_count, float %scale, ptr %out) {
start:"""

_INTRINSICS = [
    "declare i64 @llvm.umin.i64(i64, i64)",
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    "declare <8 x i32> @llvm.bswap.v8i32(<8 x i32>)",
    "declare <16 x i32> @llvm.bswap.v16i32(<16 x i32>)",
]


def source(head_size: int, tail_size: int, *, ways: int, sha: bool, weights: bool) -> str:
    """LLVM IR of `hash`, for little-endian CPUs.

    `void hash(ptr heads, i64 count, ptr tails, i64 tail_count, float scale, ptr out)`: `heads` are
    count * head_size bytes, `tails` tail_count * tail_size, neither count 0. The result of head i
    and tail j, 32 bytes, goes to out + 32 * (i * tail_count + j): the digest, or with `weights` the
    eight float32 ((w >> 8) - 2^23) * scale of its big-endian words w.

    Args:
        head_size, tail_size: together at most MAX_SIZE.
        ways: heads side by side; 4, 8 or 16 as lanes, 1 to 8 with the extensions.
        sha: with x86's SHA extensions. weights: floats instead of digests.
    """
    writer = _ShaCode if sha else _LaneCode
    code = writer(head_size, tail_size, ways, weights)
    code.write()
    declared = dict.fromkeys([*_INTRINSICS, *code.declared])  # each of them once
    return "\n".join(
        [
            *declared,
            *code.functions,
            _HEAD,
            *(f"  {line}" for line in code.start),
            "  %row_size = mul i64 %tail_count, 32",
            "  %last = sub i64 %count, 1",
            "  br label %group",
            "group:",
            "  %first = phi i64 [0, %start], [%following, %grouped]",
            *(f"  {line}" for line in code.group),
            "  br label %tail",
            "tail:",
            "  %index = phi i64 [0, %group], [%next, %tail]",
            f"  %tail_at = mul i64 %index, {tail_size}",
            "  %tail_bytes = getelementptr i8, ptr %tails, i64 %tail_at",
            f"  %digest_at = mul i64 %index, {DIGEST_SIZE}",
            *(f"  {line}" for line in code.tail),
            "  %next = add i64 %index, 1",
            "  %more = icmp ult i64 %next, %tail_count",
            "  br i1 %more, label %tail, label %grouped",
            "grouped:",
            f"  %following = add i64 %first, {ways}",
            "  %more_groups = icmp ult i64 %following, %count",
            "  br i1 %more_groups, label %group, label %end",
            "end:",
            "  ret void",
            "}",
        ]
    )


class _Code:
    """Instructions at the start, for a group of heads, and for one tail with all heads of it."""

    def __init__(self, head_size: int, tail_size: int, ways: int, weights: bool) -> None:
        self.head_size, self.tail_size, self.weights = head_size, tail_size, weights
        self.ways = range(ways)
        self.functions: list[str] = []
        self.declared: list[str] = []
        self.start: list[str] = []
        self.group: list[str] = []
        self.tail: list[str] = []
        self._numbers = count()

    def let(self, place: list[str], instruction: str) -> str:
        """An instruction with a result; returns its name."""
        name = f"%n{next(self._numbers)}"
        place.append(f"{name} = {instruction}")
        return name

    def at(self, place: list[str], base: str, offset: int | str) -> str:
        """The address so many bytes behind another."""
        return self.let(place, f"getelementptr i8, ptr {base}, i64 {offset}")

    def find_heads(self) -> None:
        """Addresses of each way's head, %headW, and row of digests, %rowW.

        A way beyond the last head repeats that one, and writes the same digests to the same place.
        """
        for way in self.ways:
            beyond = self.let(self.group, f"add i64 %first, {way}")
            mine = self.let(self.group, f"call i64 @llvm.umin.i64(i64 {beyond}, i64 %last)")
            head_at = self.let(self.group, f"mul i64 {mine}, {self.head_size}")
            self.group.append(f"%head{way} = getelementptr i8, ptr %heads, i64 {head_at}")
            row_at = self.let(self.group, f"mul i64 {mine}, %row_size")
            self.group.append(f"%row{way} = getelementptr i8, ptr %out, i64 {row_at}")

    def result(self, kind: str, name: str, words: str, scales: str) -> str:
        """What a vector of digest words becomes: bytes in their order, or weights."""
        if not self.weights:
            return self.let(self.tail, f"call {kind} @llvm.bswap.{name}({kind} {words})")
        lanes = kind.removeprefix("<").partition(" ")[0]
        floats = f"<{lanes} x float>"
        eight, middle = ([number] * int(lanes) for number in (8, _MIDDLE))
        top = self.let(self.tail, f"lshr {kind} {words}, {constant(eight)}")
        centred = self.let(self.tail, f"sub {kind} {top}, {constant(middle)}")
        exact = self.let(self.tail, f"sitofp {kind} {centred} to {floats}")
        scaled = self.let(self.tail, f"fmul {floats} {exact}, {scales}")
        return self.let(self.tail, f"bitcast {floats} {scaled} to {kind}")

    def all_scales(self, lanes: int) -> str:
        """The scale in all lanes."""
        kind = f"<{lanes} x float>"
        one = self.let(self.start, f"insertelement {kind} poison, float %scale, i32 0")
        return self.let(
            self.start,
            f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer",
        )


class _LaneCode(_Code):
    """One head a lane."""

    def write(self) -> None:
        lanes = len(self.ways)
        program = Program(lanes, entry=self.group, loop=self.tail)
        self.declared = program.declarations()
        self.find_heads()
        scales = self.all_scales(lanes)
        block = [self._word(program, position) for position in range(0, _BLOCK, 4)]
        digest = program.compress(list(INITIAL), block)
        words = [
            self.result(program.vector_type, f"v{lanes}i32", program.splat(word), scales)
            for word in digest
        ]
        self._store_rows(program.vector_type, words)

    def _word(self, program: Program, position: int) -> Word:
        """Four bytes of the block: of heads, of a tail, of the padding, or of several of these."""
        size = self.head_size + self.tail_size
        places = range(position, position + 4)
        word: Word = 8 * size if position == _BLOCK - 4 else 0
        for place in places:
            if place == size:
                word = program.either(word, 0x80 << 8 * (3 - place + position))
        in_head = [place for place in places if place < self.head_size]
        in_tail = [place for place in places if self.head_size <= place < size]
        if in_head:
            vector = "poison"
            for way in self.ways:
                part = self._part(self.group, f"%head{way}", 0, in_head, position)
                vector = self.let(
                    self.group,
                    f"insertelement {program.vector_type} {vector}, i32 {part}, i32 {way}",
                )
            heads = Value(vector, is_vector=True, in_loop=False)
            word = program.either(word, program.swap(heads) if len(in_head) == 4 else heads)
        if in_tail:
            part = self._part(self.tail, "%tail_bytes", self.head_size, in_tail, position)
            one = Value(part, is_vector=False, in_loop=True)
            word = program.either(word, program.swap(one) if len(in_tail) == 4 else one)
        return word

    def _part(
        self, lines: list[str], base: str, origin: int, places: list[int], position: int
    ) -> str:
        """Bytes of a word: all four of them as they lie there, fewer in their places in it."""
        if len(places) == 4:
            where = self.at(lines, base, places[0] - origin)
            return self.let(lines, f"load i32, ptr {where}, align 1")
        total = "0"
        for place in places:
            byte = self.let(lines, f"load i8, ptr {self.at(lines, base, place - origin)}, align 1")
            wide = self.let(lines, f"zext i8 {byte} to i32")
            moved = self.let(lines, f"shl i32 {wide}, {8 * (3 - place + position)}")
            total = self.let(lines, f"or i32 {total}, {moved}")
        return total

    def _store_rows(self, kind: str, words: list[str]) -> None:
        """Eight words of each lane to the lane's row.

        To interleave the first half of all of them with the second is to rotate the bits of each
        one's address, so after three times they lie lane by lane.
        """
        lanes = len(self.ways)
        for _ in range(3):
            mixed = []
            for low, high in zip(words[:4], words[4:], strict=True):
                for half in (0, lanes // 2):
                    order = [half + i // 2 + lanes * (i % 2) for i in range(lanes)]
                    mixed.append(
                        self.let(
                            self.tail,
                            f"shufflevector {kind} {low}, {kind} {high}, "
                            f"<{lanes} x i32> {constant(order)}",
                        )
                    )
            words = mixed
        piece = min(lanes, 8)
        for way in self.ways:
            where = self.at(self.tail, f"%row{way}", "%digest_at")
            for offset in range(0, 8, piece):
                vector, lane = divmod(8 * way + offset, lanes)
                order = [lane + i for i in range(piece)]
                part = self.let(
                    self.tail,
                    f"shufflevector {kind} {words[vector]}, {kind} poison, "
                    f"<{piece} x i32> {constant(order)}",
                )
                to = self.at(self.tail, where, 4 * offset)
                self.tail.append(f"store <{piece} x i32> {part}, ptr {to}, align 1")


class _ShaCode(_Code):
    """Some heads in step, with the SHA extensions."""

    def write(self) -> None:
        ways, size = len(self.ways), self.head_size + self.tail_size
        self.functions = [compress_sha(ways)]
        for name, each in (("states", 32), ("words", _BLOCK), ("texts", _BLOCK)):
            self.start.append(f"%{name} = alloca [{each * ways} x i8], align 64")
        self.find_heads()
        scales = self.all_scales(8)
        padding = bytes(size) + b"\x80" + bytes(_BLOCK - 9 - size) + (8 * size).to_bytes(8, "big")
        words = [int.from_bytes(padding[i : i + 4], "little") for i in range(0, _BLOCK, 4)]
        for way in self.ways:
            text = self.at(self.start, "%texts", _BLOCK * way)
            self.start.append(f"store <16 x i32> {constant(words)}, ptr {text}, align 4")
            self._copy(self.group, text, f"%head{way}", self.head_size)
            place = self.at(self.start, text, self.head_size)
            self._copy(self.tail, place, "%tail_bytes", self.tail_size)
            block = self.let(self.tail, f"load <16 x i32>, ptr {text}, align 4")
            swapped = self.let(self.tail, f"call <16 x i32> @llvm.bswap.v16i32(<16 x i32> {block})")
            message = self.at(self.start, "%words", _BLOCK * way)
            self.tail.append(f"store <16 x i32> {swapped}, ptr {message}, align 4")
            state = self.at(self.start, "%states", 32 * way)
            self.tail.append(f"store <8 x i32> {constant(INITIAL)}, ptr {state}, align 4")
        self.tail.append(f"call void @compress(ptr %states, ptr %words, i64 {_BLOCK})")
        for way in self.ways:
            state = self.at(self.tail, "%states", 32 * way)
            digest = self.let(self.tail, f"load <8 x i32>, ptr {state}, align 4")
            row = self.at(self.tail, f"%row{way}", "%digest_at")
            result = self.result("<8 x i32>", "v8i32", digest, scales)
            self.tail.append(f"store <8 x i32> {result}, ptr {row}, align 1")

    def _copy(self, lines: list[str], to: str, source_: str, size: int) -> None:
        if size:
            lines.append(
                f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source_}, i64 {size}, i1 false)"
            )
