"""The built-in dataset `digits`.

1,797 handwritten digits of 8 x 8 pixels: Optical Recognition of Handwritten Digits, E. Alpaydin
and C. Kaynak, UCI Machine Learning Repository (doi:10.24432/C50P49), CC BY 4.0, in the form that
scikit-learn distributes (`sklearn.datasets.load_digits`). Changes made: pixels 0..16 become
-120..120, and the samples are put in the order of `potnode.data.freeze.shuffled_order`, the first
1,500 to train. Which 297 are held out matters more than any setting (docs/benchmarks.md), so
accuracies are comparable on this split alone.

The file `digits.potdata` beside this module is the dataset; `build` is how it was made.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from potnode.data.dataset import Dataset
from potnode.data.freeze import freeze, shuffled_order

NAME = "digits"
ATTRIBUTION = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository, CC BY 4.0; centred, scaled and reordered"
)
ROOT = bytes.fromhex("f8cb15eca1d28fe649f1e66ce289240cdfe882006785821e20208eca996d9a0c")
TRAIN_COUNT = 1500
CLASSES = 10
PIXEL_MIDDLE, PIXEL_SCALE = 8, 15  # pixels 0..16 become -120..120: centred, most of the range


@cache
def digits() -> Dataset:
    """The dataset, read from the package once and checked against ROOT."""
    data = files("potnode.data").joinpath("digits.potdata").read_bytes()
    return Dataset.from_bytes(NAME, data, expected_root=ROOT)


def build(pixels: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]) -> bytes:
    """The bytes of digits.potdata.

    Args:
        pixels: [1797, 64], 0..16, in scikit-learn's order. targets: [1797], 0..9.
    """
    order = shuffled_order(len(pixels))
    return freeze(
        (pixels[order] - PIXEL_MIDDLE) * PIXEL_SCALE,
        targets[order],
        train_count=TRAIN_COUNT,
        classes=CLASSES,
    )
