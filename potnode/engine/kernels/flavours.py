"""What vector code of one kind of processor looks like: the pieces that differ, as LLVM code.

`potnode.engine.kernels.vectors` builds its loops of them. All flavours give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import config

from potnode.engine.loss import PARTS, SIXTEENTHS
from potnode.machinecode.compiler import host_features
from potnode.spec.loss import EXP2

_TO_NEAREST = 8  # how an instruction rounds, whatever the thread's mode

OFFSET = 128  # added to an activation when it is stored

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_LARGEST = 127

Builder = Any  # llvmlite is not typed
Value = Any


def vector(element: Any, count: int) -> Any:
    """The LLVM type of `count` elements side by side."""
    return ir.VectorType(element, count)


def splat(builder: Builder, value: Value, lanes: int) -> Value:
    """A vector with `value` in every lane."""
    kind = vector(value.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(vector(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def constant(value: int, lanes: int) -> Value:
    """The int32 `value` in every lane."""
    return ir.Constant(vector(I32, lanes), [value] * lanes)


def call(builder: Builder, name: str, result: Any, args: list[Value]) -> Value:
    """Call of an LLVM intrinsic."""
    kind = ir.FunctionType(result, [a.type for a in args])
    known = builder.module.globals.get(name)
    return builder.call(known or ir.Function(builder.module, kind, name), args)


@dataclass(frozen=True)
class Flavour:
    """How one kind of processor does it.

    lanes: int32 lanes of a vector register. registers: accumulators side by side for each of four
    rows. dot: acc + the four products of each lane. packed: four clipped rows as a quad. power:
    EXP2[d & 255] >> (d >> 8) of a distance d, 0..2^24.
    """

    lanes: int
    registers: int
    dot: Callable[[Builder, Value, Value, Value, int], Value]
    packed: Callable[[Builder, list[Value], Value, int], Value]
    power: Callable[[Builder, Value, int], Value]


def _dot_vnni(builder: Builder, acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """vpdpbusd: one instruction. Intrinsics took int32 vectors before LLVM 21, bytes since then."""
    if llvm.llvm_version_info[0] >= 21:
        kind = vector(I8, 4 * lanes)
        x, w = builder.bitcast(x, kind), builder.bitcast(w, kind)
    return call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", acc.type, [acc, x, w])


def _dot_madd(builder: Builder, acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """Even and odd bytes as int16 pairs, each pair multiplied and added by one instruction.

    Not vpmaddubsw: that saturates at int16, and two products of 255 * 127 pass it.
    """
    pairs = vector(I16, 2 * lanes)
    eights = ir.Constant(pairs, [8] * (2 * lanes))
    low = ir.Constant(pairs, [255] * (2 * lanes))
    x, w = builder.bitcast(x, pairs), builder.bitcast(w, pairs)
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
    even = [builder.and_(x, low), builder.ashr(builder.shl(w, eights), eights)]
    odd = [builder.lshr(x, eights), builder.ashr(w, eights)]
    for pair in (even, odd):
        acc = builder.add(acc, call(builder, name, acc.type, pair))
    return acc


def _dot_plain(builder: Builder, acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """Four products a lane, one after the other."""
    for i in range(4):
        byte = builder.and_(builder.lshr(x, constant(8 * i, lanes)), constant(255, lanes))
        weight = builder.ashr(builder.shl(w, constant(24 - 8 * i, lanes)), constant(24, lanes))
        acc = builder.add(acc, builder.mul(byte, weight))
    return acc


def _packed_plain(builder: Builder, rows: list[Value], low: Value, lanes: int) -> Value:
    """Clip each row to low..127, add OFFSET, and put row r into byte r of each lane."""
    quad = None
    for r, row in enumerate(rows):
        lowest = splat(builder, low, lanes)
        kept = builder.select(builder.icmp_signed("<", row, lowest), lowest, row)
        high = constant(_LARGEST, lanes)
        kept = builder.select(builder.icmp_signed(">", kept, high), high, kept)
        byte = builder.shl(builder.add(kept, constant(OFFSET, lanes)), constant(8 * r, lanes))
        quad = byte if quad is None else builder.or_(quad, byte)
    return quad


def _packed_512(builder: Builder, rows: list[Value], low: Value, lanes: int) -> Value:
    """Two saturating packs and a byte shuffle inside each group of 128 bits."""
    words = [
        call(builder, "llvm.x86.avx512.packssdw.512", vector(I16, 32), [rows[i], rows[i + 1]])
        for i in (0, 2)
    ]
    packed = call(builder, "llvm.x86.avx512.packsswb.512", vector(I8, 64), words)
    lowest = splat(builder, builder.trunc(low, I8), 64)
    packed = builder.select(builder.icmp_signed("<", packed, lowest), lowest, packed)
    packed = builder.xor(packed, ir.Constant(packed.type, [OFFSET] * 64))
    order = [group + 4 * r + s for group in range(0, 64, 16) for s in range(4) for r in range(4)]
    quad = builder.shuffle_vector(packed, packed, ir.Constant(vector(I32, 64), order))
    return builder.bitcast(quad, vector(I32, 16))


def _power_plain(builder: Builder, distance: Value, lanes: int) -> Value:
    """One look-up a lane."""
    name = "potnode_exp2"
    table = builder.module.globals.get(name)
    if table is None:
        kind = ir.ArrayType(I32, len(EXP2))
        table = ir.GlobalVariable(builder.module, kind, name)
        table.linkage = "internal"
        table.global_constant = True
        table.initializer = ir.Constant(kind, list(EXP2))
    index = builder.and_(distance, constant(255, lanes))
    values = ir.Constant(index.type, ir.Undefined)
    for lane in range(lanes):
        place = ir.Constant(I32, lane)
        at = builder.gep(table, [ir.Constant(I32, 0), builder.extract_element(index, place)])
        values = builder.insert_element(values, builder.load(at), place)
    return builder.lshr(values, _octaves(builder, distance, lanes))


def _octaves(builder: Builder, distance: Value, lanes: int) -> Value:
    """Whole powers of two in a distance; 31 stands for all that shift a power to 0."""
    octaves = builder.lshr(distance, constant(8, lanes))
    most = constant(31, lanes)
    return builder.select(builder.icmp_unsigned(">", octaves, most), most, octaves)


def _power_512(builder: Builder, distance: Value, lanes: int) -> Value:
    """A product of two look-ups among 16 in a register; its rounding to an integer is exact."""
    floats = vector(ir.FloatType(), lanes)
    factors = [
        call(
            builder,
            "llvm.x86.avx512.permvar.sf.512",
            floats,
            [ir.Constant(floats, [float(v) for v in table]), index],
        )
        for table, index in (
            (SIXTEENTHS, builder.lshr(distance, constant(4, lanes))),
            (PARTS, distance),
        )
    ]
    values = call(
        builder,
        "llvm.x86.avx512.mask.cvtps2dq.512",
        distance.type,
        [
            builder.fmul(*factors),
            constant(0, lanes),
            ir.Constant(I16, -1),  # every lane
            ir.Constant(I32, _TO_NEAREST),
        ],
    )
    octaves = builder.lshr(distance, constant(8, lanes))
    # Unlike LLVM's own shift this one gives 0 where the count is 32 and more.
    return call(builder, "llvm.x86.avx512.psrlv.d.512", values.type, [values, octaves])


PORTABLE = Flavour(4, 4, _dot_plain, _packed_plain, _power_plain)


def flavours(features: Mapping[str, bool]) -> list[Flavour]:
    """All that work on a processor with these features, by LLVM's names; the fastest first."""
    found = []
    if features.get("avx512vnni") and features.get("avx512bw"):
        found.append(Flavour(16, 4, _dot_vnni, _packed_512, _power_512))
    if features.get("avxvnni") or (features.get("avx512vnni") and features.get("avx512vl")):
        found.append(Flavour(8, 2, _dot_vnni, _packed_plain, _power_plain))
    if features.get("avx512bw"):
        found.append(Flavour(16, 4, _dot_madd, _packed_512, _power_512))
    if features.get("avx2"):
        found.append(Flavour(8, 2, _dot_madd, _packed_plain, _power_plain))
    return [*found, PORTABLE]


def _native() -> Flavour:
    """The fastest form for this machine; the portable one where numba is told not to use it all."""
    settings: Any = config
    restricted = settings.CPU_NAME or settings.CPU_FEATURES or not settings.ENABLE_AVX
    return PORTABLE if restricted else flavours(host_features())[0]


NATIVE = _native()
