from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.errors import Reject, RejectCode
from stratum.extensions import Agreement, agree
from stratum.jobs import VERSION_MASK
from stratum.wishes import LARGEST_DIFFICULTY

ALL = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
NONE = {"version-rolling": False}


@pytest.mark.parametrize(
    ("options", "result", "mask"),
    [
        ([], ALL, 0x1FFFE000),
        ([{}], ALL, 0x1FFFE000),
        ([None], ALL, 0x1FFFE000),
        ([[]], ALL, 0x1FFFE000),
        ([{"version-rolling.mask": "ffffffff"}], ALL, 0x1FFFE000),
        ([{"version-rolling.mask": "FFFFFFFF"}], ALL, 0x1FFFE000),
        (
            [{"version-rolling.mask": "00c00000", "version-rolling.min-bit-count": 2}],
            {"version-rolling": True, "version-rolling.mask": "00c00000"},
            0xC00000,
        ),
        (
            [{"version-rolling.mask": "6000", "version-rolling.min-bit-count": 16}],
            {"version-rolling": True, "version-rolling.mask": "00006000"},
            0x6000,
        ),
        ([{"version-rolling.mask": "e0000000"}], NONE, 0),
        ([{"version-rolling.mask": "00000000"}], NONE, 0),
        ([{"version-rolling.mask": ""}], NONE, 0),
        ([{"version-rolling.mask": 7}], NONE, 0),
        ([{"version-rolling.mask": None}], NONE, 0),
        ([{"version-rolling.mask": "xyz"}], NONE, 0),
        ([{"version-rolling.mask": "1" * 9}], NONE, 0),
    ],
)
def test_version_rolling(options: list[Any], result: dict[str, object], mask: int) -> None:
    assert agree([["version-rolling"], *options]) == Agreement(result, mask, None)


@pytest.mark.parametrize(
    ("value", "minimum"),
    [
        (150000, 150000),
        (0.5, 0.5),
        ("2048", 2048),
        (1e300, LARGEST_DIFFICULTY),
        (0, 0),
        (-1, 0),
        (None, 0),
        (True, 0),
        ([1], 0),
    ],
)
def test_minimum_difficulty(value: object, minimum: float) -> None:
    result: dict[str, object] = {"minimum-difficulty": minimum > 0}
    options = {"minimum-difficulty.value": value}
    assert agree([["minimum-difficulty"], options]) == Agreement(result, None, minimum)


def test_no_value_is_no_minimum() -> None:
    assert agree([["minimum-difficulty"]]) == Agreement({"minimum-difficulty": False}, None, 0)


def test_the_small_extensions() -> None:
    names = ["subscribe-extranonce", "info", "frob", ""]
    agreement = agree([names, {"info.sw-version": "1"}])
    assert isinstance(agreement, Agreement)
    assert agreement.result == {
        "subscribe-extranonce": False,
        "info": True,
        "frob": False,
        "": False,
    }
    assert agreement.version_mask is agreement.minimum_difficulty is None


def test_options_of_what_was_not_asked_for_are_not_looked_at() -> None:
    """A reply with one key too many makes Whatsminer reconnect for ever."""
    options = {"version-rolling.mask": "1fffe000", "minimum-difficulty.value": 5}
    assert agree([["info"], options]) == Agreement({"info": True}, None, None)
    assert agree([[], options]) == Agreement({}, None, None)
    assert agree([]) == Agreement({}, None, None)


@pytest.mark.parametrize("params", [["version-rolling"], [[1]], [{}], [None], [7]])
def test_what_is_no_list_of_names(params: list[Any]) -> None:
    assert agree(params) == Reject(RejectCode.OTHER, "Configure takes a list of extensions")


class Counting(dict[str, Any]):
    """Counts what is looked up."""

    looked_up = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked_up += 1
        return super().get(key, default)


def test_a_name_that_is_repeated_is_looked_at_once() -> None:
    """Else one line is worth a millisecond of work."""
    options = Counting({"minimum-difficulty.value": "1." + "0" * 38})
    agreement = agree([["minimum-difficulty", "version-rolling"] * 300, options])
    assert isinstance(agreement, Agreement)
    assert agreement.minimum_difficulty == 1
    assert options.looked_up == 2


NAMES = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info", "other"]
VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=9) | st.just("ffffffff")
OPTIONS = st.dictionaries(
    st.sampled_from(["version-rolling.mask", "minimum-difficulty.value", "x"]), VALUES
)


@given(st.lists(st.sampled_from(NAMES)), OPTIONS)
def test_only_requested_extensions_are_answered(names: list[str], options: dict[str, Any]) -> None:
    agreement = agree([names, options])
    assert isinstance(agreement, Agreement)
    assert set(agreement.result) - {"version-rolling.mask"} == set(names)
    assert (agreement.version_mask is None) == ("version-rolling" not in names)
    assert (agreement.minimum_difficulty is None) == ("minimum-difficulty" not in names)
    if agreement.version_mask:
        assert agreement.version_mask & ~VERSION_MASK == 0
        mask = agreement.result["version-rolling.mask"]
        assert mask == f"{agreement.version_mask:08x}"
