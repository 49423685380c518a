from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.passwords import MAX_OPTIONS, MAX_PASSWORD, difficulty_wishes, options


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("", {}),
        ("x", {}),
        ("123", {}),
        ("d=1024", {"d": "1024"}),
        ("x,d=1024", {"d": "1024"}),
        ("x;D=1024,MD=64", {"d": "1024", "md": "64"}),
        ("  diff=0.5 \t md=1e3  ", {"diff": "0.5", "md": "1e3"}),
        ("btc=bc1qXyZ,d=8", {"btc": "bc1qXyZ", "d": "8"}),
        ("d=1,d=2", {"d": "2"}),
        ("d=,=5,=,d==,7=7", {"d": "="}),
        ("d = 5", {}),
        ("a" * 33 + "=1", {}),
        ("a=" + "1" * 129, {}),
        ("a=\x00,b=\u202e,c=\u00e9", {"c": "\u00e9"}),
        ("\u0131d=1,\uff44=1", {}),
    ],
)
def test_options(password: str, expected: dict[str, str]) -> None:
    assert options(password) == expected


def test_a_password_gives_only_so_many_options() -> None:
    many = options(",".join(f"k{number}=1" for number in range(100)) + ",k0=2")
    assert list(many) == [f"k{number}" for number in range(MAX_OPTIONS)]
    assert options("x" * MAX_PASSWORD + ",d=1") == {}
    full = ",".join(f"k{number}={number}" for number in range(MAX_OPTIONS))
    assert options(full + ",k3=new,other=1")["k3"] == "new"


KEYS = st.from_regex(r"[a-z][a-z0-9_.-]{0,7}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9=:/._-]{1,10}", fullmatch=True)


@given(
    st.dictionaries(KEYS, VALUES, max_size=8),
    st.sampled_from([",", ";", " ", ", ", " ;; ", "\t"]),
    st.booleans(),
)
def test_what_is_written_is_read(pairs: dict[str, str], separator: str, shout: bool) -> None:
    words = [f"{key.upper() if shout else key}={value}" for key, value in pairs.items()]
    assert options(separator.join(["x", *words])) == pairs


@given(st.text(max_size=400))
def test_no_password_raises(password: str) -> None:
    found = options(password)
    assert len(found) <= MAX_OPTIONS
    assert all(key == key.lower() and len(key) <= 32 for key in found)
    assert all(1 <= len(value) <= 128 and value.isprintable() for value in found.values())
    assert all(wish > 0 for wish in difficulty_wishes(found).values())


@pytest.mark.parametrize(
    ("of", "wishes"),
    [
        ({}, {}),
        ({"d": "1024"}, {"fixed": 1024}),
        ({"diff": "0.001"}, {"fixed": 0.001}),
        ({"d": "2", "diff": "3"}, {"fixed": 2}),
        ({"d": "x", "md": "64"}, {"minimum_by_password": 64}),
        ({"d": "0", "md": "-1"}, {}),
        ({"d": "inf", "md": "nan"}, {}),
        ({"d": "1", "md": "2"}, {"fixed": 1, "minimum_by_password": 2}),
    ],
)
def test_difficulties(of: dict[str, str], wishes: dict[str, float]) -> None:
    assert difficulty_wishes(of) == wishes
