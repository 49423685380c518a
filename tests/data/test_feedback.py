"""Parts of feedback: as files, put together, and counted by their root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.data.errors import BadDataset, DataError, MissingPart
from potnode.data.feedback import (
    HEADER_SIZE,
    Feedback,
    Part,
    Roots,
    part_name,
    read_feedback,
    write_part,
)
from potnode.spec import feedback as rules
from potnode.spec.dataset import Sample

JOB = bytes.fromhex("ab" * 32)
SIZE = 3


def pairs(count: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    return np.random.default_rng(seed).integers(-127, 128, (count, 2 * SIZE)).astype(np.int8)


@given(st.integers(0, rules.MAX_PAIRS - 5), st.integers(1, 5), st.integers(0, 99))
def test_a_part_comes_back(first: int, count: int, seed: int) -> None:
    part = Part(first, pairs(count, seed))
    data = part.to_bytes()
    assert len(data) == HEADER_SIZE + count * 2 * SIZE
    again = Part.from_bytes(data, where="it")
    assert (again.first, again.pairs.tolist()) == (first, part.pairs.tolist())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: b"POTFEED2" + d[8:], "must start with POTFEED1"),
        (lambda d: d[:19], "must start with POTFEED1"),
        (lambda d: d[:-1], "2 pairs make 32 bytes, it has 31"),
        (lambda d: d + b"\0", "it has 33"),
        (lambda d: d[:12] + bytes(4) + d[16:], "must be some"),
        (lambda d: d[:16] + bytes(4), "must be some"),
        (lambda d: d[:8] + b"\xff" * 4 + d[12:], "at most 1048576"),
        (lambda d: d[:-1] + b"\x80", "pair 8 has a value of -128"),
    ],
)
def test_a_damaged_part_is_refused(change: object, problem: str) -> None:
    assert callable(change)
    with pytest.raises(BadDataset, match=problem):
        Part.from_bytes(change(Part(7, pairs(2)).to_bytes()), where="it")


def test_roots_are_those_of_the_specification() -> None:
    roots, leaves = Roots(), []
    known = Feedback(pairs(70))
    assert known.count_of(rules.NO_FEEDBACK) == 0
    for i, pair in enumerate(known.pairs):
        leaves.append(rules.leaf(i, pair.tobytes()))
        roots.add(pair.tobytes())
        assert roots.data_root == rules.data_root(leaves)
        assert known.count_of(roots.data_root) == roots.count == i + 1
    assert known.count_of(bytes(31) + b"\x01") is None


def test_parts_of_two_folders_are_put_together(tmp_path: Path) -> None:
    every = pairs(9)
    here, there = tmp_path / "here", tmp_path / "there"
    write_part(here, JOB, Part(0, every[:4]))
    write_part(there, JOB, Part(4, every[4:]))
    write_part(there, JOB, Part(0, pairs(4, seed=1)))  # the first folder wins
    write_part(there, bytes(32), Part(9, every))  # of another job
    (there / f"{JOB.hex()}.00{'.potfeed'}").write_bytes(b"no name of a part")
    assert sorted(path.suffix for path in here.iterdir()) == [".potfeed"]
    found = read_feedback(JOB, SIZE, [here, there, tmp_path / "absent"])
    assert len(found) == 9
    assert found.pairs.tolist() == every.tolist()
    assert found.sample(8) == Sample(tuple(every[8].tolist()), ())
    assert len(read_feedback(bytes(31) + b"\1", SIZE, [here, there])) == 0


def test_a_gap_names_the_file_and_where_it_is_to_be_had(tmp_path: Path) -> None:
    write_part(tmp_path, JOB, Part(0, pairs(4)))
    write_part(tmp_path, JOB, Part(6, pairs(4)))
    name = part_name(JOB, 4)
    with pytest.raises(MissingPart) as missing:
        read_feedback(JOB, SIZE, [tmp_path])
    assert f"/api/v1/jobs/{JOB.hex()}/feedback/parts/4" in str(missing.value)
    assert str(tmp_path / name) in str(missing.value)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_part(tmp_path, JOB, Part(0, pairs(4)))
    (tmp_path / part_name(JOB, 2)).write_bytes(Part(2, pairs(4)).to_bytes())
    with pytest.raises(BadDataset, match="where 4 is the next"):
        read_feedback(JOB, SIZE, [tmp_path])
    (tmp_path / part_name(JOB, 2)).unlink()
    (tmp_path / part_name(JOB, 4)).write_bytes(Part(5, pairs(4)).to_bytes())
    with pytest.raises(BadDataset, match="has the pairs from 5 on, where 4 is the next"):
        read_feedback(JOB, SIZE, [tmp_path])
    (tmp_path / part_name(JOB, 4)).unlink()
    with pytest.raises(BadDataset, match="inputs of 3 values, the job's have 4"):
        read_feedback(JOB, 4, [tmp_path])
    (tmp_path / part_name(JOB, 4)).mkdir()
    with pytest.raises(DataError, match="can't read"):
        read_feedback(JOB, SIZE, [tmp_path])
