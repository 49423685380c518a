"""Numbers to the integers of a dataset file, by rules that everybody's machine computes alike.

Statistics are of training samples alone. Sums of them are exact or rounded once (`math.fsum`), and
what follows are single IEEE operations, so a frozen file does not depend on the machine that made
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from potnode.data.errors import CannotFreeze
from potnode.data.source import Numbers

INPUT_RULES = {
    "none": "x, which is a whole number -127..127 already",
    "pixels": "x * 127 div maximum: 0..maximum becomes 0..127",
    "centred": (
        "(x - middle) * max(1, 127 div middle), middle = (maximum + 1) div 2, kept in -127..127"
    ),
    "standard": "round(32 * (x - mean) / deviation), halves to even, kept in -127..127",
}
"""Rules for inputs by name, as a manifest states them."""
TARGET_RULES = {
    "none": "t, which is a whole number -32768..32767 already",
    "standard": "round(1024 * (t - mean) / deviation), halves to even, kept in -32767..32767",
}
"""Rules for target values by name."""
_INPUT_UNIT, _INPUT_LIMIT = 32, 127
_TARGET_UNIT, _TARGET_LIMIT = 1024, 32767
_PIXEL_MAXIMUM = 255
_WHOLE = float(1 << 53)  # floats below it can be told from their neighbours
_LARGEST = 1e150  # its square is finite
_BLOCK = 1 << 20  # elements scaled at a time: wide intermediates of large sets would fill memory

Integers = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """A rule with its numbers, ready to be applied to inputs [n, size] or target values.

    maximum: of rules "pixels" and "centred". mean, deviation: [size], of rule "standard"; [0] of
    others.
    """

    rule: str
    maximum: int = 0
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    deviation: Floats = field(default_factory=lambda: np.zeros(0))

    def document(self, rules: dict[str, str]) -> dict[str, object]:
        """As it stands in a manifest; floats come back exactly from their decimals."""
        document: dict[str, object] = {"scale": self.rule, "rule": rules[self.rule]}
        if self.rule in ("pixels", "centred"):
            document["maximum"] = self.maximum
        if self.rule == "standard":
            document["mean"] = self.mean.tolist()
            document["deviation"] = self.deviation.tolist()
        return document


def input_scale(rule: str | None, training: Numbers, maximum: int | None) -> Scale:
    """The rule for inputs, fitted to training samples.

    Args:
        rule: one of INPUT_RULES; default "standard", and "none" for int8.
        training: [n, size]. maximum: of the values, where the source says so; 255 otherwise.

    Raises:
        CannotFreeze: there is no such rule.
    """
    if rule is None:
        rule = "none" if training.dtype == np.int8 else "standard"
    if rule not in INPUT_RULES:
        raise CannotFreeze(f"inputs are scaled by {', '.join(INPUT_RULES)}, not {rule!r}")
    if rule == "standard":
        return Scale(rule, 0, *_statistics(training))
    return Scale(rule, _PIXEL_MAXIMUM if maximum is None else maximum)


def scaled_inputs(scale: Scale, inputs: Numbers) -> Integers:
    """[n, size] integers -127..127; CannotFreeze where the rule does not take these values."""
    if scale.rule == "standard":
        return _standard(scale, inputs, _INPUT_UNIT, _INPUT_LIMIT)
    if scale.rule == "none":
        return _whole(inputs, "inputs", -_INPUT_LIMIT, _INPUT_LIMIT)
    _check_range(inputs, "inputs", 0, scale.maximum)
    middle = (scale.maximum + 1) // 2
    factor = max(1, _INPUT_LIMIT // middle)

    def scaled(block: Numbers) -> Numbers:
        whole = whole_numbers(block, "inputs")
        if scale.rule == "pixels":
            return whole * _INPUT_LIMIT // scale.maximum
        return np.clip((whole - middle) * factor, -_INPUT_LIMIT, _INPUT_LIMIT)

    return _in_blocks(inputs, scaled)


def target_scale(rule: str | None, training: Numbers) -> Scale:
    """The rule for target values, fitted to training samples.

    Args:
        rule: one of TARGET_RULES, default "standard". training: [n, outputs].

    Raises:
        CannotFreeze: there is no such rule, or a target is the same in all samples.
    """
    rule = rule or "standard"
    if rule not in TARGET_RULES:
        raise CannotFreeze(f"target values are scaled by {', '.join(TARGET_RULES)}, not {rule!r}")
    if rule == "none":
        return Scale(rule)
    mean, deviation = _statistics(training)
    if not deviation.all():
        raise CannotFreeze(
            f"target {int(deviation.argmin())} (counted from 0) is the same in all training "
            "samples: there is nothing to learn"
        )
    return Scale(rule, 0, mean, deviation)


def scaled_targets(scale: Scale, targets: Numbers) -> Integers:
    """[n, outputs] int16 values; CannotFreeze where the rule does not take these values."""
    if scale.rule == "none":
        return _whole(targets, "target values", -_TARGET_LIMIT - 1, _TARGET_LIMIT)
    return _standard(scale, targets, _TARGET_UNIT, _TARGET_LIMIT)


def whole_numbers(array: Numbers, what: str) -> npt.NDArray[np.int64]:
    """The same numbers as int64; CannotFreeze where one is not whole."""
    if array.dtype.kind == "f" and not ((np.rint(array) == array) & (abs(array) < _WHOLE)).all():
        raise CannotFreeze(f"{what} must be whole numbers")
    return array.astype(np.int64)


def _whole(array: Numbers, what: str, least: int, most: int) -> Integers:
    _check_range(array, what, least, most)
    return _in_blocks(array, lambda block: whole_numbers(block, what))


def _check_range(array: Numbers, what: str, least: int, most: int) -> None:
    if array.min() < least or array.max() > most:
        raise CannotFreeze(
            f"with this scale {what} must be {least}..{most}, not {array.min()}..{array.max()}: "
            "choose another, such as standard"
        )


def _in_blocks(array: Numbers, scaled: Callable[[Numbers], Numbers]) -> Integers:
    """`scaled` of some rows at a time."""
    result = np.empty(array.shape, np.int16)
    rows = max(1, _BLOCK // array.shape[1])
    for at in range(0, len(array), rows):
        result[at : at + rows] = scaled(array[at : at + rows])
    return result


def _statistics(training: Numbers) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column."""
    count = len(training)
    if training.dtype.kind in "biu" and training.dtype.itemsize <= 2:
        # Exact in int64 (2^32 samples of 2^31 at most), and fast for images.
        sums = [int(v) for v in training.sum(axis=0, dtype=np.int64)]
        squares = [int(v) for v in np.einsum("ij,ij->j", training, training, dtype=np.int64)]
        pairs = list(zip(sums, squares, strict=True))
        return (
            np.array([s / count for s, _ in pairs]),
            np.array([math.sqrt((count * q - s * s) / count**2) for s, q in pairs]),
        )
    if abs(training).max() > _LARGEST:
        raise CannotFreeze(f"a value is beyond {_LARGEST:g}: give it in another unit")
    means, deviations = [], []
    for column in training.T.astype(np.float64):
        mean = math.fsum(column.tolist()) / count
        distance: Any = column - mean
        # A column of equal values has no deviation, though its mean may be rounded.
        same = column.min() == column.max()
        square = 0.0 if same else math.fsum((distance * distance).tolist())
        means.append(mean)
        deviations.append(math.sqrt(square / count))
    return np.array(means), np.array(deviations)


def _standard(scale: Scale, array: Numbers, unit: int, limit: int) -> Integers:
    """A column without deviation says nothing and becomes 0."""
    mean, flat = scale.mean, scale.deviation == 0
    deviation = np.where(flat, 1.0, scale.deviation)

    def scaled(block: Numbers) -> Numbers:
        with np.errstate(over="ignore"):  # infinitely far is as far as the limit
            scores = np.rint(unit * (block.astype(np.float64) - mean) / deviation)
        return np.where(flat, 0, np.clip(scores, -limit, limit))

    return _in_blocks(array, scaled)
