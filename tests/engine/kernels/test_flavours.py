"""Every flavour that this machine's processor can run, not only the fastest, gives the same."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from potnode.engine.kernels.flavours import NATIVE, PORTABLE, Flavour, flavours
from potnode.engine.kernels.vectors import (
    LANES,
    QUAD,
    dot_function,
    instruction,
    logits_function,
)
from potnode.engine.memory import aligned
from potnode.machinecode.compiler import host_features

HERE = flavours(host_features())


def names(flavour: Flavour) -> str:
    """Such as 16-_dot_vnni."""
    return f"{flavour.lanes}-{flavour.dot.__name__}"


def test_the_fastest_comes_first_and_the_portable_one_last() -> None:
    assert HERE[0] == NATIVE
    assert flavours({}) == [PORTABLE]
    every = ["avx512vnni", "avx512bw", "avx512vl", "avxvnni", "avx2"]
    assert [names(x) for x in flavours(dict.fromkeys(every, True))] == [
        "16-_dot_vnni", "8-_dot_vnni", "16-_dot_madd", "8-_dot_madd", "4-_dot_plain",
    ]  # fmt: skip
    assert [names(x) for x in flavours({"avx2": True, "avxvnni": True})] == [
        "8-_dot_vnni", "8-_dot_madd", "4-_dot_plain",
    ]  # fmt: skip


@pytest.mark.parametrize("flavour", HERE, ids=names)
def test_flavours_agree_with_the_portable_one(flavour: Flavour) -> None:
    dot = instruction("dot", "aalalaa", lambda m, by: dot_function(m, by, 1), flavour)
    both = instruction("both", "aalalaaaaaiia", lambda m, by: dot_function(m, by, 4, 2), flavour)
    outputs = instruction("outputs", "aaaliaa", logits_function, flavour)
    options: dict[str, Any] = {"_nrt": False}

    @numba.njit(**options)
    def run(x, offsets, w, start, terms, places, sums, quad, z, facts, portable):  # type: ignore[no-untyped-def]
        groups = offsets.size
        for r in range(4):
            dot(x, 0, offsets, 0, groups, w, 4 * groups * r, 0, start, r, sums, r * LANES, portable)
        both(
            x, 0, offsets, 0, groups, w, 0, 4 * groups, start, 0, terms, 0, places, 0,
            terms, 0, places, 1, np.int32(9), np.int32(-127), quad, 0, portable,
        )  # fmt: skip
        outputs(sums, 0, terms, 0, places, 0, 4, np.int32(6), z, 0, facts, 0, portable)

    rng = np.random.default_rng(3)
    for groups in (1, 6, 33):
        x = aligned(groups * QUAD, np.uint8)
        x[:] = rng.choice([0, 1, 127, 128, 254, 255], x.size)
        w = rng.choice([-127, -1, 0, 64, 127], 16 * groups).astype(np.int8)
        offsets = rng.permutation(QUAD * np.arange(groups)).astype(np.int32)
        start = rng.integers(-(1 << 30), 1 << 30, 4).astype(np.int32)
        terms = aligned(9 * LANES, np.int32)
        terms[:] = rng.integers(-(1 << 15), 1 << 15, terms.size)
        places = (QUAD * np.array([8, 0, 3, 5, 1])).astype(np.int32)
        results = []
        for portable in (0, 1):
            sums, quad = aligned(4 * LANES, np.int32), aligned(QUAD, np.uint8)
            z, facts = aligned(4 * LANES, np.int32), aligned(3 * LANES, np.int32)
            run(x, offsets, w, start // 4096, terms, places, sums, quad, z, facts, portable)
            results.append([a.tolist() for a in (sums, quad, z, facts)])
        assert results[0] == results[1]
