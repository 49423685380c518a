"""The tables of the integer cross-entropy in the form that vector code wants.

The loss is that of `potnode.spec.loss`. Its two tables are unrolled here so that one lookup
replaces a lookup and a shift; nothing is approximated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.spec.loss import EXP2, LOG2

# POWERS[d] = EXP2[d & 255] >> (d >> 8). 65536 >> 17 is 0, so the last entry stands for all beyond.
FARTHEST = 17 << 8
POWERS: npt.NDArray[np.int32] = np.array(
    [EXP2[d & 255] >> (d >> 8) for d in range(FARTHEST + 1)], np.int32
)

# A sum S of powers is 2^16..2^24, exact in float32, whose bits above the fraction's lower 15 are
# (k + 127) << 8 | (S >> (k - 8)) & 255. Less FLOAT_ORIGIN that is the index of LOGARITHMS.
FLOAT_SHIFT = 15
FLOAT_ORIGIN = (16 + 127) << 8
LOGARITHMS: npt.NDArray[np.int32] = np.array(
    [((q >> 8) << 8) + LOG2[q & 255] for q in range((8 << 8) + 1)], np.int32
)


def _sixteenth(high: int) -> np.float32:
    """A float32 near EXP2[16 * high] whose products with PARTS round to the table's integers."""
    expected = np.array(EXP2[16 * high : 16 * high + 16])
    middle = np.float32(65536 * 2.0 ** (-high / 16))
    below, above = (np.nextafter(middle, np.float32(to)) for to in (0, 1 << 17))
    return next(v for v in (middle, below, above) if (np.rint(v * PARTS) == expected).all())


# EXP2[16 h + l] = SIXTEENTHS[h] * PARTS[l], a float32 product, rounded to an integer: two tables of
# the size of a vector register.
PARTS: npt.NDArray[np.float32] = (2.0 ** (-np.arange(16) / 256)).astype(np.float32)
SIXTEENTHS: npt.NDArray[np.float32] = np.array([_sixteenth(h) for h in range(16)], np.float32)
