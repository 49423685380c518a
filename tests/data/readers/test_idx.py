"""IDX files."""

from __future__ import annotations

import gzip
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from potnode.data.errors import BadSource
from potnode.data.readers.idx import parse_idx, read_idx
from potnode.data.source import Origin, SourceFile
from tests.data.readers.idx_files import CODES, encode

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) * 10
LABELS = np.array([1, 0, 2, 1], np.uint8)


def source(data: bytes) -> SourceFile:
    return SourceFile(Path("made-up"), data, Origin("made-up", "", 0))


def write(folder: Path, **files: bytes) -> list[Path]:
    paths = []
    for name, data in files.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: arrays.arrays(
            np.dtype(code),
            arrays.array_shapes(max_dims=4, max_side=4),
            elements={"allow_nan": False} if code.startswith("f") else None,
        )
    )
)
def test_every_array_comes_back(array: Any) -> None:
    found = parse_idx(source(encode(array)))
    assert found.dtype == array.dtype
    assert (found == array).all()
    assert found.shape == array.shape


@given(st.integers(0, 27), st.binary(min_size=1, max_size=4))
def test_a_file_must_be_as_long_as_it_says(cut: int, surplus: bytes) -> None:
    data = encode(IMAGES)
    for wrong in (data[:cut], data + surplus):
        with pytest.raises(BadSource, match=r"cut off|not an IDX file|take 40"):
            parse_idx(source(wrong))


@pytest.mark.parametrize(
    "data", [b"\x89PNG....", b"\0\0\x0a\x01\0\0\0\0", b"\0\1\x08\x01\0\0\0\0", b"\0\0\x08\0"]
)
def test_other_files_are_told_from_idx(data: bytes) -> None:
    with pytest.raises(
        BadSource, match=f"made-up is not an IDX file: it begins with {data[:4].hex()}"
    ):
        parse_idx(source(data))


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ([1] * 255, "255 dimensions"),
        ([2, 2**32 - 1, 0], "3 dimensions, the smallest of 0"),
        ([0, *[2**32 - 1] * 4], "the smallest of 0"),
        ([2**32 - 1] * 3, "is cut off or damaged"),
    ],
)
def test_dimensions_no_array_has(sizes: list[int], problem: str) -> None:
    head = bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
    with pytest.raises(BadSource, match=problem):
        parse_idx(source(head + bytes(min(math.prod(sizes), 1))))


def test_images_and_labels_in_either_order(tmp_path: Path) -> None:
    packed = gzip.compress(encode(IMAGES))
    paths = write(tmp_path, images=packed, labels=encode(LABELS))
    for pair in (paths, paths[::-1]):
        found = read_idx(pair)
        assert found.inputs.tolist() == IMAGES.tolist()
        assert found.targets is not None
        assert found.targets.tolist() == LABELS.tolist()
        assert (found.maximum, found.train_count) == (255, None)
    assert read_idx(paths).origins[0] == Origin("images", sha256(packed).hexdigest(), len(packed))


def test_two_pairs_are_training_and_held_out(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        a=encode(IMAGES),
        b=encode(LABELS),
        c=encode(IMAGES[:1] + 1),
        d=encode(LABELS[:1] + 1),
    )
    found = read_idx(paths)
    assert found.train_count == 4
    assert found.inputs.tolist() == [*IMAGES.tolist(), (IMAGES[0] + 1).tolist()]
    assert found.targets is not None
    assert found.targets.tolist() == [1, 0, 2, 1, 2]
    paths[2].write_bytes(encode(IMAGES[:1, :1]))
    with pytest.raises(BadSource, match="differ in shape"):
        read_idx(paths)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    images, labels, fewer = write(
        tmp_path, images=encode(IMAGES), labels=encode(LABELS), fewer=encode(LABELS[:3])
    )
    with pytest.raises(BadSource, match=r"images has 4 images, .*fewer has 3 labels"):
        read_idx([images, fewer])
    with pytest.raises(BadSource, match="3- and 3-dimensional"):
        read_idx([images, images])
    with pytest.raises(BadSource, match="1- and 1-dimensional"):
        read_idx([labels, labels])
    for count in (1, 3):
        with pytest.raises(BadSource, match=f"2 or 4 files, not {count}"):
            read_idx([images] * count)


def test_images_of_other_types_have_no_known_maximum(tmp_path: Path) -> None:
    paths = write(tmp_path, images=encode(IMAGES / 2), labels=encode(LABELS))
    assert read_idx(paths).maximum is None
    broken = IMAGES / 2
    broken[2, 1, 0] = np.nan
    paths[0].write_bytes(encode(broken))
    with pytest.raises(BadSource, match=r"nan at \[2, 1, 0\]"):
        read_idx(paths)
