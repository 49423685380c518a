"""IDX files, the format of MNIST: one of images and one of labels, or two such pairs.

A file is two zero bytes, the type of its elements, the number of dimensions, each dimension as
be32, then the elements, big-endian. It may be packed by gzip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from potnode.data.errors import BadSource
from potnode.data.source import Arrays, Numbers, SourceFile, check_numbers, read_source

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PIXEL_MAXIMUM = 255
_MAX_DIMENSIONS = 8  # the format has room for 255, numpy for fewer


def read_idx(paths: Sequence[Path]) -> Arrays:
    """Images and labels; with two pairs, the first trains and the second is held out.

    Args:
        paths: two or four files. In each pair the file of one dimension is that of labels.

    Raises:
        BadSource: a file is cut off or no IDX file, or they don't fit together.
    """
    if len(paths) not in (2, 4):
        raise BadSource(
            f"IDX files come as images and labels, or as two such pairs: 2 or 4 files, "
            f"not {len(paths)}"
        )
    files = [read_source(path) for path in paths]
    pairs = [_pair(files[i], files[i + 1]) for i in range(0, len(files), 2)]
    sizes = {images.shape[1:] for images, _ in pairs}
    if len(sizes) > 1:
        raise BadSource(f"training and held-out images differ in shape: {sorted(sizes)}")
    inputs = np.concatenate([images for images, _ in pairs])
    return Arrays(
        inputs=inputs,
        targets=np.concatenate([labels for _, labels in pairs]),
        origins=tuple(file.origin for file in files),
        reader={"format": "idx"},
        maximum=_PIXEL_MAXIMUM if inputs.dtype == np.uint8 else None,
        train_count=len(pairs[0][1]) if len(pairs) > 1 else None,
    )


def parse_idx(file: SourceFile) -> Numbers:
    """The array of an IDX file, in this machine's byte order.

    Raises:
        BadSource: wrong magic, or more or fewer bytes than its dimensions ask for.
    """
    data = file.data
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or data[3] < 1:
        raise BadSource(
            f"{file.path} is not an IDX file: it begins with {data[:4].hex()}, "
            "images with 00000803, labels with 00000801"
        )
    dtype, start = np.dtype(_TYPES[data[2]]), 4 + 4 * data[3]
    dimensions = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    expected = start + math.prod(dimensions) * dtype.itemsize
    if len(data) != expected:
        shape = " x ".join(map(str, dimensions))
        raise BadSource(
            f"{file.path} has {len(data)} bytes, {shape} elements take {expected}: "
            "it is cut off or damaged, fetch it again"
        )
    if len(dimensions) > _MAX_DIMENSIONS or 0 in dimensions:
        raise BadSource(
            f"{file.path} has {len(dimensions)} dimensions, the smallest of {min(dimensions)}: "
            f"at most {_MAX_DIMENSIONS} can be read, and none of them may be 0"
        )
    array = np.frombuffer(data, dtype, offset=start).reshape(dimensions)
    return array.astype(dtype.newbyteorder("="))


def _pair(first: SourceFile, second: SourceFile) -> tuple[Numbers, Numbers]:
    """Images and labels of a pair given in either order."""
    arrays = [parse_idx(first), parse_idx(second)]
    if [a.ndim == 1 for a in arrays] == [True, False]:
        first, second = second, first
        arrays.reverse()
    images, labels = arrays
    if images.ndim == 1 or labels.ndim != 1:
        raise BadSource(
            f"{first.path} and {second.path} are {images.ndim}- and {labels.ndim}-dimensional: "
            "one must hold images, the other one label each"
        )
    if len(images) != len(labels):
        raise BadSource(
            f"{first.path} has {len(images)} images, {second.path} has {len(labels)} labels: "
            "they don't belong together"
        )
    check_numbers(images, str(first.path))
    check_numbers(labels, str(second.path))
    return images, labels
