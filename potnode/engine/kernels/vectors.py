"""The instructions for tiles of numbers, as vector code that numba functions can call.

A tile is LANES samples wide. Activations are *quads*: four features of each sample side by side,
stored as u8 = activation + 128, so a quad is LANES x 4 bytes and the unit of all offsets here. One
vector register then holds four features of several samples, which is what the dot product
instructions of processors take: u8 x int8, four products to a lane, summed in int32.

- `dot4`, `dot2`, `dot1`: int32 accumulators of 4, 2 or 1 rows over any number of quads.
- `pack`: accumulators + a term for each row, shifted, clipped, as one quad of the next layer.
- `dot_pack`, `dot_pack2`: `dot4` and `pack` in one, with one or two terms for each row.
- `logits`: accumulators + a term for each row, shifted: the outputs, and what their loss needs.

Each comes in the form for this machine and in a portable one (argument `portable`), which works on
any processor. Both are exact: sums wrap modulo 2^32 and the manifest's bound keeps them in int32.
Not responsible for bounds: callers pass offsets that are inside their arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from potnode.engine.kernels.flavours import (
    I8,
    I32,
    I64,
    NATIVE,
    PORTABLE,
    Builder,
    Flavour,
    Value,
    constant,
    splat,
    vector,
)
from potnode.engine.loss import FLOAT_ORIGIN, FLOAT_SHIFT

LANES = 64  # samples side by side; a multiple of every vector register's lanes
QUAD = 4 * LANES  # bytes of a quad


def _load(builder: Builder, base: Value, at: Value, kind: Any) -> Value:
    """Value of LLVM type `kind` at byte `at` of pointer `base`; no alignment assumed."""
    address = builder.bitcast(builder.gep(base, [at]), kind.as_pointer())
    return builder.load(address, align=1)


def _store(builder: Builder, value: Value, base: Value, at: Value) -> None:
    builder.store(value, builder.bitcast(builder.gep(base, [at]), value.type.as_pointer()), align=1)


def _long(value: int) -> Value:
    return ir.Constant(I64, value)


def _counted(
    builder: Builder,
    first: Value,
    last: Value,
    step: int,
    carried: list[Value],
    body: Callable[[Value, list[Value]], list[Value]],
) -> tuple[Value, list[Value]]:
    """for i in range(first, last, step) with `last - first` a multiple of step; carried values."""
    before = builder.block
    head = builder.append_basic_block("loop")
    inside = builder.append_basic_block("body")
    after = builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(I64)
    i.add_incoming(first, before)
    phis = []
    for value in carried:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phis.append(phi)
    builder.cbranch(builder.icmp_signed("<", i, last), inside, after)
    builder.position_at_end(inside)
    results = body(i, phis)
    i.add_incoming(builder.add(i, _long(step)), builder.block)
    for phi, value in zip(phis, results, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return i, phis


def _function(module: Any, name: str, arguments: list[Any]) -> tuple[Any, Builder | None]:
    """A new function of the module and a builder in it; no builder where it is there already.

    Its pointers never point into the same memory.
    """
    if name in module.globals:
        return module.globals[name], None
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for argument in function.args:
        if isinstance(argument.type, ir.PointerType):
            argument.add_attribute("noalias")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def dot_function(module: Any, flavour: Flavour, rows: int, tables: int = 0) -> Any:
    """LLVM function: accumulators of `rows` rows for one tile; with tables, of four rows, packed.

    Arguments: x (quads), offsets (int32, byte offset of each group's quad in x), groups, w (int8,
    row by row), pitch (bytes from row to row), start (int32, one a row), then without tables out
    (int32 [rows][LANES]), with tables what `pack_function` takes after its accumulators.
    """
    byte = I8.as_pointer()
    packing = [*[byte, byte] * tables, I32, I32] if tables else []
    function, builder = _function(
        module,
        f"potnode_dot{rows}_{tables}_{flavour.lanes}_{flavour.dot.__name__}",
        [byte, byte, I64, byte, I64, byte, *packing, byte],
    )
    if builder is None:
        return function
    x, offsets, groups, w, pitch, start, *epilogue, out = function.args
    packed = _packing(builder, flavour, epilogue) if tables else None
    lanes, registers = flavour.lanes, flavour.registers
    register = vector(I32, lanes)
    unrolled = 1 if rows > 1 else 2
    starts = [_load(builder, start, _long(4 * r), I32) for r in range(rows)]
    row = [builder.gep(w, [builder.mul(pitch, _long(r))]) for r in range(rows)]

    def columns(at: Value, _: list[Value]) -> list[Value]:
        """One pass over all groups for `registers` vectors of samples, `at` bytes into a quad."""

        def group(g: Value, sums: list[Value]) -> list[Value]:
            four = builder.mul(g, _long(4))
            quad = builder.add(builder.sext(_load(builder, offsets, four, I32), I64), at)
            quads = [
                _load(builder, x, builder.add(quad, _long(4 * lanes * v)), register)
                for v in range(registers)
            ]
            after = []
            for r in range(rows):
                weight = splat(builder, _load(builder, row[r], four, I32), lanes)
                for v in range(registers):
                    acc = sums[r * registers + v]
                    after.append(flavour.dot(builder, acc, quads[v], weight, lanes))
            return after

        def two(g: Value, sums: list[Value]) -> list[Value]:
            half = len(sums) // 2
            return group(g, sums[:half]) + group(builder.add(g, _long(1)), sums[half:])

        first = [splat(builder, s, lanes) for s in starts for _ in range(registers)]
        if unrolled == 2:
            even = builder.and_(groups, _long(-2))
            both = first + [constant(0, lanes)] * registers
            g, both = _counted(builder, _long(0), even, 2, both, two)
            half = len(both) // 2
            sums = [builder.add(a, b) for a, b in zip(both[:half], both[half:], strict=True)]
        else:
            g, sums = _long(0), first
        _, sums = _counted(builder, g, groups, 1, sums, group)
        if packed:
            for v in range(registers):
                place = builder.add(at, _long(4 * lanes * v))
                _store(builder, packed(sums[v::registers], place), out, place)
            return []
        for r in range(rows):
            for v in range(registers):
                place = builder.add(at, _long(r * QUAD + 4 * lanes * v))
                _store(builder, sums[r * registers + v], out, place)
        return []

    _counted(builder, _long(0), _long(QUAD), 4 * lanes * registers, [], columns)
    builder.ret_void()
    return function


def pack_function(module: Any, flavour: Flavour, tables: int) -> Any:
    """LLVM function: four rows of accumulators to one quad.

    Arguments: acc (int32 [4][LANES]), then for each of `tables` a table of terms (int32 rows of
    LANES) and offsets (int32 [4], byte offset of each row's term), then shift, low, out (one quad).
    """
    byte = I8.as_pointer()
    function, builder = _function(
        module,
        f"potnode_pack{tables}_{flavour.lanes}_{flavour.packed.__name__}",
        [byte, *[byte, byte] * tables, I32, I32, byte],
    )
    if builder is None:
        return function
    acc, *epilogue, out = function.args
    packed = _packing(builder, flavour, epilogue)
    register = vector(I32, flavour.lanes)

    def columns(at: Value, _: list[Value]) -> list[Value]:
        places = [builder.add(at, _long(r * QUAD)) for r in range(4)]
        rows = [_load(builder, acc, place, register) for place in places]
        _store(builder, packed(rows, at), out, at)
        return []

    _counted(builder, _long(0), _long(QUAD), 4 * flavour.lanes, [], columns)
    builder.ret_void()
    return function


def _packing(
    builder: Builder, flavour: Flavour, arguments: list[Value]
) -> Callable[[list[Value], Value], Value]:
    """From four rows of accumulators of one register each, at a byte of a row, to their quads."""
    *terms, shift, low = arguments
    lanes = flavour.lanes
    shifts = splat(builder, shift, lanes)
    places = [
        [
            builder.gep(table, [builder.sext(_load(builder, offsets, _long(4 * r), I32), I64)])
            for table, offsets in zip(terms[::2], terms[1::2], strict=True)
        ]
        for r in range(4)
    ]

    def packed(rows: list[Value], at: Value) -> Value:
        shifted = []
        for row, mine in zip(rows, places, strict=True):
            value = row
            for place in mine:
                term = _load(builder, place, at, vector(I32, lanes))
                value = builder.add(value, term)
            shifted.append(builder.ashr(value, shifts))
        return flavour.packed(builder, shifted, low, lanes)

    return packed


def logits_function(module: Any, flavour: Flavour) -> Any:
    """LLVM function: the outputs of a tile, and of each sample what its cross-entropy needs.

    Arguments: acc (int32 [rows][LANES]), terms and offsets as for `pack`, rows, shift, z (int32
    [rows][LANES]: the outputs), facts (int32 [3][LANES]: the largest output, the lowest row that
    reaches it, the index in LOGARITHMS of the sum of all powers).
    """
    byte = I8.as_pointer()
    function, builder = _function(
        module,
        f"potnode_logits_{flavour.lanes}_{flavour.power.__name__}",
        [byte, byte, byte, I64, I32, byte, byte],
    )
    if builder is None:
        return function
    acc, terms, offsets, rows, shift, z, facts = function.args
    lanes, registers = flavour.lanes, flavour.registers
    register = vector(I32, lanes)
    shifts = splat(builder, shift, lanes)

    def columns(at: Value, _: list[Value]) -> list[Value]:
        places = [builder.add(at, _long(4 * lanes * v)) for v in range(registers)]

        def output(r: Value, carried: list[Value]) -> list[Value]:
            offset = _load(builder, offsets, builder.mul(r, _long(4)), I32)
            term = builder.gep(terms, [builder.sext(offset, I64)])
            row = builder.mul(r, _long(QUAD))
            number = splat(builder, builder.trunc(r, I32), lanes)
            tops, bests = [], []
            for v, place in enumerate(places):
                here = builder.add(row, place)
                value = builder.add(
                    _load(builder, acc, here, register), _load(builder, term, place, register)
                )
                value = builder.ashr(value, shifts)
                _store(builder, value, z, here)
                larger = builder.icmp_signed(">", value, carried[v])
                tops.append(builder.select(larger, value, carried[v]))
                bests.append(builder.select(larger, number, carried[registers + v]))
            return tops + bests

        lowest = [constant(-(1 << 31), lanes)] * registers
        zeros = [constant(0, lanes)] * registers
        _, most = _counted(builder, _long(0), rows, 1, lowest + zeros, output)

        def power(r: Value, sums: list[Value]) -> list[Value]:
            row = builder.mul(r, _long(QUAD))
            after = []
            for place, largest, so_far in zip(places, most, sums, strict=False):
                value = _load(builder, z, builder.add(row, place), register)
                distance = builder.sub(largest, value)
                after.append(builder.add(so_far, flavour.power(builder, distance, lanes)))
            return after

        _, sums = _counted(builder, _long(0), rows, 1, zeros, power)
        for v, place in enumerate(places):
            number = builder.sitofp(sums[v], vector(ir.FloatType(), lanes))
            bits = builder.bitcast(number, register)
            index = builder.sub(
                builder.lshr(bits, constant(FLOAT_SHIFT, lanes)), constant(FLOAT_ORIGIN, lanes)
            )
            for fact, value in enumerate((most[v], most[registers + v], index)):
                _store(builder, value, facts, builder.add(place, _long(fact * QUAD)))
        return []

    _counted(builder, _long(0), _long(QUAD), 4 * lanes * registers, [], columns)
    builder.ret_void()
    return function


def instruction(
    name: str, shape: str, function: Callable[[Any, Flavour], Any], native: Flavour = NATIVE
) -> Any:
    """A function that numba code can call.

    shape: of the arguments, "a" for an array and an index in it, which become a byte pointer, "l"
    for an int64, "i" for an int32. The last argument picks the flavour: 1 PORTABLE, 0 `native`.
    """

    def typed(typing: Any, *given: Any) -> Any:
        kinds: list[Any] = []
        for letter in shape:
            if letter == "a":
                kinds += [given[len(kinds)], types.int64]
            else:
                kinds.append(types.int64 if letter == "l" else types.int32)

        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            values, at = [], 0
            for letter in shape:
                if letter == "a":
                    array = context.make_array(signature.args[at])(context, builder, args[at])
                    place = builder.gep(array.data, [args[at + 1]])
                    values.append(builder.bitcast(place, I8.as_pointer()))
                    at += 1
                else:
                    values.append(args[at])
                at += 1
            with builder.if_else(builder.trunc(args[at], ir.IntType(1))) as (portable, fast):
                with portable:
                    builder.call(function(builder.module, PORTABLE), values)
                with fast:
                    builder.call(function(builder.module, native), values)
            return context.get_dummy_value()

        return types.void(*kinds, types.int64), generate

    typed.__name__ = name
    # numba passes arguments by the names of the signature, and takes no *args.
    count = 1 + sum(2 if letter == "a" else 1 for letter in shape) + 1
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(f"argument{i}", kind) for i in range(count)]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(typed)


_dot = "aalala"  # x, offsets, groups, w, pitch, start

# out
dot4 = instruction("dot4", _dot + "a", lambda module, by: dot_function(module, by, 4))
dot2 = instruction("dot2", _dot + "a", lambda module, by: dot_function(module, by, 2))
dot1 = instruction("dot1", _dot + "a", lambda module, by: dot_function(module, by, 1))
# terms and offsets, once or twice, then shift, low, out
dot_pack = instruction(
    "dot_pack", _dot + "aaiia", lambda module, by: dot_function(module, by, 4, 1)
)
dot_pack2 = instruction(
    "dot_pack2", _dot + "aaaaiia", lambda module, by: dot_function(module, by, 4, 2)
)
# accumulators, terms, offsets, shift, low, out
pack = instruction("pack", "aaaiia", lambda module, by: pack_function(module, by, 1))
# accumulators, terms, offsets, rows, shift, outputs, facts
logits = instruction("logits", "aaaliaa", logits_function)
