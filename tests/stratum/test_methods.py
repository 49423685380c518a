from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.methods import canonical, message_params, printable, reconnect_params


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mining.authorize", "mining.authorize"),
        ("mining.auth", "mining.authorize"),
        ("mining.suggest_difficulty", "mining.suggest_difficulty"),
        ("mining.suggest_difficulty(1024)", "mining.suggest_difficulty"),
        ("mining.suggest_target(ff)", "mining.suggest_target"),
        ("mining.suggest_anything", "mining.suggest"),
        ("mining.submit", "mining.submit"),
        ("mining.aut", "mining.aut"),
        ("MINING.AUTHORIZE", "MINING.AUTHORIZE"),
        ("", ""),
    ],
)
def test_names(written: str, name: str) -> None:
    assert canonical(written) == name
    assert canonical(name) == name


def test_reconnect_names_no_host() -> None:
    assert reconnect_params(0) == []
    assert reconnect_params(3600) == [None, None, 3600]
    for wait in (-1, 3601):
        with pytest.raises(ValueError, match=f"wait is {wait} seconds"):
            reconnect_params(wait)


@given(st.text(max_size=600), st.integers(0, 300))
def test_what_is_shown_is_printable_and_short(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()
    assert printable(shown, longest) == shown
    assert message_params(text) == [printable(text, 256)]
