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
from typing import Final

from potnode.machinecode.compress import compress_plain, compress_sha
from potnode.machinecode.lines import Lines, constant
from potnode.machinecode.sha256 import INITIAL

MAX_WAYS: Final = 16
MAX_TEXT: Final = 896
"""Longest padded rest of a coinbase: 64 bytes are whole, 755 is firmware's limit, 9 are padding."""

MAX_BRANCH: Final = 20

# What the code reads of a job: the state after the whole blocks of coinbase before extranonce2; how
# many blocks the padded rest has, where extranonce2 is in it, how many siblings there are; nbits
# and previous hash as words of the message they go into. Then follow the siblings, as such words
# too, and the rest itself, as bytes.
JOB: Final = struct.Struct("=8I 3I I 8I")
_BLOCKS_AT, _PLACE_AT, _SIBLINGS_AT, _NBITS_AT, _PREV_AT = 32, 36, 40, 44, 48
_BRANCH_AT = _PREV_AT + 32

SHARE_SIZE: Final = 20  # extranonce2, ntime, nonce, version bits: as they come, in big-endian order
HASHED_SIZE: Final = 112  # the header, then its hash

_HEADER_STRIDE = 128
_WORDS_STRIDE = 64


_EIGHT, _SIXTEEN = "<8 x i32>", "<16 x i32>"


class _Hash:
    """The body of `hash`. Its memory are states, words, headers and texts, a part for each way."""

    def __init__(self, ways: int) -> None:
        self.lines = Lines()
        self._ways = range(ways)

    def _compress(self, words: str = "%words", stride: int = _WORDS_STRIDE) -> None:
        self.lines.do(f"call void @compress(ptr %states, ptr {words}, i64 {stride})")

    def _state(self, way: int) -> str:
        return self.lines.load(_EIGHT, "%states", 32 * way)

    def _begin_anew(self, way: int) -> None:
        self.lines.store(_EIGHT, constant(INITIAL), "%states", 32 * way)

    def _message(self, value: str, way: int, offset: int = 0, kind: str = _EIGHT) -> None:
        self.lines.store(kind, value, "%words", _WORDS_STRIDE * way + offset)

    def _hash_state(self) -> None:
        """Replace each state, a digest, by the digest of its 32 bytes."""
        for way in self._ways:
            self._message(self._state(way), way)
            self._message(constant((0x80000000, 0, 0, 0, 0, 0, 0, 32 * 8)), way, 32)
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
        lines.do("%text = getelementptr i8, ptr %branch, i64 %branch_size")
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
            self._message(constant((0x80000000, *[0] * 14, 64 * 8)), way, kind=_SIXTEEN)
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
            lines.store("<3 x i32>", constant((0, 0, 80 * 8)), "%headers", at + 116)
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
    of one job: `job` points to a `JOB` and what follows it, `shares` to SHARE_SIZE bytes for each,
    `hashed` to HASHED_SIZE bytes for each, which it fills. `fixed`: the header's version bytes,
    read in big-endian order, that version bits are ORed into.

    `void begin(ptr job, ptr text, i64 blocks)`
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
            compress_sha(ways) if sha else compress_plain(ways),
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
  store <8 x i32> {constant(INITIAL)}, ptr %states, align 4
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
