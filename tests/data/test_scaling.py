"""Numbers to integers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from potnode.data.errors import CannotFreeze
from potnode.data.scaling import (
    INPUT_RULES,
    TARGET_RULES,
    input_scale,
    scaled_inputs,
    scaled_targets,
    target_scale,
)

PIXELS = np.arange(256, dtype=np.uint8).reshape(1, -1)


def test_pixels_become_the_upper_half() -> None:
    scaled = scaled_inputs(input_scale("pixels", PIXELS, 255), PIXELS)[0]
    assert scaled.tolist() == [p * 127 // 255 for p in range(256)]
    assert (scaled[0], scaled[-1]) == (0, 127)


def test_centred_pixels_use_the_whole_range() -> None:
    scaled = scaled_inputs(input_scale("centred", PIXELS, None), PIXELS)[0]
    assert scaled.tolist() == [max(-127, p - 128) for p in range(256)]
    few = np.arange(17.0).reshape(1, -1)
    scaled = scaled_inputs(input_scale("centred", few, 16), few)[0]
    assert scaled.tolist() == [(p - 8) * 15 for p in range(17)]


@given(st.integers(1, 70_000), st.sampled_from(["pixels", "centred"]))
def test_any_maximum_stays_in_range(maximum: int, rule: str) -> None:
    values = np.array([[0, maximum // 2, maximum]])
    low, middle, high = scaled_inputs(input_scale(rule, values, maximum), values)[0].tolist()
    assert -127 <= low <= middle <= high <= 127
    assert low < high


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.float64]),
        st.tuples(st.integers(1, 20), st.integers(1, 3)),
        elements=st.integers(0, 255),
    ),
    st.data(),
)
def test_standard_is_what_fractions_say(values: Any, data: st.DataObject) -> None:
    """Rounding in floats may go the other way where a score is within 1e-9 of a half."""
    train = data.draw(st.integers(1, len(values)))
    scale = input_scale("standard", values[:train], None)
    scaled = scaled_inputs(scale, values)
    for j in range(values.shape[1]):
        column = [Fraction(float(v)) for v in values[:, j]]
        mean = sum(column[:train], Fraction()) / train
        variance = sum(((v - mean) ** 2 for v in column[:train]), Fraction()) / train
        for value, found in zip(column, scaled[:, j].tolist(), strict=True):
            if variance == 0:
                assert found == 0
                continue
            score = 32 * float(value - mean) / float(variance) ** 0.5
            assert abs(max(-127.0, min(127.0, score)) - found) <= 0.5 + 1e-9


def test_a_column_of_equal_values_says_nothing() -> None:
    values = np.full((3, 2), 0.1)
    values[:, 1] = [0.0, 1.0, 2.0]
    scaled = scaled_inputs(input_scale("standard", values, None), values)
    assert scaled.tolist() == [[0, -39], [0, 0], [0, 39]]


def test_statistics_of_many_small_integers_and_of_floats_agree() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (3000, 5)).astype(np.uint8)
    whole, floats = (input_scale("standard", v, None) for v in (values, values.astype(float)))
    np.testing.assert_allclose(whole.mean, floats.mean, rtol=1e-15)
    np.testing.assert_allclose(whole.deviation, floats.deviation, rtol=1e-14)
    np.testing.assert_allclose(whole.deviation, values.std(axis=0), rtol=1e-12)


def test_values_far_out_are_kept_in_range() -> None:
    training = np.array([[0.0], [1.0]])
    scale = input_scale("standard", training, None)
    assert scaled_inputs(scale, np.array([[1e308], [-1e308], [0.5]])).tolist() == [
        [127],
        [-127],
        [0],
    ]
    with pytest.raises(CannotFreeze, match="another unit"):
        input_scale("standard", np.array([[1e200], [0.0]]), None)


def test_large_arrays_are_scaled_in_blocks() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (2500, 1000)).astype(np.uint8)
    assert (
        scaled_inputs(input_scale("pixels", values, 255), values) == values * 127.0 // 255
    ).all()


def test_defaults() -> None:
    small = np.array([[-127, 127]], np.int8)
    scale = input_scale(None, small, None)
    assert scale.document(INPUT_RULES) == {"scale": "none", "rule": INPUT_RULES["none"]}
    assert scaled_inputs(scale, small).tolist() == [[-127, 127]]
    assert input_scale(None, PIXELS, 255).rule == "standard"
    assert target_scale(None, np.array([[1.0], [2.0]])).rule == "standard"


def test_manifests_state_a_rules_numbers() -> None:
    assert input_scale("centred", PIXELS, 16).document(INPUT_RULES) == {
        "scale": "centred",
        "rule": INPUT_RULES["centred"],
        "maximum": 16,
    }
    assert target_scale("standard", np.array([[1.0], [3.0]])).document(TARGET_RULES) == {
        "scale": "standard",
        "rule": TARGET_RULES["standard"],
        "mean": [2.0],
        "deviation": [1.0],
    }


def test_targets() -> None:
    values = np.array([[1.0, 5], [3.0, 9], [1000.0, 7]])
    scale = target_scale("standard", values[:2])
    assert scaled_targets(scale, values).tolist() == [[-1024, -1024], [1024, 1024], [32767, 0]]
    whole = np.array([[-32768], [32767]])
    assert scaled_targets(target_scale("none", whole), whole).tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("rule", "values", "problem"),
    [
        ("none", [[128]], r"-127\.\.127, not 128\.\.128"),
        ("none", [[-128]], r"-127\.\.127"),
        ("none", [[0.5]], "whole numbers"),
        ("pixels", [[256]], r"0\.\.255, not 256"),
        ("pixels", [[-1]], r"0\.\.255"),
        ("pixels", [[0.5]], "whole numbers"),
        ("centred", [[0.5]], "whole numbers"),
        ("log", [[1]], "scaled by none, pixels, centred, standard, not 'log'"),
    ],
)
def test_inputs_a_rule_does_not_take(rule: str, values: Any, problem: str) -> None:
    with pytest.raises(CannotFreeze, match=problem):
        scaled_inputs(input_scale(rule, np.array(values), None), np.array(values))


@pytest.mark.parametrize(
    ("rule", "values", "problem"),
    [
        ("none", [[32768]], r"-32768\.\.32767"),
        ("none", [[0.5]], "whole numbers"),
        ("standard", [[1, 2], [2, 2]], r"target 1 .* the same in all training samples"),
        ("pixels", [[1]], "scaled by none, standard, not 'pixels'"),
    ],
)
def test_targets_a_rule_does_not_take(rule: str, values: Any, problem: str) -> None:
    with pytest.raises(CannotFreeze, match=problem):
        scaled_targets(target_scale(rule, np.array(values)), np.array(values))
