"""The vector instructions against plain integers, in this machine's form and the portable one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from potnode.engine.kernels.compiled import compiled
from potnode.engine.kernels.vectors import (
    LANES,
    QUAD,
    dot1,
    dot2,
    dot4,
    dot_pack,
    dot_pack2,
    logits,
    pack,
)
from potnode.engine.loss import LOGARITHMS
from potnode.engine.memory import aligned
from potnode.spec.loss import cross_entropy

both = pytest.mark.parametrize("portable", [0, 1])


@compiled
def _dot(rows, x, offsets, at, groups, w, pitch, start, out, portable):  # type: ignore[no-untyped-def]
    if rows == 4:
        dot4(x, 0, offsets, at, groups, w, 0, pitch, start, 0, out, 0, portable)
    elif rows == 2:
        dot2(x, 0, offsets, at, groups, w, 0, pitch, start, 0, out, 0, portable)
    else:
        dot1(x, 0, offsets, at, groups, w, 0, pitch, start, 0, out, 0, portable)


@compiled
def _pack(acc, terms, places, shift, low, out, portable):  # type: ignore[no-untyped-def]
    pack(acc, 0, terms, 0, places, 0, np.int32(shift), np.int32(low), out, 0, portable)


@compiled
def _dot_pack(  # type: ignore[no-untyped-def]
    tables, x, offsets, w, pitch, start, terms, places, places_2, shift, low, out, portable
):
    groups, k, least = offsets.size, np.int32(shift), np.int32(low)
    if tables == 1:
        dot_pack(
            x, 0, offsets, 0, groups, w, 0, pitch, start, 0, terms, 0, places, 0, k, least, out, 0,
            portable,
        )  # fmt: skip
    else:
        dot_pack2(
            x, 0, offsets, 0, groups, w, 0, pitch, start, 0, terms, 0, places, 0,
            terms, 0, places_2, 0, k, least, out, 0, portable,
        )  # fmt: skip


@compiled
def _logits(acc, terms, places, rows, shift, z, facts, portable):  # type: ignore[no-untyped-def]
    logits(acc, 0, terms, 0, places, 0, rows, np.int32(shift), z, 0, facts, 0, portable)


def _aligned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    result = aligned(values.size, values.dtype)
    result[:] = values.reshape(-1)
    return result


@both
@pytest.mark.parametrize("rows", [4, 2, 1])
@pytest.mark.parametrize("groups", [0, 1, 2, 7, 300])
@pytest.mark.parametrize("extreme", [False, True])
def test_dot_products(portable: int, rows: int, groups: int, extreme: bool) -> None:
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (groups + 1, LANES, 4)).astype(np.uint8)
    w = rng.integers(-127, 128, (rows, 4 * groups + 4)).astype(np.int8)
    if extreme:  # pairs of products beyond int16
        x[:], w[:] = 255, 127
    quads = rng.integers(0, groups + 1, groups)  # any order, any twice
    offsets = np.array([-1, *(QUAD * quads)], np.int32)
    start = rng.integers(-(1 << 30), 1 << 30, rows).astype(np.int32)
    out = np.full((rows + 1, LANES), 77, np.int32)
    flat = _aligned(out)
    _dot(rows, _aligned(x), offsets, 1, groups, w.reshape(-1), w.shape[1], start, flat, portable)
    used = w[:, : 4 * groups].reshape(rows, groups, 4).astype(np.int64)
    expected = np.einsum("rgk,gsk->rs", used, x[quads].astype(np.int64)) + start[:, None]
    found = flat.reshape(rows + 1, LANES)
    assert (found[:rows] == expected).all()
    assert (found[rows] == 77).all()


@both
@pytest.mark.parametrize("low", [0, -127])
@pytest.mark.parametrize("shift", [0, 3, 8, 24])
def test_packing(portable: int, low: int, shift: int) -> None:
    rng = np.random.default_rng(shift)
    limit = min(1 << 29, 400 << shift)
    acc = rng.integers(-limit, limit, (4, LANES)).astype(np.int32)
    acc[0, :4] = [(1 << 30) - 1, -(1 << 30), 128 << shift & 0x3FFFFFFF, -1]
    terms = rng.integers(-limit, limit, (9, LANES)).astype(np.int32)
    places = np.array([8, 0, 4, 4]), np.array([2, 0, 1, 1])
    tables = [_aligned(terms), *((QUAD * p).astype(np.int32) for p in places)]
    out = np.zeros(QUAD, np.uint8)
    sums = acc.astype(np.int64) + terms[places[0]]
    _pack(_aligned(acc), tables[0], tables[1], shift, low, out, portable)
    assert (out.reshape(LANES, 4) == ((sums >> shift).clip(low, 127) + 128).T).all()


@both
@pytest.mark.parametrize("tables", [1, 2])
@pytest.mark.parametrize("groups", [1, 5])
@pytest.mark.parametrize("low", [0, -127])
def test_products_packed_at_once(portable: int, tables: int, groups: int, low: int) -> None:
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (groups, LANES, 4)).astype(np.uint8)
    w = rng.integers(-127, 128, (4, 4 * groups)).astype(np.int8)
    offsets = (QUAD * np.arange(groups)).astype(np.int32)
    start = rng.integers(-(1 << 17), 1 << 17, 4).astype(np.int32)
    terms = rng.integers(-(1 << 14), 1 << 14, (9, LANES)).astype(np.int32)
    places = np.array([8, 0, 4, 4]), np.array([2, 0, 1, 1])
    out, offsets_of = np.zeros(QUAD, np.uint8), [(QUAD * p).astype(np.int32) for p in places]
    _dot_pack(
        tables, _aligned(x), offsets, w.reshape(-1), w.shape[1], start, _aligned(terms),
        *offsets_of, 9, low, out, portable,
    )  # fmt: skip
    used = w.reshape(4, groups, 4).astype(np.int64)
    sums = np.einsum("rgk,gsk->rs", used, x.astype(np.int64)) + start[:, None]
    for table in range(tables):
        sums += terms[places[table]]
    assert (out.reshape(LANES, 4) == ((sums >> 9).clip(low, 127) + 128).T).all()


@both
@pytest.mark.parametrize("rows", [1, 2, 10, 256])
@pytest.mark.parametrize("spread", [1, 3000, 1 << 22])
def test_logits_and_their_losses(portable: int, rows: int, spread: int) -> None:
    rng = np.random.default_rng(rows)
    shift = 3
    acc = (rng.integers(-spread, spread + 1, (rows, LANES)) << shift).astype(np.int32)
    terms = rng.integers(-9, 10, (9, LANES)).astype(np.int32)
    places = rng.integers(0, 9, rows)
    z, facts = np.zeros(rows * LANES, np.int32), np.zeros(3 * LANES, np.int32)
    _logits(
        _aligned(acc), _aligned(terms), (QUAD * places).astype(np.int32), rows, shift, z, facts,
        portable,
    )  # fmt: skip
    expected = (acc + terms[places]) >> shift
    assert (z.reshape(rows, LANES) == expected).all()
    top, best, index = facts.reshape(3, LANES)
    assert (top == expected.max(axis=0)).all()
    assert (best == expected.argmax(axis=0)).all()
    for s in range(0, LANES, 5):
        if rows > 1:
            loss = cross_entropy(expected[:, s].tolist(), rows - 1)
            assert loss == LOGARITHMS[index[s]] + top[s] - expected[rows - 1, s]


@both
def test_two_logits_at_every_distance(portable: int) -> None:
    terms, places = _aligned(np.zeros(LANES, np.int32)), np.zeros(2, np.int32)
    for first in range(0, 18 << 8, LANES):
        distances = np.arange(first, first + LANES)
        rows = np.stack([np.zeros(LANES, np.int64), -distances]).astype(np.int32)
        z, facts = np.zeros(2 * LANES, np.int32), np.zeros(3 * LANES, np.int32)
        _logits(_aligned(rows), terms, places, 2, 0, z, facts, portable)
        found = LOGARITHMS[facts[2 * LANES :]].tolist()
        assert found == [cross_entropy([0, -d], 0) for d in distances.tolist()]
