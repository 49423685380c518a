"""Pace: bits follow what the node can take; miners keep their floors; nothing see-saws."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.pace import BACKLOG_STEPS, HEADROOM, WISH_SECONDS, Pace, assign
from potnode.terms import Terms
from stratum.vardiff import VardiffRules


def on_cpu(floor: int) -> Terms:
    return Terms(floor=floor, start=floor, ceiling=255, rules=None, on_cpu=True)


def asic(start: int = 42, shares_per_minute: float = 600) -> Terms:
    rules = VardiffRules(shares_per_minute=shares_per_minute)
    return Terms(floor=38, start=start, ceiling=255, rules=rules, on_cpu=False)


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


def test_the_cap_of_an_assignment_is_halved_no_more_than_needed() -> None:
    """Against the plain way: halve the cap of each until all fit."""
    draw = random.Random(7)
    for _ in range(200):
        n, flow = draw.randint(1, 60), 10 ** draw.uniform(-1, 4)
        rates = {i: draw.choice([0.0, 10 ** draw.uniform(0, 15)]) for i in range(n)}
        floors = {i: draw.randint(0, 50) for i in range(n)}
        cap = flow
        while True:
            bits = {
                i: floors[i]
                if rate <= cap * 2.0 ** floors[i]
                else max(floors[i], ceil(log2(rate / cap)))
                for i, rate in rates.items()
            }
            if sum(rate / 2.0 ** bits[i] for i, rate in rates.items()) <= flow:
                break
            cap /= 2
        assert assign(rates, floors, flow) == bits


def test_an_assignment_takes_a_few_passes_however_many_miners_share_the_flow() -> None:
    """It runs on the event loop, up to four times a second: halvings must not cost one each."""
    rates = {i: 1e14 + i for i in range(5000)}
    floors = dict.fromkeys(rates, 42)
    halvings = {b - ceil(log2(rates[m] / 20)) for m, b in assign(rates, floors, 20.0).items()}
    assert len(halvings) == 1
    assert halvings.pop() > 10

    def seconds(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    one_pass = min(
        seconds(lambda: {m: ceil(log2(r / 20.0)) for m, r in rates.items()}) for _ in "ab"
    )
    assert min(seconds(lambda: assign(rates, floors, 20.0)) for _ in "abc") < 20 * one_pass


def test_a_least_time_of_steps_bounds_the_flow_before_one_is_measured() -> None:
    pace = Pace[str](shares=64, flow=300.0)
    assert pace.capacity() == 300.0
    assert pace.capacity(shortest=2.5) == 64 / 2.5
    pace.worked(5.0, 64)
    assert pace.capacity(shortest=2.5) == 64 / 5.0
    pace.join("asic", asic(), 0.0)
    for _ in range(100):
        pace.share("asic", 42, 1.0)
    assert pace.adjust(0, 1.0, shortest=25.0) == ["asic"]
    assert 100 * 2.0**42 / 2.0 ** pace.bits("asic") <= 64 / 25.0


def test_a_flow_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        assign({}, {}, 0)


def _mine(
    pace: Pace[str], hash_rates: dict[str, float], seconds: int, backlog: int = 0
) -> list[int]:
    """Let miners send shares as their rates say; how many miners changed bits each second."""
    changes = []
    for second in range(1, seconds + 1):
        for miner, rate in hash_rates.items():
            bits = pace.bits(miner)
            for _ in range(round(rate / 2**bits)):
                pace.share(miner, bits, second - 0.5)
        changes.append(len(pace.adjust(backlog, float(second))))
    return changes


def test_bits_rise_until_the_flow_fits_and_then_stay() -> None:
    pace = Pace[str](shares=64, flow=100.0)
    pace.join("asic", on_cpu(14), 0.0)
    changes = _mine(pace, {"asic": 1e9}, 30)
    assert 1e9 / 2 ** pace.bits("asic") <= 100 * HEADROOM
    assert sum(changes[10:]) == 0


def test_the_flow_is_counted_in_shares_of_the_next_step() -> None:
    pace = Pace[str](shares=2, flow=100.0)
    for following in (2, 3, 4):
        pace.worked(2.0, following)
        assert pace.capacity() == following / 2.0
    pace.join("asic", on_cpu(14), 0.0)
    _mine(pace, {"asic": 1e9}, 30)
    assert 1e9 / 2 ** pace.bits("asic") <= 4 / 2.0 * HEADROOM
    assert pace.adjust(4 * BACKLOG_STEPS, 31.0) == [], "a queue of four steps is no backlog"


def test_bits_fall_again_when_the_node_grows_faster() -> None:
    pace = Pace[str](shares=64, flow=10.0)
    pace.join("miner", on_cpu(14), 0.0)
    _mine(pace, {"miner": 1e9}, 5)
    high = pace.bits("miner")
    for _ in range(200):
        pace.worked(0.001, 64)
    pace.adjust(0, 6.0)
    assert pace.capacity() == pytest.approx(64_000, rel=0.01)
    assert pace.bits("miner") == high - 1


def test_a_long_queue_cuts_the_flow_and_forbids_lower_bits() -> None:
    pace = Pace[str](shares=64, flow=100.0)
    pace.join("miner", on_cpu(14), 0.0)
    _mine(pace, {"miner": 1e7}, 5)
    calm = pace.bits("miner")
    _mine(pace, {"miner": 1e7}, 1, backlog=64 * 40)
    assert pace.bits("miner") > calm


def test_miners_may_leave_at_any_point() -> None:
    pace = Pace[str](shares=64, flow=100.0)
    pace.leave("never came")
    pace.join("a", on_cpu(20), 0.0)
    pace.leave("a")
    assert not pace.share("a", 20, 0.5)
    assert pace.adjust(0, 1.0) == []
    assert pace.hash_rate() == 0


def test_an_asic_is_brought_to_its_shares_a_minute_while_the_node_could_take_more() -> None:
    pace = Pace[str](shares=64, flow=10_000.0)
    pace.join("s19", asic(), 0.0)
    _mine(pace, {"s19": 110e12}, 120)
    assert 300 <= 110e12 / 2 ** pace.bits("s19") * 60 <= 1200


def test_vardiff_never_asks_for_more_shares_than_the_node_can_take() -> None:
    pace = Pace[str](shares=64, flow=20.0)
    names = [f"s19-{number}" for number in range(20)]  # 200 shares a second aimed at
    for name in names:
        pace.join(name, asic(), 0.0)
    _mine(pace, dict.fromkeys(names, 110e12), 120)
    flow = sum(110e12 / 2 ** pace.bits(name) for name in names)
    assert flow <= 20 * HEADROOM * 1.25


def test_a_flood_of_one_miner_is_urgent() -> None:
    pace = Pace[str](shares=64, flow=10_000.0)
    pace.join("s19", asic(start=38), 0.0)
    urgent = [pace.share("s19", 38, number / 400) for number in range(400)]
    assert any(urgent)
    pace.adjust(0, 1.0)
    assert pace.bits("s19") >= 40


def test_wishes_are_followed_once_in_a_while() -> None:
    pace = Pace[str](shares=64, flow=10_000.0)
    pace.join("miner", asic(start=42), 0.0)
    assert pace.ask("miner", asic(start=50), 1.0) == 42
    assert pace.bits("miner") == 50
    assert pace.ask("miner", asic(start=45), 2.0) == 50
    assert pace.bits("miner") == 50, "it asked a second ago"
    pace.ask("miner", asic(start=45), 1.0 + WISH_SECONDS)
    assert pace.bits("miner") == 45
    fixed = Terms(floor=38, start=60, ceiling=255, rules=None, on_cpu=False)
    assert pace.ask("miner", fixed, 2.0 + WISH_SECONDS) == 45
    assert pace.bits("miner") == 60, "a fixed difficulty does not wait"
    assert pace.ask("gone", asic(), 3.0) is None


def test_a_minimum_holds_at_once() -> None:
    pace = Pace[str](shares=64, flow=10_000.0)
    pace.join("miner", asic(start=42), 0.0)
    pace.ask("miner", asic(start=50), 1.0)
    pace.ask("miner", Terms(52, 52, 255, VardiffRules(shares_per_minute=600), False), 2.0)
    assert pace.bits("miner") == 52
    for second in range(3, 400):
        pace.adjust(0, float(second))
        assert pace.bits("miner") >= 52


def test_bits_stay_below_the_block() -> None:
    pace = Pace[str](shares=64, flow=1.0)
    pace.join("s19", Terms(38, 38, 40, None, False), 0.0)
    _mine(pace, {"s19": 110e12}, 10)
    assert pace.bits("s19") == 40


def test_it_knows_whether_an_asic_is_here() -> None:
    pace = Pace[str](shares=64, flow=1.0)
    seen = []
    for change in (
        lambda: pace.join("cpu", on_cpu(14), 0.0),
        lambda: pace.join("s9", asic(), 0.0),
        lambda: pace.leave("s9"),
    ):
        change()
        seen.append(pace.asics)
    assert seen == [False, True, False]
