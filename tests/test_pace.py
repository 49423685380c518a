"""Pace: bits follow what the node can take; miners keep their floors; nothing see-saws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.pace import HEADROOM, Pace, assign


@given(
    st.lists(st.tuples(st.floats(0, 1e16), st.integers(0, 64)), min_size=1, max_size=20),
    st.floats(1, 1e5),
)
def test_assigned_flow_fits_unless_floors_alone_exceed_it(
    miners: list[tuple[float, int]], flow: float
) -> None:
    rates = {i: rate for i, (rate, _) in enumerate(miners)}
    floors = {i: floor for i, (_, floor) in enumerate(miners)}
    bits = assign(rates, floors, flow)
    assert all(floors[i] <= bits[i] <= 255 for i in bits)
    assert sum(rates[i] / 2.0 ** bits[i] for i in bits) <= flow


def test_small_miners_keep_their_floor_while_a_large_one_is_thinned() -> None:
    rates = {"cpu": 2e6, "asic": 1e14}
    bits = assign(rates, {"cpu": 14, "asic": 38}, 400)
    assert bits["cpu"] == 14
    assert 1e14 / 2 ** bits["asic"] <= 400 - 2e6 / 2**14


def test_a_flow_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        assign({}, {}, 0)


def _mine(pace: Pace, hash_rates: dict[str, float], seconds: int, backlog: int = 0) -> list[int]:
    """Let miners send shares as their rates say; how many miners changed bits each second."""
    changes = []
    for second in range(1, seconds + 1):
        for miner, rate in hash_rates.items():
            bits = pace.bits(miner)
            for _ in range(round(rate / 2**bits)):
                pace.share(miner, bits)
        changes.append(len(pace.adjust(backlog, float(second))))
    return changes


def test_bits_rise_until_the_flow_fits_and_then_stay() -> None:
    pace = Pace(population=64, flow=100.0)
    pace.join("asic", 14, 0.0)
    changes = _mine(pace, {"asic": 1e9}, 30)
    assert 1e9 / 2 ** pace.bits("asic") <= 100 * HEADROOM
    assert sum(changes[10:]) == 0


def test_bits_fall_again_when_the_node_grows_faster() -> None:
    pace = Pace(population=64, flow=10.0)
    pace.join("miner", 14, 0.0)
    _mine(pace, {"miner": 1e9}, 5)
    high = pace.bits("miner")
    for _ in range(200):
        pace.worked(0.001)
    pace.adjust(0, 6.0)
    assert pace.capacity == pytest.approx(64_000, rel=0.01)
    assert pace.bits("miner") == high - 1


def test_a_long_queue_cuts_the_flow_and_forbids_lower_bits() -> None:
    pace = Pace(population=64, flow=100.0)
    pace.join("miner", 14, 0.0)
    _mine(pace, {"miner": 1e7}, 5)
    calm = pace.bits("miner")
    _mine(pace, {"miner": 1e7}, 1, backlog=64 * 40)
    assert pace.bits("miner") > calm


def test_miners_may_leave_at_any_point() -> None:
    pace = Pace(population=64, flow=100.0)
    pace.leave("never came")
    pace.join("a", 20, 0.0)
    pace.leave("a")
    pace.share("a", 20)
    assert pace.adjust(0, 1.0) == []
    assert pace.hash_rate() == 0
