"""A text, or any other file, as bytes: fixed windows in the order of the file.

The held-out part is the end of the file and no window reaches over the cut, so nothing that is held
out was seen in training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from potnode.data.errors import BadSource
from potnode.data.source import Arrays, Numbers, read_source

WINDOW, STRIDE = 65, 64
"""Windows that overlap in one byte: every byte but a part's first is predicted once."""
_HELD_OUT_SHARE = 10  # one part in ten is held out


def read_text(
    path: Path, *, window: int = WINDOW, stride: int = STRIDE, train_count: int | None = None
) -> Arrays:
    """Windows of the file's bytes, the training part's first.

    Args:
        window: T + 1 bytes, at least 2: T are seen, T predicted. stride: bytes from the start of
            one window to the next, at least 1. train_count: windows that train; default those of
            the first nine tenths of the bytes, the last tenth is held out.

    Raises:
        BadSource: the file is empty or shorter than its windows, or a number is out of range.
    """
    if window < 2 or stride < 1:
        raise BadSource(
            f"a window has at least 2 bytes and a stride of at least 1, not {window} and {stride}"
        )
    file = read_source(path)
    size = len(file.data)
    if train_count is None:
        cut = size - size // _HELD_OUT_SHARE
    else:
        cut = (train_count - 1) * stride + window
    if train_count is not None and (train_count < 1 or cut > size):
        most = max(0, (size - window) // stride + 1)
        raise BadSource(f"{path} has {most} windows of {window} bytes, {train_count} can't train")
    if cut < window:
        raise BadSource(
            f"{path}: {cut} bytes to train with are shorter than one window of {window} bytes"
        )
    train = _windows(file.data[:cut], window, stride)
    held_out = _windows(file.data[cut:], window, stride)
    return Arrays(
        inputs=np.concatenate([train, held_out]),
        targets=None,
        origins=(file.origin,),
        reader={"format": "text", "window": window, "stride": stride, "cut": cut},
        train_count=len(train),
    )


def _windows(data: bytes, window: int, stride: int) -> Numbers:
    """uint8 [n, window]; n is 0 where there are too few bytes for one."""
    array = np.frombuffer(data, np.uint8)
    if len(array) < window:
        return np.zeros((0, window), np.uint8)
    return np.lib.stride_tricks.sliding_window_view(array, window)[::stride].copy()
