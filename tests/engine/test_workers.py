"""Work shared among threads."""

from __future__ import annotations

from threading import Lock

import numpy as np
import pytest

from potnode.engine import kernels
from potnode.engine.workers import Workers, available_cores


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_every_index_is_covered_once(threads: int | None, count: int) -> None:
    seen: list[int] = []
    lock = Lock()

    def work(first: int, last: int) -> None:
        with lock:
            seen.extend(range(first, last))

    Workers(threads).share(work, count)
    assert sorted(seen) == list(range(count))


def test_an_error_of_a_part_is_raised() -> None:
    def work(first: int, last: int) -> None:
        if last == 100:
            raise RuntimeError("the last part")

    with pytest.raises(RuntimeError, match="the last part"):
        Workers(2).share(work, 100)


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 4, 64), (5, 7, 65), (11, 130, 200), (3, 9, 64)])
def test_product_is_the_matrix_product(
    dtype: type[np.float32] | type[np.float64], shape: tuple[int, int, int]
) -> None:
    rows, inner, columns = shape
    rng = np.random.default_rng(1)
    a = rng.integers(-127, 128, (rows, inner))
    b = rng.integers(-127, 128, (inner, columns))
    blocks = kernels.blocked(b, dtype)
    assert kernels.unblocked(blocks, columns).tolist() == b.tolist()
    found = Workers(2).product(a.astype(dtype), blocks)
    assert kernels.unblocked(found, columns).tolist() == (a @ b).tolist()
