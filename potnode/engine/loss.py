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
