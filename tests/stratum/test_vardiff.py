"""Vardiff: reaches its target from anywhere, stays there, and is not moved by accidents."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.vardiff import MAX_RISE, Vardiff, VardiffRules

RULES = VardiffRules(shares_per_minute=12)


def mine(vardiff: Vardiff, rate: float, seconds: float, *, seed: int = 1, start: float = 0) -> int:
    """Let a miner of `rate` hashes/s work at whatever bits it is given; how often they changed."""
    chance = random.Random(seed)
    now, end, next_look, changes = start, start + seconds, start + 1, 0
    while True:
        found = now + chance.expovariate(rate / 2.0**vardiff.bits)
        hurry = False
        if found < min(next_look, end):
            now = found
            hurry = vardiff.share(vardiff.bits, now)
        elif next_look < end:
            now, next_look = next_look, next_look + 1
        else:
            return changes
        if hurry or now == next_look - 1:
            before = vardiff.bits
            changes += vardiff.look(now) != before


def per_minute(rate: float, bits: int) -> float:
    return rate / 2.0**bits * 60


@pytest.mark.parametrize("start", [38, 42, 46, 60, 80])
@pytest.mark.parametrize("rate", [1.2e12, 13.5e12, 110e12, 112e12])
def test_an_asic_comes_to_its_target_from_any_start(start: int, rate: float) -> None:
    vardiff = Vardiff(RULES, bits=start, floor=38, now=0)
    mine(vardiff, rate, 3600)
    assert 12 / 2.9 <= per_minute(rate, vardiff.bits) <= 12 * 2.9


def test_it_is_quick_upwards() -> None:
    """An S19 Pro at the lowest difficulty an S9 can do: 400 shares a second at first."""
    vardiff = Vardiff(VardiffRules(shares_per_minute=600), bits=38, floor=38, now=0)
    mine(vardiff, 110e12, 5)
    assert per_minute(110e12, vardiff.bits) <= 2400
    mine(vardiff, 110e12, 40, start=5)
    assert per_minute(110e12, vardiff.bits) <= 1200


def test_it_seldom_moves_once_it_is_there() -> None:
    rules = VardiffRules(shares_per_minute=600)
    vardiff = Vardiff(rules, bits=43, floor=38, now=0)
    mine(vardiff, 110e12, 300)
    settled = vardiff.bits
    assert mine(vardiff, 110e12, 3600, seed=2, start=300) == 0
    assert vardiff.bits == settled


def test_without_a_share_the_difficulty_is_halved_down_to_the_floor() -> None:
    vardiff = Vardiff(RULES, bits=45, floor=43, now=0)
    assert vardiff.look(59) == 45
    assert vardiff.look(60) == 44
    assert vardiff.look(119) == 44
    assert vardiff.look(120) == 43
    assert vardiff.look(1e6) == 43


def test_a_burst_of_resent_shares_moves_little() -> None:
    """cgminer resends what it could not submit, all at once."""
    vardiff = Vardiff(VardiffRules(shares_per_minute=600), bits=43, floor=38, now=0)
    for _ in range(30):
        vardiff.share(43, 0.01)
        vardiff.look(0.01)
    assert vardiff.bits <= 44


def test_one_look_adds_a_bounded_number_of_bits() -> None:
    vardiff = Vardiff(RULES, bits=38, floor=38, now=0)
    for _ in range(100_000):
        vardiff.share(38, 1)
    assert vardiff.look(1) == 38 + MAX_RISE


def test_shares_of_older_jobs_count_as_the_work_they_were() -> None:
    vardiff = Vardiff(RULES, bits=44, floor=38, now=0)
    for second in range(1, 41):  # one of 2^43 a second is a half of one of 2^44, five times wanted
        vardiff.share(43, second)
    assert vardiff.look(40) == 45


@given(
    floor=st.integers(0, 100),
    start=st.integers(0, 155),
    shares=st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 255)), max_size=60),
)
def test_bits_never_leave_their_bounds(
    floor: int, start: int, shares: list[tuple[float, int]]
) -> None:
    ceiling = floor + 155
    vardiff = Vardiff(RULES, bits=min(floor + start, ceiling), floor=floor, now=0, ceiling=ceiling)
    now = 0.0
    for wait, bits in shares:
        now += wait
        vardiff.share(bits, now)
        assert floor <= vardiff.look(now) <= ceiling


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="shares_per_minute"):
        VardiffRules(shares_per_minute=0)
    with pytest.raises(ValueError, match="hysteresis"):
        VardiffRules(shares_per_minute=1, hysteresis=1)
    with pytest.raises(ValueError, match=r"within 5\.\.255"):
        Vardiff(RULES, bits=4, floor=5, now=0)
