"""The miner's SHA256d code, written out for a vector unit of a given width.

Responsible for the LLVM IR of one function, `scan`, and for the words it needs of a header. Not
for compiling or calling it (`potnode.miner.kernel`).

What all nonces share is computed once, before the loop; what only the words of the result that are
never looked at depend on is dead code, which LLVM drops.
"""

from __future__ import annotations

import struct
from typing import cast

from potnode.machinecode.sha256 import INITIAL
from potnode.machinecode.words import Program, Value, Word


def prepare(header76: bytes) -> list[int]:
    """What the code needs of a header: the state after its first 64 bytes, then its next 3 words.

    Args:
        header76: the header without its last four bytes, the nonce.
    """
    first: list[Word] = list(struct.unpack(">16I", header76[:64]))
    midstate = Program(lanes=1).compress(list(INITIAL), first)
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
    program = Program(lanes)
    vector = program.vector_type
    prepared: list[Word] = []
    for i in range(11):
        program.entry.append(f"%p{i} = getelementptr i32, ptr %prepared, i64 {i}")
        program.entry.append(f"%w{i} = load i32, ptr %p{i}")
        prepared.append(Value(f"%w{i}", is_vector=False, in_loop=False))
    nonce_be = program.swap(Value("%nonces", is_vector=True, in_loop=True))
    padding: list[Word] = [0x80000000, *[0] * 10, 80 * 8]
    inner = program.compress(prepared[:8], [*prepared[8:], nonce_be, *padding])
    outer = program.compress(list(INITIAL), [*inner, 0x80000000, *[0] * 6, 32 * 8])
    top = program.swap(cast(Value, outer[7]))
    limit = program.splat(Value("%top", is_vector=False, in_loop=False))
    start = program.splat(Value("%nonce", is_vector=False, in_loop=False))
    steps = ", ".join(f"i32 {i}" for i in range(lanes))
    lines = "\n  ".join
    declarations = "\n".join(program.declarations())
    return f"""
{declarations}
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
